//! One socket against a peer that sends exactly the records that a test wants, in both layers.

#[path = "../socket_support/mod.rs"]
mod socket_support;

mod budgets;
mod closing;
mod invalid;
mod key_update;
mod messages;
mod receiving;
mod sending;

use std::io::{IoSlice, IoSliceMut, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use ktls::alert::Alert;
use ktls::handshake::key_update_message;
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Event, Flow, Layer, Options, RecvHalf, Socket, Wait, probe};
use socket_support::{FRAGMENT, Peer, pattern, send_all, with_peer, with_peer_and};

fn receive(recv: &mut RecvHalf, max: usize) -> Result<Vec<u8>, Error> {
    let mut buf = vec![0; max];
    let n = recv.recv_vectored(&mut [IoSliceMut::new(&mut buf)], Wait::Block)?;
    buf.truncate(n);
    Ok(buf)
}

fn expect_alert(peer: &mut Peer, alert: Alert) {
    assert_eq!(peer.receive(), Some((ContentType::Alert, alert.to_bytes().to_vec())));
}

/// A NewSessionTicket whose body is not looked at.
fn ticket(len: usize) -> Vec<u8> {
    let [.., high, middle, low] = len.to_be_bytes();
    [&[4, high, middle, low][..], &vec![9; len]].concat()
}

/// What the kernel can do decides: 6.14 and later change a key, older ones say so.
fn can_change_keys(socket: &Socket) -> bool {
    socket.info().receive.by == ktls::SealedBy::Process || probe().rekey
}
