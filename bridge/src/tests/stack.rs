//! What needs no connection.

use std::ffi::c_void;

use super::rig::*;
use crate::abi::*;
use crate::stack::*;

unsafe extern "C" fn other(_: *mut c_void) {}

#[test]
fn init_takes_both_functions_and_keeps_the_first() {
    init();
    init();
    assert_failed(
        unsafe { rqb_init(None, Some(other)) },
        RQB_E_ARGUMENT,
        "rqb_init",
        "both",
    );
    assert_failed(
        unsafe { rqb_init(Some(other), Some(other)) },
        RQB_E_ARGUMENT,
        "rqb_init",
        "other functions",
    );
}

#[test]
fn version_1_is_spoken() {
    assert_eq!(rqb_is_version_supported(1), 1);
    assert_eq!(rqb_is_version_supported(2), 0);
    assert_eq!(rqb_is_version_supported(0x1a2a_3a4a), 0);
}

#[test]
fn a_version_negotiation_packet_swaps_the_ids() {
    let (source, destination) = (connection_id(1), connection_id(2));
    let mut packet = [0u8; 100];
    let mut size = 0;
    unsafe {
        let code =
            rqb_negotiate_version(&source, &destination, packet.as_mut_ptr(), 100, &mut size);
        assert_eq!(code, RQB_OK);
        // RFC 9000 section 17.2.1.
        assert_eq!(packet[1..5], [0; 4]);
        assert_eq!((packet[5], &packet[6..22]), (16, &[1u8; 16][..]));
        assert_eq!((packet[22], &packet[23..39]), (16, &[2u8; 16][..]));
        assert!(packet[39..size]
            .chunks(4)
            .any(|version| version == [0, 0, 0, 1]));

        let operation = "rqb_negotiate_version";
        let code = rqb_negotiate_version(&source, &destination, packet.as_mut_ptr(), 10, &mut size);
        assert_failed(code, RQB_E_SPACE, operation, "short");
        let code = rqb_negotiate_version(
            std::ptr::null(),
            &destination,
            packet.as_mut_ptr(),
            100,
            &mut size,
        );
        assert_failed(code, RQB_E_ARGUMENT, operation, "null");
        let code =
            rqb_negotiate_version(&source, &destination, std::ptr::null_mut(), 100, &mut size);
        assert_failed(code, RQB_E_ARGUMENT, operation, "null pointer");
        let code = rqb_negotiate_version(
            &source,
            &destination,
            packet.as_mut_ptr(),
            100,
            std::ptr::null_mut(),
        );
        assert_failed(code, RQB_E_ARGUMENT, operation, "place");
    }
}

#[test]
fn random_bytes_are_random() {
    let (mut first, mut second) = ([0u8; 32], [0u8; 32]);
    unsafe {
        assert_eq!(rqb_random(first.as_mut_ptr(), 32), RQB_OK);
        assert_eq!(rqb_random(second.as_mut_ptr(), 32), RQB_OK);
        assert_eq!(rqb_random(std::ptr::null_mut(), 0), RQB_OK);
        let code = rqb_random(std::ptr::null_mut(), 1);
        assert_failed(code, RQB_E_ARGUMENT, "rqb_random", "null pointer");
    }
    assert_ne!(first, second);
    assert_ne!(first, [0; 32]);
}

#[test]
fn buffers_split_and_clone_with_their_owner() {
    use crate::buffers::*;
    use quiche::BufFactory;
    use quiche::BufSplit;
    init();
    static DATA: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    let before = held();
    let owner = DATA.as_ptr().cast_mut().cast();
    let mut buffer = Buffer::Lent(unsafe { Lent::new(owner, DATA.as_ptr(), 10, 0) });
    let rest = buffer.split_at(4);
    let copy = rest.clone();
    assert_eq!(held(), before + 3);
    assert_eq!(buffer.as_ref(), [0, 1, 2, 3]);
    assert_eq!(rest.as_ref(), [4, 5, 6, 7, 8, 9]);
    assert_eq!(copy.as_ref(), rest.as_ref());
    drop((buffer, rest, copy));
    assert_eq!(held(), before);

    let mut copied = Factory::buf_from_slice(b"hello world");
    let rest = copied.split_at(5);
    assert_eq!(copied.as_ref(), b"hello");
    assert_eq!(rest.as_ref(), b" world");
    assert_eq!(Factory::dgram_buf_from_slice(b"x"), b"x");
}
