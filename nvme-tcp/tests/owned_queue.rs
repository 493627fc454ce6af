//! Queues that one thread owns, and associations that are replaced under load.

mod support;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nvme_tcp::spec::command::{fabrics, nvm};
use nvme_tcp::spec::property;
use nvme_tcp::{ErrorKind, Queue, QueueCompletion};
use support::controller::{Entry, LIMIT, Reply, Script, Target, What};
use support::wire::patterned;

/// An event loop: waits for the descriptor in the wanted direction, polls, until `count` are done.
fn drive(queue: &mut Queue, count: usize) -> Vec<QueueCompletion> {
    let until = Instant::now() + LIMIT;
    let mut completions = Vec::new();
    while completions.len() < count {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{} of {count} completions within {LIMIT:?}", completions.len());
        queue.poll(&mut completions, Duration::ZERO).unwrap();
        let wants = queue.wants();
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, wants.read);
        events.set(PollFlags::POLLOUT, wants.write);
        if !events.is_empty() {
            poll(&mut [PollFd::new(queue.as_fd(), events)], PollTimeout::try_from(left).unwrap()).unwrap();
        }
    }
    completions
}

#[test]
fn many_commands_in_an_event_loop() {
    let target = Target::start(Script::default());
    let controller = target.options().owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    const LEN: u32 = 64 * 1024;
    for n in 0..16_u64 {
        let data = patterned(n as u16, 0, LEN);
        queue.submit_write(&namespace, data, n * u64::from(LEN), n).unwrap();
    }
    assert_eq!(queue.outstanding(), 16);
    for done in drive(&mut queue, 16) {
        done.result.unwrap();
        assert_eq!(done.buffer, Some(patterned(done.cookie as u16, 0, LEN)), "a write's buffer comes back");
    }
    for n in 0..16_u64 {
        queue.submit_read(&namespace, vec![0; LEN as usize], n * u64::from(LEN), n).unwrap();
    }
    queue.submit_flush(&namespace, 99).unwrap();
    // An event loop may send before it waits for the descriptor, which then becomes readable by itself.
    queue.send().unwrap();
    assert!(!queue.wants().write && queue.wants().read);
    let mut fds = [PollFd::new(queue.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::try_from(LIMIT).unwrap()), Ok(1));
    let mut cookies = Vec::new();
    for done in drive(&mut queue, 17) {
        done.result.unwrap();
        if done.cookie != 99 {
            assert_eq!(done.buffer, Some(patterned(done.cookie as u16, 0, LEN)));
        }
        cookies.push(done.cookie);
    }
    cookies.sort_unstable();
    assert_eq!(cookies, (0..16).chain([99]).collect::<Vec<_>>());
    assert_eq!(queue.outstanding(), 0);
}

#[test]
fn what_was_not_taken_comes_back() {
    let target = Target::start(Script::default());
    let controller = target.options().owned_queues(1).queue_size(2).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    assert_eq!(queue.room(), 1);
    queue.submit_read(&namespace, vec![0; 512], 0, 1).unwrap();
    let full = queue.submit_read(&namespace, vec![5; 512], 0, 2).unwrap_err();
    assert_eq!(full.buffer, Some(vec![5; 512]));
    let unaligned = queue.submit_write(&namespace, vec![6; 100], 0, 3).unwrap_err();
    assert!(matches!(unaligned.error.kind(), ErrorKind::Unaligned { .. }));
    assert_eq!(unaligned.buffer, Some(vec![6; 100]));
    assert_eq!(drive(&mut queue, 1)[0].cookie, 1);
    assert!(controller.queue().is_err(), "there was one to own");
}

/// Polls until `count` are done, and checks that each failed by `is_expected` and gave its buffer back.
fn assert_all_fail(queue: &mut Queue, count: usize, is_expected: impl Fn(&ErrorKind) -> bool) {
    let until = Instant::now() + LIMIT;
    let mut completions = Vec::new();
    while completions.len() < count {
        assert!(Instant::now() < until, "{} of {count} completions", completions.len());
        // The commands tell how it ended.
        drop(queue.poll(&mut completions, LIMIT));
    }
    for done in &completions {
        let error = done.result.as_ref().unwrap_err();
        assert!(is_expected(error.kind()), "{error}");
        assert_eq!(done.buffer.as_ref().map(Vec::len), Some(4096), "cookie {}", done.cookie);
    }
    assert_eq!((completions.len(), queue.outstanding()), (count, 0));
}

#[test]
fn a_lost_connection_completes_everything_with_its_buffer() {
    a_lost_connection_completes_everything_with_its_buffer_by(false);
    a_lost_connection_completes_everything_with_its_buffer_by(true);
}

fn a_lost_connection_completes_everything_with_its_buffer_by(ring: bool) {
    let reads = AtomicU32::new(0);
    let target = Target::start(Script {
        hook: Box::new(move |link, sqe| match (link.qid, sqe.opcode) {
            (2, nvm::READ) => match reads.fetch_add(1, Ordering::SeqCst) {
                0..7 => Reply::Nothing,
                7 => Reply::Close,
                _ => Reply::Serve,
            },
            _ => Reply::Serve,
        }),
        ..Script::default()
    });
    let controller = target.options().io_uring(ring).owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    for n in 0..8 {
        queue.submit_read(&namespace, vec![0; 4096], 0, n).unwrap();
    }
    assert_all_fail(&mut queue, 8, |kind| matches!(kind, ErrorKind::Lost(_)));
    // The association lives: the next command goes over a new connection.
    assert!(queue.room() > 0);
    queue.submit_read(&namespace, vec![9; 512], 0, 9).unwrap();
    let done = drive(&mut queue, 1);
    assert!(done[0].result.is_ok() && done[0].cookie == 9, "{done:?}");
    // The shared queue is not concerned.
    namespace.read_at(&mut [0; 512], 0).unwrap();
}

/// Reads that nobody answers, with a deadline of 300 ms.
fn unanswered() -> (Target, Duration) {
    let target = Target::start(Script {
        hook: Box::new(|link, sqe| match (link.qid, sqe.opcode) {
            (2, nvm::READ) => Reply::Nothing,
            _ => Reply::Serve,
        }),
        ..Script::default()
    });
    (target, Duration::from_millis(300))
}

#[test]
fn a_long_wait_ends_at_the_deadline() {
    a_long_wait_ends_at_the_deadline_by(false);
    a_long_wait_ends_at_the_deadline_by(true);
}

fn a_long_wait_ends_at_the_deadline_by(ring: bool) {
    let (target, limit) = unanswered();
    let controller =
        target.options().io_uring(ring).timeout(limit).owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    queue.submit_read(&namespace, vec![0; 4096], 0, 7).unwrap();
    let start = Instant::now();
    let mut completions = Vec::new();
    assert_eq!(queue.poll(&mut completions, LIMIT).unwrap(), 1);
    assert!(start.elapsed() >= limit && start.elapsed() < LIMIT, "{:?}", start.elapsed());
    let timed_out = |done: &QueueCompletion| done.result.as_ref().is_err_and(is_timeout);
    assert!(completions.iter().all(timed_out), "{completions:?}");
}

#[test]
fn a_caller_that_never_waits_sees_the_deadline() {
    let (target, limit) = unanswered();
    let controller = target.options().timeout(limit).owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    queue.submit_read(&namespace, vec![0; 4096], 0, 7).unwrap();
    let start = Instant::now();
    let mut completions = Vec::new();
    while completions.is_empty() {
        assert!(start.elapsed() < LIMIT, "nothing was completed");
        queue.poll(&mut completions, Duration::ZERO).unwrap();
        // As an event loop does with its own timer.
        poll(&mut [PollFd::new(queue.as_fd(), PollFlags::POLLIN)], 20_u8).unwrap();
    }
    assert!(completions[0].result.as_ref().is_err_and(is_timeout), "{completions:?}");
}

fn is_timeout(error: &nvme_tcp::Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout { .. })
}

#[test]
fn a_wait_without_an_end_is_one() {
    a_wait_without_an_end_is_one_by(false);
    a_wait_without_an_end_is_one_by(true);
}

fn a_wait_without_an_end_is_one_by(ring: bool) {
    let target = Target::start(Script::default());
    let controller = target.options().io_uring(ring).owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    queue.submit_read(&namespace, vec![0; 4096], 0, 7).unwrap();
    assert_eq!(queue.poll(&mut Vec::new(), Duration::MAX).unwrap(), 1);
}

#[test]
fn a_deadline_completes_everything_with_its_buffer() {
    let target = Target::start(Script {
        hook: Box::new(|link, sqe| match (link.qid, sqe.opcode) {
            (2, nvm::READ) => Reply::Nothing,
            _ => Reply::Serve,
        }),
        ..Script::default()
    });
    let limit = Duration::from_millis(300);
    let controller = target.options().timeout(limit).owned_queues(1).io_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    for n in 0..4 {
        queue.submit_read(&namespace, vec![0; 4096], 0, n).unwrap();
    }
    let start = Instant::now();
    let mut completions = Vec::new();
    // A caller that polls in short steps, as an event loop with a timer does.
    while completions.is_empty() && start.elapsed() < LIMIT {
        drop(queue.poll(&mut completions, Duration::from_millis(50)));
    }
    assert!((limit..LIMIT / 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(completions.len(), 4);
    for done in &completions {
        assert!(matches!(done.result.as_ref().unwrap_err().kind(), ErrorKind::Timeout { .. }));
        assert_eq!(done.buffer.as_ref().map(Vec::len), Some(4096));
    }
}

/// Whether the controller `cntlid` was shut down in good order, and then its admin queue was closed.
fn was_shut_down(journal: &[Entry], cntlid: u16) -> Option<()> {
    let mut of_admin = journal.iter().filter(|entry| (entry.cntlid, entry.qid) == (cntlid, 0));
    of_admin.find(|entry| match entry.what {
        What::Command(sqe) => {
            sqe.opcode == fabrics::OPCODE
                && fabrics::kind(&sqe) == fabrics::PROPERTY_SET
                && sqe.get_cdw(12) & property::CC_SHUTDOWN_MASK == property::CC_SHUTDOWN_NORMAL
        }
        _ => false,
    })?;
    of_admin.find(|entry| matches!(entry.what, What::Closed)).map(drop)
}

#[test]
fn associations_are_replaced_under_load_and_nothing_fails() {
    let target = Target::start(Script::default());
    let controller = target.options().io_queues(2).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = AtomicU32::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|n| {
                let (namespace, stop, rounds) = (&namespace, &stop, &rounds);
                scope.spawn(move || {
                    let mut back = vec![0; 300 * 1024];
                    while !stop.load(Ordering::SeqCst) {
                        let round = rounds.fetch_add(1, Ordering::SeqCst);
                        let data = patterned(round as u16, 0, back.len() as u32);
                        namespace.write_at(&data, n << 20).unwrap();
                        namespace.read_at(&mut back, n << 20).unwrap();
                        assert!(back == data, "other data came back");
                    }
                })
            })
            .collect();
        for generation in 1..=3_u16 {
            controller.reconnect().unwrap();
            assert_eq!(controller.info().generation, u64::from(generation));
            assert_eq!(controller.info().traits.cntlid, generation + 1);
            target.wait_for("the old controller's shutdown", |journal| was_shut_down(journal, generation));
            let before = rounds.load(Ordering::SeqCst);
            let until = Instant::now() + LIMIT;
            while rounds.load(Ordering::SeqCst) < before + 4 && Instant::now() < until {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().unwrap();
        }
    });
    controller.shutdown();
    target.wait_for("the last controller's shutdown", |journal| was_shut_down(journal, 4));
}

#[test]
fn an_owned_queue_follows_to_the_next_association() {
    let target = Target::start(Script::default());
    let controller = target.options().io_queues(1).owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    queue.submit_write(&namespace, patterned(1, 0, 8192), 0, 1).unwrap();
    controller.reconnect().unwrap();
    // One descriptor at a time: what was submitted ends on the old connection first.
    assert_eq!((queue.outstanding(), queue.room()), (1, 0));
    // Whoever saw room just before the change is served by the old one all the same.
    queue.submit_write(&namespace, patterned(2, 0, 8192), 8192, 2).unwrap();
    let mut completions = Vec::new();
    while completions.len() < 2 {
        assert!(queue.poll(&mut completions, LIMIT).unwrap() > 0);
    }
    assert!(queue.room() > 0);
    queue.submit_write(&namespace, patterned(3, 0, 8192), 0, 3).unwrap();
    assert_eq!(queue.poll(&mut completions, LIMIT).unwrap(), 1);
    assert!(completions.iter().all(|done| done.result.is_ok()));
    target.wait_for("the old controller's shutdown", |journal| was_shut_down(journal, 1));
    let mut back = vec![0; 16_384];
    namespace.read_at(&mut back, 0).unwrap();
    assert!(back == [patterned(3, 0, 8192), patterned(2, 0, 8192)].concat());
}
