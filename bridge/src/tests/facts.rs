//! What the engine relies on in quiche 0.30.0 and boring 5.4.0, one test a fact. When the version
//! moves and one of these fails, the code that leans on the fact is named here.

use std::time::Duration;

use quiche::Error;
use quiche::Shutdown;

use super::rig::*;
use crate::abi::*;
use crate::buffers::Buffer;
use crate::buffers::Lent;
use crate::connection::rqb_recv;

static DATA: [u8; 4 << 20] = [7; 4 << 20];

fn lent(size: usize) -> Buffer {
    let owner = DATA.as_ptr().cast_mut().cast();
    Buffer::Lent(unsafe { Lent::new(owner, DATA.as_ptr(), size, 0) })
}

// streams.rs, offer: no more than the capacity is offered.
#[test]
fn stream_send_zc_drops_the_buffer_when_it_answers_done() {
    let pair = Pair::connected();
    let id = pair.client.open(true);
    let quiche = pair.client.quiche();
    while quiche.stream_send_zc(id, lent(1 << 16), false).is_ok() {}
    let before = held();
    assert_eq!(
        quiche
            .stream_send_zc(id, lent(1 << 16), false)
            .map(|sent| sent.0),
        Err(Error::Done)
    );
    assert_eq!(held(), before);
}

// streams.rs, offer.
#[test]
fn offering_beyond_the_connection_window_announces_data_blocked() {
    let (client, mut server) = options();
    server.raw.connection_window = 1000;
    server.raw.max_connection_window = 1000;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    let id = pair.client.open(true);
    // Within the window: silence.
    assert_eq!(
        pair.client.offer(id, &DATA[..1000], false).status,
        RQB_OFFER_TAKEN
    );
    pair.exchange();
    assert_eq!(pair.client.stats().data_blocked_sent, 0);
    let _ = pair.client.quiche().stream_send_zc(id, lent(1), false);
    pair.exchange();
    assert_eq!(pair.client.stats().data_blocked_sent, 1);
}

// sending.rs: bursts are bounded by the buffer, not by this.
#[test]
fn send_quantum_of_cubic_is_a_constant() {
    let mut pair = Pair::connected();
    let before = pair.client.quiche().send_quantum();
    let id = pair.client.open(true);
    for _ in 0..20 {
        pair.client.offer(id, &DATA[..100_000], false);
        pair.exchange();
        while let Some(readable) = pair.server.readable() {
            pair.server.read(readable, 1 << 20);
        }
    }
    let cwnd = pair
        .client
        .quiche()
        .path_stats()
        .next()
        .map(|path| path.cwnd);
    assert!(cwnd > Some(30_000), "the window has grown: {cwnd:?}");
    assert_eq!(pair.client.quiche().send_quantum(), before);
}

// quic_port.hpp, release_time; a pacer for CUBIC would have to be ours.
#[test]
fn cubic_is_not_paced_by_quiche() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..10_000], false);
    let now = std::time::Instant::now();
    let mut buffer = [0; 1500];
    let (_, info) = pair.client.quiche().send(&mut buffer).expect("a packet");
    assert!(info.at.saturating_duration_since(now) < Duration::from_millis(5));
    assert_eq!(pair.client.quiche().gcongestion_enabled(), Some(false));
    pair.exchange();
}

// streams.rs, next_readable; stream_port.hpp.
#[test]
fn a_readable_stream_is_named_once() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    assert_eq!(pair.server.quiche().stream_readable_next(), Some(id));
    assert_eq!(pair.server.quiche().stream_readable_next(), None);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    assert_eq!(
        pair.server.quiche().stream_readable_next(),
        None,
        "more data is no event while the stream is not drained"
    );
}

// streams.rs, parked.
#[test]
fn a_partial_read_names_the_stream_again() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    let quiche = pair.server.quiche();
    assert_eq!(quiche.stream_readable_next(), Some(id));
    assert_eq!(quiche.stream_recv(id, &mut [0; 10]), Ok((10, false)));
    assert_eq!(quiche.stream_readable_next(), Some(id));
}

// The session probes parked streams with empty reads.
#[test]
fn a_reset_of_a_parked_stream_is_no_event_but_an_empty_read_tells_it() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    assert_eq!(pair.server.readable(), Some(id));
    assert_eq!(pair.client.reset(id, 77), RQB_OK);
    pair.exchange();
    assert_eq!(pair.server.readable(), None);
    let (read, _) = pair.server.read(id, 0);
    assert_eq!((read.status, read.code), (RQB_READ_RESET, 77));
}

// options.hpp, connection_window.
#[test]
fn reading_a_stream_returns_credit_of_stream_and_connection_together() {
    let (client, mut server) = options();
    server.raw.stream_window = 5_000;
    server.raw.max_stream_window = 5_000;
    server.raw.connection_window = 10_000;
    server.raw.max_connection_window = 10_000;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    // Two stalled readers hold all of the connection's window; a third stream gets nothing.
    let stalled = [pair.client.open(true), pair.client.open(true)];
    let third = pair.client.open(true);
    for id in stalled {
        assert_eq!(pair.client.offer(id, &DATA[..5_000], false).size, 5_000);
    }
    pair.exchange();
    let blocked = pair.client.offer(third, &DATA[..1], false);
    assert_eq!((blocked.status, blocked.size), (RQB_OFFER_BLOCKED, 0));
    // MAX_DATA moves when less than half of the window is left.
    pair.server.read(stalled[0], 5_000);
    pair.server.read(stalled[1], 5_000);
    pair.exchange();
    assert_eq!(
        pair.client.offer(third, &DATA[..1], false).status,
        RQB_OFFER_TAKEN
    );
}

// session: looks at streams_left after receiving.
#[test]
fn stream_ids_come_back_without_an_event() {
    let (client, mut server) = options();
    server.raw.max_streams_bidi = 2;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    let ids = [pair.client.open(true), pair.client.open(true)];
    assert_eq!(pair.client.snapshot().streams_left_bidi, 0);
    for id in ids {
        pair.client.offer(id, b"x", true);
    }
    pair.exchange();
    while let Some(id) = pair.server.readable() {
        pair.server.read(id, 10);
        pair.server.offer(id, b"", true);
    }
    pair.exchange();
    while let Some(id) = pair.client.readable() {
        pair.client.read(id, 10);
    }
    pair.exchange();
    assert_eq!(pair.client.snapshot().streams_left_bidi, 2);
    assert_eq!(pair.client.readable(), None);
}

// A timeout must be set by us.
#[test]
fn the_idle_timeout_is_infinite_by_default() {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a config");
    config.set_application_protos(&[b"x"]).expect("alpn");
    let id = quiche::ConnectionId::from_ref(&[1; 16]);
    let address = "127.0.0.1:1".parse().expect("an address");
    let connection = quiche::connect(None, &id, address, address, &mut config).expect("one");
    assert_eq!(connection.timeout(), None);
}

// certificates.rs, parse_chain.
#[test]
fn stack_from_pem_takes_junk_for_an_empty_list() {
    let list = boring::x509::X509::stack_from_pem(b"junk").expect("Ok");
    assert!(list.is_empty());
}

// The session keeps a connection until it is closed, and asks for output after a fault.
#[test]
fn an_error_while_receiving_has_queued_a_connection_close() {
    let (mut client, server) = options();
    client.ca_pem = self_signed(&["stranger"], false).0;
    let mut pair = Pair::with(&client, &server);
    let there = pair.pull(true);
    pair.push(false, there);
    let back = pair.pull(false);
    let (here, there) = (client_address(), server_address());
    let failures: Vec<_> = back
        .into_iter()
        .map(|mut datagram| unsafe {
            let (data, size) = (datagram.as_mut_ptr(), datagram.len());
            rqb_recv(pair.client.connection, data, size, &there, &here)
        })
        .filter(|code| *code != RQB_OK)
        .collect();
    assert_eq!(failures, [RQB_E_TLS]);
    let snapshot = pair.client.snapshot();
    assert_eq!((snapshot.is_closing, snapshot.is_closed), (1, 0));
    let packets = pair.pull(true);
    assert!(!packets.is_empty(), "the close is sent");
    assert!(pair.pull(true).is_empty(), "and nothing more after it");
    assert_eq!(
        pair.client.snapshot().is_closed,
        0,
        "the connection lives on until its timer"
    );
    pair.push(false, packets);
    assert_eq!(
        pair.server.peer_error().code,
        pair.client.local_error().code
    );
}

// streams.rs, stop and reap_stopped.
#[test]
fn a_stream_stopped_after_our_fin_is_not_collected_by_the_peers_reset() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"request", true);
    pair.exchange();
    let quiche = pair.client.quiche();
    assert_eq!(quiche.stream_shutdown(id, Shutdown::Read, 5), Ok(()));
    pair.exchange();
    assert_eq!(pair.server.writable(), Some(id));
    assert_eq!(pair.server.offer(id, b"x", false).status, RQB_OFFER_STOPPED);
    pair.exchange();
    assert!(pair.client.quiche().stream_finished(id));
    assert!(
        !pair.is_collected(true, id),
        "quiche has learnt to collect it: drop reap_stopped"
    );
}

// streams.rs, stop: why one-way streams are discarded beyond a quarter of their credit.
#[test]
fn a_one_way_stream_that_was_shut_down_is_never_collected() {
    let mut pair = Pair::connected();
    let id = pair.client.open(false);
    pair.client.offer(id, b"first", false);
    pair.exchange();
    assert_eq!(
        pair.server.quiche().stream_shutdown(id, Shutdown::Read, 5),
        Ok(())
    );
    pair.exchange();
    assert_eq!(pair.client.offer(id, b"x", false).status, RQB_OFFER_STOPPED);
    pair.exchange();
    assert!(pair.server.quiche().stream_finished(id));
    assert!(
        !pair.is_collected(false, id),
        "quiche has learnt to collect it: drop uni_stops_left"
    );
}

// streams.rs, find_stops.
#[test]
fn a_stop_of_a_stream_that_was_named_is_no_event() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"x", false);
    pair.exchange();
    let quiche = pair.client.quiche();
    while quiche.stream_writable_next().is_some() {}
    assert_eq!(pair.server.stop(id, 2), RQB_OK);
    pair.exchange();
    assert_eq!(
        pair.client.quiche().stream_writable_next(),
        None,
        "quiche has learnt to name it: drop find_stops"
    );
}

// connection.rs, new: the configuration of the handshake may go.
#[test]
fn a_shed_connection_still_answers() {
    let pair = Pair::connected();
    assert_eq!(pair.client.quiche().server_name(), Some("riffle.test"));
    assert_eq!(pair.client.quiche().application_proto(), b"riffle");
    assert_eq!(
        pair.client
            .quiche()
            .peer_cert_chain()
            .map(|chain| chain.len()),
        Some(1)
    );
}

// streams.rs, rearm: a stream that was named and then met an empty connection window is lost
// without it.
#[test]
fn a_named_stream_that_meets_no_capacity_is_not_named_again_by_itself() {
    let mut pair = Pair::connected();
    let (first, second) = (pair.client.open(true), pair.client.open(true));
    let quiche = pair.client.quiche();
    let mut named = vec![quiche.stream_writable_next(), quiche.stream_writable_next()];
    named.sort();
    assert_eq!(named, [Some(first), Some(second)]);
    while quiche.stream_capacity(first).expect("capacity") > 0 {
        let capacity = quiche.stream_capacity(first).expect("capacity");
        quiche
            .stream_send_zc(first, lent(capacity), false)
            .expect("sent");
    }
    assert_eq!(quiche.stream_capacity(second), Ok(0));
    pair.exchange();
    let mut after = Vec::new();
    while let Some(id) = pair.client.quiche().stream_writable_next() {
        after.push(id);
    }
    assert!(!after.contains(&second));
}

// clock.rs: an `Instant` says its raw value in its debug form.
#[test]
fn an_instant_can_be_read_as_nanoseconds_of_the_monotonic_clock() {
    let text = format!("{:?}", std::time::Instant::now());
    assert!(crate::clock::parse_debug(&text).is_some(), "{text}");
}
