//! Options, waiting, signals, resource usage.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static STOPPED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOPPED.store(true, Ordering::SeqCst);
}

/// True once SIGTERM or SIGINT has come.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

/// Takes SIGTERM and SIGINT while waiting in `wait_readable` and nowhere else, so that none is missed.
pub fn catch_stop_signals() {
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT] {
            libc::sigaction(signal, &action, std::ptr::null_mut());
            libc::sigaddset(&mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Sleeps until the socket is readable (true), the timeout is over or a stop signal comes (false).
pub fn wait_readable(fd: i32, timeout: Option<Duration>) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs() as libc::time_t,
        tv_nsec: t.subsec_nanos() as libc::c_long,
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), |t| t as *const _);
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::ppoll(&mut poll, 1, limit, &set) == 1
    }
}

pub fn set_option(fd: i32, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = mem::size_of::<i32>() as libc::socklen_t;
    let value: *const i32 = &value;
    match unsafe { libc::setsockopt(fd, level, name, value.cast(), size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPU seconds of this process, user and system.
pub fn cpu_seconds() -> f64 {
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
