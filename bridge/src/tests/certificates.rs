//! Trust, identities, pins, and the reasons for refusals.

use super::rig::*;
use crate::abi::*;
use crate::certificates::covers;
use crate::stack::*;
use crate::trust::parse_pin;

fn run(client: &Options, server: &Options) -> Pair {
    let mut pair = Pair::with(client, server);
    pair.exchange();
    pair
}

fn is_connected(pair: &Pair) -> bool {
    pair.client.snapshot().is_established == 1 && pair.server.snapshot().is_established == 1
}

/// What the client said of the server's certificate, after a handshake that must fail.
fn refusal(client: &Options, server: &Options) -> (u8, String, u64) {
    let pair = run(client, server);
    assert!(!is_connected(&pair), "the handshake succeeded");
    let (kind, text) = pair.client.evidence();
    (kind, text, pair.client.local_error().code)
}

#[test]
fn a_certificate_of_another_authority_is_refused_with_the_reason() {
    let (mut client, server) = options();
    client.ca_pem = self_signed(&["riffle.test"], false).0;
    let (kind, text, _) = refusal(&client, &server);
    assert_eq!(kind, RQB_EVIDENCE_CERTIFICATE);
    assert!(text.contains("riffle.test, 127.0.0.1, ::1"), "{text}");
}

#[test]
fn a_certificate_for_another_name_is_refused_with_the_reason() {
    let (client, server) = options();
    let mut pair = Pair::named(&client, &server, "other.test");
    pair.exchange();
    let (kind, text) = pair.client.evidence();
    assert_eq!(kind, RQB_EVIDENCE_CERTIFICATE);
    assert!(text.to_lowercase().contains("hostname mismatch"), "{text}");
    assert_eq!(
        pair.server.peer_error().code,
        pair.client.local_error().code
    );
}

#[test]
fn an_address_is_checked_against_the_certificates_addresses() {
    let (client, server) = options();
    for name in ["127.0.0.1", "::1", "[::1]"] {
        let mut pair = Pair::named(&client, &server, name);
        pair.exchange();
        assert!(is_connected(&pair), "{name}");
        assert_eq!(
            pair.server.quiche().server_name(),
            None,
            "an address is no SNI"
        );
    }
    let mut pair = Pair::named(&client, &server, "127.0.0.2");
    pair.exchange();
    let (kind, text) = pair.client.evidence();
    assert_eq!(kind, RQB_EVIDENCE_CERTIFICATE);
    assert!(
        text.to_lowercase().contains("ip address mismatch"),
        "{text}"
    );
}

// The names of the facts: a pin alone replaces chain and name; with a CA both must hold.
#[test]
fn a_pin_alone_replaces_chain_and_name() {
    let (mut client, server) = options();
    client.pins = vec![pin_of(&server.certificates[0].1)];
    client.ca_pem.clear();
    let mut pair = Pair::named(&client, &server, "any.test");
    pair.exchange();
    assert!(is_connected(&pair));
}

#[test]
fn a_wrong_pin_is_refused_and_says_the_right_one() {
    let (mut client, server) = options();
    client.pins = vec!["11".repeat(32)];
    client.ca_pem.clear();
    let (kind, text, code) = refusal(&client, &server);
    assert_eq!(kind, RQB_EVIDENCE_PIN);
    assert!(text.contains(&pin_of(&server.certificates[0].1)), "{text}");
    assert_eq!(code, 0x12a, "bad_certificate");
}

#[test]
fn a_pin_with_an_authority_needs_both() {
    let (mut client, server) = options();
    let right = pin_of(&server.certificates[0].1);
    client.pins = vec![right.clone()];
    assert!(is_connected(&run(&client, &server)));
    client.pins = vec!["11".repeat(32)];
    assert_eq!(refusal(&client, &server).0, RQB_EVIDENCE_PIN);
    client.pins = vec!["11".repeat(32), right];
    assert!(
        is_connected(&run(&client, &server)),
        "one of the pins is enough"
    );
    client.ca_pem = self_signed(&["riffle.test"], false).0;
    assert_eq!(refusal(&client, &server).0, RQB_EVIDENCE_CERTIFICATE);
}

#[test]
fn an_expired_certificate_is_refused_with_the_reason() {
    use boring::asn1::Asn1Time;
    use boring::hash::MessageDigest;
    let (_, key) = self_signed(&["riffle.test"], false);
    let key_pem = key.clone();
    let key = boring::pkey::PKey::private_key_from_pem(key.as_bytes()).expect("a key");
    let mut name = boring::x509::X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "riffle.test").expect("CN");
    let name = name.build();
    let mut builder = boring::x509::X509::builder().expect("a builder");
    builder.set_version(2).expect("version");
    builder.set_subject_name(&name).expect("subject");
    builder.set_issuer_name(&name).expect("issuer");
    let time = |seconds| Asn1Time::from_unix(seconds).expect("a time");
    builder
        .set_not_before(&time(1_000_000_000))
        .expect("not before");
    builder
        .set_not_after(&time(1_100_000_000))
        .expect("not after");
    builder.set_pubkey(&key).expect("key");
    builder.sign(&key, MessageDigest::sha256()).expect("signed");
    let chain = builder.build().to_pem().expect("PEM");
    let chain = String::from_utf8(chain).expect("PEM");
    let (mut client, mut server) = options();
    client.ca_pem = chain.clone();
    server.certificates = vec![(String::new(), chain, key_pem)];
    let (kind, text, code) = refusal(&client, &server);
    assert_eq!(kind, RQB_EVIDENCE_CERTIFICATE);
    assert!(text.contains("expired"), "{text}");
    assert_eq!(code, 0x12d, "certificate_expired");
}

#[test]
fn protocols_that_do_not_meet_are_told_on_both_sides() {
    let (mut client, mut server) = options();
    client.alpn = vec!["h3".into(), "hq".into()];
    server.alpn = vec!["riffle".into(), "other".into()];
    let pair = run(&client, &server);
    assert_eq!(pair.server.local_error().code, 0x178);
    assert_eq!(pair.client.peer_error().code, 0x178);
    let (kind, text) = pair.server.evidence();
    assert_eq!(kind, RQB_EVIDENCE_ALPN);
    assert_eq!(
        text,
        "the peer offered h3, hq; this side speaks riffle, other"
    );
}

#[test]
fn a_certificate_is_chosen_by_server_name() {
    let (mut client, mut server) = options();
    let special = self_signed(&["special.test"], false);
    let wild = self_signed(&["*.wild.test"], false);
    client.ca_pem.push_str(&special.0);
    client.ca_pem.push_str(&wild.0);
    server
        .certificates
        .push(("special.test".into(), special.0, special.1));
    server
        .certificates
        .push(("*.wild.test".into(), wild.0, wild.1));
    for name in ["riffle.test", "special.test", "SPECIAL.test", "a.wild.test"] {
        let mut pair = Pair::named(&client, &server, name);
        pair.exchange();
        assert!(is_connected(&pair), "{name}: {}", pair.client.evidence().1);
    }
    let mut pair = Pair::named(&client, &server, "a.b.wild.test");
    pair.exchange();
    assert!(!is_connected(&pair), "a wildcard stands for one label");
}

#[test]
fn wildcards_cover_one_label() {
    assert!(covers("a.test", "A.TEST"));
    assert!(covers("*.test", "a.test"));
    assert!(!covers("*.test", "test"));
    assert!(!covers("*.test", ".test"));
    assert!(!covers("*.test", "a.b.test"));
    assert!(!covers("a.test", "b.test"));
}

#[test]
fn client_certificates_are_asked_for_and_judged() {
    let (mut client, mut server) = options();
    let mine = self_signed(&["client"], false);
    server.raw.trust_given = 1;
    server.ca_pem = mine.0.clone();
    // None shown: alert certificate_required.
    let pair = run(&client, &server);
    assert_eq!(pair.server.snapshot().is_established, 0);
    assert_eq!(pair.server.local_error().code, 0x174);
    // A stranger's.
    let (chain, key) = self_signed(&["stranger"], false);
    client.certificates = vec![(String::new(), chain, key)];
    let pair = run(&client, &server);
    assert_eq!(pair.server.snapshot().is_established, 0);
    assert_eq!(pair.server.evidence().0, RQB_EVIDENCE_CERTIFICATE);
    assert!(
        pair.server.evidence().1.contains("stranger"),
        "{}",
        pair.server.evidence().1
    );
    // The right one.
    client.certificates = vec![(String::new(), mine.0, mine.1)];
    let pair = run(&client, &server);
    assert!(is_connected(&pair));
    assert_eq!(
        pair.server
            .quiche()
            .peer_cert_chain()
            .map(|chain| chain.len()),
        Some(1)
    );
}

#[test]
fn unusable_certificates_and_keys_are_named() {
    let (client, server) = options();
    let with = |chain: &str, key: &str, part: &str| {
        let mut options = Options::new(true);
        options.certificates = vec![(String::new(), chain.into(), key.into())];
        options.refused(RQB_E_CERTIFICATE, part);
    };
    let (_, chain, key) = &server.certificates[0];
    with(
        "junk",
        key,
        "certificate: the text holds no PEM certificate",
    );
    with(chain, "junk", "holds no private key");
    let (_, other) = self_signed(&["riffle.test"], false);
    with(
        chain,
        &other,
        "does not belong to the certificate for riffle.test",
    );
    let truncated = &chain[..chain.len() / 2];
    with(truncated, key, "certificate");

    let mut options = Options::new(true);
    options.certificates = vec![(String::new(), String::new(), key.clone())];
    options.refused(RQB_E_OPTION, "certificate: no chain");
    options.certificates = vec![(String::new(), chain.clone(), String::new())];
    options.refused(RQB_E_OPTION, "certificate: no private key");
    options.certificates = vec![("a.test".into(), chain.clone(), key.clone())];
    options.refused(
        RQB_E_OPTION,
        "certificate: a server needs one without a name",
    );
    let mut named = client;
    named.certificates = vec![("a.test".into(), chain.clone(), key.clone())];
    named.refused(RQB_E_OPTION, "only a server chooses");
}

#[test]
fn files_and_directories_are_read_and_named() {
    let root = std::env::temp_dir().join(format!("riffle-trust-{}", std::process::id()));
    std::fs::create_dir_all(root.join("empty")).expect("a directory");
    let (mut client, mut server) = options();
    let (_, chain, key) = server.certificates[0].clone();
    std::fs::write(root.join("chain.pem"), &chain).expect("written");
    std::fs::write(root.join("key.pem"), &key).expect("written");
    let path = |name: &str| root.join(name).to_str().expect("UTF-8").to_owned();
    let (chain_path, key_path, empty) = (path("chain.pem"), path("key.pem"), path("empty"));
    let (directory, nowhere) = (path("."), path("nowhere"));

    // A server from files.
    let certificate = rqb_certificate {
        name: rqb_bytes::EMPTY,
        chain_file: rqb_bytes::of(chain_path.as_bytes()),
        key_file: rqb_bytes::of(key_path.as_bytes()),
        chain_pem: rqb_bytes::EMPTY,
        key_pem: rqb_bytes::EMPTY,
    };
    let alpn = [rqb_bytes::of(b"riffle")];
    server.raw.certificates = &certificate;
    server.raw.certificate_count = 1;
    server.raw.alpn = alpn.as_ptr();
    server.raw.alpn_count = 1;
    let config = unsafe { crate::config::rqb_config_new(&server.raw) };
    assert!(!config.is_null(), "{}", last_error().sentence);
    unsafe { crate::config::rqb_config_free(config) };
    let both = rqb_certificate {
        chain_pem: rqb_bytes::of(chain.as_bytes()),
        ..certificate
    };
    server.raw.certificates = &both;
    assert!(unsafe { crate::config::rqb_config_new(&server.raw) }.is_null());
    assert!(
        last_error().sentence.contains("both given"),
        "{}",
        last_error().sentence
    );

    client.ca_pem.clear();
    client.raw.ca_file = rqb_bytes::of(chain_path.as_bytes());
    assert!(is_connected(&run(&client, &options_of(&chain, &key))));
    client.raw.ca_file = rqb_bytes::of(key_path.as_bytes());
    client.refused(RQB_E_CERTIFICATE, "trust.ca_file");
    client.raw.ca_file = rqb_bytes::of(nowhere.as_bytes());
    client.refused(RQB_E_FILE, "trust.ca_file");
    client.raw.ca_file = rqb_bytes::EMPTY;
    client.raw.ca_directory = rqb_bytes::of(directory.as_bytes());
    assert!(is_connected(&run(&client, &options_of(&chain, &key))));
    client.raw.ca_directory = rqb_bytes::of(empty.as_bytes());
    client.refused(RQB_E_OPTION, "holds no certificate");
    client.raw.ca_directory = rqb_bytes::of(nowhere.as_bytes());
    client.refused(RQB_E_FILE, "trust.ca_directory");
    client.raw.ca_directory = rqb_bytes::EMPTY;
    client.ca_pem = "junk".into();
    client.refused(RQB_E_CERTIFICATE, "trust.ca_pem");
    std::fs::remove_dir_all(root).expect("removed");
}

fn options_of(chain: &str, key: &str) -> Options {
    let mut server = Options::new(true);
    server.certificates = vec![(String::new(), chain.into(), key.into())];
    server
}

#[test]
fn the_systems_store_does_not_know_us() {
    let (mut client, server) = options();
    client.ca_pem.clear();
    client.raw.system_store = 1;
    // A machine without any store says where it looked; one with a store does not trust a stranger.
    let config = client.make();
    if config.is_null() {
        assert!(
            last_error().sentence.contains("trust.system_store"),
            "{}",
            last_error().sentence
        );
        return;
    }
    unsafe { crate::config::rqb_config_free(config) };
    let (kind, text, _) = refusal(&client, &server);
    assert_eq!(kind, RQB_EVIDENCE_CERTIFICATE);
    assert!(text.contains("riffle.test"), "{text}");
}

#[test]
fn self_signed_certificates_of_both_kinds_work() {
    for is_rsa in [false, true] {
        let (chain, key) = self_signed(&["riffle.test"], is_rsa);
        let (mut client, _) = options();
        client.ca_pem = chain.clone();
        assert!(
            is_connected(&run(&client, &options_of(&chain, &key))),
            "rsa: {is_rsa}"
        );
    }
}

#[test]
fn wrong_arguments_of_make_self_signed_and_pin_of() {
    let name = rqb_bytes::of(b"riffle.test");
    let latin = rqb_bytes::of(b"\xff");
    let (mut chain, mut key) = (std::ptr::null_mut(), std::ptr::null_mut());
    let make = "rqb_make_self_signed";
    unsafe {
        let code = rqb_make_self_signed(&name, 1, 30, 0, std::ptr::null_mut(), &mut key);
        assert_failed(code, RQB_E_ARGUMENT, make, "place");
        let code = rqb_make_self_signed(std::ptr::null(), 1, 30, 0, &mut chain, &mut key);
        assert_failed(code, RQB_E_ARGUMENT, make, "names");
        let code = rqb_make_self_signed(&latin, 1, 30, 0, &mut chain, &mut key);
        assert_failed(code, RQB_E_OPTION, make, "UTF-8");
        let code = rqb_make_self_signed(&name, 0, 30, 0, &mut chain, &mut key);
        assert_failed(code, RQB_E_OPTION, make, "at least one");
        let code = rqb_make_self_signed(&rqb_bytes::EMPTY, 1, 30, 0, &mut chain, &mut key);
        assert_failed(code, RQB_E_OPTION, make, "empty");
        for days in [0, 36_501] {
            let code = rqb_make_self_signed(&name, 1, days, 0, &mut chain, &mut key);
            assert_failed(code, RQB_E_OPTION, make, "days");
        }
        assert!(chain.is_null() && key.is_null());
        let code = rqb_make_self_signed(&name, 1, 36_500, 0, &mut chain, &mut key);
        assert_eq!(code, RQB_OK);
        let pem = rqb_text_bytes(chain).get().expect("PEM").to_vec();
        rqb_text_free(chain);
        rqb_text_free(key);
        rqb_text_free(std::ptr::null_mut());
        assert_eq!(rqb_text_bytes(std::ptr::null()).size, 0);
        let certificate = &boring::x509::X509::stack_from_pem(&pem).expect("PEM")[0];
        let now = boring::asn1::Asn1Time::days_from_now(36_499).expect("a time");
        assert!(certificate.not_after() > &*now, "100 years are 100 years");

        let mut pin = [0u8; 32];
        let code = rqb_pin_of(rqb_bytes::of(b"junk"), pin.as_mut_ptr());
        assert_failed(code, RQB_E_CERTIFICATE, "rqb_pin_of", "no PEM certificate");
        let code = rqb_pin_of(rqb_bytes::of(&pem), std::ptr::null_mut());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_pin_of", "place");
        let wrong = rqb_bytes {
            data: std::ptr::null(),
            size: 1,
        };
        let code = rqb_pin_of(wrong, pin.as_mut_ptr());
        assert_failed(code, RQB_E_ARGUMENT, "rqb_pin_of", "null pointer");
    }
}

#[test]
fn pins_are_64_hex_digits() {
    let pin = parse_pin(&"0A".repeat(32));
    assert_eq!(pin.ok(), Some([10; 32]));
    assert!(parse_pin(&["0a"; 32].join(":")).is_ok());
    assert!(parse_pin("").is_err());
    assert!(parse_pin(&"é".repeat(32)).is_err());
}
