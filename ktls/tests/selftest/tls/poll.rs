//! poll(2), and waiting or not waiting.

use std::io::IoSlice;
use std::thread;

use ktls::Wait;

use crate::harness::{
    Pairing, polls_readable, receive, receive_by_polling, receive_exactly, send, try_receive,
};
use crate::socket_support::{FRAGMENT, pattern};

pairs!(pollin, poll_wait, poll_wait_split, blocking, nonblocking);

fn pollin(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_poll\0");
    assert!(polls_readable(&b, 10_000));
    assert_eq!(receive(&mut b, 10), b"test_poll\0");
    assert!(!b.halves().1.has_buffered());
    assert!(!polls_readable(&b, 20), "all of it was taken");
}

fn poll_wait(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(receive_by_polling(&mut b, 14), b"test_poll_wait"));
        send(&mut a, b"test_poll_wait");
    });
}

fn poll_wait_split(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(2 * FRAGMENT);
    send(&mut a, &data);
    assert!(polls_readable(&b, 10_000));
    // The rest of a record that was begun must not be waited for in vain.
    assert!(receive_exactly(&mut b, 9000) == data[..9000]);
    assert!(b.halves().1.has_buffered() || polls_readable(&b, 10_000));
    assert!(receive_by_polling(&mut b, data.len() - 9000) == data[9000..]);
}

fn blocking(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(100_000);
    thread::scope(|scope| {
        scope.spawn(|| data.chunks(FRAGMENT).for_each(|part| send(&mut a, part)));
        let mut got = Vec::new();
        while got.len() < data.len() {
            got.extend(receive(&mut b, FRAGMENT));
        }
        assert!(got == data);
    });
}

fn nonblocking(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(100_000);
    // One thread plays both ends: first until nothing more goes, then until nothing more comes.
    let (mut sent, mut got) = (0, 0);
    for _ in 0..2 {
        let (send, _) = a.halves();
        let error = loop {
            let begin = sent % data.len();
            let part = &data[begin..data.len().min(begin + FRAGMENT)];
            match send.send_vectored(&[IoSlice::new(part)], Wait::Now) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert!(error.is_would_block(), "{error}");
        while got < sent {
            match try_receive(&mut b, FRAGMENT, Wait::Now) {
                Ok(part) => {
                    for byte in part {
                        assert_eq!(byte, data[got % data.len()], "byte {got}");
                        got += 1;
                    }
                }
                Err(error) => {
                    assert!(error.is_would_block(), "{error}");
                    // What waits at the sending end goes as the receiving end makes room.
                    a.halves().0.flush(Wait::Now).unwrap();
                    assert!(b.halves().1.has_buffered() || polls_readable(&b, 10_000));
                }
            }
        }
        assert!(!a.halves().0.has_pending());
        assert!(try_receive(&mut b, 1, Wait::Now).unwrap_err().is_would_block());
    }
}
