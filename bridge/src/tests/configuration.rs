//! Options: each is checked, and the sentence names it.

use super::rig::*;
use crate::abi::*;
use crate::config::*;

#[test]
fn a_null_pointer_for_options_is_refused() {
    assert!(unsafe { rqb_config_new(std::ptr::null()) }.is_null());
    assert_eq!(last_error().code, RQB_E_ARGUMENT);
}

fn changed(change: impl Fn(&mut Options), part: &str) {
    let (mut client, _) = options();
    change(&mut client);
    client.refused(RQB_E_OPTION, part);
}

#[test]
fn numbers_out_of_range_name_their_option() {
    changed(|one| one.raw.version = 2, "version: 0x2");
    changed(|one| one.raw.version = 0, "version: 0x0");
    changed(
        |one| one.raw.max_receive_payload = 1199,
        "max_receive_payload: 1199",
    );
    changed(
        |one| one.raw.max_send_payload = 70_000,
        "max_send_payload: 70000",
    );
    changed(
        |one| one.raw.ack_delay_exponent = 21,
        "ack_delay_exponent: 21",
    );
    changed(
        |one| one.raw.max_ack_delay_ms = 1 << 14,
        "max_ack_delay: 16384",
    );
    changed(
        |one| one.raw.active_connection_id_limit = 1,
        "active_connection_id_limit: 1",
    );
    changed(
        |one| one.raw.max_streams_bidi = (1 << 60) + 1,
        "max_streams_bidi",
    );
    changed(|one| one.raw.max_streams_uni = u64::MAX, "max_streams_uni");
    changed(|one| one.raw.idle_timeout_ms = u64::MAX, "idle_timeout");
    changed(|one| one.raw.stream_window = 0, "stream_window: 0");
    changed(
        |one| one.raw.connection_window = 1 << 62,
        "connection_window",
    );
    changed(|one| one.raw.max_stream_window = 0, "max_stream_window");
    changed(
        |one| one.raw.max_connection_window = 0,
        "max_connection_window",
    );
}

#[test]
fn texts_are_checked() {
    let control = "vegas";
    changed(
        |one| one.raw.congestion_control = rqb_bytes::of(control.as_bytes()),
        "congestion_control: \"vegas\"",
    );
    changed(
        |one| one.raw.congestion_control = rqb_bytes::of(b"\xff"),
        "congestion_control: it is not UTF-8",
    );
    changed(
        |one| one.raw.key_log_file = rqb_bytes::of(b"a\0b"),
        "key_log_file",
    );
    changed(|one| one.alpn.clear(), "alpn: at least one");
    changed(
        |one| one.alpn = vec![String::new()],
        "alpn: a name of 0 bytes",
    );
    changed(
        |one| one.alpn = vec!["x".repeat(256)],
        "alpn: a name of 256 bytes",
    );
    changed(|one| one.pins = vec!["abcd".into()], "pins: \"abcd\"");
    changed(|one| one.pins = vec!["zz".repeat(32)], "pins");
}

#[test]
fn pointers_and_lengths_must_agree() {
    let (client, _) = options();
    let wrong = rqb_bytes {
        data: std::ptr::null(),
        size: 3,
    };
    let with = |change: fn(&mut rqb_options, rqb_bytes)| {
        let mut raw = client.raw;
        change(&mut raw, wrong);
        assert!(unsafe { rqb_config_new(&raw) }.is_null());
        let error = last_error();
        assert_eq!(error.code, RQB_E_ARGUMENT, "{}", error.sentence);
    };
    with(|raw, wrong| raw.ca_pem = wrong);
    with(|raw, wrong| raw.ca_file = wrong);
    with(|raw, _| raw.pin_count = 1);
    with(|raw, _| raw.certificate_count = 1);
}

#[test]
fn every_congestion_control_is_there() {
    for control in ["cubic", "reno", "bbr2"] {
        let (mut client, server) = options();
        client.raw.congestion_control = rqb_bytes::of(control.as_bytes());
        client.raw.initial_window_packets = 20;
        let mut pair = Pair::with(&client, &server);
        pair.exchange();
        assert_eq!(pair.client.snapshot().is_established, 1, "{control}");
    }
}

#[test]
fn windows_and_limits_reach_the_peer() {
    let (client, mut server) = options();
    server.raw.stream_window = 5000;
    server.raw.max_stream_window = 5000;
    server.raw.connection_window = 7000;
    server.raw.max_connection_window = 7000;
    server.raw.max_streams_bidi = 3;
    server.raw.max_streams_uni = 5;
    server.raw.disable_active_migration = 1;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    let params = pair
        .client
        .quiche()
        .peer_transport_params()
        .expect("parameters")
        .clone();
    assert_eq!(params.initial_max_data, 7000);
    assert_eq!(params.initial_max_stream_data_bidi_local, 5000);
    assert_eq!(params.initial_max_stream_data_bidi_remote, 5000);
    assert_eq!(params.initial_max_stream_data_uni, 5000);
    assert_eq!(params.max_udp_payload_size, 1472);
    assert_eq!(params.max_idle_timeout, 30_000);
    assert_eq!(params.active_conn_id_limit, 4);
    assert!(params.disable_active_migration);
    let snapshot = pair.client.snapshot();
    assert_eq!(
        (snapshot.streams_left_bidi, snapshot.streams_left_uni),
        (3, 5)
    );
}

#[test]
fn a_server_needs_a_certificate_and_a_client_needs_trust() {
    Options::new(true).refused(RQB_E_OPTION, "certificate: a server needs one");
    let (mut client, server) = options();
    client.ca_pem.clear();
    client.refused(RQB_E_OPTION, "trust: nothing to believe");
    client.raw.insecure = 1;
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    assert_eq!(pair.client.snapshot().is_established, 1);
    client.pins = vec!["00".repeat(32)];
    client.refused(RQB_E_OPTION, "trust.insecure");
}

#[test]
fn a_key_log_is_written_line_by_line() {
    let (mut client, server) = options();
    let path = std::env::temp_dir().join(format!("riffle-keys-{}", std::process::id()));
    let path = path.to_str().expect("UTF-8").to_owned();
    client.raw.key_log_file = rqb_bytes::of(path.as_bytes());
    let mut pair = Pair::with(&client, &server);
    pair.exchange();
    let log = std::fs::read_to_string(&path).expect("a key log");
    std::fs::remove_file(&path).expect("removed");
    let labels: Vec<_> = log
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        labels.contains(&"CLIENT_HANDSHAKE_TRAFFIC_SECRET"),
        "{labels:?}"
    );
    assert!(labels.contains(&"SERVER_TRAFFIC_SECRET_0"), "{labels:?}");
    assert!(log.ends_with('\n'));
}

#[test]
fn a_key_log_that_cannot_be_opened_is_named() {
    let (mut client, _) = options();
    client.raw.key_log_file = rqb_bytes::of(b"/nowhere/keys");
    client.refused(RQB_E_FILE, "key_log_file: /nowhere/keys");
    assert_eq!(last_error().system, libc::ENOENT);
}
