//! What one send, or several, make of their data.

use std::thread;

use crate::harness::{Pairing, receive, receive_exactly, send, send_slices};
use crate::socket_support::{FRAGMENT, pattern};

pairs!(
    sendmsg_single,
    sendmsg_fragmented,
    sendmsg_large,
    sendmsg_multiple,
    sendmsg_multiple_stress,
    single_send_multiple_recv,
    multiple_send_single_recv,
    single_send_multiple_recv_non_align,
    bidir,
);

fn sendmsg_single(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send_slices(&mut a, &[b"test_sendmsg\0".to_vec()]);
    assert_eq!(receive(&mut b, 100), b"test_sendmsg\0");
}

fn sendmsg_fragmented(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    for parts in [1, 2, 5, 30, 40] {
        let data = pattern(parts * 100);
        send_slices(&mut a, &data.chunks(100).map(<[u8]>::to_vec).collect::<Vec<_>>());
        assert_eq!(receive_exactly(&mut b, data.len()), data);
    }
}

fn sendmsg_large(pairing: Pairing) {
    const SENDS: usize = 128;
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(FRAGMENT);
    thread::scope(|scope| {
        scope.spawn(|| (0..SENDS).for_each(|_| send(&mut a, &data)));
        for n in 0..SENDS {
            assert!(receive_exactly(&mut b, FRAGMENT) == data, "record {n}");
        }
    });
}

fn sendmsg_multiple(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let parts = vec![b"test_sendmsg_multiple\0".to_vec(); 5];
    send_slices(&mut a, &parts);
    // Sent at once, it is one record: one receive gives it whole.
    assert_eq!(receive(&mut b, 1000), parts.concat());
}

fn sendmsg_multiple_stress(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    // As many slices as one system call takes.
    let parts = vec![b"abcdefghijklmno\0".to_vec(); 1024];
    send_slices(&mut a, &parts);
    assert_eq!(receive_exactly(&mut b, 16 * 1024), parts.concat());
}

fn single_send_multiple_recv(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(2 * FRAGMENT);
    send(&mut a, &data);
    for part in data.chunks(FRAGMENT) {
        assert!(receive_exactly(&mut b, FRAGMENT) == part);
    }
}

fn multiple_send_single_recv(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read1");
    send(&mut a, b"test_read2");
    assert_eq!(receive_exactly(&mut b, 20), b"test_read1test_read2");
}

fn single_send_multiple_recv_non_align(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(15);
    send(&mut a, &data);
    let mut got = receive_exactly(&mut b, 10);
    // More room than there is left.
    got.extend(receive(&mut b, 10));
    assert_eq!(got, data);
}

fn bidir(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    for round in 0..10 {
        let (there, back) = (format!("test_read {round}"), format!("test_read_back {round}"));
        send(&mut a, there.as_bytes());
        assert_eq!(receive(&mut b, 100), there.as_bytes());
        send(&mut b, back.as_bytes());
        assert_eq!(receive(&mut a, 100), back.as_bytes());
    }
}
