//! splice(2): pages between pipes and records.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use ktls::handshake::key_update_message;
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Layer, Socket, Wait};

use crate::harness::{Pairing, can_change_receive_key, expect_nothing, receive, receive_exactly, send};
use crate::socket_support::{pattern, with_peer};

pairs!(
    splice_from_pipe,
    splice_more,
    splice_from_pipe2,
    send_and_splice,
    splice_to_pipe,
    recv_and_splice,
    peek_and_splice,
    splice_to_pipe_small,
    splice_short,
);
alone!(splice_cmsg_to_pipe, splice_dec_cmsg_to_pipe, bad_auth_splice, splice_rekey, rekey_peek_splice);

/// What fits any pipe.
const LEN: usize = 16_000;

fn pipe() -> (File, File) {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    (reader.into(), writer.into())
}

fn splice_from(socket: &mut Socket, pipe: &File, len: usize, more: bool) {
    let mut moved = 0;
    while moved < len {
        let n = socket.halves().0.splice_from(pipe.as_fd(), len - moved, more, Wait::Block).unwrap();
        assert!(n > 0, "the pipe ended after {moved} of {len} bytes");
        moved += n;
    }
}

fn splice_to(socket: &mut Socket, pipe: &File, len: usize) {
    let mut moved = 0;
    while moved < len {
        let n = socket.halves().1.splice_to(pipe.as_fd(), len - moved, Wait::Block).unwrap();
        assert!(n > 0, "the peer ended after {moved} of {len} bytes");
        moved += n;
    }
}

fn read_exactly(pipe: &mut File, len: usize) -> Vec<u8> {
    let mut got = vec![0; len];
    pipe.read_exact(&mut got).unwrap();
    got
}

fn splice_from_pipe(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (reader, mut writer) = pipe();
    let data = pattern(LEN);
    writer.write_all(&data).unwrap();
    splice_from(&mut a, &reader, LEN, false);
    assert!(receive_exactly(&mut b, LEN) == data);
    drop(writer);
    assert_eq!(
        a.halves().0.splice_from(reader.as_fd(), LEN, false, Wait::Block).unwrap(),
        0,
        "the end of the pipe"
    );
}

/// The record stays open until a call that ends it.
fn splice_more(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (reader, mut writer) = pipe();
    for _ in 0..24 {
        writer.write_all(b"page").unwrap();
        splice_from(&mut a, &reader, 4, true);
    }
    expect_nothing(&mut b);
    assert!(a.halves().0.flush(Wait::Block).unwrap());
    assert_eq!(receive_exactly(&mut b, 96), b"page".repeat(24));
}

fn splice_from_pipe2(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (reader, mut writer) = pipe();
    let data = pattern(2 * LEN);
    for part in data.chunks(LEN) {
        writer.write_all(part).unwrap();
        splice_from(&mut a, &reader, LEN, false);
    }
    assert!(receive_exactly(&mut b, 2 * LEN) == data);
}

fn send_and_splice(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (reader, mut writer) = pipe();
    let data = pattern(LEN);
    send(&mut a, b"before");
    writer.write_all(&data).unwrap();
    splice_from(&mut a, &reader, LEN, false);
    send(&mut a, b"after");
    assert_eq!(receive_exactly(&mut b, 6), b"before");
    assert!(receive_exactly(&mut b, LEN) == data);
    assert_eq!(receive_exactly(&mut b, 5), b"after");
}

fn splice_to_pipe(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (mut reader, writer) = pipe();
    let data = pattern(LEN);
    send(&mut a, &data);
    splice_to(&mut b, &writer, LEN);
    assert!(read_exactly(&mut reader, LEN) == data);
    assert!(b.halves().1.splice_to(writer.as_fd(), LEN, Wait::Now).unwrap_err().is_would_block());
    assert!(a.halves().0.close_notify(Wait::Block).unwrap());
    assert_eq!(b.halves().1.splice_to(writer.as_fd(), LEN, Wait::Block).unwrap(), 0);
}

fn recv_and_splice(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (mut reader, writer) = pipe();
    let data = pattern(LEN);
    send(&mut a, &data);
    assert!(receive_exactly(&mut b, LEN / 2) == data[..LEN / 2]);
    splice_to(&mut b, &writer, LEN / 2);
    assert!(read_exactly(&mut reader, LEN / 2) == data[LEN / 2..]);
}

/// `fill_buf` is our MSG_PEEK.
fn peek_and_splice(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (mut reader, writer) = pipe();
    let data = pattern(LEN);
    send(&mut a, &data);
    assert!(data.starts_with(b.halves().1.fill_buf(Wait::Block).unwrap()));
    splice_to(&mut b, &writer, LEN);
    assert!(read_exactly(&mut reader, LEN) == data);
}

fn splice_to_pipe_small(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (mut reader, writer) = pipe();
    let data = pattern(LEN);
    send(&mut a, &data);
    for part in data.chunks(1000) {
        splice_to(&mut b, &writer, part.len());
        assert!(read_exactly(&mut reader, part.len()) == part);
    }
}

/// Less in the pipe than was asked for: it goes, and its record ends.
fn splice_short(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let (reader, mut writer) = pipe();
    writer.write_all(&pattern(100)).unwrap();
    drop(writer);
    assert_eq!(a.halves().0.splice_from(reader.as_fd(), 16_384, false, Wait::Block).unwrap(), 100);
    assert_eq!(receive(&mut b, 1000), pattern(100));
}

/// Control records between the pages are dealt with as always.
fn splice_cmsg_to_pipe(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (mut reader, writer) = pipe();
    peer.send(ContentType::Handshake, &[4, 0, 0, 1, 9]);
    peer.send_data(b"first");
    peer.send(ContentType::Handshake, &[&[4, 0, 1, 0][..], &[9; 256]].concat());
    peer.send_data(b"");
    peer.send_data(b" second");
    splice_to(&mut socket, &writer, 12);
    assert_eq!(read_exactly(&mut reader, 12), b"first second");
    peer.cut();
    assert!(matches!(socket.halves().1.splice_to(writer.as_fd(), 1, Wait::Block), Err(Error::Truncated)));
}

/// The same where the record was opened before: a receive stood in front of it.
fn splice_dec_cmsg_to_pipe(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (mut reader, writer) = pipe();
    peer.send_data(b"first");
    peer.send(ContentType::Handshake, &[4, 0, 0, 1, 9]);
    peer.send_data(b"second");
    assert_eq!(receive(&mut socket, 5), b"first");
    splice_to(&mut socket, &writer, 6);
    assert_eq!(read_exactly(&mut reader, 6), b"second");
}

fn bad_auth_splice(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (_reader, writer) = pipe();
    assert!(peer.sealer.seal_record(ContentType::ApplicationData, b"data").unwrap());
    let mut bytes = peer.sealer.pending().to_vec();
    bytes[6] ^= 1;
    peer.send_raw(&bytes);
    for _ in 0..2 {
        let refused = socket.halves().1.splice_to(writer.as_fd(), 100, Wait::Block);
        assert!(matches!(refused, Err(Error::BadRecord(BadRecord::NotAuthentic { .. }))), "{refused:?}");
    }
}

fn splice_rekey(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (mut reader, writer) = pipe();
    peer.send_data(b"old key");
    peer.send(ContentType::Handshake, &key_update_message(false));
    peer.sealer.rekey().unwrap();
    peer.send_data(b" new key");
    splice_to(&mut socket, &writer, 7);
    if can_change_receive_key(&socket) {
        splice_to(&mut socket, &writer, 8);
        assert_eq!(read_exactly(&mut reader, 15), b"old key new key");
    } else {
        let refused = socket.halves().1.splice_to(writer.as_fd(), 8, Wait::Block);
        assert!(matches!(refused, Err(Error::RekeyUnsupported { .. })), "{refused:?}");
    }
}

fn rekey_peek_splice(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (mut reader, writer) = pipe();
    peer.send(ContentType::Handshake, &key_update_message(false));
    peer.sealer.rekey().unwrap();
    peer.send_data(b"new key");
    if can_change_receive_key(&socket) {
        assert_eq!(socket.halves().1.fill_buf(Wait::Block).unwrap(), b"new key");
        splice_to(&mut socket, &writer, 7);
        assert_eq!(read_exactly(&mut reader, 7), b"new key");
    } else {
        let refused = socket.halves().1.fill_buf(Wait::Block).map(<[u8]>::to_vec);
        assert!(matches!(refused, Err(Error::RekeyUnsupported { .. })), "{refused:?}");
    }
}
