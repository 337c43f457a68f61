//! Life and death of a connection, and the wall against panics.

use super::provoked;
use super::rig::*;
use crate::abi::*;
use crate::clock;
use crate::config::*;
use crate::connection::*;
use crate::fault::*;
use crate::streams::*;

#[test]
fn close_arrives_with_code_and_reason() {
    let mut pair = Pair::connected();
    let connection = pair.client.connection;
    let reason = rqb_bytes::of(b"enough");
    assert_eq!(unsafe { rqb_close(connection, 1, 17, reason) }, RQB_OK);
    assert_eq!(unsafe { rqb_close(connection, 1, 18, reason) }, RQB_DONE);
    assert_eq!(pair.client.snapshot().is_closing, 1);
    let local = pair.client.local_error();
    assert_eq!(
        (local.present, local.is_application, local.code),
        (1, 1, 17)
    );
    pair.exchange();
    let peer = pair.server.peer_error();
    assert_eq!((peer.present, peer.is_application, peer.code), (1, 1, 17));
    assert_eq!(unsafe { peer.reason.get() }, Some(&b"enough"[..]));
    assert_eq!(pair.server.snapshot().is_draining, 1);
    assert_eq!(pair.server.local_error().present, 0);
}

#[test]
fn the_deadline_is_on_the_monotonic_clock() {
    let pair = Pair::connected();
    let now = clock::to_ns(Some(std::time::Instant::now()));
    let left = pair.client.snapshot().deadline_ns - now;
    // The idle timeout is 30 s.
    assert!((29_000_000_000..=30_000_000_000).contains(&left), "{left}");
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    let raw = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    assert!((0..1_000_000_000).contains(&(raw - now)), "{raw} {now}");
    assert_eq!(clock::to_ns(None), RQB_NEVER);
    assert_eq!(unsafe { rqb_on_timeout(pair.client.connection) }, RQB_OK);
    assert_eq!(pair.client.snapshot().is_closed, 0);
}

#[test]
fn a_keep_alive_makes_a_packet_out_of_silence() {
    let mut pair = Pair::connected();
    assert!(pair.pull(true).is_empty());
    let connection = pair.client.connection;
    assert_eq!(unsafe { rqb_send_ack_eliciting(connection) }, RQB_OK);
    let packets = pair.pull(true);
    assert_eq!(packets.len(), 1);
    pair.push(false, packets);
    assert_eq!(pair.pull(false).len(), 1, "the peer acknowledges it");
}

#[test]
fn garbage_is_no_failure_and_leaves_the_connection_alone() {
    let mut pair = Pair::connected();
    pair.push(false, vec![vec![0x40; 50], vec![0xff; 1200]]);
    assert_eq!(pair.server.snapshot().is_closing, 0);
    let id = pair.client.open(true);
    pair.client.offer(id, b"x", true);
    pair.exchange();
    assert_eq!(pair.server.readable(), Some(id));
}

#[test]
fn an_unsupported_version_is_reported() {
    init();
    let (mut client, _) = options();
    client.raw.version = 0x1a2a_3a4a;
    let config = client.make();
    let (here, there) = (client_address(), server_address());
    let name = rqb_bytes::of(b"riffle.test");
    unsafe {
        let connection = rqb_connect(config, name, &connection_id(1), &here, &there);
        assert!(!connection.is_null());
        let mut side = Side { connection, config };
        let mut buffer = vec![0; 2000];
        let mut batch = std::mem::zeroed();
        let code =
            crate::sending::rqb_send_batch(connection, buffer.as_mut_ptr(), 2000, &mut batch);
        assert_eq!(code, RQB_OK);
        // RFC 9000 section 17.2.1: version 0, then the ids swapped, then the versions that the
        // server speaks.
        let header =
            quiche::Header::from_slice(&mut buffer[..batch.bytes], 20).expect("an Initial");
        let mut answer = vec![0x80, 0, 0, 0, 0, header.scid.len() as u8];
        answer.extend_from_slice(&header.scid);
        answer.push(header.dcid.len() as u8);
        answer.extend_from_slice(&header.dcid);
        answer.extend_from_slice(&0x7a7a_7a7a_u32.to_be_bytes());
        let code = rqb_recv(connection, answer.as_mut_ptr(), answer.len(), &there, &here);
        assert_failed(code, RQB_E_VERSION, "rqb_recv", "version");
        assert_eq!(side.snapshot().is_closed, 1);
        side.connection = std::ptr::null_mut();
        rqb_free(connection);
    }
}

#[test]
fn a_panic_becomes_an_error_and_poisons_the_connection() {
    let pair = Pair::connected();
    let connection = pair.client.connection;
    provoked::arm(c"rqb_on_timeout");
    let code = unsafe { rqb_on_timeout(connection) };
    assert_failed(
        code,
        RQB_E_PANIC,
        "rqb_on_timeout",
        "provoked in rqb_on_timeout",
    );
    let mut snapshot = unsafe { std::mem::zeroed() };
    let code = unsafe { rqb_snapshot_of(connection, &mut snapshot) };
    assert_failed(code, RQB_E_PANIC, "rqb_snapshot_of", "earlier panic");
    assert_eq!(unsafe { rqb_readable_next(connection) }, RQB_NO_STREAM);
    assert_eq!(last_error().fault, RQB_FAULT_BRIDGE);
    // The other connection is well.
    assert_eq!(pair.server.snapshot().is_established, 1);
}

#[test]
fn a_panic_without_a_connection_becomes_an_error() {
    init();
    provoked::arm(c"rqb_config_new");
    assert!(Options::new(false).make().is_null());
    let error = last_error();
    assert_eq!(error.code, RQB_E_PANIC);
    assert!(error.sentence.contains("provoked"), "{}", error.sentence);
    assert!(
        error.sentence.contains("provoked.rs"),
        "it says where: {}",
        error.sentence
    );
}

/// No connection was made, and the last error says why.
fn assert_none(made: *mut rqb_connection, operation: &str, part: &str) {
    assert!(made.is_null());
    let error = last_error();
    assert_eq!(
        (error.code, error.operation.as_str()),
        (RQB_E_ARGUMENT, operation)
    );
    assert!(error.sentence.contains(part), "{}", error.sentence);
}

#[test]
fn wrong_arguments_of_connect() {
    use std::ptr::null_mut as null;
    init();
    let (client, server) = options();
    let client_config = client.make();
    let server_config = server.make();
    let (here, there) = (client_address(), server_address());
    let id = connection_id(1);
    let mut long = id;
    long.size = 21;
    let mut nowhere = here;
    nowhere.family = 9;
    let name = rqb_bytes::of(b"riffle.test");
    unsafe {
        let connect = "rqb_connect";
        let no_config = std::ptr::null_mut();
        assert_none(
            rqb_connect(no_config, name, &id, &here, &there),
            connect,
            "configuration is null",
        );
        assert_none(
            rqb_connect(server_config, name, &id, &here, &there),
            connect,
            "a server's",
        );
        assert_none(
            rqb_connect(client_config, name, null(), &here, &there),
            connect,
            "id is null",
        );
        assert_none(
            rqb_connect(client_config, name, &long, &here, &there),
            connect,
            "21 bytes",
        );
        assert_none(
            rqb_connect(client_config, name, &id, null(), &there),
            connect,
            "local",
        );
        assert_none(
            rqb_connect(client_config, name, &id, &here, &nowhere),
            connect,
            "family 9",
        );
        let latin = rqb_bytes::of(b"caf\xe9.example");
        assert_none(
            rqb_connect(client_config, latin, &id, &here, &there),
            connect,
            "UTF-8",
        );
        let none = rqb_bytes::EMPTY;
        assert_none(
            rqb_connect(client_config, none, &id, &here, &there),
            connect,
            "server_name",
        );
        let (data, size) = (null(), 5);
        assert_none(
            rqb_connect(client_config, rqb_bytes { data, size }, &id, &here, &there),
            connect,
            "UTF-8",
        );
        rqb_config_free(client_config);
        rqb_config_free(server_config);
    }
}

#[test]
fn wrong_arguments_of_accept() {
    use std::ptr::null_mut as null;
    init();
    let (client, server) = options();
    let client_config = client.make();
    let server_config = server.make();
    let (here, there) = (client_address(), server_address());
    let id = connection_id(1);
    let mut long = id;
    long.size = 21;
    unsafe {
        let no_config = std::ptr::null_mut();
        let accept = "rqb_accept";
        assert_none(
            rqb_accept(no_config, &id, null(), &there, &here),
            accept,
            "configuration is null",
        );
        assert_none(
            rqb_accept(client_config, &id, null(), &there, &here),
            accept,
            "a client's",
        );
        assert_none(
            rqb_accept(server_config, null(), null(), &there, &here),
            accept,
            "scid",
        );
        assert_none(
            rqb_accept(server_config, &id, &long, &there, &here),
            accept,
            "original_dcid",
        );
        assert_none(
            rqb_accept(server_config, &id, null(), &there, null()),
            accept,
            "peer",
        );
        rqb_config_free(client_config);
        rqb_config_free(server_config);
        rqb_config_free(std::ptr::null_mut());
        assert_eq!(last_error().operation, "rqb_config_free");
        rqb_free(std::ptr::null_mut());
        assert_eq!(last_error().operation, "rqb_free");
    }
}

#[test]
fn wrong_arguments_of_the_connection_functions() {
    use std::ptr::null_mut as null;
    init();
    let (here, there) = (client_address(), server_address());
    let pair = Pair::connected();
    let connection = pair.client.connection;
    let mut byte = [0u8; 1];
    let wrong = rqb_bytes {
        data: std::ptr::null(),
        size: 5,
    };
    unsafe {
        let code = rqb_recv(connection, std::ptr::null_mut(), 5, &there, &here);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_recv", "null pointer");
        let code = rqb_recv(connection, byte.as_mut_ptr(), 1, null(), &here);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_recv", "from");
        let code = rqb_recv(connection, byte.as_mut_ptr(), 0, &there, &here);
        assert_failed(code, RQB_E_SPACE, "rqb_recv", "short");
        let code = rqb_close(connection, 1, 1, wrong);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_close", "reason");
        let code = rqb_close(connection, 1, 1 << 62, rqb_bytes::EMPTY);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_close", "2^62");
        let code = rqb_snapshot_of(connection, std::ptr::null_mut());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_snapshot_of", "place");
        let nobody = std::ptr::null_mut();
        assert_eq!(
            rqb_recv(nobody, byte.as_mut_ptr(), 1, &there, &here),
            RQB_E_ARGUMENT
        );
        assert_eq!(rqb_on_timeout(nobody), RQB_E_ARGUMENT);
        assert_eq!(rqb_close(nobody, 1, 1, rqb_bytes::EMPTY), RQB_E_ARGUMENT);
        assert_eq!(rqb_send_ack_eliciting(nobody), RQB_E_ARGUMENT);
        assert_eq!(rqb_last_error(std::ptr::null_mut()), RQB_E_ARGUMENT);
    }
}

#[test]
fn every_quiche_error_has_its_code_and_sentence() {
    use quiche::Error as E;
    let all = [
        (E::Done, RQB_DONE),
        (E::BufferTooShort, RQB_E_SPACE),
        (E::UnknownVersion, RQB_E_VERSION),
        (E::InvalidFrame, RQB_E_PROTOCOL),
        (E::InvalidPacket, RQB_E_PROTOCOL),
        (E::InvalidState, RQB_E_STATE),
        (E::InvalidStreamState(4), RQB_E_STREAM),
        (E::InvalidTransportParam, RQB_E_PROTOCOL),
        (E::CryptoFail, RQB_E_CRYPTO),
        (E::TlsFail, RQB_E_TLS),
        (E::FlowControl, RQB_E_PROTOCOL),
        (E::StreamLimit, RQB_E_LIMIT),
        (E::StreamStopped(5), RQB_E_STOPPED),
        (E::StreamReset(6), RQB_E_RESET),
        (E::FinalSize, RQB_E_STREAM),
        (E::CongestionControl, RQB_E_OPTION),
        (E::IdLimit, RQB_E_LIMIT),
        (E::OutOfIdentifiers, RQB_E_LIMIT),
        (E::KeyUpdate, RQB_E_PROTOCOL),
        (E::CryptoBufferExceeded, RQB_E_PROTOCOL),
        (E::InvalidAckRange, RQB_E_PROTOCOL),
        (E::OptimisticAckDetected, RQB_E_PROTOCOL),
        (E::InvalidDcidInitialization, RQB_E_STATE),
    ];
    for (error, code) in all {
        let failure = Failure::from(error);
        assert_eq!(failure.code, code, "{error:?}");
        assert!(failure.sentence.len() > 10, "{error:?}");
        let code = record(c"a test", failure);
        let told = last_error();
        assert_eq!((told.code, told.operation.as_str()), (code, "a test"));
    }
    assert_eq!(Failure::from(E::StreamReset(6)).detail, 6);
    record(c"a test", Failure::from(E::StreamStopped(5)));
    assert_eq!(
        (last_error().detail, last_error().fault),
        (5, RQB_FAULT_PEER)
    );
}

#[test]
fn a_long_sentence_is_cut_and_ended() {
    let long = "x".repeat(2 * RQB_SENTENCE_SIZE);
    record(c"a test", Failure::option(long));
    assert_eq!(last_error().sentence.len(), RQB_SENTENCE_SIZE - 1);
}

#[test]
fn a_thread_without_a_failure_has_none() {
    std::thread::spawn(|| {
        let mut error = std::mem::MaybeUninit::<rqb_error>::uninit();
        assert_eq!(unsafe { rqb_last_error(error.as_mut_ptr()) }, RQB_DONE);
    })
    .join()
    .expect("joined");
}
