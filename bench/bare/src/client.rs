//! The client's end of the perf protocol, in four modes: download, upload, requests and handshakes.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::block::{make_static, Connection};
use crate::engine::{App, Step, PATIENCE};
use crate::report::Histogram;
use crate::streams::{self, ById, Outgoing, Read};

type AnyError = Box<dyn Error>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Download,
    Upload,
    Requests,
    Handshakes,
}

pub struct Load {
    pub mode: Mode,
    /// Of all streams together, in the bulk modes.
    pub bytes: u64,
    pub streams: u64,
    pub request_bytes: usize,
    pub response_bytes: u64,
    pub concurrency: u64,
    pub duration: Duration,
}

/// A stream that waits for its answer.
struct Waiting {
    since: Instant,
    left: u64,
}

#[derive(Default)]
pub struct State {
    opened: Option<Instant>,
    started: bool,
    done: bool,
    next_id: u64,
    waiting: ById<Waiting>,
    outgoing: Vec<Outgoing>,
}

pub struct Client {
    load: Load,
    payload: &'static [u8],
    /// What each stream of `Requests` and `Handshakes` sends.
    request: &'static [u8],
    buffer: Vec<u8>,
    running: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    began: Instant,
    pub operations: u64,
    pub latency: Histogram,
}

impl Client {
    pub fn new(load: Load, payload: &'static [u8]) -> Client {
        let (wanted, upload) = match load.mode {
            Mode::Requests => (load.response_bytes, load.request_bytes),
            _ => (1, 0),
        };
        let mut request = wanted.to_be_bytes().to_vec();
        request.extend((0..upload).map(|i| (i % 251) as u8));
        Client {
            load,
            payload,
            request: make_static(request),
            buffer: vec![0; streams::READ_BUFFER],
            running: 0,
            first: None,
            last: None,
            began: Instant::now(),
            operations: 0,
            latency: Histogram::new(),
        }
    }

    /// From the first stream (or handshake) to the last answer.
    pub fn seconds(&self) -> f64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
            _ => 0.0,
        }
    }

    fn is_bulk(&self) -> bool {
        matches!(self.load.mode, Mode::Download | Mode::Upload)
    }

    fn is_over(&self, now: Instant) -> bool {
        !self.is_bulk()
            && self
                .first
                .is_some_and(|first| now.duration_since(first) >= self.load.duration)
    }

    fn open(
        &self,
        conn: &Connection,
        state: &mut State,
        now: Instant,
        head: &'static [u8],
        up: u64,
        down: u64,
    ) -> bool {
        if conn.peer_streams_left_bidi() == 0 {
            return false;
        }
        let id = state.next_id;
        state.next_id += 4;
        state.waiting.insert(
            id,
            Waiting {
                since: now,
                left: down,
            },
        );
        state.outgoing.push(Outgoing {
            id,
            head,
            left: up,
            known: false,
        });
        true
    }

    /// Opens what is to be open from the start.
    fn start(
        &mut self,
        conn: &Connection,
        state: &mut State,
        now: Instant,
    ) -> Result<(), AnyError> {
        self.first.get_or_insert(now);
        let (total, count) = (self.load.bytes, self.load.streams);
        let opened = match self.load.mode {
            Mode::Download | Mode::Upload => (0..count).all(|i| {
                let share = total / count + u64::from(i < total % count);
                let (up, down) = if self.load.mode == Mode::Upload {
                    (share, 0)
                } else {
                    (0, share)
                };
                self.open(
                    conn,
                    state,
                    now,
                    make_static(down.to_be_bytes().to_vec()),
                    up,
                    down,
                )
            }),
            Mode::Requests => (0..self.load.concurrency)
                .all(|_| self.open(conn, state, now, self.request, 0, self.load.response_bytes)),
            Mode::Handshakes => self.open(conn, state, now, self.request, 0, 1),
        };
        opened
            .then_some(())
            .ok_or_else(|| "the server does not allow so many streams at once".into())
    }

    fn on_readable(
        &mut self,
        conn: &mut Connection,
        state: &mut State,
        id: u64,
        now: Instant,
    ) -> Result<(), AnyError> {
        loop {
            let (bytes, fin) = match streams::read(conn, id, &mut self.buffer) {
                Read::Some { bytes, fin } => (bytes as u64, fin),
                Read::Nothing => return Ok(()),
                Read::Reset => return Err(format!("the server reset stream {id}").into()),
            };
            let waiting = state
                .waiting
                .get_mut(&id)
                .ok_or("an answer came on a stream that asked for none")?;
            let left = waiting
                .left
                .checked_sub(bytes)
                .ok_or("the server sent more than was asked for")?;
            waiting.left = left;
            if fin {
                return self.on_answer(conn, state, id, now);
            }
            if bytes < self.buffer.len() as u64 {
                return Ok(());
            }
        }
    }

    fn on_answer(
        &mut self,
        conn: &mut Connection,
        state: &mut State,
        id: u64,
        now: Instant,
    ) -> Result<(), AnyError> {
        let waiting = state.waiting.remove(&id).ok_or("a stream ended twice")?;
        if waiting.left > 0 {
            return Err(format!(
                "the server ended stream {id} {} bytes too early",
                waiting.left
            )
            .into());
        }
        self.last = Some(now);
        match self.load.mode {
            Mode::Download | Mode::Upload => state.done = state.waiting.is_empty(),
            Mode::Handshakes => {
                self.count(state.opened.ok_or("no time of opening")?, now);
                state.done = true;
            }
            Mode::Requests => {
                self.count(waiting.since, now);
                if !self.is_over(now) {
                    if !self.open(conn, state, now, self.request, 0, self.load.response_bytes) {
                        return Err(
                            "the server gives too few streams for so many requests at once".into(),
                        );
                    }
                } else {
                    state.done = state.waiting.is_empty();
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, since: Instant, now: Instant) {
        self.operations += 1;
        self.latency.add(now.duration_since(since));
    }
}

impl App for Client {
    type State = State;

    fn on_turn(
        &mut self,
        conn: &mut Connection,
        state: &mut State,
        now: Instant,
    ) -> Result<(), AnyError> {
        state.opened.get_or_insert(now);
        if !conn.is_established() {
            return Ok(());
        }
        if !state.started {
            state.started = true;
            self.start(conn, state, now)?;
        }
        while let Some(id) = conn.stream_readable_next() {
            self.on_readable(conn, state, id, now)?;
        }
        if !streams::push_all(&mut state.outgoing, conn, self.payload) {
            return Err("the server stopped a stream before its end".into());
        }
        if state.done {
            let _ = conn.close(true, 0, b"");
        }
        Ok(())
    }

    fn on_closed(&mut self, conn: &Connection, state: &State) -> Result<(), AnyError> {
        self.running -= 1;
        if state.done {
            return Ok(());
        }
        Err(
            match (conn.peer_error(), conn.local_error(), conn.is_timed_out()) {
                (Some(error), ..) => format!("the server closed the connection: {error:?}").into(),
                (_, Some(error), _) => format!("the connection failed: {error:?}").into(),
                (_, _, true) => "the server does not answer (idle timeout)".into(),
                _ => "the connection ended too early".into(),
            },
        )
    }

    fn on_cycle(&mut self, now: Instant) -> Step {
        if self.load.mode == Mode::Handshakes {
            self.first.get_or_insert(now);
            let missing = self.load.concurrency.saturating_sub(self.running);
            if !self.is_over(now) && missing > 0 {
                self.running += missing;
                return Step::Connect(missing as usize);
            }
        } else if self.first.is_none() && self.running == 0 {
            self.running = 1;
            return Step::Connect(1);
        }
        let ended = self.running == 0 && self.last.is_some();
        if ended || self.first.is_none() && now.duration_since(self.began) > PATIENCE {
            return Step::Finish;
        }
        Step::Continue
    }
}
