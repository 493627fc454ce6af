//! The blocking driver over loopback sockets: many threads on one queue, and controllers that fail them.

mod support;

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::proto::Pdu;
use nvme_tcp::spec::command::nvm;
use nvme_tcp::{Error, ErrorKind, Namespace};
use support::controller::{BLOCK, LIMIT, Link, Reply, Script, Target, What};
use support::wire::patterned;

fn scripted(
    hook: impl Fn(&mut Link, &nvme_tcp::spec::command::Sqe) -> Reply + Send + Sync + 'static,
) -> Script {
    Script { hook: Box::new(hook), ..Script::default() }
}

#[test]
fn a_controller_that_stops_answering_is_timed_out() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::READ) => Reply::Nothing,
        _ => Reply::Serve,
    }));
    let limit = Duration::from_millis(300);
    let controller = target.options().timeout(limit).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let error = namespace.read_at(&mut [0; 4096], 0).unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::Timeout { after, .. } if *after == limit),
                    "{error}"
                );
            });
        }
    });
    assert!((limit..LIMIT / 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    // The queue is dead, and says so at once.
    let start = Instant::now();
    assert!(namespace.write_at(&[0; 512], 0).is_err());
    assert!(start.elapsed() < limit);
}

#[test]
fn a_command_is_timed_out_while_others_are_answered() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::WRITE) => Reply::Nothing,
        _ => Reply::Serve,
    }));
    let limit = Duration::from_millis(300);
    let controller = target.options().timeout(limit).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Keeps the queue busy until it dies.
            while namespace.read_at(&mut [0; 512], 0).is_ok() {}
        });
        let error = namespace.write_at(&[0; 512], 0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    });
    assert!((limit..LIMIT / 2).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_connection_closed_in_the_middle_of_a_write_fails_every_caller() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::WRITE) => {
            let cid = sqe.cid.get();
            link.send(&link.pdus.r2t(cid, 0, 0, sqe.sgl.length.get()));
            loop {
                if let (Pdu::H2cData(_), _) = link.next().unwrap() {
                    return Reply::Close;
                }
            }
        }
        (1, nvm::READ) => Reply::Nothing,
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    thread::scope(|scope| {
        for n in 0..8_u64 {
            let namespace = &namespace;
            scope.spawn(move || {
                let error = match n {
                    0..4 => namespace.write_at(&vec![1; 1 << 20], n << 20).unwrap_err(),
                    _ => namespace.read_at(&mut vec![0; 1 << 20], 0).unwrap_err(),
                };
                assert!(matches!(error.kind(), ErrorKind::Lost(_)), "{error}");
            });
        }
    });
}

#[test]
fn a_response_for_no_command_is_a_protocol_error_and_the_controller_hears_of_it() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::READ) => {
            link.send(&link.pdus.success(sqe.cid.get() ^ 1 << 12));
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let error = controller.namespace(1).unwrap().read_at(&mut [0; 512], 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(v) if v.field == "CID"), "{error}");
    let told = target.wait_for("a TermReq", |journal| {
        journal.iter().find_map(|entry| match entry.what {
            What::Terminated(fes, fei) => Some((fes, fei)),
            _ => None,
        })
    });
    assert_eq!(told, (1, 20));
}

/// Writes and reads back one thread's own part of the namespace, in pieces of many sizes.
fn exercise(namespace: &Namespace, thread: u64, rounds: u64) -> Result<(), Error> {
    const PART: u64 = 512 * 1024;
    for round in 0..rounds {
        // 512 bytes and 4 KiB go along with the command; more is asked for by R2T, and past 128 KiB in
        // several commands.
        let blocks = [1, 8, 9, 64, 300][(round % 5) as usize];
        let len = blocks * u64::from(BLOCK);
        let offset = thread * PART + round % 3 * u64::from(BLOCK);
        let data = patterned((thread * 100 + round) as u16, 0, len as u32);
        namespace.write_at(&data, offset)?;
        let mut back = vec![0; data.len()];
        namespace.read_at(&mut back, offset)?;
        assert!(back == data, "thread {thread}, round {round}: other data came back");
    }
    Ok(())
}

#[test]
fn eight_threads_share_a_queue() {
    for (header, data, hpda, entries) in [(false, false, 0, 128), (true, true, 31, 4)] {
        let target = Target::start(Script::default());
        let options = target.options().digests(header, data).hpda(hpda).queue_size(entries);
        let controller = options.connect().unwrap();
        let namespace = controller.namespace(1).unwrap();
        thread::scope(|scope| {
            for n in 0..8 {
                let namespace = &namespace;
                scope.spawn(move || exercise(namespace, n, 20).unwrap());
            }
        });
    }
}

#[test]
fn large_writes_to_a_slow_reader_do_not_stop_the_readers() {
    let target = Target::start(Script { receive_buffer: Some(4096), ..Script::default() });
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let data = patterned(3, 0, 2 << 20);
    thread::scope(|scope| {
        for n in 0..2 {
            let (namespace, data) = (&namespace, &data);
            scope.spawn(move || namespace.write_at(data, n * (2 << 20)).unwrap());
        }
        for n in 9..12 {
            let namespace = &namespace;
            scope.spawn(move || exercise(namespace, n, 10).unwrap());
        }
    });
    let disk = target.disk();
    assert!(disk[..2 << 20] == data && disk[2 << 20..4 << 20] == data);
}

#[test]
fn one_long_transfer_leaves_slots_to_other_callers() {
    const LONG: u64 = 4 << 20;
    let (called, call) = mpsc::channel::<()>();
    let call = Mutex::new(Some(call));
    let target = Target::start(scripted(move |link, sqe| {
        if link.qid == 1 && sqe.slba() == LONG / 2 / u64::from(BLOCK) {
            // In the middle of the long transfer: the other caller is about to call.
            let call = call.lock().unwrap_or_else(PoisonError::into_inner).take();
            call.unwrap().recv_timeout(LIMIT).unwrap();
        }
        Reply::Serve
    }));
    let controller = target.options().queue_size(4).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| namespace.read_at(&mut vec![0; LONG as usize], 0).unwrap());
        scope.spawn(|| {
            called.send(()).unwrap();
            namespace.read_at(&mut [0; 512], LONG).unwrap();
        });
    });
    let reads: Vec<_> = target
        .journal()
        .iter()
        .filter_map(|entry| match entry.what {
            What::Command(sqe) if entry.qid == 1 && sqe.opcode == nvm::READ => Some(sqe.slba()),
            _ => None,
        })
        .collect();
    assert_eq!(reads.len() as u64, LONG / (128 << 10) + 1);
    assert_ne!(reads.last(), Some(&(LONG / u64::from(BLOCK))), "the short read came last");
}
