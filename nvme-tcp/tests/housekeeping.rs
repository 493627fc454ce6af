//! The housekeeping thread: what one association does not do in time delays nothing of another's, and stopping is
//! prompt. And what the next association does otherwise than the one before.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nvme_tcp::ErrorKind;
use nvme_tcp::spec::command::fabrics::{self, ConnectFields};
use nvme_tcp::spec::command::{Sqe, admin, nvm};
use nvme_tcp::spec::completion::Status;
use support::controller::{BLOCK, Entry, LIMIT, Reply, Script, Target, What};
use support::wire::patterned;

fn command(entry: &Entry) -> Option<Sqe> {
    match entry.what {
        What::Command(sqe) => Some(sqe),
        _ => None,
    }
}

#[test]
fn a_controller_that_does_not_shut_down_delays_no_keep_alive_of_the_next() {
    let silent = Arc::new(AtomicBool::new(false));
    let target = Target::start(Script {
        hook: Box::new({
            let silent = silent.clone();
            move |link, _| match link.cntlid {
                1 if silent.load(Ordering::SeqCst) => Reply::Nothing,
                _ => Reply::Serve,
            }
        }),
        ..Script::default()
    });
    let kato = Duration::from_secs(1);
    let controller = target.options().keep_alive(kato).connect().unwrap();
    silent.store(true, Ordering::SeqCst);
    // The first association is shut down from now on, and says nothing.
    controller.reconnect().unwrap();
    let times = target.wait_for("keep-alives of the second", |journal| {
        let second = journal.iter().filter(|entry| entry.cntlid == 2 && entry.qid == 0);
        let times: Vec<_> = second
            .filter(|entry| command(entry).is_some_and(|sqe| sqe.opcode == admin::KEEP_ALIVE))
            .map(|entry| entry.at)
            .collect();
        (times.len() == 3).then_some(times)
    });
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] < kato, "{:?}", pair[1] - pair[0]);
    }
}

#[test]
fn stopping_closes_what_drains_and_waits_for_no_command_of_it() {
    let (asked, until_asked) = mpsc::channel();
    let asked = Mutex::new(asked);
    let target = Target::start(Script {
        hook: Box::new(move |link, sqe| match (link.qid, sqe.opcode) {
            (1, nvm::READ) => {
                asked.lock().unwrap().send(()).unwrap();
                Reply::Nothing
            }
            _ => Reply::Serve,
        }),
        ..Script::default()
    });
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| namespace.read_at(&mut [0; 512], 0));
        until_asked.recv_timeout(LIMIT).unwrap();
        controller.reconnect().unwrap();
        let start = Instant::now();
        controller.shutdown();
        assert!(start.elapsed() < LIMIT / 4, "{:?}", start.elapsed());
        let error = reader.join().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ShutDown), "{error}");
    });
    // The present one was shut down in good order.
    let shut_down =
        target.journal().iter().filter(|entry| entry.cntlid == 2).filter_map(command).any(|sqe| {
            sqe.opcode == fabrics::OPCODE
                && fabrics::kind(&sqe) == fabrics::PROPERTY_SET
                && sqe.get_cdw(12) & 0xc000 == 0x4000
        });
    assert!(shut_down);
}

#[test]
fn an_association_that_takes_over_in_the_middle_of_a_call_gets_commands_of_its_own_size() {
    let (asked, until_asked) = mpsc::channel();
    let (go, until_go) = mpsc::channel::<()>();
    let (asked, until_go) = (Mutex::new(asked), Mutex::new(until_go));
    let target = Target::start(Script {
        hook: Box::new(move |link, sqe| {
            if link.cntlid == 1 && sqe.opcode == nvm::WRITE && sqe.slba() == 0 {
                asked.lock().unwrap().send(()).unwrap();
                until_go.lock().unwrap().recv_timeout(LIMIT).unwrap();
            }
            Reply::Serve
        }),
        // 128 KiB, then 8 KiB.
        mdts: |cntlid| if cntlid == 1 { 5 } else { 1 },
        ..Script::default()
    });
    // One command at a time, so that some are left.
    let controller = target.options().queue_size(2).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let data = patterned(5, 0, 512 << 10);
    thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.write_at(&data, 0));
        until_asked.recv_timeout(LIMIT).unwrap();
        controller.reconnect().unwrap();
        go.send(()).unwrap();
        writer.join().unwrap().unwrap();
    });
    assert!(target.disk()[..data.len()] == data);
    let journal = target.journal();
    let blocks = |cntlid: u16| {
        let writes = journal.iter().filter(|entry| entry.cntlid == cntlid && entry.qid == 1);
        let writes: Vec<u32> = writes
            .filter_map(command)
            .filter(|sqe| sqe.opcode == nvm::WRITE)
            .map(|sqe| nvm::block_count(&sqe))
            .collect();
        writes
    };
    assert_eq!(blocks(1), [(128 << 10) / BLOCK]);
    assert_eq!(blocks(2), [(8 << 10) / BLOCK; 48]);
}

#[test]
fn queue_ids_that_were_given_back_rest_longest_and_one_in_use_is_tried_around() {
    let refused = Mutex::new(false);
    let target = Target::start(Script {
        hook: Box::new(move |link, sqe| {
            let connect = sqe.opcode == fabrics::OPCODE && fabrics::kind(sqe) == fabrics::CONNECT;
            let mut refused = refused.lock().unwrap();
            if connect && ConnectFields::read(sqe).qid == 3 && !*refused {
                *refused = true;
                link.complete(sqe, Status::COMMAND_SEQUENCE_ERROR, 0);
                return Reply::Nothing;
            }
            Reply::Serve
        }),
        ..Script::default()
    });
    let controller = target.options().io_queues(1).owned_queues(3).connect().unwrap();
    // Queue 2, given back; then 3, which the controller does not have, so 4; then 2, which has rested longest.
    drop(controller.queue().unwrap());
    let kept = [controller.queue().unwrap(), controller.queue().unwrap()];
    let connected: Vec<u16> = target
        .journal()
        .iter()
        .filter_map(command)
        .filter(|sqe| sqe.opcode == fabrics::OPCODE && fabrics::kind(sqe) == fabrics::CONNECT)
        .map(|sqe| ConnectFields::read(&sqe).qid)
        .collect();
    assert_eq!(connected, [0, 1, 2, 3, 4, 2]);
    drop(kept);
}
