//! Several users of one connection. The kernel's suite forks; here the halves are owned, so that those who
//! share one take turns (the names are the kernel's, and so is their spelling).

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ktls::Wait;

use crate::harness::Pairing;

pairs!(
    mutliproc_even,
    mutliproc_readers,
    mutliproc_writers,
    mutliproc_sendpage_even,
    mutliproc_sendpage_readers,
    mutliproc_sendpage_writers,
);

/// What each writer sends by one call, and how often.
const CHUNK: usize = 4000;
const ROUNDS: usize = 30;

fn mutliproc_even(pairing: Pairing) {
    run(pairing, 6, 6, false);
}

fn mutliproc_readers(pairing: Pairing) {
    run(pairing, 4, 12, false);
}

fn mutliproc_writers(pairing: Pairing) {
    run(pairing, 10, 2, false);
}

fn mutliproc_sendpage_even(pairing: Pairing) {
    run(pairing, 6, 6, true);
}

fn mutliproc_sendpage_readers(pairing: Pairing) {
    run(pairing, 4, 12, true);
}

fn mutliproc_sendpage_writers(pairing: Pairing) {
    run(pairing, 10, 2, true);
}

fn run(pairing: Pairing, writers: u8, readers: usize, by_file: bool) {
    let [a, b] = pairing.sockets();
    let ((send, _keep_a), (_keep_b, recv)) = (a.into_halves(), b.into_halves());
    let (send, recv) = (Mutex::new(send), Mutex::new(recv));
    // One counter for each writer, whose bytes are all its own number.
    let counts: Vec<AtomicUsize> = (0..writers).map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for _ in 0..readers {
            scope.spawn(|| {
                let mut buf = [0; 3000];
                loop {
                    let n = {
                        let mut recv = recv.lock().unwrap();
                        recv.recv_vectored(&mut [IoSliceMut::new(&mut buf)], Wait::Block).unwrap()
                    };
                    if n == 0 {
                        return;
                    }
                    for &byte in &buf[..n] {
                        counts[usize::from(byte)].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let writing: Vec<_> = (0..writers)
            .map(|number| {
                let send = &send;
                scope.spawn(move || {
                    let chunk = [number; CHUNK];
                    let mut file = tempfile::tempfile().unwrap();
                    file.write_all(&chunk).unwrap();
                    for _ in 0..ROUNDS {
                        let mut sent = 0;
                        while sent < CHUNK {
                            let mut send = send.lock().unwrap();
                            let n = if by_file {
                                send.send_file(file.as_fd(), sent as u64, CHUNK - sent, Wait::Block)
                            } else {
                                send.send_vectored(&[IoSlice::new(&chunk[sent..])], Wait::Block)
                            };
                            sent += n.unwrap();
                        }
                    }
                })
            })
            .collect();
        for writer in writing {
            writer.join().unwrap();
        }
        assert!(send.lock().unwrap().close_notify(Wait::Block).unwrap());
    });
    for count in counts {
        assert_eq!(count.into_inner(), ROUNDS * CHUNK);
    }
}
