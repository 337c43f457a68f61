//! The buffers that quiche sends from without copying: the payload is one static block, split by reference.

use std::sync::Arc;

use quiche::{BufFactory, BufSplit};

/// Bytes that a stream is sending: a piece of the static payload, or a copy that quiche asked for.
#[derive(Clone, Debug)]
pub enum Block {
    Static(&'static [u8]),
    Copied(Arc<[u8]>),
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        match self {
            Block::Static(bytes) => bytes,
            Block::Copied(bytes) => bytes,
        }
    }
}

impl BufSplit for Block {
    fn split_at(&mut self, at: usize) -> Self {
        match self {
            Block::Static(bytes) => {
                let (head, tail) = bytes.split_at(at);
                *bytes = head;
                Block::Static(tail)
            }
            Block::Copied(bytes) => {
                let tail = Arc::from(&bytes[at..]);
                *bytes = Arc::from(&bytes[..at]);
                Block::Copied(tail)
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Blocks;

impl BufFactory for Blocks {
    type Buf = Block;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Block {
        Block::Copied(Arc::from(buf))
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.into()
    }
}

pub type Connection = quiche::Connection<Blocks>;

/// One static block, made once for the life of the process.
pub fn make_static(bytes: Vec<u8>) -> &'static [u8] {
    Box::leak(bytes.into_boxed_slice())
}

/// The payload of every stream: 1 MiB, as much as a stream's window, so that one offer fills it.
pub fn make_payload() -> &'static [u8] {
    make_static((0..1 << 20).map(|i: u32| (i % 251) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_block_is_its_head_and_the_rest_comes_back() {
        for mut block in [
            Block::Static(b"payload"),
            Block::Copied(Arc::from(&b"payload"[..])),
        ] {
            let tail = block.split_at(3);
            assert_eq!((block.as_ref(), tail.as_ref()), (&b"pay"[..], &b"load"[..]));
        }
    }
}
