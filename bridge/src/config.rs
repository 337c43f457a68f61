//! Configurations: an options struct of C becomes a TLS context and quiche's transport parameters.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;

use boring::ssl::SslContextBuilder;
use boring::ssl::SslMethod;

use crate::abi::*;
use crate::certificates;
use crate::certificates::Identity;
use crate::certificates::Named;
use crate::fault::guard;
use crate::fault::record;
use crate::fault::Failure;
use crate::fault::Outcome;
use crate::trust;
use crate::trust::Trust;

/// One loop's configuration: every connection that it makes shares the TLS context.
#[allow(non_camel_case_types)]
pub struct rqb_config {
    pub quiche: quiche::Config,
    pub is_server: bool,
    pub checks_name: bool,
    /// Our names, for evidence.
    pub alpn: Arc<str>,
    pub max_send_payload: usize,
    pub probes_mtu: bool,
    /// How many of the peer's one-way streams may be stopped by STOP_SENDING (see `streams.rs`).
    pub uni_stops: u64,
    pub idle_timeout_ms: u64,
}

fn text(option: &str, bytes: rqb_bytes) -> Outcome<Option<String>> {
    // SAFETY: the caller of the exported function vouches for its pointers.
    let bytes = unsafe { bytes.get() }
        .ok_or_else(|| Failure::argument(format!("{option}: a null pointer with a length")))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Some(text.to_owned())),
        _ => Err(Failure::option(format!(
            "{option}: it is not UTF-8 text without NUL"
        ))),
    }
}

fn blob(option: &str, bytes: rqb_bytes) -> Outcome<Option<Vec<u8>>> {
    // SAFETY: as above.
    let bytes = unsafe { bytes.get() }
        .ok_or_else(|| Failure::argument(format!("{option}: a null pointer with a length")))?;
    Ok((!bytes.is_empty()).then(|| bytes.to_vec()))
}

fn list<'a, T>(option: &str, data: *const T, count: usize) -> Outcome<&'a [T]> {
    // SAFETY: as above.
    unsafe { slice_of(data, count) }
        .ok_or_else(|| Failure::argument(format!("{option}: a null pointer with a count")))
}

/// PEM from a file or from memory, with a name for it in messages.
fn pem(option: &str, file: rqb_bytes, memory: rqb_bytes) -> Outcome<Option<(String, Vec<u8>)>> {
    match (text(option, file)?, blob(option, memory)?) {
        (Some(_), Some(_)) => Err(Failure::option(format!(
            "{option}: a file and PEM text are both given"
        ))),
        (Some(path), None) => {
            let pem = certificates::read_file(option, &path)?;
            Ok(Some((path, pem)))
        }
        (None, Some(pem)) => Ok(Some(("the text".to_owned(), pem))),
        (None, None) => Ok(None),
    }
}

fn read_identities(options: &rqb_options) -> Outcome<Vec<Named>> {
    let mut identities = Vec::new();
    for one in list(
        "certificate",
        options.certificates,
        options.certificate_count,
    )? {
        let name = text("certificate name", one.name)?.unwrap_or_default();
        let option = if name.is_empty() {
            "certificate".to_owned()
        } else {
            format!("certificate for {name}")
        };
        let chain = pem(&format!("{option}, chain"), one.chain_file, one.chain_pem)?
            .ok_or_else(|| Failure::option(format!("{option}: no chain is given")))?;
        let key = pem(&format!("{option}, key"), one.key_file, one.key_pem)?
            .ok_or_else(|| Failure::option(format!("{option}: no private key is given")))?;
        let identity = Identity::parse(&option, (&chain.0, &chain.1), (&key.0, &key.1))?;
        identities.push(Named { name, identity });
    }
    Ok(identities)
}

fn read_trust(options: &rqb_options) -> Outcome<Trust> {
    let mut pins = Vec::new();
    for pin in list("trust.pins", options.pins, options.pin_count)? {
        let pin = text("trust.pins", *pin)?.unwrap_or_default();
        pins.push(trust::parse_pin(&pin)?);
    }
    Ok(Trust {
        is_server: options.is_server != 0,
        insecure: options.insecure != 0,
        system_store: options.system_store != 0,
        ca_file: text("trust.ca_file", options.ca_file)?,
        ca_directory: text("trust.ca_directory", options.ca_directory)?,
        ca_pem: blob("trust.ca_pem", options.ca_pem)?,
        pins,
    })
}

fn read_alpn(options: &rqb_options) -> Outcome<Vec<&[u8]>> {
    let mut names = Vec::new();
    for name in list("alpn", options.alpn, options.alpn_count)? {
        // SAFETY: as above.
        let name = unsafe { name.get() }
            .ok_or_else(|| Failure::argument("alpn: a null pointer with a length"))?;
        // RFC 7301 section 3.1: a name has 1 to 255 bytes.
        if name.is_empty() || name.len() > 255 {
            return Err(Failure::option(format!(
                "alpn: a name of {} bytes; 1 to 255 are possible",
                name.len()
            )));
        }
        names.push(name);
    }
    if names.is_empty() {
        return Err(Failure::option("alpn: at least one name is needed"));
    }
    Ok(names)
}

fn install_key_log(context: &mut SslContextBuilder, path: &str) -> Outcome<()> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| Failure::file("key_log_file", path, &error))?;
    let file = Mutex::new(file);
    context.set_keylog_callback(move |_, line| {
        // One write a line, so that several processes may share the file. A full disk must not end
        // a connection.
        if let Ok(mut file) = file.lock() {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    });
    Ok(())
}

fn check_range(option: &str, value: u64, low: u64, high: u64) -> Outcome<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Failure::option(format!(
        "{option}: {value} is not between {low} and {high}"
    )))
}

/// The largest value of a QUIC variable-length integer (RFC 9000 section 16).
const VARINT_MAX: u64 = (1 << 62) - 1;

fn check_numbers(options: &rqb_options) -> Outcome<()> {
    // RFC 9000 section 18.2 for the ranges; section 14 for the 1200 bytes.
    check_range(
        "max_receive_payload",
        options.max_receive_payload,
        1200,
        65527,
    )?;
    check_range("max_send_payload", options.max_send_payload, 1200, 65527)?;
    check_range(
        "ack_delay_exponent",
        options.ack_delay_exponent.into(),
        0,
        20,
    )?;
    check_range("max_ack_delay", options.max_ack_delay_ms, 0, (1 << 14) - 1)?;
    let ids = options.active_connection_id_limit;
    check_range("active_connection_id_limit", ids, 2, 64)?;
    check_range("max_streams_bidi", options.max_streams_bidi, 0, 1 << 60)?;
    check_range("max_streams_uni", options.max_streams_uni, 0, 1 << 60)?;
    check_range("idle_timeout", options.idle_timeout_ms, 0, VARINT_MAX)?;
    for (option, value) in [
        ("stream_window", options.stream_window),
        ("connection_window", options.connection_window),
        ("max_stream_window", options.max_stream_window),
        ("max_connection_window", options.max_connection_window),
    ] {
        check_range(option, value, 1, VARINT_MAX)?;
    }
    Ok(())
}

fn fill_transport(config: &mut quiche::Config, options: &rqb_options) -> Outcome<()> {
    check_numbers(options)?;
    config.set_max_idle_timeout(options.idle_timeout_ms);
    config.set_max_recv_udp_payload_size(options.max_receive_payload as usize);
    config.set_max_send_udp_payload_size(options.max_send_payload as usize);
    config.set_initial_max_data(options.connection_window);
    config.set_initial_max_stream_data_bidi_local(options.stream_window);
    config.set_initial_max_stream_data_bidi_remote(options.stream_window);
    config.set_initial_max_stream_data_uni(options.stream_window);
    config.set_max_connection_window(options.max_connection_window.max(options.connection_window));
    config.set_max_stream_window(options.max_stream_window.max(options.stream_window));
    config.set_initial_max_streams_bidi(options.max_streams_bidi);
    config.set_initial_max_streams_uni(options.max_streams_uni);
    config.set_ack_delay_exponent(options.ack_delay_exponent.into());
    config.set_max_ack_delay(options.max_ack_delay_ms);
    config.set_active_connection_id_limit(options.active_connection_id_limit);
    config.set_disable_active_migration(options.disable_active_migration != 0);
    config.discover_pmtu(options.path_mtu_discovery != 0);
    config.grease(options.grease != 0);
    if options.initial_window_packets != 0 {
        config.set_initial_congestion_window_packets(options.initial_window_packets as usize);
    }
    let control = text("congestion_control", options.congestion_control)?;
    if let Some(control) = control {
        config.set_cc_algorithm_name(&control).map_err(|_| {
            Failure::option(format!(
                "congestion_control: \"{control}\" is none of cubic, reno, bbr2"
            ))
        })?;
    }
    Ok(())
}

fn tls_context() -> Outcome<SslContextBuilder> {
    SslContextBuilder::new(SslMethod::tls()).map_err(|stack| Failure::tls("a TLS context", &stack))
}

fn make(options: &rqb_options) -> Outcome<rqb_config> {
    let is_server = options.is_server != 0;
    let mut context = tls_context()?;
    let mut identities = read_identities(options)?;
    let default = identities.iter().position(|one| one.name.is_empty());
    if is_server && default.is_none() {
        return Err(Failure::option(
            "certificate: a server needs one without a name",
        ));
    }
    if let Some(index) = default {
        identities.remove(index).identity.install(&mut context)?;
    }
    if is_server {
        certificates::install_selection(&mut context, identities);
    } else if !identities.is_empty() {
        return Err(Failure::option(
            "certificate: only a server chooses certificates by name",
        ));
    }
    let mut checks_name = false;
    if options.trust_given != 0 || !is_server {
        let trust = read_trust(options)?;
        checks_name = trust.checks_name();
        trust.install(&mut context)?;
    }
    if let Some(path) = text("key_log_file", options.key_log_file)? {
        install_key_log(&mut context, &path)?;
    }

    // RFC 9000 section 15: versions of the pattern 0x?a?a?a?a are reserved to force version
    // negotiation.
    let version = options.version;
    if !quiche::version_is_supported(version) && version & 0x0f0f_0f0f != 0x0a0a_0a0a {
        return Err(Failure::option(format!(
            "version: {version:#x} is neither 1 nor reserved (0x?a?a?a?a)"
        )));
    }
    let mut config = quiche::Config::with_boring_ssl_ctx_builder(version, context)?;
    let alpn = read_alpn(options)?;
    config
        .set_application_protos(&alpn)
        .map_err(|_| Failure::option("alpn: BoringSSL does not take the list"))?;
    fill_transport(&mut config, options)?;
    let names: Vec<_> = alpn
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    Ok(rqb_config {
        quiche: config,
        is_server,
        checks_name,
        alpn: names.join(", ").into(),
        max_send_payload: options.max_send_payload as usize,
        probes_mtu: options.path_mtu_discovery != 0,
        uni_stops: options.max_streams_uni / 4,
        idle_timeout_ms: options.idle_timeout_ms,
    })
}

/// A configuration, or null with the reason in `rqb_last_error`.
///
/// # Safety
/// `options` is null or points at options whose pointers hold for the call.
#[no_mangle]
pub unsafe extern "C" fn rqb_config_new(options: *const rqb_options) -> *mut rqb_config {
    let mut made = std::ptr::null_mut();
    guard(c"rqb_config_new", || {
        let options = options
            .as_ref()
            .ok_or_else(|| Failure::argument("the options are null"))?;
        made = Box::into_raw(Box::new(make(options)?));
        Ok(RQB_OK)
    });
    made
}

/// Frees a configuration; its connections live on.
///
/// # Safety
/// `config` is null or came from `rqb_config_new` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn rqb_config_free(config: *mut rqb_config) {
    if config.is_null() {
        record(
            c"rqb_config_free",
            Failure::argument("the configuration is null"),
        );
        return;
    }
    guard(c"rqb_config_free", || {
        drop(Box::from_raw(config));
        Ok(RQB_OK)
    });
}
