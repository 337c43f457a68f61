//! The sending end: bulk by a window, or one ping at a time.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::report::Report;
use crate::seal::Seal;
use crate::socket::Socket;
use crate::sys;
use crate::wire::{Header, Kind, Mode, BATCH, DATAGRAM, HEADER, PING, WINDOW};

/// What is not answered by then was lost: on loopback an answer takes well below a millisecond.
const PATIENCE: Duration = Duration::from_millis(100);
const TRIES: u32 = 50;

#[derive(Debug)]
pub struct Load {
    pub mode: Mode,
    pub bytes: u64,
    pub duration: Duration,
}

struct Client {
    socket: Socket,
    run: u32,
}

pub fn run(server: SocketAddr, load: &Load) -> io::Result<Report> {
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = Socket::open(any)?;
    socket.connect(server)?;
    let mut client = Client {
        socket,
        run: std::process::id(),
    };
    client.ask(Kind::Start, load.mode as u64, Kind::Ready)?;
    let began = Instant::now();
    let (sent, mut round_trips) = match load.mode {
        Mode::PingPong => (0, client.pings(load.duration)?),
        mode => (client.bulk(mode, load.bytes)?, Vec::new()),
    };
    let (header, body) = client.ask(Kind::End, sent, Kind::Report)?;
    let seconds = began.elapsed().as_secs_f64();
    round_trips.sort_unstable();
    let bytes = match load.mode {
        Mode::PingPong => (round_trips.len() * PING) as u64,
        mode => header.number * mode.payload() as u64,
    };
    Ok(Report {
        role: "client",
        mode: load.mode,
        bytes,
        seconds,
        cpu_seconds: sys::cpu_seconds(),
        counts: client.socket.counts,
        lost: sent.saturating_sub(header.number),
        round_trips,
        server: Some(String::from_utf8_lossy(&body).into_owned()),
    })
}

impl Client {
    /// Sends a question until it is answered.
    fn ask(&mut self, kind: Kind, number: u64, answer: Kind) -> io::Result<(Header, Vec<u8>)> {
        let question = Header {
            kind,
            run: self.run,
            number,
        };
        for _ in 0..TRIES {
            self.socket.send(&question.to_bytes())?;
            let deadline = Instant::now() + PATIENCE;
            while let Some(left) = deadline.checked_duration_since(Instant::now()) {
                if let Some(found) = self.receive(answer)? {
                    return Ok(found);
                }
                sys::wait_readable(self.socket.fd(), Some(left));
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the server does not answer {kind:?}"),
        ))
    }

    /// The last datagram of this kind and run among those that are there.
    fn receive(&mut self, kind: Kind) -> io::Result<Option<(Header, Vec<u8>)>> {
        let run = self.run;
        let mut found = None;
        for index in 0..self.socket.receive()? {
            let (bytes, segment, _) = self.socket.message(index);
            for datagram in bytes.chunks(segment) {
                if let Some(header) = Header::read(datagram) {
                    if header.kind == kind && header.run == run {
                        found = Some((header, datagram[HEADER..].to_vec()));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Returns the number of datagrams sent.
    fn bulk(&mut self, mode: Mode, bytes: u64) -> io::Result<u64> {
        let seal = Seal::new();
        let total = bytes.div_ceil(mode.payload() as u64);
        let payload = vec![0xa5u8; mode.payload()];
        let mut batch = vec![0xa5u8; BATCH * DATAGRAM];
        let (mut next, mut acknowledged) = (0u64, 0u64);
        while next < total {
            if next - acknowledged + BATCH as u64 > WINDOW {
                acknowledged = self.wait_for_ack(acknowledged, next)?;
                continue;
            }
            let count = (total - next).min(BATCH as u64) as usize;
            for datagram in batch.chunks_exact_mut(DATAGRAM).take(count) {
                Header {
                    kind: Kind::Data,
                    run: self.run,
                    number: next,
                }
                .write(datagram);
                if mode == Mode::UdpAead {
                    seal.seal(datagram, &payload);
                }
                next += 1;
            }
            self.socket.send_batch(&mut batch[..count * DATAGRAM])?;
        }
        Ok(total)
    }

    /// How far the server is. Where no word comes, the tail was lost and nothing is on its way any more.
    fn wait_for_ack(&mut self, acknowledged: u64, sent: u64) -> io::Result<u64> {
        let readable = sys::wait_readable(self.socket.fd(), Some(PATIENCE));
        match self.receive(Kind::Ack)? {
            Some((header, _)) => Ok(header.number.clamp(acknowledged, sent)),
            None if readable => Ok(acknowledged),
            None => Ok(sent),
        }
    }

    /// One at a time until the time is over; returns the round trips in nanoseconds.
    fn pings(&mut self, duration: Duration) -> io::Result<Vec<u64>> {
        let began = Instant::now();
        let mut round_trips = Vec::with_capacity(1 << 20);
        let mut ping = [0u8; PING];
        let mut number = 0;
        while began.elapsed() < duration {
            number += 1;
            let header = Header {
                kind: Kind::Ping,
                run: self.run,
                number,
            };
            header.write(&mut ping);
            let sent = Instant::now();
            self.socket.send(&ping)?;
            if self.wait_for_pong(number, sent + PATIENCE)? {
                round_trips.push(sent.elapsed().as_nanos() as u64);
            }
        }
        Ok(round_trips)
    }

    fn wait_for_pong(&mut self, number: u64, deadline: Instant) -> io::Result<bool> {
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            sys::wait_readable(self.socket.fd(), Some(left));
            let found = self.receive(Kind::Ping)?;
            if found.is_some_and(|(header, _)| header.number == number) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
