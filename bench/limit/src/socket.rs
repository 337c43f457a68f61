//! One UDP socket: batches out by `sendmsg` with UDP_SEGMENT, in by `recvmmsg` with UDP_GRO, and counts of both.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::sys;
use crate::wire::DATAGRAM;

/// What one call receives at most.
const MESSAGES: usize = 8;
const MESSAGE_SIZE: usize = 65536;
/// As riffle asks for.
const SOCKET_BUFFER: i32 = 4 << 20;
const CONTROL_SIZE: usize = 64;

#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    /// All calls, those that met EAGAIN included.
    pub send_calls: u64,
    pub receive_calls: u64,
}

impl Counts {
    pub fn since(&self, before: &Counts) -> Counts {
        Counts {
            datagrams_sent: self.datagrams_sent - before.datagrams_sent,
            datagrams_received: self.datagrams_received - before.datagrams_received,
            send_calls: self.send_calls - before.send_calls,
            receive_calls: self.receive_calls - before.receive_calls,
        }
    }
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

pub struct Socket {
    udp: UdpSocket,
    pub local: SocketAddr,
    pub counts: Counts,
    buffers: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
    // The headers point into these and into `names`; none of them moves after `open`.
    _vectors: Vec<libc::iovec>,
    _controls: Vec<Control>,
    names: Vec<libc::sockaddr_storage>,
}

/// A sender, in the kernel's form: it is only handed back.
#[derive(Clone, Copy)]
pub struct Peer {
    name: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl Socket {
    pub fn open(local: SocketAddr) -> io::Result<Socket> {
        let udp = UdpSocket::bind(local)?;
        let fd = udp.as_raw_fd();
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, SOCKET_BUFFER)?;
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SOCKET_BUFFER)?;
        sys::set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        let local = udp.local_addr()?;
        let mut buffers = vec![0u8; MESSAGES * MESSAGE_SIZE];
        let mut controls: Vec<Control> =
            (0..MESSAGES).map(|_| Control([0; CONTROL_SIZE])).collect();
        let mut names = vec![unsafe { mem::zeroed::<libc::sockaddr_storage>() }; MESSAGES];
        let mut vectors: Vec<libc::iovec> = buffers
            .chunks_mut(MESSAGE_SIZE)
            .map(|chunk| libc::iovec {
                iov_base: chunk.as_mut_ptr().cast(),
                iov_len: chunk.len(),
            })
            .collect();
        let headers = (0..MESSAGES)
            .map(|i| {
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                header.msg_hdr.msg_iov = &mut vectors[i];
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = controls[i].0.as_mut_ptr().cast();
                header.msg_hdr.msg_name = (&mut names[i] as *mut libc::sockaddr_storage).cast();
                header
            })
            .collect();
        Ok(Socket {
            udp,
            local,
            counts: Counts::default(),
            buffers,
            headers,
            _vectors: vectors,
            _controls: controls,
            names,
        })
    }

    pub fn fd(&self) -> i32 {
        self.udp.as_raw_fd()
    }

    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.udp.connect(peer)
    }

    /// One datagram; waits while the socket is full.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.counts.send_calls += 1;
        self.udp.send(bytes)?;
        self.counts.datagrams_sent += 1;
        Ok(())
    }

    pub fn send_to(&mut self, bytes: &[u8], peer: &Peer) -> io::Result<()> {
        self.counts.send_calls += 1;
        let name: *const libc::sockaddr_storage = &peer.name;
        let sent = unsafe {
            libc::sendto(
                self.fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                0,
                name.cast(),
                peer.length,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        self.counts.datagrams_sent += 1;
        Ok(())
    }

    /// A batch of datagrams of `DATAGRAM` bytes in one call; waits while the socket is full.
    pub fn send_batch(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut control = Control([0; CONTROL_SIZE]);
        let mut vector = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: bytes.len(),
        };
        let sent = unsafe {
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_iov = &mut vector;
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(mem::size_of::<u16>() as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_UDP;
            (*header).cmsg_type = libc::UDP_SEGMENT;
            (*header).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as u32) as _;
            libc::CMSG_DATA(header)
                .cast::<u16>()
                .write_unaligned(DATAGRAM as u16);
            self.counts.send_calls += 1;
            libc::sendmsg(self.fd(), &message, 0)
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        self.counts.datagrams_sent += bytes.len().div_ceil(DATAGRAM) as u64;
        Ok(())
    }

    /// Takes what is there, without waiting; returns the number of messages.
    pub fn receive(&mut self) -> io::Result<usize> {
        for header in &mut self.headers {
            header.msg_hdr.msg_controllen = CONTROL_SIZE as _;
            header.msg_hdr.msg_namelen =
                mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        self.counts.receive_calls += 1;
        let got = unsafe {
            libc::recvmmsg(
                self.fd(),
                self.headers.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if got >= 0 {
            return Ok(got as usize);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        }
    }

    /// What the last `receive` put at `index`: the bytes, the size of the datagrams in them, the sender.
    pub fn message(&mut self, index: usize) -> (&mut [u8], usize, Peer) {
        let header = &self.headers[index];
        let length = header.msg_len as usize;
        let segment = segment_size(&header.msg_hdr).unwrap_or(length).max(1);
        self.counts.datagrams_received += length.div_ceil(segment).max(1) as u64;
        let peer = Peer {
            name: self.names[index],
            length: header.msg_hdr.msg_namelen,
        };
        let start = index * MESSAGE_SIZE;
        (&mut self.buffers[start..start + length], segment, peer)
    }
}

/// UDP_GRO: the size of the datagrams that were joined into this message.
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            if found.cmsg_level == libc::SOL_UDP && found.cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(control).cast::<i32>().read_unaligned();
                return usize::try_from(size).ok();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}
