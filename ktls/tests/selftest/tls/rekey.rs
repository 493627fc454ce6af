//! New keys. Where a kernel before 6.14 seals or opens, a typed refusal is what must come.

use ktls::handshake::key_update_message;
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Event, Flow, Layer, Options, Socket, Wait};

use crate::harness::{
    Pairing, can_change_receive_key, can_change_send_key, expect_nothing, polls_readable, receive,
    receive_by_polling, receive_exactly, send, try_receive,
};
use crate::socket_support::with_peer;

pairs!(rekey, rekey_peek, rekey_getsockopt, rekey_poll_delay);
alone!(rekey_fail, rekey_poll_pending);

/// Changes the key from `a` to `b` and sends `after` under the new one, or sees the refusal of the end that
/// cannot: whether it went.
fn change(a: &mut Socket, b: &mut Socket, after: &[u8]) -> bool {
    let updated = a.halves().0.update_key(false, Wait::Block);
    if !can_change_send_key(a) {
        assert!(matches!(updated, Err(Error::RekeyUnsupported { direction: Flow::Send })), "{updated:?}");
        // Nothing was sent, so nothing is broken: data and close_notify still go.
        expect_nothing(b);
        send(a, b"old key");
        assert_eq!(receive(b, 100), b"old key");
        assert!(a.halves().0.close_notify(Wait::Block).unwrap());
        assert_eq!(receive(b, 100), b"");
        return false;
    }
    updated.unwrap();
    send(a, after);
    if !can_change_receive_key(b) {
        refused(try_receive(b, 1, Wait::Block));
        return false;
    }
    true
}

fn refused(result: Result<Vec<u8>, Error>) {
    let refused = matches!(result, Err(Error::RekeyUnsupported { direction: Flow::Receive }));
    assert!(refused, "{result:?}");
    assert!(result.unwrap_err().needs_new_connection());
}

fn rekey(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_message_before_rekey");
    assert_eq!(receive_exactly(&mut b, 25), b"test_message_before_rekey");
    for _ in 0..3 {
        if !change(&mut a, &mut b, b"test_message_after_rekey") {
            return;
        }
        assert_eq!(receive_exactly(&mut b, 24), b"test_message_after_rekey");
        assert_eq!(b.take_event(), Some(Event::PeerUpdatedKey));
        // The other direction keeps its key.
        send(&mut b, b"answer");
        assert_eq!(receive(&mut a, 100), b"answer");
    }
}

fn rekey_fail(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"before");
    assert_eq!(receive(&mut socket, 100), b"before");
    peer.send(ContentType::Handshake, &key_update_message(false));
    // The peer says so and goes on with the old key.
    peer.send_data(b"old key");
    let result = try_receive(&mut socket, 100, Wait::Block);
    if can_change_receive_key(&socket) {
        let refused = matches!(result, Err(Error::BadRecord(BadRecord::NotAuthentic { .. })));
        assert!(refused, "{result:?}");
    } else {
        refused(result);
    }
}

fn rekey_peek(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"before");
    assert_eq!(b.halves().1.fill_buf(Wait::Block).unwrap(), b"before");
    let updated = a.halves().0.update_key(false, Wait::Block);
    if updated.is_err() {
        assert!(!can_change_send_key(&a), "{updated:?}");
        return;
    }
    send(&mut a, b"after");
    // What was looked at is still there, and nothing of the next key with it.
    assert_eq!(b.halves().1.fill_buf(Wait::Block).unwrap(), b"before");
    b.halves().1.consume(6);
    let next = b.halves().1.fill_buf(Wait::Block).map(<[u8]>::to_vec);
    if can_change_receive_key(&b) {
        assert_eq!(next.unwrap(), b"after");
        assert_eq!(receive(&mut b, 100), b"after");
    } else {
        refused(next);
    }
}

/// The counts start again with the key.
fn rekey_getsockopt(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets_with(&Options::new().record_limit(8));
    for _ in 0..5 {
        for _ in 0..6 {
            send(&mut a, b"record");
            assert_eq!(receive(&mut b, 100), b"record");
        }
        if !change(&mut a, &mut b, b"record") {
            return;
        }
        assert_eq!(receive(&mut b, 100), b"record");
        assert!(a.halves().0.budget().used <= 1 && b.halves().1.budget().used <= 1);
    }
}

/// The update and what follows it come at once.
fn rekey_poll_pending(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &key_update_message(false));
    peer.sealer.rekey().unwrap();
    peer.send_data(b"new key");
    assert!(polls_readable(&socket, 10_000));
    if can_change_receive_key(&socket) {
        assert_eq!(receive_by_polling(&mut socket, 7), b"new key");
    } else {
        refused(try_receive(&mut socket, 100, Wait::Block));
    }
}

/// The update comes, is dealt with, and later something follows.
fn rekey_poll_delay(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    if a.halves().0.update_key(false, Wait::Block).is_err() {
        assert!(!can_change_send_key(&a));
        return;
    }
    assert!(polls_readable(&b, 10_000));
    let early = try_receive(&mut b, 100, Wait::Now);
    if !can_change_receive_key(&b) {
        return refused(early);
    }
    assert!(early.unwrap_err().is_would_block(), "the update is no data");
    assert!(!polls_readable(&b, 0));
    send(&mut a, b"test_message_after_rekey");
    assert_eq!(receive_by_polling(&mut b, 24), b"test_message_after_rekey");
}
