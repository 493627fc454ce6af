//! What one receive, or several, give of the data; `fill_buf` without `consume` is our MSG_PEEK.

use std::io::IoSliceMut;

use ktls::Wait;

use crate::harness::{Pairing, expect_nothing, receive, receive_exactly, send};
use crate::socket_support::{FRAGMENT, pattern};

pairs!(
    recv_max,
    recv_small,
    recvmsg_single,
    recvmsg_single_max,
    recvmsg_multiple,
    recv_partial,
    recv_nonblock,
    recv_peek,
    recv_peek_multiple,
    recv_peek_multiple_records,
    recv_peek_large_buf_mult_recs,
);

fn recv_max(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(FRAGMENT);
    send(&mut a, &data);
    assert!(receive(&mut b, FRAGMENT) == data, "one record, one receive");
}

fn recv_small(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read\0");
    assert_eq!(receive(&mut b, 10), b"test_read\0");
}

fn recvmsg_single(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_recvmsg_single");
    assert_eq!(receive(&mut b, 19), b"test_recvmsg_single");
    expect_nothing(&mut b);
}

fn recvmsg_single_max(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(FRAGMENT);
    send(&mut a, &data);
    assert!(receive(&mut b, 2 * FRAGMENT) == data);
    expect_nothing(&mut b);
}

fn recvmsg_multiple(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(FRAGMENT);
    send(&mut a, &data);
    let mut parts = vec![[0; 16]; FRAGMENT / 16];
    let mut bufs: Vec<_> = parts.iter_mut().map(|part| IoSliceMut::new(part)).collect();
    assert_eq!(b.halves().1.recv_vectored(&mut bufs, Wait::Block).unwrap(), FRAGMENT);
    assert!(parts.concat() == data);
}

fn recv_partial(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read_partial");
    assert_eq!(receive(&mut b, 9), b"test_read");
    assert_eq!(receive(&mut b, 100), b"_partial");
    expect_nothing(&mut b);
}

fn recv_nonblock(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    expect_nothing(&mut a);
    expect_nothing(&mut b);
}

fn recv_peek(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read_peek");
    assert_eq!(b.halves().1.fill_buf(Wait::Block).unwrap(), b"test_read_peek");
    assert_eq!(receive(&mut b, 100), b"test_read_peek");
}

fn recv_peek_multiple(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read_peek");
    for _ in 0..100 {
        assert_eq!(b.halves().1.fill_buf(Wait::Block).unwrap(), b"test_read_peek");
    }
    assert_eq!(receive(&mut b, 100), b"test_read_peek");
    expect_nothing(&mut b);
}

fn recv_peek_multiple_records(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let all = b"test_read_peek_mult_recs";
    for part in all.chunks(8) {
        send(&mut a, part);
    }
    let (_, recv) = b.halves();
    assert!(recv.fill_buf(Wait::Block).unwrap().starts_with(b"test_rea"));
    recv.consume(5);
    assert!(recv.fill_buf(Wait::Block).unwrap().starts_with(b"rea"), "a peek takes nothing away");
    assert_eq!(receive_exactly(&mut b, all.len() - 5), &all[5..]);
}

fn recv_peek_large_buf_mult_recs(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_read_peek");
    send(&mut a, b"_mult_recs");
    let peeked = b.halves().1.fill_buf(Wait::Block).unwrap().to_vec();
    let got = receive_exactly(&mut b, 24);
    assert_eq!(got, b"test_read_peek_mult_recs");
    assert!(peeked.len() >= 14 && got.starts_with(&peeked));
}
