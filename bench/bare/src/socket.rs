//! One UDP socket: `recvmmsg` with UDP_GRO, `sendmsg` with UDP_SEGMENT, large buffers, and counts of what it did.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::sys;

/// What one call receives at most: 8 buffers, each as large as a UDP datagram (or a GRO batch) can be.
const MESSAGES: usize = 8;
const MESSAGE_SIZE: usize = 65536;
/// What one `sendmsg` may carry: the kernel's UDP_MAX_SEGMENTS, and the payload of an IPv4 datagram.
pub const MAX_SEGMENTS: usize = 64;
pub const MAX_BATCH: usize = 65507;
/// The system's limit here; riffle asks for the same.
const SOCKET_BUFFER: i32 = 4 << 20;
const CONTROL_SIZE: usize = 64;

#[derive(Default)]
pub struct Counts {
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    pub send_calls: u64,
    pub receive_calls: u64,
}

#[repr(C, align(8))]
struct Control([u8; CONTROL_SIZE]);

/// One message of the last `receive`: `length` bytes, cut into segments of `segment` bytes.
#[derive(Clone, Copy)]
pub struct Message {
    pub from: SocketAddr,
    pub length: usize,
    pub segment: usize,
}

pub struct Socket {
    udp: UdpSocket,
    pub local: SocketAddr,
    connected: Option<SocketAddr>,
    pub counts: Counts,
    buffers: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
    // The headers point into these and into `names`; none of them moves after `open`.
    _vectors: Vec<libc::iovec>,
    _controls: Vec<Control>,
    names: Vec<libc::sockaddr_storage>,
}

impl Socket {
    /// Binds to `local`; with a `peer` it is connected to it and only hears from it.
    pub fn open(local: SocketAddr, peer: Option<SocketAddr>) -> io::Result<Socket> {
        let udp = UdpSocket::bind(local)?;
        udp.set_nonblocking(true)?;
        if let Some(peer) = peer {
            udp.connect(peer)?;
        }
        let fd = udp.as_raw_fd();
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, SOCKET_BUFFER)?;
        sys::set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, SOCKET_BUFFER)?;
        sys::set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        // RFC 9000 section 14: "UDP datagrams MUST NOT be fragmented at the IP layer."
        if local.is_ipv4() {
            sys::set_option(
                fd,
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_PROBE,
            )?;
        } else {
            sys::set_option(
                fd,
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IP_PMTUDISC_PROBE,
            )?;
        }
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
            connected: peer,
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

    /// Receives what is there, without waiting; returns the number of messages.
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
            // A peer that is gone answers with ICMP; QUIC's own timers decide what that means.
            io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused => Ok(0),
            _ => Err(error),
        }
    }

    /// What the last `receive` put at `index`.
    pub fn message(&mut self, index: usize) -> Message {
        let header = &self.headers[index];
        let length = header.msg_len as usize;
        let segment = segment_size(&header.msg_hdr).unwrap_or(length).max(1);
        self.counts.datagrams_received += length.div_ceil(segment) as u64;
        let from = match self.connected {
            Some(peer) => peer,
            None => sys::from_sockaddr(&self.names[index]),
        };
        Message {
            from,
            length,
            segment,
        }
    }

    /// The bytes of message `index`; QUIC decrypts them in place.
    pub fn bytes(&mut self, index: usize) -> &mut [u8] {
        let start = index * MESSAGE_SIZE;
        &mut self.buffers[start..start + self.headers[index].msg_len as usize]
    }

    /// Sends `batch` as datagrams of `segment` bytes, the last one perhaps shorter. Waits while the socket is full.
    pub fn send(&mut self, batch: &[u8], segment: usize, to: SocketAddr) -> io::Result<()> {
        let mut name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let mut control = Control([0; CONTROL_SIZE]);
        let mut vector = libc::iovec {
            iov_base: batch.as_ptr() as *mut _,
            iov_len: batch.len(),
        };
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &mut vector;
        header.msg_iovlen = 1;
        if self.connected.is_none() {
            header.msg_namelen = sys::to_sockaddr(to, &mut name);
            header.msg_name = (&mut name as *mut libc::sockaddr_storage).cast();
        }
        if batch.len() > segment {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = unsafe { libc::CMSG_SPACE(2) } as _;
            unsafe {
                let message = libc::CMSG_FIRSTHDR(&header);
                (*message).cmsg_level = libc::SOL_UDP;
                (*message).cmsg_type = libc::UDP_SEGMENT;
                (*message).cmsg_len = libc::CMSG_LEN(2) as _;
                libc::CMSG_DATA(message)
                    .cast::<u16>()
                    .write_unaligned(segment as u16);
            }
        }
        self.counts.datagrams_sent += batch.len().div_ceil(segment) as u64;
        loop {
            self.counts.send_calls += 1;
            if unsafe { libc::sendmsg(self.fd(), &header, libc::MSG_DONTWAIT) } >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => sys::wait(self.fd(), libc::POLLOUT, None),
                // An ICMP answer to an earlier datagram; this one was not sent: QUIC repairs that.
                io::ErrorKind::ConnectionRefused => return Ok(()),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
            if sys::stopped() {
                return Ok(());
            }
        }
    }
}

/// The segment size that UDP_GRO reports, if the message is a batch.
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while let Some(found) = unsafe { message.as_ref() } {
        if found.cmsg_level == libc::SOL_UDP && found.cmsg_type == libc::UDP_GRO {
            let size = unsafe { libc::CMSG_DATA(message).cast::<i32>().read_unaligned() };
            return usize::try_from(size).ok();
        }
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_batch_arrives_with_every_byte_and_both_ends_count_its_datagrams() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut server = Socket::open(any, None).unwrap();
        let mut client = Socket::open(any, Some(server.local)).unwrap();
        let batch: Vec<u8> = (0..4 * 1452 + 100).map(|i: u32| (i % 251) as u8).collect();
        client.send(&batch, 1452, server.local).unwrap();
        let mut got = Vec::new();
        while got.len() < batch.len() {
            crate::sys::wait(server.fd(), libc::POLLIN, None);
            for index in 0..server.receive().unwrap() {
                let message = server.message(index);
                assert_eq!(message.from, client.local);
                assert!(message.segment == 1452 || message.length <= 1452);
                got.extend_from_slice(server.bytes(index));
            }
        }
        assert_eq!(got, batch);
        assert_eq!(
            (client.counts.datagrams_sent, client.counts.send_calls),
            (5, 1)
        );
        assert_eq!(server.counts.datagrams_received, 5);
    }
}
