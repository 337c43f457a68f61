//! What libc needs to be told: socket addresses, options, waiting, signals, resource usage.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
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

/// Takes SIGTERM and SIGINT while waiting in `wait` and nowhere else, so that none is missed.
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

/// Sleeps until the socket is ready for `events`, the timeout is over or a stop signal comes.
pub fn wait(fd: i32, events: i16, timeout: Option<Duration>) {
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        let mut poll = libc::pollfd {
            fd,
            events,
            revents: 0,
        };
        let limit = timeout.map(|t| libc::timespec {
            tv_sec: t.as_secs() as libc::time_t,
            tv_nsec: t.subsec_nanos() as libc::c_long,
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), |t| t as *const _);
        libc::ppoll(&mut poll, 1, limit, &set);
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

pub fn to_sockaddr(address: SocketAddr, out: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let out: *mut libc::sockaddr_storage = out;
    match address {
        SocketAddr::V4(v4) => unsafe {
            let raw = &mut *out.cast::<libc::sockaddr_in>();
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        },
        SocketAddr::V6(v6) => unsafe {
            let raw = &mut *out.cast::<libc::sockaddr_in6>();
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_flowinfo = v6.flowinfo();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        },
    }
}

pub fn from_sockaddr(raw: &libc::sockaddr_storage) -> SocketAddr {
    let at: *const libc::sockaddr_storage = raw;
    if i32::from(raw.ss_family) == libc::AF_INET {
        let raw = unsafe { &*at.cast::<libc::sockaddr_in>() };
        let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
        return SocketAddr::from((ip, u16::from_be(raw.sin_port)));
    }
    let raw = unsafe { &*at.cast::<libc::sockaddr_in6>() };
    SocketAddr::from((
        Ipv6Addr::from(raw.sin6_addr.s6_addr),
        u16::from_be(raw.sin6_port),
    ))
}

/// CPU seconds of this process, user and system, and its largest resident set in KiB.
pub fn usage() -> (f64, i64) {
    let usage = unsafe {
        let mut usage: libc::rusage = mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    (
        seconds(usage.ru_utime) + seconds(usage.ru_stime),
        usage.ru_maxrss,
    )
}
