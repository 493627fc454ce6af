//! No allocation for a record, in either direction, in either layer: counted.

mod alloc_support;
mod socket_support;

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::AsFd;

use ktls::{Layer, Options, Socket, Wait};
use socket_support::{FRAGMENT, SUITE, pattern, sockets};

with_both_layers!(
    records_of_every_size_allocate_nothing,
    records_taken_in_place_allocate_nothing,
    files_allocate_nothing,
    pages_that_the_kernel_takes_are_not_read,
    waiting_in_vain_allocates_nothing,
);

const RECORDS: usize = 300;

fn pair(layer: Layer) -> [Socket; 2] {
    let options = Options::new().layer(layer);
    sockets(SUITE, [&options, &options])
}

/// Does `body` often enough for every buffer to be there, then counts.
fn allocates_nothing(mut body: impl FnMut()) {
    for _ in 0..4 {
        body();
    }
    let before = alloc_support::calls();
    body();
    assert_eq!(alloc_support::calls() - before, 0);
}

fn records_of_every_size_allocate_nothing(layer: Layer) {
    let [mut a, mut b] = pair(layer);
    let data = pattern(3 * FRAGMENT);
    let mut buf = vec![0; data.len()];
    allocates_nothing(|| {
        for n in 0..RECORDS {
            let len = [1, 100, 4096, FRAGMENT, 3 * FRAGMENT][n % 5];
            let (head, tail) = data[..len].split_at(len / 3);
            let sent =
                a.halves().0.send_vectored(&[IoSlice::new(head), IoSlice::new(tail)], Wait::Block).unwrap();
            assert_eq!(sent, len);
            let mut got = 0;
            while got < len {
                let bufs = &mut [IoSliceMut::new(&mut buf[got..len])];
                got += b.halves().1.recv_vectored(bufs, Wait::Block).unwrap();
            }
            assert!(buf[..len] == data[..len]);
        }
    });
}

fn records_taken_in_place_allocate_nothing(layer: Layer) {
    let [mut a, mut b] = pair(layer);
    let data = pattern(FRAGMENT);
    allocates_nothing(|| {
        for _ in 0..RECORDS {
            a.halves().0.send_vectored(&[IoSlice::new(&data)], Wait::Block).unwrap();
            let mut got = 0;
            while got < data.len() {
                let (_, recv) = b.halves();
                let n = recv.fill_buf(Wait::Block).unwrap().len();
                recv.consume(n);
                got += n;
            }
        }
    });
}

fn files_allocate_nothing(layer: Layer) {
    let [mut a, mut b] = pair(layer);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(2 * FRAGMENT)).unwrap();
    let mut buf = vec![0; 2 * FRAGMENT];
    allocates_nothing(|| {
        for wait in [Wait::Block, Wait::Now] {
            let len = a.halves().0.send_file(file.as_fd(), 0, 2 * FRAGMENT, wait).unwrap();
            assert!(a.halves().0.flush(Wait::Block).unwrap());
            let mut got = 0;
            while got < len {
                let bufs = &mut [IoSliceMut::new(&mut buf)];
                got += b.halves().1.recv_vectored(bufs, Wait::Block).unwrap();
            }
        }
    });
}

/// By sendfile(2) also where the call may not wait; else a buffer is made for what is read.
fn pages_that_the_kernel_takes_are_not_read(layer: Layer) {
    let [mut a, _b] = pair(layer);
    a.tcp().set_nonblocking(true).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"contents").unwrap();
    let before = alloc_support::calls();
    assert_eq!(a.halves().0.send_file(file.as_fd(), 0, 8, Wait::Now).unwrap(), 8);
    assert_eq!(alloc_support::calls() == before, layer == Layer::Kernel);
}

fn waiting_in_vain_allocates_nothing(layer: Layer) {
    let [mut a, _b] = pair(layer);
    let mut buf = [0; 100];
    allocates_nothing(|| {
        let (_, recv) = a.halves();
        let error = recv.recv_vectored(&mut [IoSliceMut::new(&mut buf)], Wait::Now).unwrap_err();
        assert!(error.is_would_block());
    });
}
