//! What becomes of borrowed memory and of other callers when a caller panics.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use zerocopy::IntoBytes;

use super::*;
use crate::driver::bell::Bell;
use crate::driver::transport;
use crate::driver::wire::Outlet;
use crate::proto::{Connection, ConnectionConfig};
use crate::spec::command::nvm;
use crate::spec::completion::Status;
use crate::spec::pdu::{CapsuleResp, CommonHeader, DataPdu, Flags, IcResp, Layout, PduType};

const DEPTH: u32 = 4;
const LEN: usize = 8192;
const LIMIT: Duration = Duration::from_secs(20);

/// The host's ends of an open connection, and the controller's socket, with ICReq taken and ICResp sent.
pub(crate) fn ends() -> (Engine, Intake, TcpStream) {
    ends_of(DEPTH)
}

/// The same for so many commands.
pub(crate) fn ends_of(depth: u32) -> (Engine, Intake, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(TICK)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    peer.set_nodelay(true).unwrap();
    let (send, recv) = transport::plain(stream);
    let connection = Connection::new(ConnectionConfig { depth, ..ConnectionConfig::default() });
    let mut engine = Engine::new(connection, depth, Outlet::new(send), Arc::new(Bell::new().unwrap()));
    let mut intake = Intake::new(recv);
    engine.flush().unwrap();
    peer.read_exact(&mut [0; 128]).unwrap();
    peer.write_all(IcResp::new(0, false, false, 4096).as_bytes()).unwrap();
    while engine.negotiated().is_none() {
        let received = intake.receive(None, Wait::Block).unwrap();
        engine.received(received, &mut intake).unwrap();
    }
    (engine, intake, peer)
}

fn queue() -> (SharedQueue, TcpStream) {
    let (engine, intake, peer) = ends();
    (SharedQueue::new(engine, intake, DEPTH, LIMIT), peer)
}

fn read_into(memory: &mut [u8]) -> Request<'_> {
    Request { sqe: nvm::read(1, 0, 16), buffer: Buffer::Read(memory) }
}

/// Takes a command, and says which CID it has.
pub(crate) fn take(peer: &mut TcpStream) -> u16 {
    let mut capsule = [0; 72];
    peer.read_exact(&mut capsule).unwrap();
    u16::from_le_bytes([capsule[10], capsule[11]])
}

/// Answers a read with `len` bytes.
pub(crate) fn answer(peer: &mut TcpStream, cid: u16, len: usize) {
    let common = Layout::default().common_header(PduType::C2hData, Flags::LAST, len as u32);
    peer.write_all(DataPdu::new(common, cid, 0, 0, len as u32).as_bytes()).unwrap();
    peer.write_all(&vec![0xee; len]).unwrap();
    let common = CommonHeader::bare(PduType::CapsuleResp);
    let cqe = Cqe::new(cid, Status::SUCCESS, 0);
    peer.write_all(CapsuleResp { common, cqe }.as_bytes()).unwrap();
}

fn panics(run: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
}

#[test]
fn a_panic_in_a_closure_leaves_nothing_lent() {
    let (queue, mut peer) = queue();
    let mut memory = [vec![0; LEN], vec![0; LEN]];
    thread::scope(|scope| {
        scope.spawn(|| {
            let first = take(&mut peer);
            take(&mut peer);
            // The second command stays outstanding.
            answer(&mut peer, first, LEN);
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the queue is given up");
        });
        panics(|| {
            let requests = memory.iter_mut().map(|memory| read_into(memory));
            drop(queue.execute(requests, |_, _| panic!("a closure that panics")));
        });
        assert!(queue.death().is_some());
        assert_eq!(queue.lock().engine.outstanding(), 0);
    });
    assert_eq!(memory[0], [0xee; LEN]);
    assert_eq!(memory[1], [0; LEN]);
    assert!(queue.execute([read_into(&mut memory[0])], |_, _| Ok(())).is_err());
}

#[test]
fn a_panic_in_the_requests_leaves_nothing_lent() {
    let (queue, _peer) = queue();
    let mut memory = vec![0; LEN];
    let mut lent = Some(memory.as_mut_slice());
    let requests = std::iter::from_fn(|| match lent.take() {
        Some(memory) => Some(read_into(memory)),
        None => panic!("requests that panic"),
    });
    panics(|| drop(queue.execute(requests, |_, _| Ok(()))));
    assert!(queue.death().is_some());
    assert_eq!(queue.lock().engine.outstanding(), 0);
}

#[test]
fn a_caller_that_panics_waits_for_the_one_who_receives_and_fails_the_others() {
    let (queue, mut peer) = queue();
    let (submitted, until_submitted) = mpsc::channel();
    thread::scope(|scope| {
        // Receives, perhaps into its memory, and is never answered.
        let receiver = scope.spawn(|| {
            let mut memory = vec![0; LEN];
            queue.execute([read_into(&mut memory)], |_, _| Ok(()))
        });
        take(&mut peer);
        scope.spawn(move || {
            take(&mut peer);
            submitted.send(()).unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the queue is given up");
        });
        let mut memory = [vec![0; LEN], vec![0; LEN]];
        panics(|| {
            let mut lent = memory.iter_mut();
            let requests = std::iter::from_fn(|| {
                let next = lent.next().map(|memory| read_into(memory));
                // The first is submitted; the second is not even made.
                assert_eq!(lent.len(), 1, "requests that panic");
                next
            });
            drop(queue.execute(requests, |_, _| Ok(())));
        });
        // It was queued before the panic, and is sent on the way out.
        until_submitted.recv_timeout(LIMIT).unwrap();
        assert!(receiver.join().unwrap().is_err());
        assert!(queue.lock().intake.is_some(), "the role is free");
    });
}

#[test]
fn calls_that_come_and_go_hand_the_role_on() {
    let (queue, mut peer) = queue();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Answers out of order, so that the receiver is seldom the first to be done.
            for _ in 0..100 {
                let mut cids: Vec<_> = (0..3).map(|_| take(&mut peer)).collect();
                while let Some(cid) = cids.pop() {
                    answer(&mut peer, cid, LEN);
                }
            }
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let mut memory = vec![0; LEN];
                for _ in 0..100 {
                    memory.fill(0);
                    queue.execute([read_into(&mut memory)], |_, _| Ok(())).unwrap();
                    assert_eq!(memory, [0xee; LEN]);
                }
            });
        }
    });
    assert!(queue.into_parts().is_ok());
}
