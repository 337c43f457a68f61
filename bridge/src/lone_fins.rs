//! A fin that is sent alone, behind bytes that were sent before it.
//!
//! quiche 0.30.0 counts a stream's sending side as complete once its bytes are acknowledged, whether
//! or not the fin behind them was sent or acknowledged (`SendBuf::is_complete`). A stream of two
//! ways is therefore forgotten as soon as the peer's side has been read to its end; if the packet
//! with the fin is lost, nothing is left to send it from again, and the peer waits for ever.
//!
//! The remedy has two halves. The session offers a lone fin only when all bytes before it were
//! acknowledged, so that no acknowledgement forgets the stream before the fin was sent. And after
//! the fin was taken, the stream is held here: reads stop one byte before what has arrived, and
//! before a bare end, so that quiche does not see the peer's side read to its end.
//!
//! A hold ends as soon as the fin must have been acknowledged: nothing is in flight, and quiche has
//! nothing to send (a fin that is unsent or lost would be sent then). A connection that is never so
//! quiet ends it by time, after 3 PTO; and where something was lost meanwhile, the hold goes on,
//! twice as long, four times at most. So it is only on a busy connection, after a lone fin, that the
//! last byte and the end of an answer may come up to 3 PTO late; a fin that goes with the last bytes
//! costs nothing.
//!
//! What remains: on a busy connection a fin may be lost as often as it was sent in that time. A
//! stream that the peer resets is told at once and thereby forgotten. A packet of earlier bytes that
//! was sent twice, and whose second copy is acknowledged after the fin was taken, completes a
//! one-way stream, or one whose other side has been read, while the fin is under way. (A stream that
//! never had a byte is in no danger: its fin is what its completion waits for.)

use std::time::Duration;
use std::time::Instant;

use quiche::Error;

use crate::abi::*;
use crate::connection::rqb_connection;
use crate::connection::StreamMap;
use crate::fault::Outcome;

/// Timer granularity: RFC 9002 section 6.1.2, kGranularity.
const GRANULARITY: Duration = Duration::from_millis(1);
/// RFC 9000 section 18.2: "If this value is absent, a default of 25 milliseconds is assumed."
const DEFAULT_ACK_DELAY: Duration = Duration::from_millis(25);
/// A fin that is lost is sent again after one PTO, and again after two more: the hold sees both.
const HOLD_PTOS: u32 = 3;
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);
/// PTOs double, so each further hold, doubled too, sees one more of them: 3, 9, 21, 45, 93 PTO.
const MAX_EXTENSIONS: u8 = 4;
/// Gives the fin the next packet: once the hold runs, nothing that is more urgent keeps it back. It
/// is the last thing that the stream sends.
const FIN_URGENCY: u8 = 0;

/// Counters that move when something was lost, or may have been.
type Losses = (usize, usize);

struct Hold {
    until: Instant,
    length: Duration,
    extensions: u8,
    losses: Losses,
    /// Streams that the peer had reset by then.
    resets: u64,
    /// A read was told "nothing" though a byte or an end was there.
    is_waiting: bool,
}

/// The last datagram that acknowledged something.
struct Acknowledged {
    /// Just before it was processed.
    at: Instant,
    ptos: usize,
}

#[derive(Default)]
pub struct LoneFins {
    holds: StreamMap<Hold>,
    earliest: Option<Instant>,
    acknowledged: Option<Acknowledged>,
    /// quiche's count of acknowledged bytes, when last looked at.
    acked_bytes: u64,
    /// Streams whose held bytes or end may be read now.
    to_name: Vec<u64>,
    /// Since when `to_name` waits for somebody to ask.
    due: Option<Instant>,
    has_input: bool,
}

impl LoneFins {
    /// The common case. Costs one comparison on the hot path.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty() && self.to_name.is_empty()
    }

    /// When `on_timeout` is to be called for the sake of the holds.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.earliest, self.due) {
            (Some(hold), Some(due)) => Some(hold.min(due)),
            (hold, due) => hold.or(due),
        }
    }

    fn find_earliest(&mut self) {
        self.earliest = self.holds.values().map(|hold| hold.until).min();
    }

    fn release(&mut self, id: u64) {
        if self.holds.remove(&id).is_some_and(|hold| hold.is_waiting) {
            self.to_name.push(id);
        }
    }

    fn release_all(&mut self) {
        let held: Vec<_> = self.holds.keys().copied().collect();
        for id in held {
            self.release(id);
        }
        self.earliest = None;
    }
}

fn nothing() -> rqb_read {
    rqb_read {
        size: 0,
        code: 0,
        status: RQB_READ_NOTHING,
        fin: 0,
    }
}

impl rqb_connection {
    /// RFC 9002 section 6.2.1: "PTO = smoothed_rtt + max(4*rttvar, kGranularity) + max_ack_delay",
    /// of the slowest path, for any may still have packets in flight.
    fn longest_pto(&self) -> Duration {
        let max_ack_delay = self
            .quiche
            .peer_transport_params()
            .map_or(DEFAULT_ACK_DELAY, |peer| {
                Duration::from_millis(peer.max_ack_delay)
            });
        let rtt = self
            .quiche
            .path_stats()
            .map(|path| path.rtt + (4 * path.rttvar).max(GRANULARITY))
            .max();
        rtt.unwrap_or_default() + max_ack_delay
    }

    fn ptos(&self) -> usize {
        self.quiche
            .path_stats()
            .map(|path| path.total_pto_count)
            .sum()
    }

    fn losses(&self) -> Losses {
        (self.quiche.stats().lost, self.ptos())
    }

    /// Before a lone fin is offered.
    pub fn hurry_fin(&mut self, id: u64) {
        // Whatever it answers: the offer that follows says what became of the stream.
        let _ = self.quiche.stream_priority(id, FIN_URGENCY, true);
    }

    /// After a lone fin was taken. A stream whose peer's end has been read, and a one-way stream,
    /// has nothing left to hold.
    pub fn hold(&mut self, id: u64) {
        let is_read = self.quiche.stream_finished(id) && !self.quiche.stream_readable(id);
        if id & 2 != 0 || is_read {
            return;
        }
        let length = (HOLD_PTOS * self.longest_pto()).clamp(SHORTEST, LONGEST);
        let until = Instant::now() + length;
        let hold = Hold {
            until,
            length,
            extensions: 0,
            losses: self.losses(),
            resets: self.quiche.stats().reset_stream_count_remote,
            is_waiting: false,
        };
        let acked_bytes = self.quiche.stats().acked_bytes;
        let fins = &mut self.lone_fins;
        fins.acked_bytes = acked_bytes;
        fins.holds.insert(id, hold);
        fins.earliest = Some(fins.earliest.map_or(until, |other| other.min(until)));
    }

    /// The holding of a stream that nobody reads any more. `true` when there was one.
    pub fn forget_hold(&mut self, id: u64) -> bool {
        self.lone_fins.to_name.retain(|named| *named != id);
        let was_held = self.lone_fins.holds.remove(&id).is_some();
        if was_held {
            self.lone_fins.find_earliest();
        }
        was_held
    }

    /// A read of a stream that may be held; `None` when it is to be read as any other.
    pub fn read_held(&mut self, id: u64, to: &mut [u8]) -> Outcome<Option<rqb_read>> {
        if !self.lone_fins.holds.contains_key(&id) {
            return Ok(None);
        }
        // One byte more than asked for, so that a full read is told from the last one.
        let there = self
            .quiche
            .stream_readable_len(id, to.len().saturating_add(1).max(2));
        let resets = self.quiche.stats().reset_stream_count_remote;
        let Some(hold) = self.lone_fins.holds.get_mut(&id) else {
            return Ok(None);
        };
        // Nothing there, or a bare end. A reset looks like a bare end, and is told at once.
        if there == 0 && (!self.quiche.stream_readable(id) || hold.resets != resets) {
            return Ok(None);
        }
        self.parked.insert(id);
        if there < 2 {
            hold.is_waiting = true;
            return Ok(Some(nothing()));
        }
        let room = to.len().min(there - 1);
        let mut read = nothing();
        read.status = RQB_READ_DATA;
        if room > 0 {
            match self.quiche.stream_recv(id, &mut to[..room]) {
                Ok((size, _)) => read.size = size,
                Err(Error::Done) => return Ok(Some(nothing())),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(read))
    }

    /// Before a datagram is fed: what it may do to the idle timer is known by this.
    pub fn before_input(&self) -> Option<Instant> {
        (!self.lone_fins.is_empty()).then(Instant::now)
    }

    /// After a datagram was fed.
    pub fn after_input(&mut self, before: Option<Instant>) {
        let Some(at) = before else { return };
        self.lone_fins.has_input = true;
        let bytes = self.quiche.stats().acked_bytes;
        if std::mem::replace(&mut self.lone_fins.acked_bytes, bytes) != bytes {
            let ptos = self.ptos();
            self.lone_fins.acknowledged = Some(Acknowledged { at, ptos });
        }
        self.release_if_ended();
    }

    /// No fin can be saved any more; what is left may be read.
    pub fn release_if_ended(&mut self) {
        if !self.lone_fins.is_empty() && self.has_ended() {
            self.lone_fins.release_all();
        }
    }

    /// quiche has nothing to send now. If nothing is in flight either, every fin was acknowledged.
    pub fn after_last_packet(&mut self) {
        if self.lone_fins.holds.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.quiche.is_established() && !self.has_ended() && self.is_nothing_in_flight(now) {
            self.lone_fins.release_all();
            if !self.lone_fins.to_name.is_empty() {
                self.lone_fins.due = Some(now);
            }
        }
    }

    /// quiche tells only the earliest of its timers. The one for losses runs exactly while something
    /// is in flight; without it, the earliest is the idle timer, or there is none. The idle timer was
    /// set anew by the last datagram that arrived, and so is not before `at + idle_timeout`; the one
    /// for losses is at most a PTO away after an acknowledgement and while no PTO has passed since.
    fn is_nothing_in_flight(&self, now: Instant) -> bool {
        let Some(timeout) = self.quiche.timeout_instant() else {
            return true;
        };
        let ours = self.idle_timeout_ms;
        let theirs = self
            .quiche
            .peer_transport_params()
            .map_or(0, |peer| peer.max_idle_timeout);
        // RFC 9000 section 10.1: the minimum of both; 0 is none.
        let idle = match (ours, theirs) {
            (0, one) | (one, 0) => one,
            (ours, theirs) => ours.min(theirs),
        };
        let Some(known) = self.lone_fins.acknowledged.as_ref().filter(|_| idle > 0) else {
            return false;
        };
        let earliest_idle = known.at + Duration::from_millis(idle);
        timeout >= earliest_idle
            && now + self.longest_pto() < earliest_idle
            && self.ptos() == known.ptos
    }

    /// Ends the holds whose time has come, or draws them out.
    pub fn expire_holds(&mut self) {
        if self.lone_fins.is_empty() {
            return;
        }
        self.release_if_ended();
        let now = Instant::now();
        self.lone_fins.due = None;
        if self
            .lone_fins
            .earliest
            .is_none_or(|earliest| earliest > now)
        {
            return;
        }
        let losses = self.losses();
        let mut over = Vec::new();
        for (id, hold) in &mut self.lone_fins.holds {
            if hold.until > now {
                continue;
            }
            if hold.losses == losses || hold.extensions == MAX_EXTENSIONS {
                over.push(*id);
                continue;
            }
            hold.extensions += 1;
            hold.losses = losses;
            hold.length = (2 * hold.length).min(LONGEST);
            hold.until = now + hold.length;
        }
        for id in over {
            self.lone_fins.release(id);
        }
        self.lone_fins.find_earliest();
    }

    /// Held streams that can be read (on): their hold has ended, or they have more than the byte
    /// that is kept back. quiche does not name a stream that was not drained.
    pub fn next_released(&mut self) -> Option<u64> {
        if self.lone_fins.is_empty() {
            return None;
        }
        self.release_if_ended();
        if std::mem::take(&mut self.lone_fins.has_input) {
            self.name_held();
        }
        self.lone_fins.due = None;
        while let Some(id) = self.lone_fins.to_name.pop() {
            self.parked.remove(&id);
            if self.quiche.stream_readable(id) {
                return Some(id);
            }
        }
        None
    }

    fn name_held(&mut self) {
        let resets = self.quiche.stats().reset_stream_count_remote;
        let fins = &mut self.lone_fins;
        for (id, hold) in &mut fins.holds {
            if !hold.is_waiting {
                continue;
            }
            let there = self.quiche.stream_readable_len(*id, 2);
            if there == 2 || (there == 0 && hold.resets != resets) {
                hold.is_waiting = false;
                fins.to_name.push(*id);
            }
        }
    }
}
