//! The plain types that cross the border, one for one with `include/riffle_bridge.h` (checked by
//! `check_abi.py`).

use std::ffi::c_char;
use std::ffi::c_void;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;

pub const RQB_OK: i32 = 0;
pub const RQB_DONE: i32 = 1;
pub const RQB_E_ARGUMENT: i32 = -1;
pub const RQB_E_OPTION: i32 = -2;
pub const RQB_E_FILE: i32 = -3;
pub const RQB_E_CERTIFICATE: i32 = -4;
pub const RQB_E_TLS: i32 = -5;
pub const RQB_E_PANIC: i32 = -6;
pub const RQB_E_SPACE: i32 = -7;
pub const RQB_E_VERSION: i32 = -8;
pub const RQB_E_STATE: i32 = -9;
pub const RQB_E_STREAM: i32 = -10;
pub const RQB_E_STOPPED: i32 = -11;
pub const RQB_E_RESET: i32 = -12;
pub const RQB_E_LIMIT: i32 = -13;
pub const RQB_E_PROTOCOL: i32 = -14;
pub const RQB_E_CRYPTO: i32 = -15;
pub const RQB_E_INTERNAL: i32 = -16;

pub const RQB_FAULT_NOBODY: u8 = 0;
pub const RQB_FAULT_CALLER: u8 = 1;
pub const RQB_FAULT_PEER: u8 = 2;
pub const RQB_FAULT_MACHINE: u8 = 3;
pub const RQB_FAULT_BRIDGE: u8 = 4;

pub const RQB_OFFER_TAKEN: u8 = 0;
pub const RQB_OFFER_BLOCKED: u8 = 1;
pub const RQB_OFFER_STOPPED: u8 = 2;
pub const RQB_OFFER_GONE: u8 = 3;

pub const RQB_READ_DATA: u8 = 0;
pub const RQB_READ_NOTHING: u8 = 1;
pub const RQB_READ_RESET: u8 = 2;
pub const RQB_READ_GONE: u8 = 3;

pub const RQB_EVIDENCE_NONE: u8 = 0;
pub const RQB_EVIDENCE_CERTIFICATE: u8 = 1;
pub const RQB_EVIDENCE_PIN: u8 = 2;
pub const RQB_EVIDENCE_ALPN: u8 = 3;
pub const RQB_EVIDENCE_TLS: u8 = 4;

pub const RQB_NO_STREAM: u64 = u64::MAX;
pub const RQB_NEVER: i64 = i64::MAX;
pub const RQB_SENTENCE_SIZE: usize = 512;
pub const RQB_MAX_SEGMENTS: usize = 64;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_bytes {
    pub data: *const u8,
    pub size: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_error {
    pub operation: *const c_char,
    pub code: i32,
    pub system: i32,
    pub detail: u64,
    pub fault: u8,
    pub sentence: [c_char; RQB_SENTENCE_SIZE],
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct rqb_address {
    pub bytes: [u8; 16],
    pub scope: u32,
    pub port: u16,
    pub family: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct rqb_connection_id {
    pub bytes: [u8; 20],
    pub size: u8,
}

pub type rqb_retain = Option<unsafe extern "C" fn(owner: *mut c_void)>;
pub type rqb_release = Option<unsafe extern "C" fn(owner: *mut c_void)>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_certificate {
    pub name: rqb_bytes,
    pub chain_file: rqb_bytes,
    pub key_file: rqb_bytes,
    pub chain_pem: rqb_bytes,
    pub key_pem: rqb_bytes,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_options {
    pub is_server: u8,
    pub path_mtu_discovery: u8,
    pub disable_active_migration: u8,
    pub grease: u8,
    pub trust_given: u8,
    pub insecure: u8,
    pub system_store: u8,
    pub ack_delay_exponent: u8,
    pub version: u32,
    pub initial_window_packets: u32,
    pub idle_timeout_ms: u64,
    pub max_ack_delay_ms: u64,
    pub max_streams_bidi: u64,
    pub max_streams_uni: u64,
    pub stream_window: u64,
    pub connection_window: u64,
    pub max_stream_window: u64,
    pub max_connection_window: u64,
    pub max_receive_payload: u64,
    pub max_send_payload: u64,
    pub active_connection_id_limit: u64,
    pub congestion_control: rqb_bytes,
    pub key_log_file: rqb_bytes,
    pub alpn: *const rqb_bytes,
    pub alpn_count: usize,
    pub certificates: *const rqb_certificate,
    pub certificate_count: usize,
    pub ca_file: rqb_bytes,
    pub ca_directory: rqb_bytes,
    pub ca_pem: rqb_bytes,
    pub pins: *const rqb_bytes,
    pub pin_count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_snapshot {
    pub deadline_ns: i64,
    pub streams_left_bidi: u64,
    pub streams_left_uni: u64,
    pub source_ids_left: u64,
    pub is_established: u8,
    pub is_draining: u8,
    pub is_closed: u8,
    pub is_closing: u8,
    pub is_timed_out: u8,
    pub is_resumed: u8,
    pub is_in_early_data: u8,
    pub is_readable: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_batch {
    pub bytes: usize,
    pub segment: usize,
    pub packets: usize,
    pub local: rqb_address,
    pub peer: rqb_address,
    pub release_ns: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_offered {
    pub size: usize,
    pub code: u64,
    pub status: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_read {
    pub size: usize,
    pub code: u64,
    pub status: u8,
    pub fin: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_close_info {
    pub code: u64,
    pub reason: rqb_bytes,
    pub present: u8,
    pub is_application: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_evidence {
    pub text: rqb_bytes,
    pub kind: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct rqb_info {
    pub alpn: rqb_bytes,
    pub server_name: rqb_bytes,
    pub trace_id: rqb_bytes,
    pub peer_certificates: usize,
    pub is_resumed: u8,
    pub is_server: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct rqb_stats {
    pub packets_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub packets_lost_spuriously: u64,
    pub packets_retransmitted: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub bytes_acknowledged: u64,
    pub bytes_lost: u64,
    pub stream_bytes_retransmitted: u64,
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    pub paths: u64,
    pub streams_reset_by_us: u64,
    pub streams_stopped_by_us: u64,
    pub streams_reset_by_peer: u64,
    pub streams_stopped_by_peer: u64,
    pub data_blocked_sent: u64,
    pub stream_data_blocked_sent: u64,
    pub data_blocked_received: u64,
    pub stream_data_blocked_received: u64,
    pub streams_blocked_bidi_received: u64,
    pub streams_blocked_uni_received: u64,
    pub path_challenges_received: u64,
    pub bytes_in_flight_duration_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct rqb_path_stats {
    pub local: rqb_address,
    pub peer: rqb_address,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub packets_lost: u64,
    pub packets_retransmitted: u64,
    pub pto_count: u64,
    pub rtt_ns: u64,
    pub min_rtt_ns: u64,
    pub max_rtt_ns: u64,
    pub rtt_variance_ns: u64,
    pub congestion_window: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub bytes_lost: u64,
    pub stream_bytes_retransmitted: u64,
    pub mtu: u64,
    pub delivery_rate: u64,
    pub is_active: u8,
}

pub const FAMILY_IPV4: u8 = 1;
pub const FAMILY_IPV6: u8 = 2;

impl rqb_bytes {
    pub const EMPTY: Self = Self {
        data: std::ptr::null(),
        size: 0,
    };

    pub fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::EMPTY;
        }
        Self {
            data: bytes.as_ptr(),
            size: bytes.len(),
        }
    }

    /// The bytes behind it, or `None` when the pointer and the length contradict each other.
    ///
    /// # Safety
    /// A non-null `data` points at `size` readable bytes that outlive the result.
    pub unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        slice_of(self.data, self.size)
    }
}

/// A slice from a pointer and a length of C: null is good with a length of 0 only.
///
/// # Safety
/// As `std::slice::from_raw_parts`.
pub unsafe fn slice_of<'a, T>(data: *const T, size: usize) -> Option<&'a [T]> {
    if size == 0 {
        return Some(&[]);
    }
    if data.is_null() || size > isize::MAX as usize / std::mem::size_of::<T>() {
        return None;
    }
    Some(std::slice::from_raw_parts(data, size))
}

/// The same for memory that is written to.
///
/// # Safety
/// As `std::slice::from_raw_parts_mut`.
pub unsafe fn slice_of_mut<'a>(data: *mut u8, size: usize) -> Option<&'a mut [u8]> {
    if size == 0 {
        return Some(&mut []);
    }
    if data.is_null() || size > isize::MAX as usize {
        return None;
    }
    Some(std::slice::from_raw_parts_mut(data, size))
}

impl rqb_address {
    pub fn to_socket(self) -> Option<SocketAddr> {
        match self.family {
            FAMILY_IPV4 => {
                let [a, b, c, d, ..] = self.bytes;
                Some(SocketAddr::V4(SocketAddrV4::new(
                    Ipv4Addr::new(a, b, c, d),
                    self.port,
                )))
            }
            FAMILY_IPV6 => Some(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(self.bytes),
                self.port,
                0,
                self.scope,
            ))),
            _ => None,
        }
    }

    pub fn from_socket(address: SocketAddr) -> Self {
        let mut out = Self {
            port: address.port(),
            ..Self::default()
        };
        match address {
            SocketAddr::V4(v4) => {
                out.family = FAMILY_IPV4;
                out.bytes[..4].copy_from_slice(&v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                out.family = FAMILY_IPV6;
                out.bytes = v6.ip().octets();
                out.scope = v6.scope_id();
            }
        }
        out
    }
}

/// An IP address written as a name, if it is one ("192.0.2.1", "2001:db8::1", "[2001:db8::1]").
pub fn ip_literal(name: &str) -> Option<IpAddr> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse().ok()
}

impl rqb_connection_id {
    pub fn get(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(self.size))
    }

    pub fn from_slice(id: &[u8]) -> Self {
        let mut out = Self::default();
        let size = id.len().min(out.bytes.len());
        out.bytes[..size].copy_from_slice(&id[..size]);
        out.size = size as u8;
        out
    }
}
