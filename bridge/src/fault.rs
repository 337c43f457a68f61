//! What went wrong, and the wall that keeps panics on this side of the border.
//!
//! Every exported function runs inside `guard` (or `with`, for a connection). A failure is a
//! negative code; its operation, fault and sentence wait in a thread-local for `rqb_last_error`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::c_char;
use std::ffi::CStr;
use std::panic::catch_unwind;
use std::panic::AssertUnwindSafe;

use crate::abi::*;
use crate::connection::rqb_connection;

/// One failure.
#[derive(Clone)]
pub struct Failure {
    pub code: i32,
    pub fault: u8,
    /// errno, or 0.
    pub system: i32,
    /// The code of the stream or of the wire that came with it, or 0.
    pub detail: u64,
    pub sentence: Cow<'static, str>,
}

pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub fn new(code: i32, fault: u8, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            fault,
            system: 0,
            detail: 0,
            sentence: sentence.into(),
        }
    }

    pub fn argument(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RQB_E_ARGUMENT, RQB_FAULT_CALLER, sentence)
    }

    pub fn option(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RQB_E_OPTION, RQB_FAULT_CALLER, sentence)
    }

    pub fn certificate(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(RQB_E_CERTIFICATE, RQB_FAULT_CALLER, sentence)
    }

    pub fn tls(what: &str, stack: &boring::error::ErrorStack) -> Self {
        Self::new(RQB_E_TLS, RQB_FAULT_BRIDGE, format!("{what}: {stack}"))
    }

    pub fn file(option: &str, path: &str, error: &std::io::Error) -> Self {
        Self {
            system: error.raw_os_error().unwrap_or(0),
            ..Self::new(
                RQB_E_FILE,
                RQB_FAULT_MACHINE,
                format!("{option}: {path}: {error}"),
            )
        }
    }
}

/// quiche's errors, one by one: a new one in a later version does not compile.
impl From<quiche::Error> for Failure {
    fn from(error: quiche::Error) -> Self {
        use quiche::Error as E;
        let (code, fault, detail, sentence) = match error {
            E::Done => (RQB_DONE, RQB_FAULT_NOBODY, 0, "there is nothing to do"),
            E::BufferTooShort => (RQB_E_SPACE, RQB_FAULT_CALLER, 0, "the buffer is too short"),
            E::UnknownVersion => (
                RQB_E_VERSION,
                RQB_FAULT_PEER,
                0,
                "the QUIC version is not known",
            ),
            E::InvalidFrame => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer sent a malformed frame",
            ),
            E::InvalidPacket => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer sent a malformed packet",
            ),
            E::InvalidState => (
                RQB_E_STATE,
                RQB_FAULT_CALLER,
                0,
                "the connection's state does not allow it",
            ),
            E::InvalidStreamState(id) => (
                RQB_E_STREAM,
                RQB_FAULT_CALLER,
                id,
                "the stream's state does not allow it",
            ),
            E::InvalidTransportParam => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer's transport parameters are malformed",
            ),
            E::CryptoFail => (
                RQB_E_CRYPTO,
                RQB_FAULT_BRIDGE,
                0,
                "a cryptographic operation failed",
            ),
            E::TlsFail => (RQB_E_TLS, RQB_FAULT_PEER, 0, "the TLS handshake failed"),
            E::FlowControl => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer sent more than its credit",
            ),
            E::StreamLimit => (
                RQB_E_LIMIT,
                RQB_FAULT_NOBODY,
                0,
                "the limit on open streams is reached",
            ),
            E::StreamStopped(wire) => (
                RQB_E_STOPPED,
                RQB_FAULT_PEER,
                wire,
                "the peer asked to stop sending on the stream",
            ),
            E::StreamReset(wire) => (
                RQB_E_RESET,
                RQB_FAULT_PEER,
                wire,
                "the peer reset the stream",
            ),
            E::FinalSize => (
                RQB_E_STREAM,
                RQB_FAULT_CALLER,
                0,
                "the stream's final size is fixed already",
            ),
            E::CongestionControl => (
                RQB_E_OPTION,
                RQB_FAULT_CALLER,
                0,
                "there is no such congestion control",
            ),
            E::IdLimit => (
                RQB_E_LIMIT,
                RQB_FAULT_CALLER,
                0,
                "the limit on connection ids is reached",
            ),
            E::OutOfIdentifiers => (
                RQB_E_LIMIT,
                RQB_FAULT_PEER,
                0,
                "no spare connection id is left",
            ),
            E::KeyUpdate => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer's key update failed",
            ),
            E::CryptoBufferExceeded => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer sent more handshake data than can be held",
            ),
            E::InvalidAckRange => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer acknowledged packets that were never sent",
            ),
            E::OptimisticAckDetected => (
                RQB_E_PROTOCOL,
                RQB_FAULT_PEER,
                0,
                "the peer acknowledged a packet number that was skipped",
            ),
            E::InvalidDcidInitialization => (
                RQB_E_STATE,
                RQB_FAULT_CALLER,
                0,
                "the destination connection id cannot be chosen so",
            ),
        };
        Self {
            detail,
            ..Self::new(code, fault, sentence)
        }
    }
}

struct Last {
    operation: &'static CStr,
    failure: Failure,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a failure for `rqb_last_error` and gives its code.
pub fn record(operation: &'static CStr, failure: Failure) -> i32 {
    let code = failure.code;
    LAST.with(|last| *last.borrow_mut() = Some(Last { operation, failure }));
    code
}

/// What the panic hook keeps instead of printing it.
pub fn remember_panic(message: String) {
    PANIC.with(|panic| *panic.borrow_mut() = Some(message));
}

fn panic_failure() -> Failure {
    let message = PANIC.with(|panic| panic.borrow_mut().take());
    Failure::new(
        RQB_E_PANIC,
        RQB_FAULT_BRIDGE,
        message.unwrap_or_else(|| "a panic without a message".into()),
    )
}

fn settle(operation: &'static CStr, outcome: Outcome<i32>) -> i32 {
    match outcome {
        Ok(code) => code,
        Err(failure) => record(operation, failure),
    }
}

/// Runs `body`; a panic becomes `RQB_E_PANIC`.
pub fn guard(operation: &'static CStr, body: impl FnOnce() -> Outcome<i32>) -> i32 {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        crate::tests::provoked::strike(operation);
        body()
    }));
    match caught {
        Ok(outcome) => settle(operation, outcome),
        Err(_) => record(operation, panic_failure()),
    }
}

/// The same for a function of a connection: a panic poisons it, and every later call on it says so.
///
/// # Safety
/// `connection` is null or came from `rqb_connect` or `rqb_accept` and has not been freed.
pub unsafe fn with(
    connection: *mut rqb_connection,
    operation: &'static CStr,
    body: impl FnOnce(&mut rqb_connection) -> Outcome<i32>,
) -> i32 {
    let Some(connection) = connection.as_mut() else {
        return record(operation, Failure::argument("the connection is null"));
    };
    if connection.poisoned {
        return record(
            operation,
            Failure::new(
                RQB_E_PANIC,
                RQB_FAULT_BRIDGE,
                "an earlier panic has poisoned this connection",
            ),
        );
    }
    let caught = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(test)]
        crate::tests::provoked::strike(operation);
        body(connection)
    }));
    match caught {
        Ok(outcome) => settle(operation, outcome),
        Err(_) => {
            connection.poisoned = true;
            record(operation, panic_failure())
        }
    }
}

/// Writes through an out-pointer of C, which must not be null.
///
/// # Safety
/// `out` is null or points at memory for a `T`.
pub unsafe fn give<T>(out: *mut T, value: T) -> Outcome<i32> {
    if out.is_null() {
        return Err(Failure::argument("the place for the answer is null"));
    }
    out.write(value);
    Ok(RQB_OK)
}

/// Copies this thread's last failure into `out`. `RQB_DONE` when there was none.
///
/// # Safety
/// `out` is null or points at an `rqb_error`.
#[no_mangle]
pub unsafe extern "C" fn rqb_last_error(out: *mut rqb_error) -> i32 {
    if out.is_null() {
        return RQB_E_ARGUMENT;
    }
    LAST.with(|last| {
        let last = last.borrow();
        let Some(last) = last.as_ref() else {
            return RQB_DONE;
        };
        let mut sentence = [0 as c_char; RQB_SENTENCE_SIZE];
        let text = last.failure.sentence.as_bytes();
        // The last byte stays 0.
        for (to, from) in sentence[..RQB_SENTENCE_SIZE - 1].iter_mut().zip(text) {
            *to = *from as c_char;
        }
        out.write(rqb_error {
            operation: last.operation.as_ptr(),
            code: last.failure.code,
            system: last.failure.system,
            detail: last.failure.detail,
            fault: last.failure.fault,
            sentence,
        });
        RQB_OK
    })
}
