//! The fixture `tls_basic`: sockets that get their keys from the test.

use std::io::IoSliceMut;

use ktls::cipher::CipherSuite;
use ktls::{Error, Flow, Layer, Options, SealedBy, Wait};

use crate::harness::{
    Pairing, can_change_receive_key, can_change_send_key, receive, receive_exactly, send, try_receive,
};
use crate::socket_support::{FRAGMENT, SUITE, pattern, raw_record, sockets, with_peer};

pairs!(base_base, recseq_wrap, rekey_tx, rekey_rx);
alone!(recvmsg_nopad_retry_iov);

/// A direction whose key the kernel does not have stays plain TCP to it, whatever the other one is.
fn base_base(pairing: Pairing) {
    let one_way = |layer| Options::new().send_layer(layer).receive_layer(Layer::Process);
    let [mut a, mut b] = sockets(SUITE, [&one_way(pairing.0), &one_way(pairing.1)]);
    for socket in [&a, &b] {
        assert_eq!(socket.info().receive.by, SealedBy::Process);
    }
    let data = pattern(3 * FRAGMENT + 1);
    send(&mut a, &data);
    assert!(receive_exactly(&mut b, data.len()) == data);
    send(&mut b, &data);
    assert!(receive_exactly(&mut a, data.len()) == data);
}

/// A key's sequence number never comes near its end: the budget refuses long before, in a typed way.
fn recseq_wrap(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets_with(&Options::new().record_limit(2));
    for _ in 0..2 {
        send(&mut a, b"test_read");
        assert_eq!(receive(&mut b, 100), b"test_read");
    }
    for _ in 0..2 {
        let refused = a.halves().0.send_vectored(&[std::io::IoSlice::new(b"x")], Wait::Block);
        let exhausted = matches!(refused, Err(Error::BudgetExhausted { direction: Flow::Send, limit: 2 }));
        assert!(exhausted, "{refused:?}");
    }
}

/// A padded record cannot go straight into the caller's memory, although the kernel was told to expect none:
/// it is opened again, and the slices must be filled from their beginning.
fn recvmsg_nopad_retry_iov(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(1000);
    let mut padded = data.clone();
    padded.push(23);
    padded.extend([0; 500]);
    peer.send_raw(&raw_record(0, &padded));
    let (mut first, mut second) = ([0; 10], [0; 2000]);
    let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(socket.halves().1.recv_vectored(&mut bufs, Wait::Block).unwrap(), 1000);
    assert_eq!([&first[..], &second[..990]].concat(), data);
}

fn every_suite(pairing: Pairing) -> impl Iterator<Item = [ktls::Socket; 2]> {
    CipherSuite::ALL.into_iter().map(move |suite| {
        sockets(suite, [&Options::new().layer(pairing.0), &Options::new().layer(pairing.1)])
    })
}

/// The sender's key changes while the receiver has not read what came before.
fn rekey_tx(pairing: Pairing) {
    for [mut a, mut b] in every_suite(pairing) {
        send(&mut a, b"before");
        let updated = a.halves().0.update_key(false, Wait::Block);
        if can_change_send_key(&a) {
            updated.unwrap();
            send(&mut a, b"after");
        } else {
            assert!(matches!(updated, Err(Error::RekeyUnsupported { direction: Flow::Send })));
        }
        assert_eq!(receive_exactly(&mut b, 6), b"before");
    }
}

/// The receiver follows, and asks for the same in return where it was asked to.
fn rekey_rx(pairing: Pairing) {
    for [mut a, mut b] in every_suite(pairing) {
        if a.halves().0.update_key(true, Wait::Block).is_err() {
            assert!(!can_change_send_key(&a));
            continue;
        }
        send(&mut a, b"after");
        if !can_change_receive_key(&b) {
            let refused = try_receive(&mut b, 100, Wait::Block);
            assert!(matches!(refused, Err(Error::RekeyUnsupported { direction: Flow::Receive })));
            continue;
        }
        assert_eq!(receive(&mut b, 100), b"after");
        if can_change_send_key(&b) {
            // The answer changes its key first.
            send(&mut b, b"answer");
            assert_eq!(receive(&mut a, 100), b"answer");
            assert!(a.take_event().is_some());
        }
    }
}
