//! With `Options::io_uring` everything works that works without: through the ring where a queue is one thread's, and as
//! without where the kernel or a sandbox refuses one.
#![allow(unsafe_code, reason = "a filter for system calls is given to the kernel by address")]

mod load;
mod proxy;

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use load::{LANE, under_load, wait_until};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nvme_tcp::driver::transport::TransportError;
use nvme_tcp::multipath::{MultipathOptions, Subsystem};
use nvme_tcp::{Controller, ErrorKind, KeySource, Options, Queue, Recovery};
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem as Served, Target};
use proxy::{Direction, Proxy};
use system_tests::{DEADLINE, Embedded, SUBSYSTEM_NQN, embedded, image, key, options, skip};

const PIECE: usize = 16_384;

fn served(tls: bool) -> Embedded {
    embedded(Namespace::ram(4 * LANE), tls.then(key), |_| {})
}

/// Whether a queue of this controller has a ring.
fn has_ring(controller: &Controller) -> bool {
    controller.queue().unwrap().uses_io_uring()
}

/// Whether there are rings here; where not, the test is skipped by its name.
fn is_there(test: &str) -> bool {
    let served = served(false);
    let there = has_ring(&served.options().owned_queues(1).io_uring(true).connect().unwrap());
    if !there {
        skip(test, "the kernel or a sandbox refuses io_uring");
    }
    there
}

/// Writes a piece and reads it back; the first error.
fn round(queue: &mut Queue, namespace: &nvme_tcp::Namespace, number: u64) -> nvme_tcp::Result<()> {
    let (data, offset) = (image(number, PIECE as u64), number % 32 * PIECE as u64);
    for memory in [data.clone(), vec![0; PIECE]] {
        let submitted = match memory == data {
            true => queue.submit_write(namespace, memory, offset, number),
            false => queue.submit_read(namespace, memory, offset, number),
        };
        submitted.map_err(|rejected| rejected.error)?;
        let (mut completions, end) = (Vec::new(), Instant::now() + DEADLINE);
        while completions.is_empty() {
            assert!(Instant::now() < end, "no completion of {number}");
            // What it fails with, the completion tells as well.
            drop(queue.poll(&mut completions, Duration::from_secs(1)));
        }
        let completion = completions.remove(0);
        completion.result?;
        assert!(completion.buffer.unwrap() == data, "round {number}");
    }
    Ok(())
}

#[test]
fn a_queue_with_a_ring_follows_its_controller_with_digests_and_tls_and_new_keys() {
    for (tls, digests) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut present = key();
        let ring = KeyRing::new().key(present.clone());
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = if tls { Listener::tls(any, ring.clone()) } else { Listener::plain(any) };
        let subsystem = Served::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(LANE));
        let target = Target::builder().subsystem(subsystem).listen(listener).start().unwrap();
        let source = KeySource::memory([present.clone()]);
        let options = options(target.local_addrs()[0], None).digests(digests, digests);
        let options = if tls { options.tls_from(source.clone()) } else { options };
        let controller = options.owned_queues(1).io_uring(true).connect().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        let rings = queue.uses_io_uring();
        for number in 0..12 {
            round(&mut queue, &namespace, number).unwrap();
            if tls {
                let new = key();
                ring.add(None, None, new.clone());
                source.set([new.clone()]);
                controller.rotate_keys().unwrap();
                round(&mut queue, &namespace, number).unwrap();
                assert!(ring.remove(&std::mem::replace(&mut present, new)));
            } else {
                controller.reconnect().unwrap();
            }
        }
        assert_eq!(queue.uses_io_uring(), rings, "the next association's as well");
        assert_eq!(target.statistics().failed_commands, 0);
        assert_eq!(controller.info().negotiated.data_digest, digests);
    }
}

#[test]
fn a_queue_with_a_ring_goes_on_after_its_association_was_lost() {
    for tls in [false, true] {
        let served = served(tls);
        let mut proxy = Proxy::start(served.address());
        let soon = Duration::from_millis(20);
        let recovery = Recovery::default().reconnect_delay(soon, soon * 4);
        let options = options(proxy.address(), served.key.as_ref()).recovery(recovery);
        let controller = options.owned_queues(1).io_uring(true).connect().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        for number in 0..4 {
            round(&mut queue, &namespace, number).unwrap();
            proxy.kill();
            assert!(round(&mut queue, &namespace, number).is_err());
            proxy.revive();
            let end = Instant::now() + DEADLINE;
            while let Err(error) = round(&mut queue, &namespace, number) {
                assert!(Instant::now() < end, "{error}");
                std::thread::sleep(soon);
            }
        }
    }
}

/// Several of everything, with the option set.
fn with_the_option(options: Options) -> Options {
    let soon = Duration::from_millis(20);
    let recovery = Recovery::default().reconnect_delay(soon, soon * 4);
    options.io_uring(true).io_queues(2).keep_alive(Duration::from_secs(1)).recovery(recovery)
}

#[test]
fn shared_queues_and_several_paths_work_as_without_the_option() {
    let any = || Listener::plain(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let subsystem = Served::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(4 * LANE));
    let target = Target::builder().subsystem(subsystem).listen(any()).listen(any()).start().unwrap();
    let mut proxies = [0, 1].map(|port| Proxy::start(target.local_addrs()[port]));
    let paths =
        proxies.each_ref().map(|proxy| with_the_option(options(proxy.address(), None)).digests(true, true));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    let rounds = under_load(&namespace, 4, 16_384, || {
        for round in 0..4 {
            let cut = round % 2;
            proxies[cut].kill();
            proxies[cut].revive();
            wait_until("the path stays away", || subsystem.paths(1)[cut].error.is_none());
        }
    });
    assert!(rounds > 0);
}

#[test]
fn tasks_work_as_without_the_option() {
    let served = served(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let controller =
            nvme_tcp::tokio::Controller::connect(with_the_option(served.options())).await.unwrap();
        let namespace = controller.namespace(1).await.unwrap();
        for number in 0..20 {
            let (data, offset) = (image(number, PIECE as u64), number * PIECE as u64);
            let (result, data) = namespace.write_at(data, offset).await;
            result.unwrap();
            if number % 5 == 0 {
                controller.reconnect().await.unwrap();
            }
            let (result, back) = namespace.read_at(vec![0; PIECE], offset).await;
            result.unwrap();
            assert!(back == data);
        }
        controller.shutdown().await;
    });
}

#[test]
fn a_tls_stream_that_is_cut_off_is_told_as_that_with_a_ring_and_without() {
    for ring in [false, true] {
        if ring && !is_there("a_tls_stream_that_is_cut_off_is_told_as_that_with_a_ring_and_without") {
            return;
        }
        let served = served(true);
        let proxy = Proxy::start(served.address());
        let options = options(proxy.address(), served.key.as_ref()).owned_queues(1).io_uring(ring);
        let controller = options.connect().unwrap();
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        round(&mut queue, &namespace, 1).unwrap();
        // Not a reset, of which the kernel's TLS tells before it tells of the end.
        proxy.stall(Direction::ToTarget);
        proxy.end_to_hosts();
        // The end is there before anything is sent, so that who sends and receives in one call meets it there.
        let limit = PollTimeout::try_from(DEADLINE).unwrap();
        assert_eq!(poll(&mut [PollFd::new(queue.as_fd(), PollFlags::POLLIN)], limit).unwrap(), 1);
        queue.submit_read(&namespace, vec![0; PIECE], 0, 1).unwrap();
        let mut completions = Vec::new();
        let error = loop {
            if let Err(error) = queue.poll(&mut completions, DEADLINE) {
                break error;
            }
        };
        let truncated = matches!(error.kind(), ErrorKind::Lost(TransportError::Tls(ktls::Error::Truncated)));
        assert!(truncated, "ring: {ring}, {error}");
        assert!(completions.iter().all(|completion| completion.result.is_err()) && completions.len() == 1);
    }
}

/// Tells the child that it is to do without.
const REFUSE: &str = "NVME_TCP_TEST_REFUSE_IO_URING";

/// Has the kernel refuse io_uring_setup(2) to this thread, and those it starts, with EPERM: as container runtimes do.
fn refuse_rings() -> io::Result<()> {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut program = [
        // The number of the system call is the first of `struct seccomp_data`.
        statement(load, 0, 0, 0),
        statement(equal, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call takes numbers only.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the filter and its program outlive the call, which copies them.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if promised < 0 || filtered < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn where_a_sandbox_refuses_rings_queues_do_without() {
    let name = "where_a_sandbox_refuses_rings_queues_do_without";
    if env::var_os(REFUSE).is_none() {
        if !is_there(name) {
            return;
        }
        // A process of its own, since a filter stays.
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .env(REFUSE, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
        return;
    }
    refuse_rings().unwrap();
    let served = served(true);
    let controller = served.options().owned_queues(1).io_uring(true).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue().unwrap();
    assert!(!queue.uses_io_uring());
    for number in 0..4 {
        round(&mut queue, &namespace, number).unwrap();
        controller.reconnect().unwrap();
    }
}
