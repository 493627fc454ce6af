//! Files and pipes sent by calls that never wait: what they cannot send now they send later, with both record layers.

mod socket_support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use ktls::record::ContentType;
use ktls::{Error, Layer, SendHalf, Socket, Wait};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use socket_support::{DEADLINE, Peer, pattern, with_peer};

with_both_layers!(
    a_file_is_sent_in_turns_with_its_reader,
    a_pipe_is_sent_in_turns_with_its_reader,
    an_empty_pipe_is_not_waited_for,
    a_record_left_open_is_ended_later,
    a_descriptor_that_waits_is_not_spliced_to,
);

/// More than any socket buffer takes.
const LEN: usize = 24_000_000;

fn non_blocking(layer: Layer) -> (Socket, Peer) {
    let (socket, peer) = with_peer(layer);
    socket.tcp().set_nonblocking(true).unwrap();
    (socket, peer)
}

fn pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    (reader.into(), writer.into())
}

/// Everything up to close_notify.
fn drain(mut peer: Peer) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut got = Vec::new();
        while let Some((content_type, part)) = peer.receive() {
            match content_type {
                ContentType::ApplicationData => got.extend(part),
                _ => return got,
            }
        }
        panic!("no close_notify after {} bytes", got.len());
    })
}

/// The data of as many records as it takes: before Linux 6.5 each page has one of its own.
fn receive(peer: &mut Peer, len: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < len {
        got.extend(peer.receive().unwrap().1);
    }
    got
}

fn wait_for(fd: BorrowedFd<'_>, events: PollFlags) {
    let timeout = PollTimeout::try_from(DEADLINE).unwrap();
    assert_eq!(nix::poll::poll(&mut [PollFd::new(fd, events)], timeout).unwrap(), 1);
}

/// Repeats `step` until `LEN` bytes have gone. When the socket is full for the first time, it calls `full`, and from
/// then on waits for room.
fn send_all(
    socket: &mut Socket,
    mut step: impl FnMut(&mut SendHalf, usize) -> Result<usize, Error>,
    full: impl FnOnce(),
) {
    let (mut sent, mut full) = (0, Some(full));
    while sent < LEN {
        match step(socket.halves().0, sent) {
            Ok(n) => {
                assert!(n > 0, "ended after {sent} bytes");
                sent += n;
            }
            Err(error) => {
                assert!(error.is_would_block(), "{error}");
                if let Some(full) = full.take() {
                    full();
                }
                wait_for(socket.as_fd(), PollFlags::POLLOUT);
                // Where this process seals, what was accepted goes first.
                let _ = socket.halves().0.flush(Wait::Now).unwrap();
            }
        }
    }
    assert!(full.is_none(), "the socket took {LEN} bytes and never was full");
    while !socket.halves().0.close_notify(Wait::Now).unwrap() {
        wait_for(socket.as_fd(), PollFlags::POLLOUT);
    }
}

fn a_file_is_sent_in_turns_with_its_reader(layer: Layer) {
    let (mut socket, peer) = non_blocking(layer);
    let data = pattern(LEN);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    let mut reader = None;
    send_all(
        &mut socket,
        |half, sent| half.send_file(file.as_fd(), sent as u64, LEN - sent, Wait::Now),
        || reader = Some(drain(peer)),
    );
    let got = reader.unwrap().join().unwrap();
    assert!(got == data, "{} bytes", got.len());
}

fn a_pipe_is_sent_in_turns_with_its_reader(layer: Layer) {
    let (mut socket, peer) = non_blocking(layer);
    let data = pattern(LEN);
    let (pipe, mut writer) = pipe();
    let (mut written, mut reader) = (0, None);
    send_all(
        &mut socket,
        |half, sent| {
            // What is in the pipe and not yet sent stays there.
            if written < LEN {
                match writer.write(&data[written..]) {
                    Ok(n) => written += n,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
            half.splice_from(pipe.as_fd(), LEN - sent, sent % 3 == 1, Wait::Now)
        },
        || reader = Some(drain(peer)),
    );
    let got = reader.unwrap().join().unwrap();
    assert!(got == data, "{} bytes", got.len());
}

fn an_empty_pipe_is_not_waited_for(layer: Layer) {
    let (mut socket, mut peer) = non_blocking(layer);
    let (pipe, mut writer) = pipe();
    let (send, _) = socket.halves();
    assert!(send.splice_from(pipe.as_fd(), 100, false, Wait::Now).unwrap_err().is_would_block());
    writer.write_all(b"late").unwrap();
    assert_eq!(send.splice_from(pipe.as_fd(), 100, false, Wait::Now).unwrap(), 4);
    assert_eq!(peer.receive(), Some((ContentType::ApplicationData, b"late".to_vec())));
    drop(writer);
    assert_eq!(send.splice_from(pipe.as_fd(), 100, false, Wait::Now).unwrap(), 0);
}

/// A file that is shorter than was asked for, and pages to which more is to come: no byte waits in a record that
/// nobody ends.
fn a_record_left_open_is_ended_later(layer: Layer) {
    let (mut socket, mut peer) = non_blocking(layer);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(5000)).unwrap();
    let (send, _) = socket.halves();
    assert_eq!(send.send_file(file.as_fd(), 0, 100_000, Wait::Now).unwrap(), 5000);
    assert_eq!(send.send_file(file.as_fd(), 5000, 100_000, Wait::Now).unwrap(), 0);
    assert!(send.flush(Wait::Now).unwrap());
    assert!(receive(&mut peer, 5000) == pattern(5000));
    let (pipe, mut writer) = pipe();
    for _ in 0..3 {
        writer.write_all(b"part").unwrap();
        assert_eq!(send.splice_from(pipe.as_fd(), 4, true, Wait::Now).unwrap(), 4);
    }
    assert!(send.has_pending());
    assert!(send.flush(Wait::Now).unwrap());
    assert_eq!(receive(&mut peer, 12), b"part".repeat(3));
}

fn a_descriptor_that_waits_is_not_spliced_to(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (mut pipe, mut writer) = pipe();
    writer.write_all(b"data").unwrap();
    let sent = socket.halves().0.splice_from(pipe.as_fd(), 4, false, Wait::Now);
    match (layer, sent) {
        (Layer::Process, Ok(4)) => assert_eq!(peer.receive().unwrap().1, b"data"),
        (Layer::Kernel, Err(Error::Io(error))) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("set_nonblocking"), "{error}");
            // Nothing left the pipe, and nothing has ended.
            let mut left = [0; 4];
            pipe.read_exact(&mut left).unwrap();
            assert_eq!(&left, b"data");
            socket.write_all(b"more").unwrap();
            assert_eq!(peer.receive().unwrap().1, b"more");
        }
        (layer, other) => panic!("{layer:?}: {other:?}"),
    }
}
