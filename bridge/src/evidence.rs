//! Why a TLS handshake failed, in words. BoringSSL's callbacks run inside `recv` and `send` on the
//! caller's thread, so they leave what they saw in a thread-local, and the connection takes it when
//! the call has failed.

use std::cell::RefCell;

use crate::abi::*;

/// A reason that a connection keeps.
#[derive(Clone)]
pub struct Evidence {
    pub kind: u8,
    pub text: String,
}

#[derive(Default)]
struct Seen {
    verdict: Option<Evidence>,
    /// The ALPN extension of the last ClientHello.
    alpn: Vec<u8>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::new(Seen::default());
}

/// Forgets what an earlier call on this thread left.
pub fn clear() {
    SEEN.with(|seen| {
        let mut seen = seen.borrow_mut();
        seen.verdict = None;
        seen.alpn.clear();
    });
}

/// A verification callback refused the peer's certificate.
pub fn refuse(kind: u8, text: String) {
    SEEN.with(|seen| seen.borrow_mut().verdict = Some(Evidence { kind, text }));
}

/// The body of a ClientHello's ALPN extension: a two-byte length, then names behind one-byte
/// lengths (RFC 7301 section 3.1).
pub fn saw_alpn(extension: &[u8]) {
    SEEN.with(|seen| {
        let mut seen = seen.borrow_mut();
        seen.alpn.clear();
        seen.alpn
            .extend_from_slice(extension.get(2..).unwrap_or(&[]));
    });
}

/// Names behind one-byte lengths, as "h3, hq".
pub fn alpn_names(wire: &[u8]) -> String {
    let mut names = Vec::new();
    let mut rest = wire;
    while let [size, tail @ ..] = rest {
        let Some(name) = tail.get(..usize::from(*size)) else {
            break;
        };
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = &tail[usize::from(*size)..];
    }
    names.join(", ")
}

const TLS_ALERT_BASE: u64 = 0x100;
const NO_APPLICATION_PROTOCOL: u64 = TLS_ALERT_BASE + 120;

/// What this thread saw, for a connection whose handshake failed locally with `code`. `ours` are
/// our own ALPN names.
pub fn take(code: u64, ours: &str) -> Option<Evidence> {
    let stack = boring::error::ErrorStack::get();
    SEEN.with(|seen| {
        let mut seen = seen.borrow_mut();
        if let Some(verdict) = seen.verdict.take() {
            return Some(verdict);
        }
        if code == NO_APPLICATION_PROTOCOL {
            let offered = alpn_names(&seen.alpn);
            let text = if offered.is_empty() {
                format!("the peer chose none of {ours}")
            } else {
                format!("the peer offered {offered}; this side speaks {ours}")
            };
            return Some(Evidence {
                kind: RQB_EVIDENCE_ALPN,
                text,
            });
        }
        if !stack.errors().is_empty() {
            return Some(Evidence {
                kind: RQB_EVIDENCE_TLS,
                text: stack.to_string(),
            });
        }
        None
    })
}
