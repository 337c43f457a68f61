//! One connection: made, fed, timed and closed.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::hash::Hasher;
use std::sync::Arc;

use foreign_types::ForeignTypeRef;
use quiche::ConnectionId;
use quiche::RecvInfo;

use crate::abi::*;
use crate::buffers;
use crate::buffers::Factory;
use crate::clock;
use crate::config::rqb_config;
use crate::evidence;
use crate::evidence::Evidence;
use crate::fault::give;
use crate::fault::guard;
use crate::fault::record;
use crate::fault::with;
use crate::fault::Failure;
use crate::fault::Outcome;
use crate::lone_fins::LoneFins;
use crate::sending::Held;

/// Stream ids are small and dense; one multiplication spreads them (Knuth's golden ratio).
#[derive(Default)]
pub struct StreamHasher(u64);

impl Hasher for StreamHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub type StreamSet = HashSet<u64, BuildHasherDefault<StreamHasher>>;
pub type StreamMap<T> = HashMap<u64, T, BuildHasherDefault<StreamHasher>>;

/// quiche's connection and what it leaves to us. It belongs to one thread.
#[allow(non_camel_case_types)]
pub struct rqb_connection {
    pub quiche: quiche::Connection<Factory>,
    pub poisoned: bool,
    pub is_server: bool,
    pub evidence: Option<Box<Evidence>>,
    pub alpn: Arc<str>,
    /// The largest datagram that quiche may want to write.
    pub max_payload: usize,
    /// Path-MTU discovery is on.
    pub probes_mtu: bool,
    /// A packet that quiche wrote and that did not fit the shape of its batch.
    pub held: Option<Box<Held>>,
    /// The next stream of ours to open, counted from 0.
    pub next_bidi: u64,
    pub next_uni: u64,
    /// Streams that were read in part, and are not to be named again until they are drained.
    pub parked: StreamSet,
    /// Streams that quiche was told to name as writable again.
    pub rearmed: StreamSet,
    /// One-way streams that are read and thrown away.
    pub discarding: StreamSet,
    /// Streams whose reading we stopped and that quiche has not collected yet.
    pub stopped: Vec<u64>,
    pub uni_stops_left: u64,
    /// Streams that the peer has stopped and that quiche will not name, with the code.
    pub stopped_by_peer: StreamMap<u64>,
    /// Those of them that were not named yet.
    pub stops_to_name: Vec<u64>,
    /// Memory for `watch_releases`.
    pub released: Vec<u64>,
    pub idle_timeout_ms: u64,
    /// Streams whose end must not be read yet.
    pub lone_fins: LoneFins,
}

fn id_of(id: *const rqb_connection_id, what: &'static str) -> Outcome<ConnectionId<'static>> {
    // SAFETY: the caller of the exported function vouches for its pointers.
    let id = unsafe { id.as_ref() }
        .ok_or_else(|| Failure::argument(format!("{what}: the connection id is null")))?;
    let bytes = id.get().ok_or_else(|| {
        Failure::argument(format!(
            "{what}: a connection id of {} bytes; 20 are the most",
            id.size
        ))
    })?;
    Ok(ConnectionId::from_vec(bytes.to_vec()))
}

/// # Safety
/// `address` is null or points at an address.
pub unsafe fn address_of(
    address: *const rqb_address,
    what: &'static str,
) -> Outcome<std::net::SocketAddr> {
    let address = address
        .as_ref()
        .ok_or_else(|| Failure::argument(format!("{what}: the address is null")))?;
    address.to_socket().ok_or_else(|| {
        Failure::argument(format!(
            "{what}: the address has the unknown family {}",
            address.family
        ))
    })
}

impl rqb_connection {
    fn new(mut quiche: quiche::Connection<Factory>, config: &rqb_config) -> Self {
        // The handshake's configuration is half of a kilobyte that nobody needs once the handshake
        // is over.
        // SAFETY: the pointer is quiche's own and lives as long as the connection.
        unsafe {
            let ssl: &mut boring::ssl::SslRef = quiche.as_mut();
            boring_sys::SSL_set_shed_handshake_config(ssl.as_ptr(), 1);
        }
        Self {
            quiche,
            poisoned: false,
            is_server: config.is_server,
            evidence: None,
            alpn: Arc::clone(&config.alpn),
            max_payload: config.max_send_payload,
            probes_mtu: config.probes_mtu,
            held: None,
            next_bidi: 0,
            next_uni: 0,
            parked: StreamSet::default(),
            rearmed: StreamSet::default(),
            discarding: StreamSet::default(),
            stopped: Vec::new(),
            uni_stops_left: config.uni_stops,
            stopped_by_peer: StreamMap::default(),
            stops_to_name: Vec::new(),
            released: Vec::new(),
            idle_timeout_ms: config.idle_timeout_ms,
            lone_fins: LoneFins::default(),
        }
    }

    /// Runs a step in which TLS may refuse something, and keeps its reason.
    pub fn watch_handshake<T>(
        &mut self,
        step: impl FnOnce(&mut quiche::Connection<Factory>) -> T,
    ) -> T {
        if self.quiche.is_established() {
            return step(&mut self.quiche);
        }
        evidence::clear();
        let result = step(&mut self.quiche);
        if self.evidence.is_none() {
            if let Some(error) = self.quiche.local_error().filter(|error| !error.is_app) {
                self.evidence = evidence::take(error.error_code, &self.alpn).map(Box::new);
            }
        }
        result
    }
}

fn connect(
    config: &mut rqb_config,
    name: &str,
    scid: &ConnectionId<'_>,
    local: std::net::SocketAddr,
    peer: std::net::SocketAddr,
) -> Outcome<rqb_connection> {
    if config.is_server {
        return Err(Failure::argument("the configuration is a server's"));
    }
    if name.is_empty() && config.checks_name {
        return Err(Failure::argument(
            "server_name: verification needs the name that the certificate must bear",
        ));
    }
    // RFC 6066 section 3: "Literal IPv4 and IPv6 addresses are not permitted in 'HostName'"; they
    // are checked against the certificate's IP addresses instead.
    let ip = ip_literal(name);
    let host = (ip.is_none() && !name.is_empty()).then(|| name.trim_end_matches('.'));
    let mut quiche =
        quiche::connect_with_buffer_factory(host, scid, local, peer, &mut config.quiche)?;
    if let Some(ip) = ip {
        let ssl: &mut boring::ssl::SslRef = quiche.as_mut();
        ssl.verify_param_mut()
            .set_ip(ip)
            .map_err(|stack| Failure::tls("server_name", &stack))?;
    }
    Ok(rqb_connection::new(quiche, config))
}

/// A client's connection, or null with the reason in `rqb_last_error`.
///
/// # Safety
/// Pointers are null or valid for the call; `config` belongs to this thread.
#[no_mangle]
pub unsafe extern "C" fn rqb_connect(
    config: *mut rqb_config,
    server_name: rqb_bytes,
    scid: *const rqb_connection_id,
    local: *const rqb_address,
    peer: *const rqb_address,
) -> *mut rqb_connection {
    let mut made = std::ptr::null_mut();
    guard(c"rqb_connect", || {
        let config = config
            .as_mut()
            .ok_or_else(|| Failure::argument("the configuration is null"))?;
        let name = server_name
            .get()
            .and_then(|name| std::str::from_utf8(name).ok())
            .ok_or_else(|| Failure::argument("server_name: it is not UTF-8 text"))?;
        let scid = id_of(scid, "scid")?;
        let local = address_of(local, "local")?;
        let peer = address_of(peer, "peer")?;
        made = Box::into_raw(Box::new(connect(config, name, &scid, local, peer)?));
        Ok(RQB_OK)
    });
    made
}

/// A server's connection, or null with the reason in `rqb_last_error`. `original_dcid` only after a
/// Retry.
///
/// # Safety
/// Pointers are null or valid for the call; `config` belongs to this thread.
#[no_mangle]
pub unsafe extern "C" fn rqb_accept(
    config: *mut rqb_config,
    scid: *const rqb_connection_id,
    original_dcid: *const rqb_connection_id,
    local: *const rqb_address,
    peer: *const rqb_address,
) -> *mut rqb_connection {
    let mut made = std::ptr::null_mut();
    guard(c"rqb_accept", || {
        let config = config
            .as_mut()
            .ok_or_else(|| Failure::argument("the configuration is null"))?;
        if !config.is_server {
            return Err(Failure::argument("the configuration is a client's"));
        }
        let scid = id_of(scid, "scid")?;
        let original = match original_dcid.is_null() {
            true => None,
            false => Some(id_of(original_dcid, "original_dcid")?),
        };
        let local = address_of(local, "local")?;
        let peer = address_of(peer, "peer")?;
        let quiche = quiche::accept_with_buf_factory(
            &scid,
            original.as_ref(),
            local,
            peer,
            &mut config.quiche,
        )?;
        made = Box::into_raw(Box::new(rqb_connection::new(quiche, config)));
        Ok(RQB_OK)
    });
    made
}

/// Frees a connection; blocks that it still holds are released now.
///
/// # Safety
/// `connection` is null or came from `rqb_connect` or `rqb_accept` and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn rqb_free(connection: *mut rqb_connection) {
    if connection.is_null() {
        record(c"rqb_free", Failure::argument("the connection is null"));
        return;
    }
    guard(c"rqb_free", || {
        drop(Box::from_raw(connection));
        Ok(RQB_OK)
    });
}

/// Feeds one datagram, which is decrypted in place. A failure has closed the connection: what is to
/// be sent says why.
///
/// # Safety
/// `data` points at `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn rqb_recv(
    connection: *mut rqb_connection,
    data: *mut u8,
    size: usize,
    from: *const rqb_address,
    to: *const rqb_address,
) -> i32 {
    with(connection, c"rqb_recv", |connection| {
        let data = slice_of_mut(data, size)
            .ok_or_else(|| Failure::argument("a null pointer with a length"))?;
        let info = RecvInfo {
            from: address_of(from, "from")?,
            to: address_of(to, "to")?,
        };
        let before = connection.before_input();
        buffers::watch_releases(std::mem::take(&mut connection.released));
        let outcome = connection.watch_handshake(|quiche| quiche.recv(data, info));
        connection.released = buffers::watched_releases();
        connection.find_stops();
        connection.reap_stopped();
        connection.after_input(before);
        outcome?;
        Ok(RQB_OK)
    })
}

/// Runs quiche's timers that are due by now.
///
/// # Safety
/// `connection` as above.
#[no_mangle]
pub unsafe extern "C" fn rqb_on_timeout(connection: *mut rqb_connection) -> i32 {
    with(connection, c"rqb_on_timeout", |connection| {
        connection.quiche.on_timeout();
        connection.expire_holds();
        Ok(RQB_OK)
    })
}

/// Closes. `RQB_DONE` when it was closed already.
///
/// # Safety
/// `reason` holds for the call.
#[no_mangle]
pub unsafe extern "C" fn rqb_close(
    connection: *mut rqb_connection,
    is_application: u8,
    code: u64,
    reason: rqb_bytes,
) -> i32 {
    with(connection, c"rqb_close", |connection| {
        let reason = reason
            .get()
            .ok_or_else(|| Failure::argument("reason: a null pointer with a length"))?;
        // RFC 9000 section 16: a code is a variable-length integer.
        if code >= 1 << 62 {
            return Err(Failure::argument(format!("code: {code} is above 2^62 - 1")));
        }
        let outcome = connection.quiche.close(is_application != 0, code, reason);
        connection.release_if_ended();
        match outcome {
            Ok(()) => Ok(RQB_OK),
            Err(quiche::Error::Done) => Ok(RQB_DONE),
            Err(error) => Err(error.into()),
        }
    })
}

/// All that a cycle asks, in one call.
///
/// # Safety
/// `out` is null or points at an `rqb_snapshot`.
#[no_mangle]
pub unsafe extern "C" fn rqb_snapshot_of(
    connection: *mut rqb_connection,
    out: *mut rqb_snapshot,
) -> i32 {
    with(connection, c"rqb_snapshot_of", |connection| {
        let quiche = &connection.quiche;
        let timeout = quiche.timeout_instant();
        let deadline = match connection.lone_fins.deadline() {
            None => timeout,
            Some(_) if connection.has_ended() => timeout,
            Some(hold) => Some(timeout.map_or(hold, |timeout| timeout.min(hold))),
        };
        let snapshot = rqb_snapshot {
            deadline_ns: clock::to_ns(deadline),
            streams_left_bidi: quiche.peer_streams_left_bidi(),
            streams_left_uni: quiche.peer_streams_left_uni(),
            source_ids_left: quiche.scids_left() as u64,
            is_established: quiche.is_established().into(),
            is_draining: quiche.is_draining().into(),
            is_closed: quiche.is_closed().into(),
            is_closing: quiche.local_error().is_some().into(),
            is_timed_out: quiche.is_timed_out().into(),
            is_resumed: quiche.is_resumed().into(),
            is_in_early_data: quiche.is_in_early_data().into(),
            is_readable: quiche.is_readable().into(),
        };
        give(out, snapshot)
    })
}

/// Makes the next packet ack-eliciting: a PING if there is nothing else.
///
/// # Safety
/// `connection` as above.
#[no_mangle]
pub unsafe extern "C" fn rqb_send_ack_eliciting(connection: *mut rqb_connection) -> i32 {
    with(connection, c"rqb_send_ack_eliciting", |connection| {
        connection.quiche.send_ack_eliciting()?;
        Ok(RQB_OK)
    })
}
