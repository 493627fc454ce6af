//! Targets that grant a host one controller at a time: one association ends before the next begins, and no command
//! fails.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nvme_tcp::spec::command::{Sqe, fabrics};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::property;
use support::controller::{LIMIT, Reply, Script, Target};
use support::wire::patterned;

fn is_admin_connect(sqe: &Sqe) -> bool {
    sqe.opcode == fabrics::OPCODE
        && fabrics::kind(sqe) == fabrics::CONNECT
        && fabrics::ConnectFields::read(sqe).qid == 0
}

fn is_shutdown(sqe: &Sqe) -> bool {
    sqe.opcode == fabrics::OPCODE
        && fabrics::kind(sqe) == fabrics::PROPERTY_SET
        && sqe.get_cdw(11) == property::CC
        && sqe.get_cdw(12) & property::CC_SHUTDOWN_MASK != 0
}

/// Whether the one controller is in use, and how many Connects were refused.
#[derive(Default)]
struct Door {
    taken: AtomicBool,
    refused: Mutex<u32>,
    refuses: Condvar,
}

impl Door {
    fn refuse(&self) {
        *self.refused.lock().unwrap() += 1;
        self.refuses.notify_all();
    }

    fn refused(&self) -> u32 {
        *self.refused.lock().unwrap()
    }

    /// Waits until more than `count` were refused.
    fn refused_more_than(&self, count: u32) {
        let refused = self.refused.lock().unwrap();
        let (refused, _) =
            self.refuses.wait_timeout_while(refused, LIMIT, |refused| *refused <= count).unwrap();
        assert!(*refused > count, "no more than {count} Connects were refused");
    }
}

fn with_one_controller() -> (Target, Arc<Door>) {
    let door = Arc::new(Door::default());
    let target = Target::start(Script {
        hook: Box::new({
            let door = door.clone();
            move |link, sqe| {
                if is_admin_connect(sqe) && door.taken.swap(true, Ordering::SeqCst) {
                    door.refuse();
                    link.complete(sqe, Status::CONNECT_CONTROLLER_BUSY, 0);
                    return Reply::Nothing;
                }
                if is_shutdown(sqe) {
                    door.taken.store(false, Ordering::SeqCst);
                }
                Reply::Serve
            }
        }),
        ..Script::default()
    });
    (target, door)
}

#[test]
fn commands_are_held_while_the_one_controller_changes_hands() {
    let (target, door) = with_one_controller();
    let controller = target.options().connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                let data = patterned(rounds, 0, 65_536);
                namespace.write_at(&data, 0).unwrap();
                let mut back = vec![0; data.len()];
                namespace.read_at(&mut back, 0).unwrap();
                assert!(back == data);
                rounds = rounds.wrapping_add(1);
            }
        });
        for _ in 0..5 {
            controller.reconnect().unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        load.join().unwrap();
    });
    assert_eq!(controller.info().generation, 5);
    assert!(door.refused() >= 5);
}

#[test]
fn an_owned_queue_is_waited_for() {
    let (target, door) = with_one_controller();
    let controller = target.options().owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let mut done = Vec::new();
    for round in 0..4 {
        queue.submit_write(&namespace, patterned(round, 0, 4096), 0, round.into()).unwrap();
        thread::scope(|scope| {
            let replaced = scope.spawn(|| controller.reconnect());
            // The command is outstanding until this thread looks for its end, and is waited for.
            door.refused_more_than(round.into());
            assert_eq!(queue.poll(&mut done, LIMIT).unwrap(), 1);
            replaced.join().unwrap().unwrap();
        });
    }
    assert!(done.iter().all(|completion| completion.result.is_ok()));
    assert!(target.disk()[..4096] == patterned(3, 0, 4096));
}

#[test]
fn a_connection_of_an_owned_queue_that_is_lost_alone_comes_back() {
    let cut = Arc::new(AtomicBool::new(true));
    let target = Target::start(Script {
        hook: Box::new({
            let cut = cut.clone();
            move |link, sqe| match link.qid {
                2 if sqe.opcode == nvme_tcp::spec::command::nvm::WRITE
                    && cut.swap(false, Ordering::SeqCst) =>
                {
                    Reply::Close
                }
                _ => Reply::Serve,
            }
        }),
        ..Script::default()
    });
    let controller = target.options().owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let mut done = Vec::new();
    queue.submit_write(&namespace, vec![1; 512], 0, 1).unwrap();
    // Its loss may be told by the call or by the completion.
    while done.is_empty() {
        drop(queue.poll(&mut done, LIMIT));
    }
    assert!(done.remove(0).result.is_err());
    assert!(queue.room() > 0);
    queue.submit_write(&namespace, vec![2; 512], 0, 2).unwrap();
    assert_eq!(queue.poll(&mut done, LIMIT).unwrap(), 1);
    done[0].result.as_ref().unwrap();
    assert_eq!((target.disk()[0], controller.info().generation), (2, 0));
}
