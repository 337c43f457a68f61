//! The receiving end: takes bulk datagrams and says how far it is, and sends pings back.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use crate::report::Report;
use crate::seal::Seal;
use crate::socket::{Counts, Peer, Socket};
use crate::sys;
use crate::wire::{Header, Kind, Mode, PING, WINDOW};

/// An acknowledgement each quarter of the window: the sender never waits for one that is not coming.
const ACK_EVERY: u64 = WINDOW / 4;

struct Run {
    id: u32,
    mode: Mode,
    started: Instant,
    cpu_before: f64,
    counts_before: Counts,
    arrived: u64,
    /// One above the highest number that has arrived.
    next: u64,
    acknowledged: u64,
    forged: u64,
    /// The object that this run ended with; a client that missed it asks again.
    report: Option<String>,
}

pub fn run(listen: SocketAddr) -> io::Result<()> {
    sys::catch_stop_signals();
    let mut server = Server {
        socket: Socket::open(listen)?,
        seal: Seal::new(),
        run: None,
    };
    println!("listening {}", server.socket.local);
    while !sys::stopped() {
        let messages = server.socket.receive()?;
        if messages == 0 {
            sys::wait_readable(server.socket.fd(), None);
        }
        for index in 0..messages {
            server.take(index)?;
        }
    }
    Ok(())
}

struct Server {
    socket: Socket,
    seal: Seal,
    run: Option<Run>,
}

impl Server {
    fn take(&mut self, index: usize) -> io::Result<()> {
        let (bytes, segment, peer) = self.socket.message(index);
        // A client's other kinds never follow one another without an answer: they come alone.
        let Some(header) = Header::read(bytes) else {
            return Ok(());
        };
        match (header.kind, &mut self.run) {
            (Kind::Start, _) => return self.start(header, &peer),
            (Kind::Ping, _) => {
                let mut answer = [0; PING];
                let size = bytes.len().min(answer.len());
                answer[..size].copy_from_slice(&bytes[..size]);
                return self.socket.send_to(&answer[..size], &peer);
            }
            (Kind::Data, Some(run)) if header.run == run.id => {
                for datagram in bytes.chunks_mut(segment) {
                    run.take(datagram, &self.seal);
                }
            }
            _ => {}
        }
        // GRO joins what has one size; the end is shorter than the data and may stand at the tail of the last batch.
        let tail = bytes.len() - bytes.len() % segment;
        let last = Header::read(&bytes[tail..]).unwrap_or(header);
        if last.kind == Kind::End {
            return self.end(last, &peer);
        }
        self.acknowledge(&peer)
    }

    fn start(&mut self, header: Header, peer: &Peer) -> io::Result<()> {
        let Some(mode) = Mode::from_number(header.number) else {
            return Ok(());
        };
        self.run = Some(Run {
            id: header.run,
            mode,
            started: Instant::now(),
            cpu_before: sys::cpu_seconds(),
            counts_before: self.socket.counts,
            arrived: 0,
            next: 0,
            acknowledged: 0,
            forged: 0,
            report: None,
        });
        let ready = Header {
            kind: Kind::Ready,
            ..header
        };
        self.socket.send_to(&ready.to_bytes(), peer)
    }

    fn acknowledge(&mut self, peer: &Peer) -> io::Result<()> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        if run.next - run.acknowledged < ACK_EVERY {
            return Ok(());
        }
        run.acknowledged = run.next;
        let ack = Header {
            kind: Kind::Ack,
            run: run.id,
            number: run.next,
        };
        self.socket.send_to(&ack.to_bytes(), peer)
    }

    fn end(&mut self, header: Header, peer: &Peer) -> io::Result<()> {
        let Some(run) = self.run.as_mut().filter(|run| run.id == header.run) else {
            return Ok(());
        };
        if run.forged > 0 {
            return Err(io::Error::other(format!(
                "{} datagrams did not open",
                run.forged
            )));
        }
        let counts = self.socket.counts;
        let report = run.report.get_or_insert_with(|| {
            let json = Report {
                role: "server",
                mode: run.mode,
                bytes: run.arrived * run.mode.payload() as u64,
                seconds: run.started.elapsed().as_secs_f64(),
                cpu_seconds: sys::cpu_seconds() - run.cpu_before,
                counts: counts.since(&run.counts_before),
                lost: header.number.saturating_sub(run.arrived),
                round_trips: Vec::new(),
                server: None,
            }
            .to_json();
            println!("{json}");
            json
        });
        let mut answer = Header {
            kind: Kind::Report,
            run: run.id,
            number: run.arrived,
        }
        .to_bytes()
        .to_vec();
        answer.extend_from_slice(report.as_bytes());
        self.socket.send_to(&answer, peer)
    }
}

impl Run {
    fn take(&mut self, datagram: &mut [u8], seal: &Seal) {
        let Some(header) = Header::read(datagram) else {
            return;
        };
        if header.kind != Kind::Data || header.run != self.id {
            return;
        }
        if self.mode == Mode::UdpAead && !seal.open(datagram) {
            self.forged += 1;
            return;
        }
        self.arrived += 1;
        self.next = self.next.max(header.number + 1);
    }
}
