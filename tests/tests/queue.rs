//! A `Queue` of one thread: many commands in flight, driven by its own poll or by the caller's.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use nvme_tcp::{Controller, Queue};
use nvme_tcp_target::Namespace;
use system_tests::{DEADLINE, Embedded, embedded, image, key};

const PIECE: usize = 64 * 1024;
const PIECES: u64 = 48;

/// Plain and TLS, with poll(2) and with io_uring(7).
const WAYS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

fn connected((tls, ring): (bool, bool)) -> (Embedded, Controller) {
    let namespace = Namespace::ram(PIECES * PIECE as u64);
    let served = embedded(namespace, tls.then(key), |_| {});
    let controller = served.options().owned_queues(2).io_uring(ring).timeout(DEADLINE).connect().unwrap();
    (served, controller)
}

#[test]
fn a_ring_is_used_where_there_is_one() {
    for (tls, ring) in WAYS {
        let (_served, controller) = connected((tls, ring));
        let uses = controller.queue().unwrap().uses_io_uring();
        if ring && !uses {
            eprintln!("SKIPPED a_ring_is_used_where_there_is_one: the kernel or a sandbox refuses io_uring");
            return;
        }
        assert_eq!(uses, ring);
    }
}

fn piece(index: u64) -> Vec<u8> {
    image(index, PIECE as u64)
}

/// Writes every piece, then reads every piece, as many at once as there is room for. `wait` waits for the
/// socket.
fn fill_and_read(controller: &Controller, queue: &mut Queue, mut wait: impl FnMut(&Queue) -> Duration) {
    let namespace = controller.namespace(1).unwrap();
    let end = Instant::now() + DEADLINE;
    let mut most = 0;
    for reading in [false, true] {
        let mut next = 0;
        let mut done = BTreeSet::new();
        let mut completions = Vec::new();
        while done.len() < PIECES as usize {
            assert!(Instant::now() < end, "{} of {PIECES} are done", done.len());
            while next < PIECES && queue.room() > 0 {
                let offset = next * PIECE as u64;
                let submitted = match reading {
                    false => queue.submit_write(&namespace, piece(next), offset, next),
                    true => queue.submit_read(&namespace, vec![0; PIECE], offset, next),
                };
                submitted.unwrap();
                next += 1;
            }
            most = most.max(queue.outstanding());
            let patience = wait(queue);
            queue.poll(&mut completions, patience).unwrap();
            for completion in completions.drain(..) {
                completion.result.unwrap();
                assert!(completion.buffer.unwrap() == piece(completion.cookie), "{}", completion.cookie);
                assert!(done.insert(completion.cookie), "{} is done twice", completion.cookie);
            }
        }
        assert_eq!(queue.outstanding(), 0);
    }
    assert!(most > 1, "never more than {most} in flight");
}

#[test]
fn a_commands_time_begins_with_the_first_that_is_sent_with_it() {
    for way in WAYS {
        let (_served, controller) = connected(way);
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        let due = |sends: bool| {
            let before = Instant::now();
            queue.submit_read(&namespace, vec![0; PIECE], 0, 0).unwrap();
            let first = queue.next_deadline().unwrap();
            queue.submit_read(&namespace, vec![0; PIECE], 0, 1).unwrap();
            assert_eq!(queue.next_deadline(), Some(first));
            assert!(first >= before + DEADLINE, "{way:?}");
            assert!(first <= Instant::now() + DEADLINE, "{way:?}");
            if sends {
                queue.send().unwrap();
            }
            let mut done = Vec::new();
            while done.len() < 2 {
                queue.poll(&mut done, DEADLINE).unwrap();
            }
            assert_eq!(queue.next_deadline(), None);
        };
        // Each round's time is its own, however the one before was sent.
        [false, true, false].into_iter().for_each(due);
    }
}

#[test]
fn long_reads_that_are_here_together_are_given_together() {
    // What records opened in the process hold, the record layer knows.
    for way in WAYS.into_iter().filter(|(tls, _)| !tls) {
        const COUNT: usize = 3;
        let (_served, controller) = connected(way);
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        setsockopt(&queue.as_fd(), RcvBuf, &(2 * COUNT * PIECE)).unwrap();
        let mut done = Vec::new();
        // Data is long from the second on.
        queue.submit_read(&namespace, vec![0; PIECE], 0, 0).unwrap();
        while queue.outstanding() > 0 {
            queue.poll(&mut done, DEADLINE).unwrap();
        }
        for cookie in 0..COUNT as u64 {
            queue.submit_read(&namespace, vec![0; PIECE], cookie * PIECE as u64, cookie).unwrap();
        }
        queue.send().unwrap();
        let end = Instant::now() + DEADLINE;
        let mut waiting = vec![0; COUNT * (PIECE + 24)];
        // Each look waits for all of it as long as the socket's own time lets it.
        let all = MsgFlags::MSG_PEEK | MsgFlags::MSG_WAITALL;
        while recv(queue.as_fd().as_raw_fd(), &mut waiting, all) != Ok(waiting.len()) {
            assert!(Instant::now() < end, "the reads are not answered");
        }
        assert_eq!(queue.poll(&mut done, DEADLINE).unwrap(), COUNT, "{way:?}");
    }
}

#[test]
fn many_commands_are_in_flight_and_each_comes_back_once() {
    for way in WAYS {
        let (_served, controller) = connected(way);
        let mut queue = controller.queue().unwrap();
        fill_and_read(&controller, &mut queue, |_| DEADLINE);
    }
}

#[test]
fn one_command_at_a_time_is_sent_and_waited_for() {
    for way in WAYS {
        let (_served, controller) = connected(way);
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        let mut completions = Vec::new();
        // 64 KiB goes into place, 4 KiB through the ring of either kind.
        for (index, len) in [512, 4096, PIECE, 4096, 512].into_iter().cycle().take(200).enumerate() {
            let (offset, bytes) = ((index % 7 * PIECE) as u64, image(index as u64, len as u64));
            queue.submit_write(&namespace, bytes.clone(), offset, 0).unwrap();
            assert_eq!(queue.poll(&mut completions, DEADLINE).unwrap(), 1);
            completions.drain(..).for_each(|completion| completion.result.unwrap());
            queue.submit_read(&namespace, vec![0; len], offset, 0).unwrap();
            assert_eq!(queue.poll(&mut completions, DEADLINE).unwrap(), 1);
            let completion = completions.remove(0);
            completion.result.unwrap();
            assert!(completion.buffer.unwrap() == bytes, "{way:?}, {len} bytes");
        }
    }
}

#[test]
fn an_event_loop_of_the_caller_drives_a_queue() {
    for way in WAYS {
        let (_served, controller) = connected(way);
        let mut queue = controller.queue().unwrap();
        fill_and_read(&controller, &mut queue, |queue| {
            // Only poll(2) waits: the queue itself is asked for what it has now. What it was given it has to
            // be polled for once before it knows what it wants.
            let wants = queue.wants();
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, wants.read);
            events.set(PollFlags::POLLOUT, wants.write);
            assert!(!events.is_empty());
            let mut fds = [PollFd::new(queue.as_fd(), events)];
            let ready = poll(&mut fds, PollTimeout::try_from(DEADLINE).unwrap()).unwrap();
            assert_eq!(ready, 1, "not ready in time for {wants:?}");
            Duration::ZERO
        });
    }
}

#[test]
fn two_queues_of_one_controller_and_flush_go_side_by_side() {
    let (_served, controller) = connected((true, true));
    let namespace = controller.namespace(1).unwrap();
    let mut queues = [controller.queue().unwrap(), controller.queue().unwrap()];
    assert!(controller.queue().is_err(), "two were reserved");
    for (index, queue) in queues.iter_mut().enumerate() {
        queue.submit_write(&namespace, piece(index as u64), (index * PIECE) as u64, 1).unwrap();
        queue.submit_flush(&namespace, 2).unwrap();
    }
    for queue in &mut queues {
        let mut completions = Vec::new();
        while completions.len() < 2 {
            assert!(queue.poll(&mut completions, DEADLINE).unwrap() > 0);
        }
        assert!(completions.iter().all(|completion| completion.result.is_ok()), "{completions:?}");
    }
    let mut back = vec![0; 2 * PIECE];
    namespace.read_at(&mut back, 0).unwrap();
    assert!(back == [piece(0), piece(1)].concat());
    // A queue that is given back can be had again.
    let [first, _second] = queues;
    drop(first);
    fill_and_read(&controller, &mut controller.queue().unwrap(), |_| DEADLINE);
}

#[test]
fn a_rejected_command_gives_the_memory_back() {
    let (_served, controller) = connected((false, false));
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    let rejected = queue.submit_write(&namespace, vec![7; 100], 0, 1).unwrap_err();
    assert_eq!(rejected.buffer, Some(vec![7; 100]));
    let too_much = namespace.max_transfer() + 512;
    let rejected = queue.submit_read(&namespace, vec![7; too_much], 0, 1).unwrap_err();
    assert_eq!(rejected.buffer.map(|buffer| buffer.len()), Some(too_much));
    assert_eq!(queue.outstanding(), 0);
}

#[test]
fn when_the_target_goes_every_command_comes_back_with_its_memory() {
    for way in WAYS {
        let (served, controller) = connected(way);
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        served.target.shutdown();
        let submitted = (0..8).filter(|index| {
            queue.submit_read(&namespace, vec![0; PIECE], index * PIECE as u64, *index).is_ok()
        });
        let submitted = submitted.count();
        let mut completions = Vec::new();
        let end = Instant::now() + DEADLINE;
        while completions.len() < submitted {
            assert!(Instant::now() < end);
            drop(queue.poll(&mut completions, Duration::from_secs(1)));
        }
        assert!(completions.iter().all(|completion| completion.result.is_err()));
        assert!(completions.iter().all(|c| c.buffer.as_ref().is_some_and(|b| b.len() == PIECE)));
    }
}
