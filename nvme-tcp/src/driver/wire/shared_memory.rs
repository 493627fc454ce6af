//! Memory that others can reach holds nothing but its own data, and nothing is looked at there.

use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use ktls::crypto::Hash;
use ktls::handshake::{ClientConfig, Psk, ServerConfig};
use ktls::secret::Secret;
use ktls::{Layer, Options};

use super::ahead::tests::c2h_data;
use super::tests::arrived;
use super::{Intake, Received};
use crate::driver::Loan;
use crate::driver::shared::tests::{ends_of, take};
use crate::driver::transport::{self, RecvHalf, SendHalf, Wait};
use crate::spec::command::nvm;
use crate::spec::pdu::Flags;

const LEN: usize = 4096;

/// What the memory of a read holds that is not answered yet, after another one was that came later.
fn passed_through(private_memory: bool) -> Vec<u8> {
    let (mut engine, intake, mut peer) = ends_of(2);
    let mut intake = intake.private_memory(private_memory);
    let mut cid = 0;
    for _ in 0..2 {
        engine.submit(&nvm::read(1, 0, 7), Loan::owned_read(vec![1; LEN]), None).unwrap();
        engine.flush().unwrap();
        cid = take(&mut peer);
    }
    let answer = c2h_data(cid, 0, &[2; LEN], Flags::LAST | Flags::SUCCESS);
    peer.write_all(&answer).unwrap();
    arrived(&TcpStream::from(intake.half().as_fd().try_clone_to_owned().unwrap()), answer.len());
    assert!(engine.receive_foreseeing(&mut intake, Wait::Block).unwrap());
    let finished = engine.finished().next().unwrap();
    assert!(finished.loan.into_owned().unwrap() == [2; LEN]);
    engine.abandon().swap_remove(0).1.into_owned().unwrap()
}

#[test]
fn data_of_another_read_passes_only_through_private_memory() {
    assert!(passed_through(true) == [2; LEN]);
    assert!(passed_through(false) == [1; LEN]);
}

/// Both ends of a connection over TLS that is opened in the process, and the peer, which has sent `len` bytes.
pub(super) fn over_tls(len: usize) -> ((SendHalf, RecvHalf), ktls::SendHalf) {
    let psk = Psk::new(b"host".to_vec(), Secret::new(&[7; 32]).unwrap(), Hash::Sha256).unwrap();
    let known = psk.clone();
    let options = Options::new().layer(Layer::Process);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (config, server_options) = (ServerConfig::new(move |_: &[u8]| vec![known.clone()]), options.clone());
    let peer = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let socket = ktls::Socket::accept(stream, &config, &server_options, None).unwrap();
        let (mut send, _recv) = socket.into_halves();
        assert_eq!(send.send_vectored(&[IoSlice::new(&vec![2; len])], Wait::Block).unwrap(), len);
        send.flush(Wait::Block).unwrap();
        send
    });
    let socket = ktls::Socket::connect(stream, &ClientConfig::new(psk), &options, None).unwrap();
    (transport::tls(socket), peer.join().unwrap())
}

/// Where 64 KiB of data are when they were received with a place for them, over TLS.
fn opened_at(private_memory: bool) -> (Received, Vec<u8>) {
    const DATA: usize = 64 * 1024;
    let ((_, half), _peer) = over_tls(DATA);
    let mut intake = Intake::new(half).private_memory(private_memory);
    let mut place = vec![1; DATA];
    let received = intake.receive(Some(&mut place), Wait::Block).unwrap();
    assert_eq!(received == Received::Buffered, intake.bytes().first() == Some(&2));
    (received, place)
}

#[test]
fn records_are_opened_only_in_private_memory() {
    let (received, place) = opened_at(true);
    assert!(
        matches!(received, Received::InPlace(n) if place[..n].iter().all(|byte| *byte == 2)),
        "{received:?}"
    );
    let (received, place) = opened_at(false);
    assert_eq!(received, Received::Buffered);
    assert!(place.iter().all(|byte| *byte == 1));
}
