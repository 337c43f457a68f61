//! Statistics, names, connection ids.

use super::rig::*;
use crate::abi::*;
use crate::observe::*;

#[test]
fn statistics_count_what_happened() {
    let mut pair = Pair::connected();
    let id = pair.client.open(true);
    pair.client.offer(id, b"hello", false);
    pair.exchange();
    pair.client.reset(id, 1);
    pair.server.stop(id, 2);
    pair.exchange();
    let (client, server) = (pair.client.stats(), pair.server.stats());
    assert!(client.packets_sent > 0 && client.packets_received > 0);
    assert_eq!(client.bytes_sent, server.bytes_received);
    assert_eq!(client.packets_lost, 0);
    assert_eq!(client.paths, 1);
    assert!(client.streams_reset_by_us >= 1);
    assert_eq!(server.streams_stopped_by_us, 1);
    assert!(server.streams_reset_by_peer >= 1);
}

#[test]
fn path_statistics_are_given_as_far_as_there_is_room() {
    let pair = Pair::connected();
    let connection = pair.client.connection;
    let mut paths = [rqb_path_stats::default(); 3];
    let mut count = 0;
    unsafe {
        let code = rqb_path_stats_of(connection, paths.as_mut_ptr(), 3, &mut count);
        assert_eq!((code, count), (RQB_OK, 1));
        assert_eq!(paths[0].local, client_address());
        assert_eq!(paths[0].peer, server_address());
        assert_eq!((paths[0].is_active, paths[0].mtu), (1, 1452));
        assert!(paths[0].congestion_window > 0 && paths[0].rtt_ns > 0);
        count = 0;
        let none = std::ptr::null_mut();
        assert_eq!(rqb_path_stats_of(connection, none, 0, &mut count), RQB_OK);
        assert_eq!(count, 1);
        let code = rqb_path_stats_of(connection, none, 1, &mut count);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_path_stats_of", "capacity");
        let code = rqb_path_stats_of(connection, paths.as_mut_ptr(), 3, std::ptr::null_mut());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_path_stats_of", "place");
    }
}

#[test]
fn names_of_the_handshake() {
    let pair = Pair::connected();
    let mut info = unsafe { std::mem::zeroed::<rqb_info>() };
    let mut der = rqb_bytes::EMPTY;
    unsafe {
        assert_eq!(rqb_info_of(pair.client.connection, &mut info), RQB_OK);
        assert_eq!(info.alpn.get(), Some(&b"riffle"[..]));
        assert_eq!(info.server_name.get(), Some(&b"riffle.test"[..]));
        assert_eq!(info.trace_id.get(), Some("c1".repeat(16).as_bytes()));
        assert_eq!(
            (info.peer_certificates, info.is_server, info.is_resumed),
            (1, 0, 0)
        );
        assert_eq!(
            rqb_peer_certificate(pair.client.connection, 0, &mut der),
            RQB_OK
        );
        let certificate = boring::x509::X509::from_der(der.get().expect("DER")).expect("DER");
        assert_eq!(
            crate::certificates::names_of(&certificate),
            "riffle.test, 127.0.0.1, ::1"
        );
        let code = rqb_peer_certificate(pair.client.connection, 1, &mut der);
        assert_failed(
            code,
            RQB_E_ARGUMENT,
            "rqb_peer_certificate",
            "1 certificates",
        );
        assert_eq!(rqb_info_of(pair.server.connection, &mut info), RQB_OK);
        assert_eq!((info.peer_certificates, info.is_server), (0, 1));
    }
}

#[test]
fn source_ids_are_given_and_retired() {
    let mut pair = Pair::connected();
    let connection = pair.server.connection;
    let left = pair.server.snapshot().source_ids_left;
    assert_eq!(left, 3, "4 at most, one in use");
    let token = [7u8; 16];
    unsafe {
        for fill in 0..3 {
            let id = connection_id(fill);
            assert_eq!(rqb_new_source_id(connection, &id, token.as_ptr()), RQB_OK);
        }
        assert_eq!(pair.server.snapshot().source_ids_left, 0);
        assert_eq!(
            rqb_new_source_id(connection, &connection_id(9), token.as_ptr()),
            RQB_DONE
        );
        let mut ids = [rqb_connection_id::default(); 8];
        let mut count = 0;
        assert_eq!(
            rqb_source_ids(connection, ids.as_mut_ptr(), 8, &mut count),
            RQB_OK
        );
        assert_eq!(count, 4);
        assert_eq!(ids[0].get(), Some(&[0x5e; 16][..]));
        assert_eq!(ids[3].get(), Some(&[2; 16][..]));
        pair.exchange();
        let mut id = rqb_connection_id::default();
        assert_eq!(rqb_retired_id_next(connection, &mut id), RQB_DONE);
        pair.client.quiche().retire_dcid(0).expect("retired");
        pair.exchange();
        assert_eq!(rqb_retired_id_next(connection, &mut id), RQB_OK);
        assert_eq!(id.get(), Some(&[0x5e; 16][..]));
        assert_eq!(rqb_retired_id_next(connection, &mut id), RQB_DONE);
    }
}

#[test]
fn wrong_arguments_of_the_observers() {
    let pair = Pair::connected();
    let connection = pair.client.connection;
    let mut long = connection_id(1);
    long.size = 21;
    let mut count = 0;
    let token = [0u8; 16];
    let id = connection_id(1);
    use std::ptr::null_mut as null;
    unsafe {
        assert_failed(
            rqb_stats_of(connection, null()),
            RQB_E_ARGUMENT,
            "rqb_stats_of",
            "place",
        );
        assert_failed(
            rqb_info_of(connection, null()),
            RQB_E_ARGUMENT,
            "rqb_info_of",
            "place",
        );
        let code = rqb_local_error(connection, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_local_error", "place");
        let code = rqb_peer_error(connection, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_peer_error", "place");
        let code = rqb_evidence_of(connection, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_evidence_of", "place");
        let code = rqb_peer_certificate(connection, 0, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_peer_certificate", "place");
        let code = rqb_source_ids(connection, null(), 1, &mut count);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_source_ids", "capacity");
        let code = rqb_source_ids(connection, null(), 0, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_source_ids", "place");
        let code = rqb_retired_id_next(connection, null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_retired_id_next", "place");
        let code = rqb_new_source_id(connection, std::ptr::null(), token.as_ptr());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_new_source_id", "id is null");
        let code = rqb_new_source_id(connection, &long, token.as_ptr());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_new_source_id", "too long");
        let code = rqb_new_source_id(connection, &id, std::ptr::null());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_new_source_id", "token");
        for code in [
            rqb_stats_of(null(), null()),
            rqb_info_of(null(), null()),
            rqb_local_error(null(), null()),
            rqb_peer_error(null(), null()),
            rqb_evidence_of(null(), null()),
            rqb_peer_certificate(null(), 0, null()),
            rqb_path_stats_of(null(), null(), 0, null()),
            rqb_source_ids(null(), null(), 0, null()),
            rqb_retired_id_next(null(), null()),
            rqb_new_source_id(null(), std::ptr::null(), std::ptr::null()),
        ] {
            assert_eq!(code, RQB_E_ARGUMENT);
        }
    }
}

#[test]
fn addresses_survive_the_crossing() {
    for text in ["192.0.2.1:443", "[2001:db8::1]:65535", "[fe80::1%3]:1"] {
        let socket = text.parse().expect("an address");
        let address = rqb_address::from_socket(socket);
        assert_eq!(address.to_socket(), Some(socket), "{text}");
    }
    assert_eq!(rqb_address::default().to_socket(), None);
}
