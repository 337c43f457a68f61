//! Zero-copy buffers: bytes that belong to the engine, kept alive by two calls that it registered
//! once.

use std::cell::RefCell;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;

use quiche::BufFactory;
use quiche::BufSplit;

/// The engine's two calls. Neither may enter the bridge again: quiche is borrowed while they run.
#[derive(Clone, Copy)]
pub struct Hooks {
    pub retain: unsafe extern "C" fn(*mut c_void),
    pub release: unsafe extern "C" fn(*mut c_void),
}

pub static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// A slice of the engine's bytes with one reference to their owner.
pub struct Lent {
    owner: *mut c_void,
    data: *const u8,
    size: usize,
    stream: u64,
}

thread_local! {
    /// Streams whose buffers quiche has let go since `watch_releases`.
    static LET_GO: RefCell<Option<Vec<u64>>> = const { RefCell::new(None) };
}

/// Notes from now on which streams' buffers quiche lets go. `ids` is memory to use.
pub fn watch_releases(mut ids: Vec<u64>) {
    ids.clear();
    LET_GO.set(Some(ids));
}

/// What was noted; each stream once in a row.
pub fn watched_releases() -> Vec<u64> {
    LET_GO.take().unwrap_or_default()
}

impl Lent {
    /// Takes a reference of its own.
    ///
    /// # Safety
    /// `data` points at `size` bytes that stay put while `owner` has references; the hooks
    /// are registered.
    pub unsafe fn new(owner: *mut c_void, data: *const u8, size: usize, stream: u64) -> Self {
        retain(owner);
        Self {
            owner,
            data,
            size,
            stream,
        }
    }
}

fn retain(owner: *mut c_void) {
    if let Some(hooks) = HOOKS.get() {
        unsafe { (hooks.retain)(owner) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        LET_GO.with_borrow_mut(|ids| {
            if let Some(ids) = ids.as_mut().filter(|ids| ids.last() != Some(&self.stream)) {
                ids.push(self.stream);
            }
        });
        if let Some(hooks) = HOOKS.get() {
            unsafe { (hooks.release)(self.owner) }
        }
    }
}

impl Clone for Lent {
    fn clone(&self) -> Self {
        retain(self.owner);
        Self {
            owner: self.owner,
            data: self.data,
            size: self.size,
            stream: self.stream,
        }
    }
}

/// What quiche queues on a stream.
#[derive(Clone)]
pub enum Buffer {
    Lent(Lent),
    /// `buf_from_slice`: quiche's own copies.
    Copied {
        bytes: Arc<[u8]>,
        begin: usize,
        end: usize,
    },
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            // SAFETY: the reference to the owner keeps the bytes in place.
            Buffer::Lent(lent) => unsafe { std::slice::from_raw_parts(lent.data, lent.size) },
            Buffer::Copied { bytes, begin, end } => &bytes[*begin..*end],
        }
    }
}

impl BufSplit for Buffer {
    fn split_at(&mut self, at: usize) -> Self {
        match self {
            Buffer::Lent(lent) => {
                assert!(at <= lent.size);
                retain(lent.owner);
                let rest = Lent {
                    owner: lent.owner,
                    // SAFETY: `at` is within the slice.
                    data: unsafe { lent.data.add(at) },
                    size: lent.size - at,
                    stream: lent.stream,
                };
                lent.size = at;
                Buffer::Lent(rest)
            }
            Buffer::Copied { bytes, begin, end } => {
                assert!(at <= *end - *begin);
                let rest = Buffer::Copied {
                    bytes: Arc::clone(bytes),
                    begin: *begin + at,
                    end: *end,
                };
                *end = *begin + at;
                rest
            }
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.as_ref().len())
    }
}

#[derive(Clone, Default, Debug)]
pub struct Factory;

impl BufFactory for Factory {
    type Buf = Buffer;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(bytes: &[u8]) -> Buffer {
        Buffer::Copied {
            bytes: Arc::from(bytes),
            begin: 0,
            end: bytes.len(),
        }
    }

    fn dgram_buf_from_slice(bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }
}
