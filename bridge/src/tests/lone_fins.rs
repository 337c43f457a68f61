//! A fin behind bytes that were sent before it: quiche's defect, and the holds that live with it.

use super::rig::*;
use crate::abi::*;

/// A stream of the client's whose first byte has been acknowledged and read, and the answer to it
/// too where `is_answered`.
fn begun(pair: &mut Pair, is_answered: bool) -> u64 {
    let id = pair.client.open(true);
    pair.client.offer(id, b"q", false);
    pair.exchange();
    assert_eq!(pair.server.read(id, 10).1, b"q");
    if is_answered {
        pair.server.offer(id, b"answer", true);
        pair.exchange();
        assert_eq!(pair.client.read(id, 10).0.fin, 1);
    }
    id
}

/// Lets quiche learn of what was lost: three later packets are acknowledged (RFC 9002 section 6.1.1).
fn reveal_losses(pair: &mut Pair) {
    for _ in 0..5 {
        pair.client
            .quiche()
            .send_ack_eliciting()
            .expect("a live connection");
        pair.exchange();
    }
}

// lone_fins.rs; the session offers a lone fin only when the bytes before it were acknowledged.
#[test]
fn quiche_forgets_a_fin_that_it_has_not_sent_when_earlier_bytes_are_acknowledged() {
    let mut pair = Pair::connected();
    let id = begun(&mut pair, true);
    pair.client.offer(id, b"x", false);
    let there = pair.pull(true);
    pair.push(false, there);
    assert_eq!(pair.client.quiche().stream_send(id, b"", true), Ok(0));
    let acknowledgement = pair.pull(false);
    pair.push(true, acknowledgement);
    assert!(
        pair.is_collected(true, id),
        "quiche has learnt to wait for the fin: the session may offer it at once"
    );
    pair.exchange();
    let (read, bytes) = pair.server.read(id, 10);
    assert_eq!((bytes.as_slice(), read.fin), (b"x".as_slice(), 0));
    assert_eq!(pair.server.read(id, 10).0.status, RQB_READ_NOTHING);
}

// lone_fins.rs
#[test]
fn quiche_forgets_a_lost_fin_when_the_peers_end_is_read() {
    let mut pair = Pair::connected();
    let id = begun(&mut pair, false);
    assert_eq!(pair.client.quiche().stream_send(id, b"", true), Ok(0));
    assert_eq!(pair.pull(true).len(), 1, "the fin, which is lost");
    pair.server.offer(id, b"answer", true);
    let answer = pair.pull(false);
    pair.push(true, answer);
    assert_eq!(
        pair.client.quiche().stream_recv(id, &mut [0; 10]),
        Ok((6, true))
    );
    assert!(
        pair.is_collected(true, id),
        "quiche has learnt to wait for the fin's acknowledgement: drop lone_fins.rs"
    );
    reveal_losses(&mut pair);
    assert_eq!(pair.client.stats().packets_lost, 1);
    let (read, _) = pair.server.read(id, 10);
    assert_eq!((read.status, read.fin), (RQB_READ_NOTHING, 0));
}

#[test]
fn a_held_stream_sends_its_lost_fin_again() {
    let mut pair = Pair::connected();
    let id = begun(&mut pair, false);
    assert_eq!(pair.client.offer(id, b"", true).status, RQB_OFFER_TAKEN);
    assert_eq!(pair.pull(true).len(), 1, "the fin, which is lost");
    pair.server.offer(id, b"answer", true);
    let answer = pair.pull(false);
    pair.push(true, answer);
    assert_eq!(pair.client.readable(), Some(id));
    let (read, bytes) = pair.client.read(id, 10);
    assert_eq!((bytes.as_slice(), read.fin), (b"answe".as_slice(), 0));
    assert_eq!(pair.client.read(id, 10).0.status, RQB_READ_NOTHING);
    assert_eq!(pair.client.readable(), None);
    reveal_losses(&mut pair);
    assert_eq!(pair.server.read(id, 10).0.fin, 1);
    // The fin was acknowledged, nothing is in flight: the rest may be read.
    assert_eq!(pair.client.readable(), Some(id));
    let (read, bytes) = pair.client.read(id, 10);
    assert_eq!((bytes.as_slice(), read.fin), (b"r".as_slice(), 1));
    assert!(pair.is_collected(true, id));
}

#[test]
fn a_bare_end_waits_for_the_fin_too() {
    let mut pair = Pair::connected();
    let id = begun(&mut pair, false);
    pair.client.offer(id, b"", true);
    assert_eq!(pair.pull(true).len(), 1, "the fin, which is lost");
    pair.server.offer(id, b"", true);
    let answer = pair.pull(false);
    pair.push(true, answer);
    // A look reaches a bare end as a read does.
    assert_eq!(pair.client.read(id, 0).0.status, RQB_READ_NOTHING);
    assert_eq!(pair.client.read(id, 10).0.status, RQB_READ_NOTHING);
    assert!(!pair.is_collected(true, id));
    reveal_losses(&mut pair);
    assert_eq!(pair.server.read(id, 10).0.fin, 1);
    assert_eq!(pair.client.readable(), Some(id));
    assert_eq!(pair.client.read(id, 10).0.fin, 1);
}

// An entirely empty stream: its completion waits for the acknowledgement of its fin.
#[test]
fn a_stream_that_never_had_a_byte_sends_its_lost_fin_again() {
    let mut pair = Pair::connected();
    for is_bidirectional in [true, false] {
        let id = pair.client.open(is_bidirectional);
        let quiche = pair.client.quiche();
        assert_eq!(quiche.stream_send(id, b"", true), Ok(0));
        assert_eq!(pair.pull(true).len(), 1, "the fin, which is lost");
        assert!(!pair.is_collected(true, id));
        reveal_losses(&mut pair);
        assert_eq!(pair.server.readable(), Some(id));
        assert_eq!(pair.server.read(id, 10).0.fin, 1);
        assert_eq!(pair.is_collected(true, id), !is_bidirectional);
    }
}

// And the answer to it, without bytes either, whose stream's other side was read.
#[test]
fn an_answer_without_a_byte_is_sent_again() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"q", true);
    pair.exchange();
    assert_eq!(pair.server.read(id, 10).0.fin, 1);
    assert_eq!(pair.server.offer(id, b"", true).status, RQB_OFFER_TAKEN);
    assert_eq!(pair.pull(false).len(), 1, "the fin, which is lost");
    assert!(!pair.is_collected(false, id));
    for _ in 0..5 {
        pair.server
            .quiche()
            .send_ack_eliciting()
            .expect("a live connection");
        pair.exchange();
    }
    assert_eq!(pair.client.read(id, 10).0.fin, 1);
    assert!(pair.is_collected(false, id));
}
