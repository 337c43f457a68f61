//! Writing and reading streams as both ends of the perf protocol do.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::block::{Block, Connection};

/// What one read takes at most.
pub const READ_BUFFER: usize = 64 * 1024;

/// Stream ids count up in fours: one multiplication spreads them.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26);
    }
}

pub type ById<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

/// What is still to be sent on a stream: `head`, then `left` bytes of payload, then fin.
pub struct Outgoing {
    pub id: u64,
    pub head: &'static [u8],
    pub left: u64,
    /// False until the first offer on a stream of ours: quiche does not know it before.
    pub known: bool,
}

#[derive(PartialEq, Eq)]
pub enum Progress {
    Done,
    Blocked,
    /// The peer wants no more, or the stream is gone.
    Gone,
}

impl Outgoing {
    /// Offers what the stream takes, no more: quiche says DATA_BLOCKED on what is beyond its window.
    pub fn push(&mut self, conn: &mut Connection, payload: &'static [u8]) -> Progress {
        loop {
            let (piece, last) = if self.head.is_empty() {
                let length = payload
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                (&payload[..length], length as u64 == self.left)
            } else {
                (self.head, self.left == 0)
            };
            let room = match conn.stream_capacity(self.id) {
                Ok(room) => room,
                Err(quiche::Error::InvalidStreamState(_)) if !self.known => piece.len(),
                Err(_) => return Progress::Gone,
            };
            if room == 0 && !piece.is_empty() {
                return Progress::Blocked;
            }
            let take = piece.len().min(room);
            let fin = last && take == piece.len();
            let sent = match conn.stream_send_zc(self.id, Block::Static(&piece[..take]), fin) {
                Ok((sent, _)) => sent,
                Err(quiche::Error::Done) => {
                    self.known = true;
                    return Progress::Blocked;
                }
                Err(_) => return Progress::Gone,
            };
            self.known = true;
            if self.head.is_empty() {
                self.left -= sent as u64;
            } else {
                self.head = &self.head[sent..];
            }
            if fin && sent == take {
                return Progress::Done;
            }
        }
    }
}

/// Offers on every stream of the list, beginning with another one each time; returns false if one was lost.
pub fn push_all(list: &mut Vec<Outgoing>, conn: &mut Connection, payload: &'static [u8]) -> bool {
    let mut whole = true;
    list.retain_mut(|out| match out.push(conn, payload) {
        Progress::Done => false,
        Progress::Blocked => true,
        Progress::Gone => {
            whole = false;
            false
        }
    });
    if list.len() > 1 {
        list.rotate_left(1);
    }
    whole
}

/// What a stream gave at once.
pub enum Read {
    Some {
        bytes: usize,
        fin: bool,
    },
    /// Drained for now.
    Nothing,
    Reset,
}

pub fn read(conn: &mut Connection, id: u64, buffer: &mut [u8]) -> Read {
    match conn.stream_recv(id, buffer) {
        Ok((bytes, fin)) => Read::Some { bytes, fin },
        Err(quiche::Error::Done | quiche::Error::InvalidStreamState(_)) => Read::Nothing,
        Err(_) => Read::Reset,
    }
}
