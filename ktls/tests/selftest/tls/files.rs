//! Files into the socket.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::thread;

use ktls::{Socket, Wait};

use crate::harness::{Pairing, receive, receive_exactly, send};
use crate::socket_support::pattern;

pairs!(sendfile, send_then_sendfile, multi_chunk_sendfile);

fn file(data: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(data).unwrap();
    file
}

/// Sends the first `len` bytes of `file`, at most `chunk` by each call.
fn send_file(socket: &mut Socket, file: &File, len: usize, chunk: usize) {
    let mut sent = 0;
    while sent < len {
        let part = chunk.min(len - sent);
        let n = socket.halves().0.send_file(file.as_fd(), sent as u64, part, Wait::Block).unwrap();
        assert!((1..=part).contains(&n), "{n} of {part}");
        sent += n;
    }
}

fn sendfile(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(600_000);
    let file = file(&data);
    thread::scope(|scope| {
        scope.spawn(|| send_file(&mut a, &file, data.len(), data.len()));
        assert!(receive_exactly(&mut b, data.len()) == data);
    });
}

fn send_then_sendfile(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_send\0");
    assert_eq!(receive(&mut b, 10), b"test_send\0");
    let data = pattern(200_000);
    let file = file(&data);
    thread::scope(|scope| {
        scope.spawn(|| send_file(&mut a, &file, data.len(), data.len()));
        assert!(receive_exactly(&mut b, data.len()) == data);
    });
}

fn multi_chunk_sendfile(pairing: Pairing) {
    for (chunk, extra) in
        [(4096, 4096), (4096, 0), (4096, 1), (4096, 2048), (8192, 1), (12_288, 1023), (16_384, 2048)]
    {
        let [mut a, mut b] = pairing.sockets();
        let data = pattern(4 * chunk + extra);
        let file = file(&data);
        thread::scope(|scope| {
            scope.spawn(|| send_file(&mut a, &file, data.len(), chunk));
            assert!(receive_exactly(&mut b, data.len()) == data, "chunks of {chunk}, {extra} more");
        });
    }
}
