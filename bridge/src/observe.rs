//! What can be seen of a connection: why it ended, who is there, statistics, connection ids.

use std::time::Duration;

use quiche::ConnectionId;

use crate::abi::*;
use crate::connection::rqb_connection;
use crate::fault::give;
use crate::fault::with;
use crate::fault::Failure;

fn close_info(error: Option<&quiche::ConnectionError>) -> rqb_close_info {
    match error {
        None => rqb_close_info {
            code: 0,
            reason: rqb_bytes::EMPTY,
            present: 0,
            is_application: 0,
        },
        Some(error) => rqb_close_info {
            code: error.error_code,
            reason: rqb_bytes::of(&error.reason),
            present: 1,
            is_application: error.is_app.into(),
        },
    }
}

/// The CONNECTION_CLOSE that we sent, or are about to. The reason holds until the next call on the
/// connection.
///
/// # Safety
/// `out` is null or points at an `rqb_close_info`.
#[no_mangle]
pub unsafe extern "C" fn rqb_local_error(
    connection: *mut rqb_connection,
    out: *mut rqb_close_info,
) -> i32 {
    with(connection, c"rqb_local_error", |connection| {
        give(out, close_info(connection.quiche.local_error()))
    })
}

/// The CONNECTION_CLOSE that the peer sent. The reason holds until the next call on the connection.
///
/// # Safety
/// `out` is null or points at an `rqb_close_info`.
#[no_mangle]
pub unsafe extern "C" fn rqb_peer_error(
    connection: *mut rqb_connection,
    out: *mut rqb_close_info,
) -> i32 {
    with(connection, c"rqb_peer_error", |connection| {
        give(out, close_info(connection.quiche.peer_error()))
    })
}

/// Why TLS refused, in words. The text holds until the next call on the connection.
///
/// # Safety
/// `out` is null or points at an `rqb_evidence`.
#[no_mangle]
pub unsafe extern "C" fn rqb_evidence_of(
    connection: *mut rqb_connection,
    out: *mut rqb_evidence,
) -> i32 {
    with(connection, c"rqb_evidence_of", |connection| {
        let evidence = match &connection.evidence {
            None => rqb_evidence {
                text: rqb_bytes::EMPTY,
                kind: RQB_EVIDENCE_NONE,
            },
            Some(evidence) => rqb_evidence {
                text: rqb_bytes::of(evidence.text.as_bytes()),
                kind: evidence.kind,
            },
        };
        give(out, evidence)
    })
}

/// Names of the handshake. Pointers hold until the next call on the connection.
///
/// # Safety
/// `out` is null or points at an `rqb_info`.
#[no_mangle]
pub unsafe extern "C" fn rqb_info_of(connection: *mut rqb_connection, out: *mut rqb_info) -> i32 {
    with(connection, c"rqb_info_of", |connection| {
        let quiche = &connection.quiche;
        let info = rqb_info {
            alpn: rqb_bytes::of(quiche.application_proto()),
            server_name: rqb_bytes::of(quiche.server_name().unwrap_or_default().as_bytes()),
            trace_id: rqb_bytes::of(quiche.trace_id().as_bytes()),
            peer_certificates: quiche.peer_cert_chain().map_or(0, |chain| chain.len()),
            is_resumed: quiche.is_resumed().into(),
            is_server: connection.is_server.into(),
        };
        give(out, info)
    })
}

/// One certificate of the peer's chain as DER, leaf first. It holds until the next call on the
/// connection.
///
/// # Safety
/// `out` is null or points at an `rqb_bytes`.
#[no_mangle]
pub unsafe extern "C" fn rqb_peer_certificate(
    connection: *mut rqb_connection,
    index: usize,
    out: *mut rqb_bytes,
) -> i32 {
    with(connection, c"rqb_peer_certificate", |connection| {
        let chain = connection.quiche.peer_cert_chain().unwrap_or_default();
        match chain.get(index) {
            Some(der) => give(out, rqb_bytes::of(der)),
            None => Err(Failure::argument(format!(
                "index: {index}; the chain has {} certificates",
                chain.len()
            ))),
        }
    })
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// quiche's counters.
///
/// # Safety
/// `out` is null or points at an `rqb_stats`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stats_of(connection: *mut rqb_connection, out: *mut rqb_stats) -> i32 {
    with(connection, c"rqb_stats_of", |connection| {
        let stats = connection.quiche.stats();
        let stats = rqb_stats {
            packets_received: stats.recv as u64,
            packets_sent: stats.sent as u64,
            packets_lost: stats.lost as u64,
            packets_lost_spuriously: stats.spurious_lost as u64,
            packets_retransmitted: stats.retrans as u64,
            bytes_sent: stats.sent_bytes,
            bytes_received: stats.recv_bytes,
            bytes_acknowledged: stats.acked_bytes,
            bytes_lost: stats.lost_bytes,
            stream_bytes_retransmitted: stats.stream_retrans_bytes,
            datagrams_sent: stats.dgram_sent as u64,
            datagrams_received: stats.dgram_recv as u64,
            paths: stats.paths_count as u64,
            streams_reset_by_us: stats.reset_stream_count_local,
            streams_stopped_by_us: stats.stopped_stream_count_local,
            streams_reset_by_peer: stats.reset_stream_count_remote,
            streams_stopped_by_peer: stats.stopped_stream_count_remote,
            data_blocked_sent: stats.data_blocked_sent_count,
            stream_data_blocked_sent: stats.stream_data_blocked_sent_count,
            data_blocked_received: stats.data_blocked_recv_count,
            stream_data_blocked_received: stats.stream_data_blocked_recv_count,
            streams_blocked_bidi_received: stats.streams_blocked_bidi_recv_count,
            streams_blocked_uni_received: stats.streams_blocked_uni_recv_count,
            path_challenges_received: stats.path_challenge_rx_count,
            bytes_in_flight_duration_ns: ns(stats.bytes_in_flight_duration),
        };
        give(out, stats)
    })
}

/// quiche's counters of each path: at most `capacity` of them, and how many there are.
///
/// # Safety
/// `out` points at `capacity` places; `count` is null or points at a `size_t`.
#[no_mangle]
pub unsafe extern "C" fn rqb_path_stats_of(
    connection: *mut rqb_connection,
    out: *mut rqb_path_stats,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    with(connection, c"rqb_path_stats_of", |connection| {
        if capacity > 0 && out.is_null() {
            return Err(Failure::argument("a null pointer with a capacity"));
        }
        let mut paths = 0;
        for path in connection.quiche.path_stats() {
            if paths < capacity {
                let stats = rqb_path_stats {
                    local: rqb_address::from_socket(path.local_addr),
                    peer: rqb_address::from_socket(path.peer_addr),
                    packets_received: path.recv as u64,
                    packets_sent: path.sent as u64,
                    packets_lost: path.lost as u64,
                    packets_retransmitted: path.retrans as u64,
                    pto_count: path.total_pto_count as u64,
                    rtt_ns: ns(path.rtt),
                    min_rtt_ns: ns(path.min_rtt.unwrap_or_default()),
                    max_rtt_ns: ns(path.max_rtt.unwrap_or_default()),
                    rtt_variance_ns: ns(path.rttvar),
                    congestion_window: path.cwnd as u64,
                    bytes_sent: path.sent_bytes,
                    bytes_received: path.recv_bytes,
                    bytes_lost: path.lost_bytes,
                    stream_bytes_retransmitted: path.stream_retrans_bytes,
                    mtu: path.pmtu as u64,
                    delivery_rate: path.delivery_rate,
                    is_active: path.active.into(),
                };
                out.add(paths).write(stats);
            }
            paths += 1;
        }
        give(count, paths)
    })
}

/// Our connection ids in use: at most `capacity` of them, and how many there are.
///
/// # Safety
/// `out` points at `capacity` places; `count` is null or points at a `size_t`.
#[no_mangle]
pub unsafe extern "C" fn rqb_source_ids(
    connection: *mut rqb_connection,
    out: *mut rqb_connection_id,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    with(connection, c"rqb_source_ids", |connection| {
        if capacity > 0 && out.is_null() {
            return Err(Failure::argument("a null pointer with a capacity"));
        }
        let mut ids = 0;
        for id in connection.quiche.source_ids() {
            if ids < capacity {
                out.add(ids).write(rqb_connection_id::from_slice(id));
            }
            ids += 1;
        }
        give(count, ids)
    })
}

/// Gives the peer one more connection id of ours, with its stateless-reset token of 16 bytes.
/// `RQB_DONE` when the limit is reached.
///
/// # Safety
/// `id` is null or points at an id; `reset_token` is null or points at 16 bytes.
#[no_mangle]
pub unsafe extern "C" fn rqb_new_source_id(
    connection: *mut rqb_connection,
    id: *const rqb_connection_id,
    reset_token: *const u8,
) -> i32 {
    with(connection, c"rqb_new_source_id", |connection| {
        let id = id
            .as_ref()
            .and_then(rqb_connection_id::get)
            .ok_or_else(|| Failure::argument("the connection id is null or too long"))?;
        if reset_token.is_null() {
            return Err(Failure::argument("the reset token is null"));
        }
        let token = u128::from_be_bytes(reset_token.cast::<[u8; 16]>().read());
        let id = ConnectionId::from_ref(id);
        match connection.quiche.new_scid(&id, token, false) {
            Ok(_) => Ok(RQB_OK),
            Err(quiche::Error::IdLimit) => Ok(RQB_DONE),
            Err(error) => Err(error.into()),
        }
    })
}

/// An id of ours that the peer has retired, one a call. `RQB_DONE` when there is none.
///
/// # Safety
/// `out` is null or points at an `rqb_connection_id`.
#[no_mangle]
pub unsafe extern "C" fn rqb_retired_id_next(
    connection: *mut rqb_connection,
    out: *mut rqb_connection_id,
) -> i32 {
    with(connection, c"rqb_retired_id_next", |connection| {
        if out.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        match connection.quiche.retired_scid_next() {
            Some(id) => give(out, rqb_connection_id::from_slice(&id)),
            None => Ok(RQB_DONE),
        }
    })
}
