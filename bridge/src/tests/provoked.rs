//! A panic on demand, inside the wall of an exported function.

use std::cell::Cell;
use std::ffi::CStr;

thread_local! {
    static ARMED: Cell<Option<&'static CStr>> = const { Cell::new(None) };
}

/// The next call of `operation` on this thread panics.
pub fn arm(operation: &'static CStr) {
    ARMED.set(Some(operation));
}

pub fn strike(operation: &'static CStr) {
    if ARMED.get() == Some(operation) {
        ARMED.set(None);
        panic!("provoked in {}", operation.to_string_lossy());
    }
}
