//! Seeded randomness, for the simulator's library alone: BoringSSL's `RAND_bytes` is wrapped by the
//! linker (`simulation/build.rs`), so that quiche's packet numbers and BoringSSL's keys follow a
//! seed. It must never be shipped.

use std::cell::Cell;
use std::ffi::c_int;

extern "C" {
    fn __real_RAND_bytes(out: *mut u8, size: usize) -> c_int;
}

thread_local! {
    /// The state of SplitMix64, or nothing: then the system's randomness.
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seeds this thread's randomness. Make a fresh configuration afterwards: ticket keys are drawn on
/// first use.
#[no_mangle]
pub extern "C" fn rqb_sim_seed(seed: u64) {
    STATE.set(Some(seed));
}

/// Gives this thread the system's randomness back.
#[no_mangle]
pub extern "C" fn rqb_sim_unseed() {
    STATE.set(None);
}

/// # Safety
/// `out` points at `size` writable bytes, as for `RAND_bytes`.
#[no_mangle]
pub unsafe extern "C" fn __wrap_RAND_bytes(out: *mut u8, size: usize) -> c_int {
    let Some(mut state) = STATE.get() else {
        return __real_RAND_bytes(out, size);
    };
    if size > 0 {
        let out = std::slice::from_raw_parts_mut(out, size);
        for chunk in out.chunks_mut(8) {
            let word = next(&mut state).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
    STATE.set(Some(state));
    1
}
