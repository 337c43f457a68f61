//! Two connections of the ABI in memory, and the options to make them.

use std::cell::Cell;
use std::ffi::c_void;
use std::ffi::CStr;

use crate::abi::*;
use crate::config::*;
use crate::connection::*;
use crate::fault::*;
use crate::observe::*;
use crate::sending::*;
use crate::stack::*;
use crate::streams::*;

thread_local! {
    pub static RETAINED: Cell<i64> = const { Cell::new(0) };
    pub static RELEASED: Cell<i64> = const { Cell::new(0) };
}

unsafe extern "C" fn retain(owner: *mut c_void) {
    assert!(!owner.is_null());
    RETAINED.set(RETAINED.get() + 1);
}

unsafe extern "C" fn release(owner: *mut c_void) {
    assert!(!owner.is_null());
    RELEASED.set(RELEASED.get() + 1);
}

pub fn init() {
    assert_eq!(unsafe { rqb_init(Some(retain), Some(release)) }, RQB_OK);
}

/// References that the bridge holds on this thread.
pub fn held() -> i64 {
    RETAINED.get() - RELEASED.get()
}

pub struct Failed {
    pub operation: String,
    pub code: i32,
    pub system: i32,
    pub fault: u8,
    pub detail: u64,
    pub sentence: String,
}

pub fn last_error() -> Failed {
    let mut error = std::mem::MaybeUninit::<rqb_error>::uninit();
    assert_eq!(unsafe { rqb_last_error(error.as_mut_ptr()) }, RQB_OK);
    let error = unsafe { error.assume_init() };
    let text = |pointer| {
        unsafe { CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned()
    };
    Failed {
        operation: text(error.operation),
        code: error.code,
        system: error.system,
        fault: error.fault,
        detail: error.detail,
        sentence: text(error.sentence.as_ptr()),
    }
}

/// Asserts that a call failed with `code` in `operation`, and that the sentence holds `part`.
#[track_caller]
pub fn assert_failed(result: i32, code: i32, operation: &str, part: &str) {
    assert_eq!(result, code);
    let error = last_error();
    assert_eq!(error.code, code);
    assert_eq!(error.operation, operation);
    assert!(
        error.sentence.contains(part),
        "\"{}\" does not hold \"{part}\"",
        error.sentence
    );
}

pub fn self_signed(names: &[&str], is_rsa: bool) -> (String, String) {
    let names: Vec<_> = names
        .iter()
        .map(|name| rqb_bytes::of(name.as_bytes()))
        .collect();
    let (mut chain, mut key) = (std::ptr::null_mut(), std::ptr::null_mut());
    let code = unsafe {
        rqb_make_self_signed(
            names.as_ptr(),
            names.len(),
            30,
            is_rsa.into(),
            &mut chain,
            &mut key,
        )
    };
    assert_eq!(code, RQB_OK);
    (take_text(chain), take_text(key))
}

fn take_text(text: *mut rqb_text) -> String {
    let bytes = unsafe { rqb_text_bytes(text).get() }.expect("a text");
    let string = String::from_utf8(bytes.to_vec()).expect("PEM");
    unsafe { rqb_text_free(text) };
    string
}

pub fn pin_of(chain: &str) -> String {
    let mut pin = [0u8; 32];
    let code = unsafe { rqb_pin_of(rqb_bytes::of(chain.as_bytes()), pin.as_mut_ptr()) };
    assert_eq!(code, RQB_OK);
    crate::trust::hex(&pin)
}

/// The bridge's options with owned texts.
pub struct Options {
    pub raw: rqb_options,
    pub alpn: Vec<String>,
    pub pins: Vec<String>,
    pub ca_pem: String,
    /// name, chain, key
    pub certificates: Vec<(String, String, String)>,
}

impl Options {
    pub fn new(is_server: bool) -> Self {
        // SAFETY: all zero is a good value of a struct of integers and pointers.
        let mut raw: rqb_options = unsafe { std::mem::zeroed() };
        raw.is_server = is_server.into();
        raw.version = 1;
        raw.idle_timeout_ms = 30_000;
        raw.max_ack_delay_ms = 25;
        raw.ack_delay_exponent = 3;
        raw.max_streams_bidi = 64;
        raw.max_streams_uni = 64;
        raw.stream_window = 1 << 20;
        raw.connection_window = 16 << 20;
        raw.max_stream_window = 1 << 20;
        raw.max_connection_window = 16 << 20;
        raw.max_receive_payload = 1472;
        raw.max_send_payload = 1452;
        raw.active_connection_id_limit = 4;
        raw.path_mtu_discovery = 1;
        raw.grease = 1;
        Self {
            raw,
            alpn: vec!["riffle".into()],
            pins: Vec::new(),
            ca_pem: String::new(),
            certificates: Vec::new(),
        }
    }

    /// The configuration; null when it was refused.
    pub fn make(&self) -> *mut rqb_config {
        let alpn: Vec<_> = self
            .alpn
            .iter()
            .map(|name| rqb_bytes::of(name.as_bytes()))
            .collect();
        let pins: Vec<_> = self
            .pins
            .iter()
            .map(|pin| rqb_bytes::of(pin.as_bytes()))
            .collect();
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|(name, chain, key)| rqb_certificate {
                name: rqb_bytes::of(name.as_bytes()),
                chain_file: rqb_bytes::EMPTY,
                key_file: rqb_bytes::EMPTY,
                chain_pem: rqb_bytes::of(chain.as_bytes()),
                key_pem: rqb_bytes::of(key.as_bytes()),
            })
            .collect();
        let mut raw = self.raw;
        raw.alpn = alpn.as_ptr();
        raw.alpn_count = alpn.len();
        raw.pins = pins.as_ptr();
        raw.pin_count = pins.len();
        raw.certificates = certificates.as_ptr();
        raw.certificate_count = certificates.len();
        raw.ca_pem = rqb_bytes::of(self.ca_pem.as_bytes());
        unsafe { rqb_config_new(&raw) }
    }

    #[track_caller]
    pub fn refused(&self, code: i32, part: &str) {
        let config = self.make();
        assert!(config.is_null(), "the configuration was accepted");
        let error = last_error();
        assert_eq!(error.operation, "rqb_config_new");
        assert_eq!(error.code, code, "{}", error.sentence);
        assert!(
            error.sentence.contains(part),
            "\"{}\" does not hold \"{part}\"",
            error.sentence
        );
    }
}

/// A client's and a server's options that go together.
pub fn options() -> (Options, Options) {
    let (chain, key) = self_signed(&["riffle.test", "127.0.0.1", "::1"], false);
    let mut client = Options::new(false);
    client.ca_pem = chain.clone();
    client.raw.trust_given = 1;
    let mut server = Options::new(true);
    server.certificates.push((String::new(), chain, key));
    (client, server)
}

pub fn client_address() -> rqb_address {
    rqb_address::from_socket("127.0.0.1:40001".parse().expect("an address"))
}

pub fn server_address() -> rqb_address {
    rqb_address::from_socket("127.0.0.1:443".parse().expect("an address"))
}

pub struct Side {
    pub connection: *mut rqb_connection,
    pub config: *mut rqb_config,
}

impl Drop for Side {
    fn drop(&mut self) {
        if !self.connection.is_null() {
            unsafe { rqb_free(self.connection) };
        }
        if !self.config.is_null() {
            unsafe { rqb_config_free(self.config) };
        }
    }
}

impl Side {
    pub fn snapshot(&self) -> rqb_snapshot {
        let mut out = unsafe { std::mem::zeroed() };
        assert_eq!(
            unsafe { rqb_snapshot_of(self.connection, &mut out) },
            RQB_OK
        );
        out
    }

    pub fn stats(&self) -> rqb_stats {
        let mut out = rqb_stats::default();
        assert_eq!(unsafe { rqb_stats_of(self.connection, &mut out) }, RQB_OK);
        out
    }

    pub fn open(&self, is_bidirectional: bool) -> u64 {
        let mut id = 0;
        let code = unsafe { rqb_stream_open(self.connection, is_bidirectional.into(), &mut id) };
        assert_eq!(code, RQB_OK);
        id
    }

    pub fn offer(&self, id: u64, bytes: &'static [u8], fin: bool) -> rqb_offered {
        let mut out = unsafe { std::mem::zeroed() };
        let code = unsafe {
            rqb_stream_offer(
                self.connection,
                id,
                // Only counted, never followed.
                bytes.as_ptr().cast_mut().cast(),
                bytes.as_ptr(),
                bytes.len(),
                fin.into(),
                &mut out,
            )
        };
        assert_eq!(code, RQB_OK);
        out
    }

    pub fn read(&self, id: u64, room: usize) -> (rqb_read, Vec<u8>) {
        let mut out = unsafe { std::mem::zeroed::<rqb_read>() };
        let mut bytes = vec![0; room];
        let code =
            unsafe { rqb_stream_read(self.connection, id, bytes.as_mut_ptr(), room, &mut out) };
        assert_eq!(code, RQB_OK);
        bytes.truncate(out.size);
        (out, bytes)
    }

    pub fn readable(&self) -> Option<u64> {
        let id = unsafe { rqb_readable_next(self.connection) };
        (id != RQB_NO_STREAM).then_some(id)
    }

    pub fn writable(&self) -> Option<u64> {
        let id = unsafe { rqb_writable_next(self.connection) };
        (id != RQB_NO_STREAM).then_some(id)
    }

    pub fn stop(&self, id: u64, code: u64) -> i32 {
        unsafe { rqb_stream_stop(self.connection, id, code) }
    }

    pub fn reset(&self, id: u64, code: u64) -> i32 {
        unsafe { rqb_stream_reset(self.connection, id, code) }
    }

    /// quiche itself, for guard tests.
    #[allow(clippy::mut_from_ref)]
    pub fn quiche(&self) -> &mut quiche::Connection<crate::buffers::Factory> {
        unsafe { &mut (*self.connection).quiche }
    }

    pub fn local_error(&self) -> rqb_close_info {
        let mut out = unsafe { std::mem::zeroed() };
        assert_eq!(
            unsafe { rqb_local_error(self.connection, &mut out) },
            RQB_OK
        );
        out
    }

    pub fn peer_error(&self) -> rqb_close_info {
        let mut out = unsafe { std::mem::zeroed() };
        assert_eq!(unsafe { rqb_peer_error(self.connection, &mut out) }, RQB_OK);
        out
    }

    pub fn evidence(&self) -> (u8, String) {
        let mut out = unsafe { std::mem::zeroed::<rqb_evidence>() };
        assert_eq!(
            unsafe { rqb_evidence_of(self.connection, &mut out) },
            RQB_OK
        );
        let text = unsafe { out.text.get() }.expect("a text");
        (out.kind, String::from_utf8_lossy(text).into_owned())
    }
}

pub struct Pair {
    pub client: Side,
    pub server: Side,
    pub batches: Vec<rqb_batch>,
}

pub fn connection_id(fill: u8) -> rqb_connection_id {
    rqb_connection_id::from_slice(&[fill; 16])
}

impl Pair {
    pub fn with(client: &Options, server: &Options) -> Self {
        Self::named(client, server, "riffle.test")
    }

    pub fn named(client: &Options, server: &Options, name: &str) -> Self {
        init();
        let client_config = client.make();
        assert!(!client_config.is_null(), "{}", last_error().sentence);
        let server_config = server.make();
        assert!(!server_config.is_null(), "{}", last_error().sentence);
        let (here, there) = (client_address(), server_address());
        let client_connection = unsafe {
            rqb_connect(
                client_config,
                rqb_bytes::of(name.as_bytes()),
                &connection_id(0xc1),
                &here,
                &there,
            )
        };
        assert!(!client_connection.is_null(), "{}", last_error().sentence);
        let server_connection = unsafe {
            rqb_accept(
                server_config,
                &connection_id(0x5e),
                std::ptr::null(),
                &there,
                &here,
            )
        };
        assert!(!server_connection.is_null(), "{}", last_error().sentence);
        Self {
            client: Side {
                connection: client_connection,
                config: client_config,
            },
            server: Side {
                connection: server_connection,
                config: server_config,
            },
            batches: Vec::new(),
        }
    }

    pub fn new() -> Self {
        let (client, server) = options();
        Self::with(&client, &server)
    }

    /// With the handshake behind it, and path-MTU discovery too.
    pub fn connected() -> Self {
        let mut pair = Self::new();
        pair.exchange();
        assert_eq!(pair.client.snapshot().is_established, 1);
        assert_eq!(pair.server.snapshot().is_established, 1);
        pair
    }

    pub fn pull(&mut self, from_client: bool) -> Vec<Vec<u8>> {
        let side = if from_client {
            &self.client
        } else {
            &self.server
        };
        let mut out = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let mut batch = unsafe { std::mem::zeroed::<rqb_batch>() };
            let code = unsafe {
                rqb_send_batch(
                    side.connection,
                    buffer.as_mut_ptr(),
                    buffer.len(),
                    &mut batch,
                )
            };
            if code == RQB_DONE {
                return out;
            }
            assert_eq!(code, RQB_OK);
            check_shape(&batch);
            self.batches.push(batch);
            out.extend(
                buffer[..batch.bytes]
                    .chunks(batch.segment)
                    .map(<[u8]>::to_vec),
            );
        }
    }

    pub fn push(&mut self, to_client: bool, datagrams: Vec<Vec<u8>>) {
        let (here, there) = (client_address(), server_address());
        for mut datagram in datagrams {
            unsafe {
                if to_client {
                    rqb_recv(
                        self.client.connection,
                        datagram.as_mut_ptr(),
                        datagram.len(),
                        &there,
                        &here,
                    );
                } else {
                    rqb_recv(
                        self.server.connection,
                        datagram.as_mut_ptr(),
                        datagram.len(),
                        &here,
                        &there,
                    );
                }
            }
        }
    }

    /// Until both are silent.
    pub fn exchange(&mut self) {
        for _ in 0..10_000 {
            let there = self.pull(true);
            let is_silent = there.is_empty();
            self.push(false, there);
            let back = self.pull(false);
            if is_silent && back.is_empty() {
                return;
            }
            self.push(true, back);
        }
        panic!("the two never fell silent");
    }

    /// Whether quiche has forgotten a stream of `is_client`'s side.
    pub fn is_collected(&self, is_client: bool, id: u64) -> bool {
        let side = if is_client {
            &self.client
        } else {
            &self.server
        };
        matches!(
            side.quiche().stream_capacity(id),
            Err(quiche::Error::InvalidStreamState(_))
        )
    }
}

/// The rules of UDP_SEGMENT.
pub fn check_shape(batch: &rqb_batch) {
    assert!(batch.packets >= 1 && batch.packets <= RQB_MAX_SEGMENTS);
    assert!(batch.segment >= 1 && batch.bytes <= 65_507);
    assert_eq!(batch.packets, batch.bytes.div_ceil(batch.segment));
}
