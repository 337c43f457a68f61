//! What needs no connection: start-up, versions, randomness, keys and certificates.

use quiche::ConnectionId;

use crate::abi::*;
use crate::buffers::Hooks;
use crate::buffers::HOOKS;
use crate::certificates;
use crate::certificates::KeyKind;
use crate::fault::give;
use crate::fault::guard;
use crate::fault::remember_panic;
use crate::fault::Failure;
use crate::fault::Outcome;
use crate::trust;

/// Registers the two calls that keep zero-copy buffers alive, and silences Rust's panic output: a
/// panic becomes `RQB_E_PANIC` with its message. Call it once, before anything else; again with the
/// same calls it does nothing.
///
/// # Safety
/// Both functions are callable for the life of the process and do not unwind.
#[no_mangle]
pub unsafe extern "C" fn rqb_init(retain: rqb_retain, release: rqb_release) -> i32 {
    guard(c"rqb_init", || {
        let (Some(retain), Some(release)) = (retain, release) else {
            return Err(Failure::argument("retain and release must both be given"));
        };
        let mut is_first = false;
        let hooks = HOOKS.get_or_init(|| {
            is_first = true;
            Hooks { retain, release }
        });
        if is_first {
            std::panic::set_hook(Box::new(|info| {
                // A failing test has to say why.
                #[cfg(test)]
                eprintln!("{info}");
                remember_panic(info.to_string());
            }));
        }
        let is_same =
            hooks.retain as usize == retain as usize && hooks.release as usize == release as usize;
        if !is_same {
            return Err(Failure::argument(
                "rqb_init has been called with other functions",
            ));
        }
        Ok(RQB_OK)
    })
}

/// Whether a QUIC version is spoken.
#[no_mangle]
pub extern "C" fn rqb_is_version_supported(version: u32) -> u8 {
    quiche::version_is_supported(version).into()
}

/// Writes a version-negotiation packet (RFC 9000 section 17.2.1): its size, or a failure.
///
/// # Safety
/// Ids are null or valid; `out` points at `size` writable bytes; `written` is null or
/// points at a `size_t`.
#[no_mangle]
pub unsafe extern "C" fn rqb_negotiate_version(
    scid: *const rqb_connection_id,
    dcid: *const rqb_connection_id,
    out: *mut u8,
    size: usize,
    written: *mut usize,
) -> i32 {
    guard(c"rqb_negotiate_version", || {
        let id = |id: *const rqb_connection_id| {
            id.as_ref()
                .and_then(rqb_connection_id::get)
                .map(ConnectionId::from_ref)
                .ok_or_else(|| Failure::argument("a connection id is null or too long"))
        };
        let (scid, dcid) = (id(scid)?, id(dcid)?);
        let out = slice_of_mut(out, size)
            .ok_or_else(|| Failure::argument("a null pointer with a length"))?;
        let size = quiche::negotiate_version(&scid, &dcid, out)?;
        give(written, size)
    })
}

/// Fills `out` from BoringSSL's generator.
///
/// # Safety
/// `out` points at `size` writable bytes.
#[no_mangle]
pub unsafe extern "C" fn rqb_random(out: *mut u8, size: usize) -> i32 {
    guard(c"rqb_random", || {
        let out = slice_of_mut(out, size)
            .ok_or_else(|| Failure::argument("a null pointer with a length"))?;
        boring::rand::rand_bytes(out).map_err(|stack| Failure::tls("randomness", &stack))?;
        Ok(RQB_OK)
    })
}

/// A text that the bridge made for C; `rqb_text_free` frees it.
#[allow(non_camel_case_types)]
pub struct rqb_text {
    bytes: Vec<u8>,
}

/// The bytes of a text; they hold until it is freed.
///
/// # Safety
/// `text` is null or came from the bridge.
#[no_mangle]
pub unsafe extern "C" fn rqb_text_bytes(text: *const rqb_text) -> rqb_bytes {
    text.as_ref()
        .map_or(rqb_bytes::EMPTY, |text| rqb_bytes::of(&text.bytes))
}

/// Frees a text; null is good.
///
/// # Safety
/// `text` is null or came from the bridge and has not been freed.
#[no_mangle]
pub unsafe extern "C" fn rqb_text_free(text: *mut rqb_text) {
    if !text.is_null() {
        drop(Box::from_raw(text));
    }
}

unsafe fn give_text(out: *mut *mut rqb_text, bytes: Vec<u8>) -> Outcome<i32> {
    give(out, Box::into_raw(Box::new(rqb_text { bytes })))
}

/// Makes a key (P-256, or RSA of 2048 bits) and a certificate for `names` (DNS names or IP
/// addresses), signed by itself.
///
/// # Safety
/// `names` points at `count` names; `chain_pem` and `key_pem` are null or point at pointers.
#[no_mangle]
pub unsafe extern "C" fn rqb_make_self_signed(
    names: *const rqb_bytes,
    count: usize,
    days: u32,
    is_rsa: u8,
    chain_pem: *mut *mut rqb_text,
    key_pem: *mut *mut rqb_text,
) -> i32 {
    guard(c"rqb_make_self_signed", || {
        if chain_pem.is_null() || key_pem.is_null() {
            return Err(Failure::argument("the place for the answer is null"));
        }
        let names = slice_of(names, count)
            .ok_or_else(|| Failure::argument("names: a null pointer with a count"))?
            .iter()
            .map(|name| name.get().and_then(|name| std::str::from_utf8(name).ok()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Failure::option("names: a name is not UTF-8 text"))?;
        let kind = if is_rsa != 0 {
            KeyKind::Rsa2048
        } else {
            KeyKind::P256
        };
        let (chain, key) = certificates::self_signed(&names, days, kind)?;
        give_text(chain_pem, chain)?;
        give_text(key_pem, key)
    })
}

/// The pin of the first certificate in a PEM text: SHA-256 of its SubjectPublicKeyInfo (RFC 7469
/// section 2.4).
///
/// # Safety
/// `chain_pem` holds for the call; `out` is null or points at 32 bytes.
#[no_mangle]
pub unsafe extern "C" fn rqb_pin_of(chain_pem: rqb_bytes, out: *mut u8) -> i32 {
    guard(c"rqb_pin_of", || {
        let pem = chain_pem
            .get()
            .ok_or_else(|| Failure::argument("chain: a null pointer with a length"))?;
        let chain = certificates::parse_chain("certificate", "the text", pem)?;
        let pin = trust::pin_of(&chain[0])?;
        give(out.cast::<trust::Pin>(), pin)
    })
}
