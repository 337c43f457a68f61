//! Streams over the ABI.

use super::rig::*;
use crate::abi::*;
use crate::streams::*;

static DATA: [u8; 2 << 20] = [3; 2 << 20];

#[test]
fn what_was_offered_arrives_and_its_owner_is_released_by_the_acknowledgement() {
    let mut pair = Pair::connected();
    let before = held();
    let id = pair.client.open(true);
    let offered = pair.client.offer(id, b"hello", true);
    assert_eq!((offered.status, offered.size), (RQB_OFFER_TAKEN, 5));
    assert_eq!(held(), before + 1);
    pair.exchange();
    assert_eq!(held(), before);
    assert_eq!(pair.server.readable(), Some(id));
    let (read, bytes) = pair.server.read(id, 100);
    assert_eq!((read.status, read.fin), (RQB_READ_DATA, 1));
    assert_eq!(bytes, b"hello");
    assert_eq!(
        unsafe { rqb_stream_finished(pair.server.connection, id) },
        1
    );
    assert_eq!(unsafe { rqb_stream_closed(pair.server.connection, id) }, 0);
}

#[test]
fn an_empty_offer_with_the_fin_ends_a_stream() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    assert_eq!(pair.client.offer(id, b"", true).status, RQB_OFFER_TAKEN);
    pair.exchange();
    let (read, _) = pair.server.read(id, 10);
    assert_eq!((read.status, read.size, read.fin), (RQB_READ_DATA, 0, 1));
    assert_eq!(
        pair.client.offer(id, b"more", false).status,
        RQB_OFFER_GONE,
        "after the fin nothing can be sent"
    );
}

#[test]
fn a_blocked_stream_is_named_once_there_is_room() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    let first = pair.client.offer(id, &DATA, false);
    assert_eq!(first.status, RQB_OFFER_BLOCKED);
    assert!(first.size > 0);
    assert_eq!(pair.client.writable(), None);
    let again = pair.client.offer(id, &DATA, false);
    assert_eq!((again.status, again.size), (RQB_OFFER_BLOCKED, 0));
    pair.exchange();
    assert_eq!(pair.client.writable(), Some(id));
    assert!(pair.client.offer(id, &DATA, false).size > 0);
}

#[test]
fn a_named_stream_that_meets_no_capacity_is_named_again() {
    let mut pair = Pair::connected();
    let (first, second) = (pair.client.open(true), pair.client.open(true));
    // Without turns quiche does not put a stream back by itself.
    for id in [first, second] {
        let code = unsafe { rqb_stream_priority(pair.client.connection, id, 127, 0) };
        assert_eq!(code, RQB_OK);
    }
    let mut named = [pair.client.writable(), pair.client.writable()];
    named.sort();
    assert_eq!(named, [Some(first), Some(second)]);
    assert_eq!(
        pair.client.offer(first, &DATA, false).status,
        RQB_OFFER_BLOCKED
    );
    let blocked = pair.client.offer(second, &DATA, false);
    assert_eq!((blocked.status, blocked.size), (RQB_OFFER_BLOCKED, 0));
    pair.exchange();
    let mut named = [pair.client.writable(), pair.client.writable()];
    named.sort();
    assert_eq!(named, [Some(first), Some(second)]);
}

#[test]
fn a_stream_read_in_part_is_named_again_only_after_it_was_drained() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    assert_eq!(pair.server.readable(), Some(id));
    assert_eq!(pair.server.read(id, 40).1.len(), 40);
    assert_eq!(pair.server.readable(), None);
    pair.client.offer(id, &DATA[..100], false);
    pair.exchange();
    assert_eq!(pair.server.readable(), None, "not drained yet");
    assert_eq!(pair.server.read(id, 500).1.len(), 160);
    assert_eq!(pair.server.read(id, 500).0.status, RQB_READ_NOTHING);
    pair.client.offer(id, &DATA[..1], false);
    pair.exchange();
    assert_eq!(pair.server.readable(), Some(id));
}

#[test]
fn an_empty_read_only_looks() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..10], false);
    pair.exchange();
    let (read, _) = pair.server.read(id, 0);
    assert_eq!((read.status, read.size), (RQB_READ_DATA, 0));
    assert_eq!(pair.server.read(id, 20).1.len(), 10);
    assert_eq!(pair.server.read(id, 0).0.status, RQB_READ_NOTHING);
}

#[test]
fn codes_of_stop_and_reset_arrive() {
    let mut pair = Pair::connected();
    let before = held();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..10], false);
    pair.exchange();
    assert_eq!(pair.server.stop(id, 41), RQB_OK);
    assert_eq!(pair.server.reset(id, 42), RQB_OK);
    pair.exchange();
    let offered = pair.client.offer(id, &DATA[..10], false);
    assert_eq!((offered.status, offered.code), (RQB_OFFER_STOPPED, 41));
    let (read, _) = pair.client.read(id, 10);
    assert_eq!((read.status, read.code), (RQB_READ_RESET, 42));
    assert_eq!(held(), before);
}

#[test]
fn a_reset_releases_what_was_not_acknowledged() {
    let mut pair = Pair::connected();
    let before = held();
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..10_000], false);
    assert!(held() > before);
    assert_eq!(pair.client.reset(id, 1), RQB_OK);
    assert_eq!(held(), before);
    assert_eq!(pair.client.reset(id, 1), RQB_DONE);
    assert_eq!(
        pair.client.offer(id, &DATA[..1], false).status,
        RQB_OFFER_GONE
    );
    pair.exchange();
}

// STR-6: a shutdown of a stream that has moved no data yet succeeds.
#[test]
fn a_stream_without_data_can_be_shut_down() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    assert_eq!(pair.client.reset(id, 7), RQB_OK);
    assert_eq!(pair.client.stop(id, 8), RQB_OK);
    pair.exchange();
    let (read, _) = pair.server.read(id, 10);
    assert_eq!((read.status, read.code), (RQB_READ_RESET, 7));
}

#[test]
fn a_stream_stopped_after_our_fin_is_collected() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"request", true);
    pair.exchange();
    assert_eq!(pair.client.stop(id, 5), RQB_OK);
    pair.exchange();
    assert_eq!(pair.server.offer(id, b"x", false).status, RQB_OFFER_STOPPED);
    pair.server.read(id, 100);
    pair.exchange();
    assert!(pair.is_collected(true, id));
    assert!(pair.is_collected(false, id));
}

#[test]
fn a_stop_that_drops_unacknowledged_bytes_is_named() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"x", false);
    pair.exchange();
    let before = held();
    pair.client.offer(id, &DATA[..5000], true);
    while pair.client.writable().is_some() {}
    assert_eq!(pair.server.stop(id, 2), RQB_OK);
    let stop = pair.pull(false);
    pair.push(true, stop);
    assert_eq!(held(), before, "the bytes are let go, not acknowledged");
    assert_eq!(pair.client.writable(), Some(id));
    assert_eq!(pair.client.writable(), None);
    let offered = pair.client.offer(id, b"", false);
    assert_eq!((offered.status, offered.code), (RQB_OFFER_STOPPED, 2));
    pair.exchange();
    assert_eq!(pair.client.writable(), None, "it is told once");
}

#[test]
fn a_stop_of_an_idle_stream_is_told_by_the_next_offer() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"x", false);
    pair.exchange();
    while pair.client.writable().is_some() {}
    assert_eq!(pair.server.stop(id, 2), RQB_OK);
    pair.exchange();
    let offered = pair.client.offer(id, b"y", false);
    assert_eq!((offered.status, offered.code), (RQB_OFFER_STOPPED, 2));
}

#[test]
fn stops_that_cross_end_the_stream_on_both_sides() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"x", false);
    pair.exchange();
    let before = held();
    pair.client.offer(id, &DATA[..5000], false);
    pair.server.offer(id, &DATA[..5000], false);
    while pair.client.writable().is_some() || pair.server.writable().is_some() {}
    assert_eq!(pair.client.stop(id, 1), RQB_OK);
    assert_eq!(pair.server.stop(id, 2), RQB_OK);
    pair.exchange();
    assert_eq!(held(), before);
    assert_eq!(pair.server.writable(), Some(id));
    let offered = pair.server.offer(id, b"z", false);
    assert_eq!((offered.status, offered.code), (RQB_OFFER_STOPPED, 1));
    // The server's stop, its reset and its acknowledgements came in one packet: quiche collected
    // the stream at once, and its code is gone with it.
    assert_eq!(pair.client.offer(id, b"z", false).status, RQB_OFFER_GONE);
    pair.exchange();
    assert!(pair.is_collected(true, id) && pair.is_collected(false, id));
}

#[test]
fn stopped_uploads_return_their_stream_credit() {
    let (client, mut server) = options();
    server.raw.max_streams_bidi = 4;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    for round in 0..40 {
        let id = pair.client.open(true);
        pair.client.offer(id, &DATA[..100], false);
        pair.exchange();
        // The server answers completely, then wants no more of the upload.
        assert_eq!(pair.server.offer(id, b"no", true).status, RQB_OFFER_TAKEN);
        pair.exchange();
        assert_eq!(pair.server.stop(id, 3), RQB_OK);
        pair.exchange();
        assert_eq!(
            pair.client.offer(id, &DATA[..1], false).status,
            RQB_OFFER_STOPPED
        );
        assert_eq!(pair.client.read(id, 10).0.fin, 1);
        pair.exchange();
        assert!(pair.is_collected(false, id), "round {round}");
    }
}

#[test]
fn refused_one_way_streams_do_not_use_up_their_credit() {
    let (client, mut server) = options();
    server.raw.max_streams_uni = 8;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    let mut stopped = 0;
    for round in 0..50 {
        let id = pair.client.open(false);
        pair.client.offer(id, &DATA[..100], false);
        pair.exchange();
        assert_eq!(pair.server.stop(id, 3), RQB_OK);
        pair.exchange();
        if pair.client.offer(id, &DATA[..100], true).status == RQB_OFFER_STOPPED {
            stopped += 1;
        }
        pair.exchange();
        assert_eq!(
            pair.server.readable(),
            None,
            "round {round}: it is not named"
        );
    }
    assert_eq!(
        stopped, 2,
        "a quarter of the credit is spent on STOP_SENDING"
    );
}

#[test]
fn a_stop_of_a_stream_that_has_ended_has_nothing_to_do() {
    let mut pair = Pair::connected();
    let id = pair.client.open(false);
    pair.client.offer(id, &DATA[..100], true);
    pair.exchange();
    assert_eq!(pair.server.stop(id, 3), RQB_DONE);
    assert!(pair.is_collected(false, id));
}

#[test]
fn streams_end_with_their_connection() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.quiche().close(true, 1, b"").expect("closed");
    assert_eq!(pair.client.offer(id, b"x", false).status, RQB_OFFER_GONE);
    let mut other = 0;
    let code = unsafe { rqb_stream_open(pair.client.connection, 1, &mut other) };
    assert_eq!(code, RQB_DONE);
    pair.exchange();
}

#[test]
fn unknown_streams_are_gone() {
    let pair = Pair::connected();
    assert_eq!(pair.client.read(40, 10).0.status, RQB_READ_GONE);
    assert_eq!(pair.client.offer(40, b"x", false).status, RQB_OFFER_GONE);
    assert_eq!(pair.client.offer(3, b"x", false).status, RQB_OFFER_GONE);
    assert_eq!(pair.client.reset(40, 1), RQB_DONE);
    let code = unsafe { rqb_stream_priority(pair.client.connection, 40, 1, 1) };
    assert_eq!(code, RQB_DONE);
    assert_eq!(
        pair.client.snapshot().streams_left_bidi,
        64,
        "asking creates nothing"
    );
    assert_eq!(
        unsafe { rqb_stream_finished(pair.client.connection, 40) },
        1
    );
    assert_eq!(unsafe { rqb_stream_closed(pair.client.connection, 40) }, 0);
    assert_failed(
        pair.client.reset(3, 1),
        RQB_E_STREAM,
        "rqb_stream_reset",
        "stream's state",
    );
}

#[test]
fn the_peers_limit_is_a_limit() {
    let (client, mut server) = options();
    server.raw.max_streams_uni = 1;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    pair.client.open(false);
    let mut id = 0;
    let code = unsafe { rqb_stream_open(pair.client.connection, 0, &mut id) };
    assert_eq!(code, RQB_DONE);
}

#[test]
fn wrong_arguments_of_the_stream_functions() {
    let pair = Pair::connected();
    let connection = pair.client.connection;
    let id = pair.client.open(true);
    use std::ptr::null_mut as null;
    unsafe {
        let mut offered = std::mem::zeroed::<rqb_offered>();
        let mut read = std::mem::zeroed::<rqb_read>();
        let code = rqb_stream_open(connection, 1, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_open", "place");
        let code = rqb_stream_offer(connection, id, null(), std::ptr::null(), 5, 0, &mut offered);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_offer", "null pointer");
        let code = rqb_stream_offer(connection, id, null(), DATA.as_ptr(), 5, 0, &mut offered);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_offer", "null pointer");
        let owner = DATA.as_ptr().cast_mut().cast();
        let code = rqb_stream_offer(connection, id, owner, DATA.as_ptr(), 5, 0, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_offer", "place");
        let code = rqb_stream_read(connection, id, null(), 5, &mut read);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_read", "null pointer");
        let code = rqb_stream_read(connection, id, null(), 0, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_stream_read", "place");
        assert_failed(
            rqb_stream_stop(connection, id, 1 << 62),
            RQB_E_ARGUMENT,
            "rqb_stream_stop",
            "2^62",
        );
        assert_failed(
            rqb_stream_reset(connection, id, 1 << 62),
            RQB_E_ARGUMENT,
            "rqb_stream_reset",
            "2^62",
        );
        for (code, operation) in [
            (rqb_stream_open(null(), 1, null()), "rqb_stream_open"),
            (
                rqb_stream_offer(null(), 0, null(), null(), 0, 0, null()),
                "rqb_stream_offer",
            ),
            (
                rqb_stream_read(null(), 0, null(), 0, null()),
                "rqb_stream_read",
            ),
            (rqb_stream_stop(null(), 0, 0), "rqb_stream_stop"),
            (rqb_stream_reset(null(), 0, 0), "rqb_stream_reset"),
            (rqb_stream_priority(null(), 0, 0, 0), "rqb_stream_priority"),
            (rqb_stream_finished(null(), 0), "rqb_stream_finished"),
            (rqb_stream_closed(null(), 0), "rqb_stream_closed"),
        ] {
            assert_eq!(code, RQB_E_ARGUMENT, "{operation}");
        }
        assert_eq!(rqb_readable_next(null()), RQB_NO_STREAM);
        assert_eq!(rqb_writable_next(null()), RQB_NO_STREAM);
        assert_eq!(last_error().operation, "rqb_writable_next");
    }
}
