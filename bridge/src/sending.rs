//! Output in the shape of UDP_SEGMENT: equal packets of one path, the last one possibly shorter.
//!
//! quiche writes one packet a call and cannot be asked for its size beforehand. So packets are
//! written one behind the other into the caller's buffer, each with room for the longest; one that
//! does not fit the batch (longer than its neighbours, another path, another release time) is kept
//! and opens the next batch. Limiting the room instead would cut Initial packets below their 1200
//! bytes and split stream data. A path-MTU probe goes alone, for the kernel may refuse the whole
//! batch for it.

use std::time::Duration;
use std::time::Instant;

use quiche::SendInfo;

use crate::abi::*;
use crate::clock;
use crate::connection::rqb_connection;
use crate::fault::give;
use crate::fault::with;
use crate::fault::Failure;
use crate::fault::Outcome;

/// A packet that waits for the next batch.
pub struct Held {
    bytes: Box<[u8]>,
    info: SendInfo,
}

/// What one sendmsg carries: 65,535 bytes of IP datagram less 20 of IPv4 and 8 of UDP header.
const MAX_BATCH: usize = 65_507;
/// Packets that are released within this time are released together (quiche's own threshold).
const RELEASE_THRESHOLD: Duration = Duration::from_micros(50);
/// The least that a path must carry (RFC 9000 section 14): below it nothing is probed.
const MIN_PAYLOAD: usize = 1200;

impl rqb_connection {
    /// One packet, whether just written or held from before.
    fn next_packet(&mut self, room: &mut [u8]) -> Outcome<Option<(usize, SendInfo)>> {
        if let Some(held) = self.held.take() {
            let size = held.bytes.len();
            room[..size].copy_from_slice(&held.bytes);
            return Ok(Some((size, held.info)));
        }
        // A failing TLS step sets quiche's error; the second call writes the CONNECTION_CLOSE that
        // tells the peer.
        for _ in 0..2 {
            match self.watch_handshake(|quiche| quiche.send(room)) {
                Ok((size, info)) => return Ok(Some((size, info))),
                Err(quiche::Error::Done) => {
                    self.after_last_packet();
                    return Ok(None);
                }
                Err(error) => {
                    if self.quiche.local_error().is_none() {
                        // 0x1: INTERNAL_ERROR (RFC 9000 section 20.1)
                        self.quiche.close(false, 0x1, b"").or(Err(error))?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether a packet is longer than what its path is known to carry.
    fn is_probe(&self, size: usize, info: &SendInfo) -> bool {
        if !self.probes_mtu || size <= MIN_PAYLOAD || self.quiche.pmtu().is_some() {
            return false;
        }
        self.quiche
            .path_stats()
            .find(|path| path.local_addr == info.from && path.peer_addr == info.to)
            .is_some_and(|path| size > path.pmtu)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Outcome<Option<rqb_batch>> {
        let limit = buffer.len().min(MAX_BATCH);
        if limit < self.max_payload {
            return Err(Failure::new(
                RQB_E_SPACE,
                RQB_FAULT_CALLER,
                format!(
                    "the buffer has {limit} bytes, a packet up to {}",
                    self.max_payload
                ),
            ));
        }
        let Some((segment, first)) = self.next_packet(&mut buffer[..limit])? else {
            return Ok(None);
        };
        let is_paced = self.quiche.gcongestion_enabled().unwrap_or(false);
        let mut batch = rqb_batch {
            bytes: segment,
            segment,
            packets: 1,
            local: rqb_address::from_socket(first.from),
            peer: rqb_address::from_socket(first.to),
            release_ns: if is_paced {
                clock::to_ns(Some(first.at))
            } else {
                0
            },
        };
        if self.is_probe(segment, &first) {
            return Ok(Some(batch));
        }
        while batch.packets < RQB_MAX_SEGMENTS && limit - batch.bytes >= self.max_payload {
            let room = &mut buffer[batch.bytes..limit];
            let Some((size, info)) = self.next_packet(room)? else {
                break;
            };
            let is_later =
                is_paced && info.at.saturating_duration_since(first.at) > RELEASE_THRESHOLD;
            if size > segment || info.from != first.from || info.to != first.to || is_later {
                self.held = Some(Box::new(Held {
                    bytes: room[..size].into(),
                    info,
                }));
                break;
            }
            batch.bytes += size;
            batch.packets += 1;
            if size < segment {
                break;
            }
        }
        Ok(Some(batch))
    }
}

/// Fills `buffer` with one batch. `RQB_DONE` when there is nothing to send. The buffer holds at
/// least `max_send_payload` bytes.
///
/// # Safety
/// `buffer` points at `size` writable bytes; `out` is null or points at an `rqb_batch`.
#[no_mangle]
pub unsafe extern "C" fn rqb_send_batch(
    connection: *mut rqb_connection,
    buffer: *mut u8,
    size: usize,
    out: *mut rqb_batch,
) -> i32 {
    with(connection, c"rqb_send_batch", |connection| {
        let buffer = slice_of_mut(buffer, size)
            .ok_or_else(|| Failure::argument("a null pointer with a length"))?;
        if out.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        match connection.fill(buffer)? {
            None => Ok(RQB_DONE),
            Some(batch) => give(out, batch),
        }
    })
}

/// When a pacing congestion control wants its next packet to leave, in nanoseconds of
/// CLOCK_MONOTONIC; 0 for now.
///
/// # Safety
/// `out` is null or points at an `int64_t`.
#[no_mangle]
pub unsafe extern "C" fn rqb_release_time(connection: *mut rqb_connection, out: *mut i64) -> i32 {
    with(connection, c"rqb_release_time", |connection| {
        let quiche = &connection.quiche;
        if !quiche.gcongestion_enabled().unwrap_or(false) {
            return give(out, 0);
        }
        let release = quiche
            .get_next_release_time()
            .and_then(|decision| decision.time(Instant::now()));
        give(out, release.map_or(0, |at| clock::to_ns(Some(at))))
    })
}
