//! The server's end of the perf protocol: read each stream to its fin, then send as many bytes as its first 8 bytes ask.

use std::error::Error;
use std::time::Instant;

use crate::block::Connection;
use crate::engine::{App, Step};
use crate::streams::{self, ById, Outgoing, Read};

/// A request that is not complete: the header so far.
#[derive(Default)]
struct Request {
    header: [u8; 8],
    have: usize,
}

#[derive(Default)]
pub struct State {
    requests: ById<Request>,
    outgoing: Vec<Outgoing>,
}

pub struct Server {
    payload: &'static [u8],
    buffer: Vec<u8>,
    pub bytes: u64,
    pub streams: u64,
}

impl Server {
    pub fn new(payload: &'static [u8]) -> Server {
        Server {
            payload,
            buffer: vec![0; streams::READ_BUFFER],
            bytes: 0,
            streams: 0,
        }
    }

    fn on_readable(&mut self, conn: &mut Connection, state: &mut State, id: u64) {
        let mut request = state.requests.remove(&id).unwrap_or_default();
        loop {
            let (bytes, fin) = match streams::read(conn, id, &mut self.buffer) {
                Read::Some { bytes, fin } => (bytes, fin),
                Read::Nothing => break,
                Read::Reset => return,
            };
            self.bytes += bytes as u64;
            let part = bytes.min(request.header.len() - request.have);
            request.header[request.have..request.have + part].copy_from_slice(&self.buffer[..part]);
            request.have += part;
            if fin {
                return self.answer(conn, state, id, &request);
            }
            if bytes < self.buffer.len() {
                break;
            }
        }
        state.requests.insert(id, request);
    }

    fn answer(&mut self, conn: &mut Connection, state: &mut State, id: u64, request: &Request) {
        if request.have < request.header.len() {
            // Not the perf protocol.
            let _ = conn.stream_shutdown(id, quiche::Shutdown::Write, 1);
            return;
        }
        let left = u64::from_be_bytes(request.header);
        self.streams += 1;
        self.bytes += left;
        state.outgoing.push(Outgoing {
            id,
            head: &[],
            left,
            known: true,
        });
    }
}

impl App for Server {
    type State = State;

    fn on_turn(
        &mut self,
        conn: &mut Connection,
        state: &mut State,
        _now: Instant,
    ) -> Result<(), Box<dyn Error>> {
        while let Some(id) = conn.stream_readable_next() {
            self.on_readable(conn, state, id);
        }
        streams::push_all(&mut state.outgoing, conn, self.payload);
        Ok(())
    }

    fn on_closed(&mut self, _conn: &Connection, _state: &State) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    fn on_cycle(&mut self, _now: Instant) -> Step {
        Step::Continue
    }
}
