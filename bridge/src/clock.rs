//! quiche's `Instant` as nanoseconds of CLOCK_MONOTONIC, which is `std::chrono::steady_clock`'s
//! epoch on Linux.

use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

use crate::abi::RQB_NEVER;

/// The clock's zero as an `Instant`. Rust gives no way to ask an `Instant` for its value, but says
/// it in its debug form; it is read once and held against the clock itself. One anchor is good for
/// virtual time too, for both hold the raw value of `clock_gettime`, and only differences of raw
/// values are used.
static ZERO: OnceLock<Instant> = OnceLock::new();

fn monotonic_ns() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a plain out-pointer. CLOCK_MONOTONIC cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// "Instant { tv_sec: 12, tv_nsec: 34 }"
pub fn parse_debug(text: &str) -> Option<i64> {
    let number = |key: &str| -> Option<i64> {
        let rest = text.split_once(key)?.1;
        let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next()?.parse().ok()
    };
    Some(number("tv_sec:")? * 1_000_000_000 + number("tv_nsec:")?)
}

fn find_zero() -> Instant {
    let before = monotonic_ns();
    let now = Instant::now();
    let after = monotonic_ns();
    let exact = parse_debug(&format!("{now:?}")).filter(|ns| (before..=after).contains(ns));
    // Without the debug form the later reading is taken: a deadline may then be told some
    // nanoseconds late, never early.
    let raw = exact.unwrap_or(after);
    now.checked_sub(Duration::from_nanos(raw.unsigned_abs()))
        .unwrap_or(now)
}

pub fn to_ns(instant: Option<Instant>) -> i64 {
    match instant {
        None => RQB_NEVER,
        Some(instant) => {
            let since = instant.saturating_duration_since(*ZERO.get_or_init(find_zero));
            i64::try_from(since.as_nanos()).unwrap_or(RQB_NEVER)
        }
    }
}
