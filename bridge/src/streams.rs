//! Streams: opened, offered to, read, stopped, reset, and named when something can be done with
//! them.

use std::ffi::c_void;

use quiche::Error;
use quiche::Shutdown;

use crate::abi::*;
use crate::buffers::Buffer;
use crate::buffers::Lent;
use crate::buffers::HOOKS;
use crate::connection::rqb_connection;
use crate::fault::give;
use crate::fault::with;
use crate::fault::Failure;
use crate::fault::Outcome;

/// quiche's default (the middle of 0 to 255), and what `stream_priority` is given to create a
/// stream without data.
const DEFAULT_URGENCY: u8 = 127;

const fn is_bidi(id: u64) -> bool {
    id & 2 == 0
}

impl rqb_connection {
    fn is_local(&self, id: u64) -> bool {
        (id & 1 == 1) == self.is_server
    }

    /// No stream of a connection that has ended can move data.
    pub fn has_ended(&self) -> bool {
        self.quiche.is_closed() || self.quiche.is_draining() || self.quiche.local_error().is_some()
    }

    fn open(&mut self, bidi: bool) -> Outcome<Option<u64>> {
        let left = if bidi {
            self.quiche.peer_streams_left_bidi()
        } else {
            self.quiche.peer_streams_left_uni()
        };
        if left == 0 || self.has_ended() {
            return Ok(None);
        }
        let next = if bidi {
            &mut self.next_bidi
        } else {
            &mut self.next_uni
        };
        let id = *next << 2 | u64::from(!bidi) << 1 | u64::from(self.is_server);
        *next += 1;
        self.quiche.stream_priority(id, DEFAULT_URGENCY, true)?;
        Ok(Some(id))
    }

    fn ended(&mut self, id: u64, status: u8, code: u64) -> rqb_offered {
        self.rearmed.remove(&id);
        rqb_offered {
            size: 0,
            code,
            status,
        }
    }

    /// After a block quiche names the stream again; but its mark is gone if the stream was named
    /// before the connection's send capacity ran out. Setting it may announce DATA_BLOCKED, so it
    /// is done once a naming.
    fn rearm(&mut self, id: u64) {
        if self.rearmed.insert(id) {
            // Whatever it answers: the stream stays as it is.
            let _ = self.quiche.stream_writable(id, 1);
        }
    }

    /// An answer about a stream that goes on.
    const fn answered(size: usize, status: u8) -> rqb_offered {
        rqb_offered {
            size,
            code: 0,
            status,
        }
    }

    /// Offers `size` bytes, at most what the stream and the connection may take: quiche drops a
    /// buffer that it has no room for, and announces DATA_BLOCKED for a buffer beyond its window.
    fn offer(
        &mut self,
        id: u64,
        owner: *mut c_void,
        data: *const u8,
        size: usize,
        fin: bool,
    ) -> Outcome<rqb_offered> {
        if self.has_ended() || !(is_bidi(id) || self.is_local(id)) {
            return Ok(self.ended(id, RQB_OFFER_GONE, 0));
        }
        if let Some(code) = self.stopped_by_peer.remove(&id) {
            return Ok(self.ended(id, RQB_OFFER_STOPPED, code));
        }
        let capacity = match self.quiche.stream_capacity(id) {
            Ok(capacity) => capacity,
            Err(Error::StreamStopped(code)) => return Ok(self.ended(id, RQB_OFFER_STOPPED, code)),
            Err(Error::InvalidStreamState(_)) => return Ok(self.ended(id, RQB_OFFER_GONE, 0)),
            Err(error) => return Err(error.into()),
        };
        let taken = size.min(capacity);
        if taken < size && taken == 0 {
            self.rearm(id);
            return Ok(Self::answered(0, RQB_OFFER_BLOCKED));
        }
        let is_whole = taken == size;
        if size == 0 && !fin {
            return Ok(Self::answered(0, RQB_OFFER_TAKEN));
        }
        let is_lone_fin = size == 0;
        if is_lone_fin {
            self.hurry_fin(id);
        }
        // SAFETY: the caller of the exported function vouches for the bytes while the owner has
        // references.
        let buffer = Buffer::Lent(unsafe { Lent::new(owner, data, taken, id) });
        match self.quiche.stream_send_zc(id, buffer, fin && is_whole) {
            Ok((sent, _)) if sent == taken => {}
            Ok((sent, _)) => {
                return Err(Failure::new(
                    RQB_E_INTERNAL,
                    RQB_FAULT_BRIDGE,
                    format!("quiche took {sent} of {taken} bytes that it had room for"),
                ))
            }
            Err(Error::StreamStopped(code)) => return Ok(self.ended(id, RQB_OFFER_STOPPED, code)),
            // The sending side is over: our own fin or reset fixed the final size.
            Err(Error::FinalSize | Error::InvalidStreamState(_) | Error::Done) => {
                return Ok(self.ended(id, RQB_OFFER_GONE, 0))
            }
            Err(error) => return Err(error.into()),
        }
        if is_lone_fin {
            self.hold(id);
        }
        if !is_whole {
            self.rearm(id);
            return Ok(Self::answered(taken, RQB_OFFER_BLOCKED));
        }
        Ok(Self::answered(taken, RQB_OFFER_TAKEN))
    }

    fn read(&mut self, id: u64, to: &mut [u8]) -> Outcome<rqb_read> {
        let mut out = rqb_read {
            size: 0,
            code: 0,
            status: RQB_READ_NOTHING,
            fin: 0,
        };
        if !self.lone_fins.is_empty() {
            if let Some(read) = self.read_held(id, to)? {
                return Ok(read);
            }
        }
        let mut is_parked = false;
        match self.quiche.stream_recv(id, to) {
            Ok((size, fin)) => {
                out.size = size;
                out.fin = fin.into();
                if size > 0 || fin || to.is_empty() {
                    out.status = RQB_READ_DATA;
                }
                is_parked = !fin && size == to.len() && self.quiche.stream_readable(id);
            }
            Err(Error::Done) => {}
            Err(Error::StreamReset(code)) => {
                out.status = RQB_READ_RESET;
                out.code = code;
            }
            Err(Error::InvalidStreamState(_)) => out.status = RQB_READ_GONE,
            Err(error) => return Err(error.into()),
        }
        if is_parked {
            self.parked.insert(id);
        } else {
            self.parked.remove(&id);
        }
        Ok(out)
    }

    /// Throws away what has arrived on a stream. `true` when that was all there will be.
    fn discard(&mut self, id: u64) -> bool {
        loop {
            match self.quiche.stream_discard(id, usize::MAX) {
                Ok((_, true)) => return true,
                Ok((0, false)) | Err(Error::Done) => return false,
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }

    /// The next stream with something to read. quiche names a stream anew after each partial read;
    /// such a one is passed over until it was drained.
    fn next_readable(&mut self) -> Option<u64> {
        if let Some(id) = self.next_released() {
            return Some(id);
        }
        while let Some(id) = self.quiche.stream_readable_next() {
            if self.discarding.contains(&id) {
                if self.discard(id) {
                    self.discarding.remove(&id);
                }
                continue;
            }
            if !self.parked.contains(&id) {
                return Some(id);
            }
        }
        None
    }

    /// Stops reading. quiche 0.30.0 never collects a stream that was shut down for reading and is
    /// completed by what the peer sends afterwards, because it collects only on a read and on an
    /// acknowledgement. So:
    /// - what has arrived is thrown away first: a stream that is complete by then is collected;
    /// - a stream of two ways is watched, and collected by the acknowledgement of an empty frame
    ///   (`reap_stopped`);
    /// - a one-way stream of the peer cannot be collected and would keep its stream credit for
    ///   ever. A quarter of the credit is spent so; beyond it the stream is read and thrown away
    ///   instead, without STOP_SENDING.
    fn stop(&mut self, id: u64, code: u64) -> Outcome<i32> {
        self.parked.remove(&id);
        // The end of a held stream must not be reached, by discarding neither (`lone_fins.rs`): it is
        // shut down as it is.
        let is_held = !self.lone_fins.is_empty() && self.forget_hold(id);
        if self.discarding.contains(&id) || (!is_held && self.discard(id)) {
            return Ok(RQB_DONE);
        }
        let is_one_way = !is_bidi(id);
        if is_one_way && !self.is_local(id) && self.uni_stops_left == 0 {
            self.discarding.insert(id);
            return Ok(RQB_OK);
        }
        match self.quiche.stream_shutdown(id, Shutdown::Read, code) {
            Ok(()) if is_one_way => self.uni_stops_left -= 1,
            Ok(()) => self.stopped.push(id),
            Err(Error::Done) => return Ok(RQB_DONE),
            Err(error) => return Err(error.into()),
        }
        Ok(RQB_OK)
    }

    /// Has stopped streams collected that are complete: after the peer's last word, an empty frame
    /// with the fin is sent once more (a retransmission, as far as the peer can tell), and its
    /// acknowledgement makes quiche look at the stream.
    pub fn reap_stopped(&mut self) {
        let mut index = 0;
        while index < self.stopped.len() {
            let id = self.stopped[index];
            if !self.quiche.stream_closed(id) {
                index += 1;
                continue;
            }
            self.stopped.swap_remove(index);
            // A closed stream is marked writable only when the peer has stopped it and that was not
            // told yet. Touching it would collect it and lose the peer's code; the offer that
            // follows its naming collects it as well.
            if self.quiche.writable().any(|marked| marked == id) {
                continue;
            }
            // A stream that is collected already is another error, and fine.
            if let Err(Error::StreamStopped(code)) = self.quiche.stream_send(id, b"", true) {
                self.note_stop(id, code);
            }
        }
    }

    fn note_stop(&mut self, id: u64, code: u64) {
        if self.stopped_by_peer.insert(id, code).is_none() {
            self.stops_to_name.push(id);
        }
    }

    /// quiche names a stream that the peer has stopped only when it was full at that moment, or
    /// still bears its mark. But it has let go all that the stream had not yet been acknowledged,
    /// which the engine would take for acknowledged: so streams that let buffers go are asked. (A
    /// stream without such bytes learns of its stop by the next offer.)
    pub fn find_stops(&mut self) {
        let released = std::mem::take(&mut self.released);
        for id in &released {
            // A complete stream is collected by the question, so its code is kept.
            if let Err(Error::StreamStopped(code)) = self.quiche.stream_capacity(*id) {
                if !self.quiche.writable().any(|marked| marked == *id) {
                    self.note_stop(*id, code);
                }
            }
        }
        self.released = released;
    }

    fn reset(&mut self, id: u64, code: u64) -> Outcome<i32> {
        self.rearmed.remove(&id);
        match self.quiche.stream_shutdown(id, Shutdown::Write, code) {
            Ok(()) => Ok(RQB_OK),
            Err(Error::Done) => Ok(RQB_DONE),
            Err(error) => Err(error.into()),
        }
    }
}

fn check_code(code: u64) -> Outcome<()> {
    // RFC 9000 section 16: a code is a variable-length integer.
    if code >= 1 << 62 {
        return Err(Failure::argument(format!("code: {code} is above 2^62 - 1")));
    }
    Ok(())
}

/// Opens the next stream of ours. `RQB_DONE` when the peer's limit is reached.
///
/// # Safety
/// `out` is null or points at a `uint64_t`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_open(
    connection: *mut rqb_connection,
    is_bidirectional: u8,
    out: *mut u64,
) -> i32 {
    with(connection, c"rqb_stream_open", |connection| {
        if out.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        match connection.open(is_bidirectional != 0)? {
            Some(id) => give(out, id),
            None => Ok(RQB_DONE),
        }
    })
}

/// Offers bytes of `owner`'s without copying them, and the fin behind them. What is taken holds a
/// reference to `owner`.
///
/// # Safety
/// `data` points at `size` bytes that stay put while `owner` has references; `out` is null
/// or points at an `rqb_offered`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_offer(
    connection: *mut rqb_connection,
    id: u64,
    owner: *mut c_void,
    data: *const u8,
    size: usize,
    fin: u8,
    out: *mut rqb_offered,
) -> i32 {
    with(connection, c"rqb_stream_offer", |connection| {
        if out.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        if size > 0 && (data.is_null() || owner.is_null()) {
            return Err(Failure::argument("a null pointer with a length"));
        }
        if HOOKS.get().is_none() {
            return Err(Failure::argument("rqb_init has not been called"));
        }
        let offered = connection.offer(id, owner, data, size, fin != 0)?;
        give(out, offered)
    })
}

/// Reads in order. An empty `to` only looks: it tells of a reset.
///
/// # Safety
/// `to` points at `size` writable bytes; `out` is null or points at an `rqb_read`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_read(
    connection: *mut rqb_connection,
    id: u64,
    to: *mut u8,
    size: usize,
    out: *mut rqb_read,
) -> i32 {
    with(connection, c"rqb_stream_read", |connection| {
        let to = slice_of_mut(to, size)
            .ok_or_else(|| Failure::argument("a null pointer with a length"))?;
        if out.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        let read = connection.read(id, to)?;
        give(out, read)
    })
}

/// The next stream with something to read, or `RQB_NO_STREAM`. A stream is named once, and again
/// after it was drained.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_readable_next(connection: *mut rqb_connection) -> u64 {
    let mut named = RQB_NO_STREAM;
    with(connection, c"rqb_readable_next", |connection| {
        named = connection.next_readable().unwrap_or(RQB_NO_STREAM);
        Ok(RQB_OK)
    });
    named
}

/// The next stream that takes bytes or was stopped by the peer, or `RQB_NO_STREAM`.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_writable_next(connection: *mut rqb_connection) -> u64 {
    let mut named = RQB_NO_STREAM;
    with(connection, c"rqb_writable_next", |connection| {
        let stopped = connection.stops_to_name.pop();
        if let Some(id) = stopped.or_else(|| connection.quiche.stream_writable_next()) {
            connection.rearmed.remove(&id);
            named = id;
        }
        Ok(RQB_OK)
    });
    named
}

/// Asks the peer to stop sending, and throws away what has arrived. `RQB_DONE` when there was
/// nothing left to stop.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_stop(
    connection: *mut rqb_connection,
    id: u64,
    code: u64,
) -> i32 {
    with(connection, c"rqb_stream_stop", |connection| {
        check_code(code)?;
        connection.stop(id, code)
    })
}

/// Ends our sending side with RESET_STREAM. `RQB_DONE` when it was over.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_reset(
    connection: *mut rqb_connection,
    id: u64,
    code: u64,
) -> i32 {
    with(connection, c"rqb_stream_reset", |connection| {
        check_code(code)?;
        connection.reset(id, code)
    })
}

/// Sets a stream's urgency (lower is sooner) and whether it takes turns with others of the same
/// urgency.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_priority(
    connection: *mut rqb_connection,
    id: u64,
    urgency: u8,
    incremental: u8,
) -> i32 {
    with(connection, c"rqb_stream_priority", |connection| {
        // quiche would create a stream that does not exist.
        if let Err(Error::InvalidStreamState(_)) = connection.quiche.stream_capacity(id) {
            return Ok(RQB_DONE);
        }
        connection
            .quiche
            .stream_priority(id, urgency, incremental != 0)?;
        Ok(RQB_OK)
    })
}

/// 1 when all of the peer's data was read, or the stream is unknown; 0 when not; negative for a
/// failure.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_finished(connection: *mut rqb_connection, id: u64) -> i32 {
    with(connection, c"rqb_stream_finished", |connection| {
        Ok(connection.quiche.stream_finished(id).into())
    })
}

/// 1 when both sides of the stream are over, 0 when not or when it never was; negative for a
/// failure.
///
/// # Safety
/// `connection` came from `rqb_connect` or `rqb_accept`.
#[no_mangle]
pub unsafe extern "C" fn rqb_stream_closed(connection: *mut rqb_connection, id: u64) -> i32 {
    with(connection, c"rqb_stream_closed", |connection| {
        Ok(connection.quiche.stream_closed(id).into())
    })
}
