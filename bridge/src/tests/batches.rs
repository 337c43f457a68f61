//! The shape of what is sent.

use super::rig::*;
use crate::abi::*;
use crate::sending::*;

static DATA: [u8; 1 << 20] = [9; 1 << 20];

#[test]
fn bulk_data_fills_a_batch_and_no_packet_is_lost_on_the_way() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    let mut sent = 0;
    let mut received = 0;
    while sent < DATA.len() {
        sent += pair.client.offer(id, &DATA[sent..], false).size;
        pair.exchange();
        while let Some(readable) = pair.server.readable() {
            received += pair.server.read(readable, DATA.len()).1.len();
        }
    }
    pair.exchange();
    assert_eq!(received, DATA.len());
    let largest = pair.batches.iter().map(|batch| batch.packets).max();
    assert!(largest >= Some(40), "{largest:?}");
    assert_eq!(pair.client.stats().packets_lost, 0);
}

#[test]
fn a_longer_packet_waits_for_the_next_batch() {
    let mut pair = Pair::connected();
    // Two streams: one byte first, by its urgency; then much.
    let (small, large) = (pair.client.open(true), pair.client.open(true));
    pair.client
        .quiche()
        .stream_priority(small, 0, false)
        .expect("urgent");
    pair.client.offer(small, &DATA[..1], true);
    pair.client.offer(large, &DATA[..5000], true);
    pair.batches.clear();
    let packets = pair.pull(true);
    assert!(
        packets[0].len() < 100 && packets[1].len() > 1000,
        "a short one first"
    );
    assert_eq!(pair.batches[0].packets, 1);
    assert_eq!(pair.batches[0].bytes, packets[0].len());
    assert_eq!(pair.batches[1].segment, packets[1].len());
    let total: usize = pair.batches.iter().map(|batch| batch.packets).sum();
    assert_eq!(total, packets.len());
    pair.push(false, packets);
    assert_eq!(pair.server.read(small, 10).1.len(), 1);
    assert_eq!(pair.server.read(large, 10_000).1.len(), 5000);
}

#[test]
fn equal_small_packets_share_a_batch() {
    let mut pair = Pair::connected();
    // From stream 64 to 252 ids have two bytes on the wire; below 64 one.
    let ids: Vec<_> = (0..50).map(|_| pair.client.open(true)).collect();
    for id in &ids[20..40] {
        pair.client.offer(*id, &DATA[..512], true);
    }
    pair.batches.clear();
    let packets = pair.pull(true);
    assert_eq!(packets.len(), 20, "one STREAM frame a packet");
    assert_eq!(pair.batches.len(), 1);
    assert_eq!(pair.batches[0].packets, 20);
}

#[test]
fn a_path_mtu_probe_goes_alone() {
    let (client, server) = options();
    let mut pair = Pair::with(&client, &server);
    // The handshake without the probes: stop as soon as the client is established.
    while pair.client.snapshot().is_established == 0 {
        let there = pair.pull(true);
        pair.push(false, there);
        let back = pair.pull(false);
        pair.push(true, back);
    }
    let there = pair.pull(true);
    pair.push(false, there);
    let back = pair.pull(false);
    pair.push(true, back);
    let id = pair.client.open(true);
    pair.client.offer(id, &DATA[..20_000], false);
    pair.exchange();
    let probes: Vec<_> = pair
        .batches
        .iter()
        .filter(|batch| batch.segment == 1452)
        .collect();
    assert!(!probes.is_empty());
    assert_eq!(
        probes[0].packets, 1,
        "the first packet of that size is the probe"
    );
    assert_eq!(pair.client.quiche().pmtu(), Some(1452));
}

#[test]
fn a_held_packet_survives_a_close_and_the_close_follows_it() {
    let mut pair = Pair::connected();
    let (small, large) = (pair.client.open(true), pair.client.open(true));
    pair.client
        .quiche()
        .stream_priority(small, 0, false)
        .expect("urgent");
    pair.client.offer(small, &DATA[..1], true);
    pair.client.offer(large, &DATA[..2000], true);
    let mut buffer = vec![0; 65_536];
    let mut batch = unsafe { std::mem::zeroed::<rqb_batch>() };
    let code = unsafe {
        rqb_send_batch(
            pair.client.connection,
            buffer.as_mut_ptr(),
            buffer.len(),
            &mut batch,
        )
    };
    assert_eq!((code, batch.packets), (RQB_OK, 1));
    pair.push(false, vec![buffer[..batch.bytes].to_vec()]);
    pair.client
        .quiche()
        .close(true, 9, b"over")
        .expect("closed");
    pair.exchange();
    assert_eq!(pair.server.peer_error().code, 9);
    assert!(
        pair.server.read(large, 5000).1.len() > 1000,
        "the held packet has come"
    );
}

#[test]
fn a_short_buffer_is_refused_before_anything_is_written() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"hello", true);
    let mut buffer = [0; 1451];
    let mut batch = unsafe { std::mem::zeroed() };
    let code = unsafe {
        rqb_send_batch(
            pair.client.connection,
            buffer.as_mut_ptr(),
            buffer.len(),
            &mut batch,
        )
    };
    assert_failed(code, RQB_E_SPACE, "rqb_send_batch", "1451");
    pair.exchange();
    assert_eq!(pair.server.read(id, 10).1, b"hello");
}

#[test]
fn wrong_arguments_of_send_batch() {
    let pair = Pair::connected();
    let mut batch = unsafe { std::mem::zeroed() };
    let mut buffer = [0; 2000];
    let connection = pair.client.connection;
    unsafe {
        let code = rqb_send_batch(std::ptr::null_mut(), buffer.as_mut_ptr(), 2000, &mut batch);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_send_batch", "connection is null");
        let code = rqb_send_batch(connection, std::ptr::null_mut(), 2000, &mut batch);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_send_batch", "null pointer");
        let code = rqb_send_batch(connection, buffer.as_mut_ptr(), 2000, std::ptr::null_mut());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_send_batch", "place");
    }
}

#[test]
fn only_bbr2_asks_for_a_release_time() {
    let (mut client, server) = options();
    let mut at = -1;
    let pair = Pair::connected();
    assert_eq!(
        unsafe { rqb_release_time(pair.client.connection, &mut at) },
        RQB_OK
    );
    assert_eq!(at, 0);
    let code = unsafe { rqb_release_time(pair.client.connection, std::ptr::null_mut()) };
    assert_failed(code, RQB_E_ARGUMENT, "rqb_release_time", "place");

    let control = "bbr2";
    client.raw.congestion_control = rqb_bytes::of(control.as_bytes());
    let mut paced = Pair::with(&client, &server);
    paced.exchange();
    let id = paced.client.open(true);
    paced.client.offer(id, &DATA[..10_000], false);
    paced.batches.clear();
    let packets = paced.pull(true);
    assert!(!packets.is_empty());
    assert!(paced.batches.iter().all(|batch| batch.release_ns > 0));
    // The batch has been sent, so the next packet is due later than now, or at once if the burst
    // goes on.
    assert_eq!(
        unsafe { rqb_release_time(paced.client.connection, &mut at) },
        RQB_OK
    );
    assert!(at >= 0);
}
