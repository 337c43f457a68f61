//! The bare loop: one thread, one socket, no queues. Receive all that is there, feed it, let the application read and
//! write on the connections that were touched, send all that quiche has, wait.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::block::{Blocks, Connection};
use crate::config::{CID_LENGTH, MAX_SEND_PAYLOAD};
use crate::socket::{Message, Socket, MAX_BATCH, MAX_SEGMENTS};
use crate::sys;

type Cid = [u8; CID_LENGTH];
type AnyError = Box<dyn Error>;

/// What runs on the connections.
pub trait App {
    /// What it keeps for each connection.
    type State: Default;

    /// The connection received something or a timer fired: read and write. `now` is the time of this cycle's input.
    fn on_turn(
        &mut self,
        conn: &mut Connection,
        state: &mut Self::State,
        now: Instant,
    ) -> Result<(), AnyError>;
    /// The connection is gone.
    fn on_closed(&mut self, conn: &Connection, state: &Self::State) -> Result<(), AnyError>;
    /// How many connections to open now, and whether to go on. Asked once a cycle.
    fn on_cycle(&mut self, now: Instant) -> Step;
}

pub enum Step {
    Continue,
    Connect(usize),
    Finish,
}

struct Peer<S> {
    conn: Connection,
    state: S,
    cids: Vec<Vec<u8>>,
    deadline: Option<Instant>,
    dirty: bool,
}

pub struct Engine<A: App> {
    pub app: A,
    pub socket: Socket,
    config: quiche::Config,
    accepts: bool,
    peers: Vec<Option<Peer<A::State>>>,
    free: Vec<usize>,
    routes: HashMap<Vec<u8>, usize>,
    /// The route of the last datagram: nearly always that of the next one.
    last: Option<(Cid, usize)>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    dirty: Vec<usize>,
    batch: Vec<u8>,
}

impl<A: App> Engine<A> {
    pub fn new(app: A, socket: Socket, config: quiche::Config, accepts: bool) -> Engine<A> {
        Engine {
            app,
            socket,
            config,
            accepts,
            peers: Vec::new(),
            free: Vec::new(),
            routes: HashMap::new(),
            last: None,
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            batch: vec![0; MAX_BATCH],
        }
    }

    /// Runs until the application says so or a stop signal comes.
    pub fn run(&mut self, connect_to: Option<SocketAddr>) -> Result<(), AnyError> {
        let mut idle = false;
        while !sys::stopped() {
            if idle {
                let limit = self
                    .timers
                    .peek()
                    .map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
                sys::wait(self.socket.fd(), libc::POLLIN, limit);
            }
            let messages = self.socket.receive()?;
            let now = Instant::now();
            for index in 0..messages {
                self.feed(index)?;
            }
            self.fire_timers(now);
            idle = messages == 0 && self.dirty.is_empty();
            self.turn(now)?;
            match self.app.on_cycle(now) {
                Step::Continue => {}
                Step::Connect(count) => {
                    let peer = connect_to.ok_or("this end does not connect")?;
                    (0..count).try_for_each(|_| self.connect(peer))?;
                    self.turn(now)?;
                }
                Step::Finish => return self.close_all(),
            }
        }
        self.close_all()
    }

    fn feed(&mut self, index: usize) -> Result<(), AnyError> {
        let Message {
            from,
            length,
            segment,
        } = self.socket.message(index);
        let info = quiche::RecvInfo {
            from,
            to: self.socket.local,
        };
        let mut at = 0;
        while at < length {
            let end = length.min(at + segment);
            let Some(id) = self.route(index, at, end, from)? else {
                at = end;
                continue;
            };
            let peer = self.peers[id]
                .as_mut()
                .expect("a route leads to a connection");
            // An error has made quiche queue a CONNECTION_CLOSE, or the packet was not one: nothing to do here.
            let _ = peer.conn.recv(&mut self.socket.bytes(index)[at..end], info);
            if !peer.dirty {
                peer.dirty = true;
                self.dirty.push(id);
            }
            at = end;
        }
        Ok(())
    }

    /// The connection of a datagram; a client's first one makes it.
    fn route(
        &mut self,
        index: usize,
        at: usize,
        end: usize,
        from: SocketAddr,
    ) -> Result<Option<usize>, AnyError> {
        let packet = &mut self.socket.bytes(index)[at..end];
        let long_header = packet[0] & 0x80 != 0;
        if !long_header {
            let Some(cid) = packet.get(1..1 + CID_LENGTH) else {
                return Ok(None);
            };
            let cid: Cid = cid.try_into()?;
            if let Some((_, id)) = self.last.filter(|(last, _)| *last == cid) {
                return Ok(Some(id));
            }
            let found = self.routes.get(&cid[..]).copied();
            self.last = found.map(|id| (cid, id));
            return Ok(found);
        }
        let Ok(header) = quiche::Header::from_slice(packet, CID_LENGTH) else {
            return Ok(None);
        };
        if let Some(id) = self.routes.get(header.dcid.as_ref()) {
            return Ok(Some(*id));
        }
        if !self.accepts {
            return Ok(None);
        }
        if !quiche::version_is_supported(header.version) {
            let written = quiche::negotiate_version(&header.scid, &header.dcid, &mut self.batch)?;
            self.socket.send(&self.batch[..written], written, from)?;
            return Ok(None);
        }
        if header.ty != quiche::Type::Initial {
            return Ok(None);
        }
        let dcid = header.dcid.to_vec();
        self.accept(dcid, from).map(Some)
    }

    fn accept(&mut self, original_dcid: Vec<u8>, from: SocketAddr) -> Result<usize, AnyError> {
        let scid = random_cid()?;
        let local = self.socket.local;
        let config = &mut self.config;
        let conn = quiche::accept_with_buf_factory::<Blocks>(
            &quiche::ConnectionId::from_ref(&scid),
            None,
            local,
            from,
            config,
        )?;
        Ok(self.add(conn, vec![scid.to_vec(), original_dcid]))
    }

    fn connect(&mut self, peer: SocketAddr) -> Result<(), AnyError> {
        let scid = random_cid()?;
        let conn = quiche::connect_with_buffer_factory::<Blocks>(
            Some("localhost"),
            &quiche::ConnectionId::from_ref(&scid),
            self.socket.local,
            peer,
            &mut self.config,
        )?;
        let id = self.add(conn, vec![scid.to_vec()]);
        self.mark(id);
        Ok(())
    }

    fn add(&mut self, conn: Connection, cids: Vec<Vec<u8>>) -> usize {
        let id = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        for cid in &cids {
            self.routes.insert(cid.clone(), id);
        }
        self.peers[id] = Some(Peer {
            conn,
            state: A::State::default(),
            cids,
            deadline: None,
            dirty: false,
        });
        id
    }

    fn mark(&mut self, id: usize) {
        if let Some(peer) = self.peers[id].as_mut().filter(|peer| !peer.dirty) {
            peer.dirty = true;
            self.dirty.push(id);
        }
    }

    fn fire_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(peer) = self.peers[id]
                .as_mut()
                .filter(|peer| peer.deadline == Some(at))
            else {
                continue;
            };
            // The entry is early if the deadline has moved since: then it is only armed anew.
            peer.deadline = None;
            if peer.conn.timeout_instant().is_some_and(|due| due <= now) {
                peer.conn.on_timeout();
            }
            self.mark(id);
        }
    }

    /// One turn of each connection that was touched.
    fn turn(&mut self, now: Instant) -> Result<(), AnyError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let peer = self.peers[id]
                .as_mut()
                .expect("a dirty connection is there");
            peer.dirty = false;
            self.app.on_turn(&mut peer.conn, &mut peer.state, now)?;
            flush(&mut peer.conn, &mut self.socket, &mut self.batch)?;
            // Draining ends early here (RFC 9000 section 10.2 allows it): late packets find no route.
            if peer.conn.is_closed() || peer.conn.is_draining() {
                self.remove(id)?;
                continue;
            }
            if let Some(due) = peer.conn.timeout_instant() {
                if peer.deadline.is_none_or(|armed| due < armed) {
                    peer.deadline = Some(due);
                    self.timers.push(Reverse((due, id)));
                }
            }
        }
        self.dirty = dirty;
        Ok(())
    }

    fn remove(&mut self, id: usize) -> Result<(), AnyError> {
        let peer = self.peers[id]
            .take()
            .expect("a removed connection was there");
        for cid in &peer.cids {
            self.routes.remove(cid);
        }
        self.last = None;
        self.free.push(id);
        self.app.on_closed(&peer.conn, &peer.state)
    }

    fn close_all(&mut self) -> Result<(), AnyError> {
        for peer in self.peers.iter_mut().flatten() {
            let _ = peer.conn.close(true, 0, b"");
            flush(&mut peer.conn, &mut self.socket, &mut self.batch)?;
        }
        Ok(())
    }
}

fn random_cid() -> Result<Cid, AnyError> {
    let mut cid = Cid::default();
    boring::rand::rand_bytes(&mut cid)?;
    Ok(cid)
}

/// Sends all that quiche has, in batches of packets of one size.
fn flush(conn: &mut Connection, socket: &mut Socket, batch: &mut [u8]) -> Result<(), AnyError> {
    let (mut start, mut end, mut segment) = (0, 0, 0);
    let mut to = None;
    loop {
        if batch.len() - end < MAX_SEND_PAYLOAD
            || end - start == segment * MAX_SEGMENTS && end > start
        {
            send(socket, &batch[start..end], segment, to)?;
            (start, end) = (0, 0);
        }
        let (written, info) = match conn.send(&mut batch[end..]) {
            Ok(sent) => sent,
            Err(quiche::Error::Done) => return send(socket, &batch[start..end], segment, to),
            Err(error) => return Err(format!("quiche could not make a packet: {error}").into()),
        };
        if end > start && (written > segment || to != Some(info.to)) {
            send(socket, &batch[start..end], segment, to)?;
            start = end;
        }
        if start == end {
            segment = written;
            to = Some(info.to);
        }
        end += written;
        if written < segment {
            send(socket, &batch[start..end], segment, to)?;
            (start, end) = (0, 0);
        }
    }
}

fn send(
    socket: &mut Socket,
    batch: &[u8],
    segment: usize,
    to: Option<SocketAddr>,
) -> Result<(), AnyError> {
    match to {
        Some(to) if !batch.is_empty() => Ok(socket.send(batch, segment, to)?),
        _ => Ok(()),
    }
}

/// How long after its start a run may take to end once all was sent: for guards against a peer that is gone.
pub const PATIENCE: Duration = Duration::from_secs(30);
