//! AES-128-GCM for each datagram, by BoringSSL's EVP_AEAD: what QUIC does to a packet, less header protection.

use boring_sys as ffi;

use crate::wire::{HEADER, TAG};

pub struct Seal(*mut ffi::EVP_AEAD_CTX);

impl Seal {
    /// Both ends use the same key: nothing here is secret, the work alone counts.
    pub fn new() -> Seal {
        let key = [0x5au8; 16];
        let context = unsafe {
            ffi::EVP_AEAD_CTX_new(ffi::EVP_aead_aes_128_gcm(), key.as_ptr(), key.len(), TAG)
        };
        assert!(!context.is_null(), "BoringSSL refused AES-128-GCM");
        Seal(context)
    }

    /// Fills `datagram` behind its header with the sealed `payload`. The header is authenticated.
    pub fn seal(&self, datagram: &mut [u8], payload: &[u8]) {
        let (header, sealed) = datagram.split_at_mut(HEADER);
        let nonce = nonce_of(header);
        let mut length = 0;
        let done = unsafe {
            ffi::EVP_AEAD_CTX_seal(
                self.0,
                sealed.as_mut_ptr(),
                &mut length,
                sealed.len(),
                nonce.as_ptr(),
                nonce.len(),
                payload.as_ptr(),
                payload.len(),
                header.as_ptr(),
                header.len(),
            )
        };
        assert!(done == 1 && length == sealed.len(), "sealing failed");
    }

    /// Opens `datagram` in its place; false if it is not authentic.
    pub fn open(&self, datagram: &mut [u8]) -> bool {
        let (header, sealed) = datagram.split_at_mut(HEADER);
        let nonce = nonce_of(header);
        let mut length = 0;
        // aead.h: "If `in` and `out` alias then `out` must be == `in`."
        let bytes: *mut u8 = sealed.as_mut_ptr();
        unsafe {
            ffi::EVP_AEAD_CTX_open(
                self.0,
                bytes,
                &mut length,
                sealed.len(),
                nonce.as_ptr(),
                nonce.len(),
                bytes,
                sealed.len(),
                header.as_ptr(),
                header.len(),
            ) == 1
        }
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        unsafe { ffi::EVP_AEAD_CTX_free(self.0) };
    }
}

/// The number of the datagram, in the last 8 of 12 bytes.
fn nonce_of(header: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&header[8..16]);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Kind, Mode, DATAGRAM};

    #[test]
    fn what_was_sealed_opens_and_what_was_changed_does_not() {
        let seal = Seal::new();
        let payload = vec![7u8; Mode::UdpAead.payload()];
        let mut datagram = vec![0u8; DATAGRAM];
        let header = Header {
            kind: Kind::Data,
            run: 1,
            number: 42,
        };
        header.write(&mut datagram);
        seal.seal(&mut datagram, &payload);
        assert_ne!(&datagram[HEADER..DATAGRAM - TAG], &payload[..]);
        for changed in [9, HEADER, DATAGRAM - 1] {
            let mut forged = datagram.clone();
            forged[changed] ^= 1;
            assert!(!seal.open(&mut forged), "byte {changed}");
        }
        assert!(seal.open(&mut datagram));
        assert_eq!(&datagram[HEADER..DATAGRAM - TAG], &payload[..]);
    }
}
