//! What is in the datagrams: 16 bytes of header, and for bulk data the payload (sealed, and 16 bytes of tag).

/// As in the QUIC lines: 1,500 bytes of Ethernet less IPv6 and UDP headers, so that no packet is larger.
pub const DATAGRAM: usize = 1452;
pub const HEADER: usize = 16;
pub const TAG: usize = 16;
/// One GSO batch: 45 datagrams are 65,340 bytes; the payload of an IPv4 datagram ends at 65,507.
pub const BATCH: usize = 65507 / DATAGRAM;
/// Bulk datagrams on their way at most: 2 MiB, half of the receiver's socket buffer.
pub const WINDOW: u64 = (2 << 20) / DATAGRAM as u64;
/// The size of a ping, with its header.
pub const PING: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Udp,
    UdpAead,
    PingPong,
}

impl Mode {
    const ALL: [(Mode, &'static str); 3] = [
        (Mode::Udp, "udp"),
        (Mode::UdpAead, "udp-aead"),
        (Mode::PingPong, "pingpong"),
    ];

    pub fn from_name(name: &str) -> Option<Mode> {
        let found = Mode::ALL.iter().find(|(_, known)| *known == name)?;
        Some(found.0)
    }

    pub fn from_number(number: u64) -> Option<Mode> {
        let (mode, _) = Mode::ALL.get(usize::try_from(number).ok()?)?;
        Some(*mode)
    }

    pub fn name(self) -> &'static str {
        Mode::ALL[self as usize].1
    }

    /// What one bulk datagram carries of the application's bytes.
    pub fn payload(self) -> usize {
        match self {
            Mode::UdpAead => DATAGRAM - HEADER - TAG,
            _ => DATAGRAM - HEADER,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Client: a run begins; the number is its mode.
    Start,
    /// Server: it may.
    Ready,
    /// Client: one bulk datagram; the number counts from 0.
    Data,
    /// Server: all datagrams up to this number have arrived or are lost.
    Ack,
    /// Both: to and fro.
    Ping,
    /// Client: that was all; the number is how many datagrams were sent.
    End,
    /// Server: its JSON object, behind the header.
    Report,
}

const KINDS: [Kind; 7] = [
    Kind::Start,
    Kind::Ready,
    Kind::Data,
    Kind::Ack,
    Kind::Ping,
    Kind::End,
    Kind::Report,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Tells runs apart: what is left of an earlier one in a buffer is not counted.
    pub run: u32,
    pub number: u64,
}

impl Header {
    pub fn write(self, out: &mut [u8]) {
        out[0..4].copy_from_slice(&(self.kind as u32).to_le_bytes());
        out[4..8].copy_from_slice(&self.run.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
    }

    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        self.write(&mut out);
        out
    }

    pub fn read(bytes: &[u8]) -> Option<Header> {
        let header = bytes.first_chunk::<HEADER>()?;
        let kind = u32::from_le_bytes(header[0..4].try_into().ok()?);
        Some(Header {
            kind: *KINDS.get(kind as usize)?,
            run: u32::from_le_bytes(header[4..8].try_into().ok()?),
            number: u64::from_le_bytes(header[8..16].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let header = Header {
                kind,
                run: 7,
                number: u64::MAX - 3,
            };
            assert_eq!(Header::read(&header.to_bytes()), Some(header));
        }
        assert_eq!(Header::read(&[0; HEADER - 1]), None);
        assert_eq!(Header::read(&[9; HEADER]), None);
    }

    #[test]
    fn modes_are_known_by_their_names() {
        for (mode, name) in Mode::ALL {
            assert_eq!(mode.name(), name);
            assert_eq!(Mode::from_number(mode as u64), Some(mode));
            assert_eq!(Mode::from_name(name), Some(mode));
        }
        assert_eq!(Mode::from_name("tcp"), None);
        assert_eq!(Mode::from_number(3), None);
    }
}
