//! Several paths to one subsystem: they are lost and change their states under load, and no I/O fails.

mod load;
mod proxy;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use load::{LANE, soak, under_load, wait_until};
use nvme_tcp::multipath::{MultipathOptions, PathPolicy, Subsystem};
use nvme_tcp::spec::log_page::AnaState as Seen;
use nvme_tcp::{ErrorKind, KeySource, Options, Recovery, UnknownWrites};
use nvme_tcp_target::{AnaState, KeyRing, Listener, Namespace, Subsystem as Served, Target};
use proxy::{Direction, Proxy};
use system_tests::{SUBSYSTEM_NQN, host, image, key, options};

const SOON: Duration = Duration::from_millis(20);

/// A target with two listeners.
fn two_ports(ring: Option<&KeyRing>) -> Target {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = || match ring {
        None => Listener::plain(any),
        Some(ring) => Listener::tls(any, ring.clone()),
    };
    let subsystem = Served::new(SUBSYSTEM_NQN).namespace(1, Namespace::ram(8 * LANE));
    Target::builder().subsystem(subsystem).listen(listener()).listen(listener()).start().unwrap()
}

fn path(address: SocketAddr, kato: Duration, unknown: UnknownWrites) -> Options {
    let recovery = Recovery::default().reconnect_delay(SOON, SOON * 4).unknown_writes(unknown);
    options(address, None).keep_alive(kato).recovery(recovery)
}

/// A path to each listener, through something that can be cut.
fn through_proxies(target: &Target) -> [Proxy; 2] {
    [0, 1].map(|port| Proxy::start(target.local_addrs()[port]))
}

fn is_up(subsystem: &Subsystem, path: usize) -> bool {
    subsystem.paths(1)[path].error.is_none()
}

#[test]
fn a_path_killed_again_and_again_under_load_fails_no_io() {
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let kato = Duration::from_millis(400);
    let (whole, every) = soak(Duration::from_secs(4), Duration::from_millis(500));
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Replay));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    let mut kills = 0;
    let rounds = under_load(&namespace, 4, 16_384, || {
        kills = kill_by_turns(&subsystem, &mut proxies, whole, every);
    });
    eprintln!("{rounds} writes and reads, {kills} kills, no failed I/O");
    assert!(rounds > 0 && kills > 1, "{rounds} rounds, {kills} kills");
    assert!(proxies.iter().all(|proxy| proxy.accepted() >= kills as u64));
}

/// Cuts one path after the other; how often.
fn kill_by_turns(subsystem: &Subsystem, proxies: &mut [Proxy; 2], whole: Duration, every: Duration) -> usize {
    let mut kills = 0;
    let end = Instant::now() + whole;
    while Instant::now() < end {
        let path = kills % 2;
        let next = Instant::now() + every;
        proxies[path].kill();
        thread::sleep(every / 4);
        proxies[path].revive();
        wait_until("the path stays away", || is_up(subsystem, path));
        kills += 1;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    kills
}

#[test]
fn by_choice_paths_killed_under_load_fail_writes_of_unknown_fate_and_nothing_else() {
    const THREADS: u64 = 4;
    const PIECE: u64 = 4096;
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let kato = Duration::from_millis(400);
    let (whole, every) = soak(Duration::from_secs(3), Duration::from_millis(500));
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Report));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = &subsystem.namespace(1).unwrap();
    let (stop, rounds) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let data = |round: u64| if round == 0 { vec![0; PIECE as usize] } else { image(round, PIECE) };
    // For each thread: by offset what was acknowledged last, and what has an unknown fate since.
    let worker = move |number: u64| {
        let mut acknowledged = vec![(0, None); (LANE / PIECE) as usize];
        let mut back = vec![0; PIECE as usize];
        for slot in (0..acknowledged.len()).cycle() {
            let (last, unknown) = &mut acknowledged[slot];
            if stop.load(Ordering::Relaxed) {
                break;
            }
            // What may still be carried out there would come after what is written now.
            if unknown.is_some() {
                continue;
            }
            let round = rounds.fetch_add(1, Ordering::Relaxed) + 1;
            let offset = number * LANE + slot as u64 * PIECE;
            match namespace.write_at(&data(round), offset) {
                Ok(()) => *last = round,
                Err(error) if matches!(error.kind(), ErrorKind::UnknownFate { .. }) => {
                    *unknown = Some(round);
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            namespace.read_at(&mut back, offset).unwrap();
            assert!(back == data(round), "round {round}");
        }
        acknowledged
    };
    let (kills, lanes): (usize, Vec<_>) = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || worker(number))).collect();
        let killed = catch_unwind(AssertUnwindSafe(|| kill_by_turns(&subsystem, &mut proxies, whole, every)));
        // Whatever became of it, the threads end.
        stop.store(true, Ordering::Relaxed);
        let lanes = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        (killed.unwrap(), lanes)
    });
    // Until then the old associations may carry something out.
    thread::sleep(kato * 2);
    let (mut back, mut unknown, mut carried_out) = (vec![0; PIECE as usize], 0, 0);
    for (number, lane) in lanes.into_iter().enumerate() {
        for (slot, (last, fate)) in lane.into_iter().enumerate() {
            let offset = number as u64 * LANE + slot as u64 * PIECE;
            namespace.read_at(&mut back, offset).unwrap();
            let done = fate.is_some_and(|round| back == data(round));
            assert!(done || back == data(last), "at {offset}: {last} was acknowledged, {fate:?} may be");
            unknown += usize::from(fate.is_some());
            carried_out += usize::from(done);
        }
    }
    let rounds = rounds.load(Ordering::Relaxed);
    eprintln!(
        "{rounds} writes, {kills} kills: {unknown} of unknown fate, of which {carried_out} were carried out"
    );
    // One kill takes what each thread has outstanding, at most.
    assert!(unknown <= kills * THREADS as usize, "{unknown} unknown after {kills} kills");
}

/// Eight writes are outstanding on a path that goes silent one way and is then cut; the other path is not hurt.
fn unknown_writes(silent: Direction) {
    const THREADS: u64 = 8;
    let carried_out = silent == Direction::ToHost;
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let kato = Duration::from_secs(2);
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Report));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = &subsystem.namespace(1).unwrap();
    let (done, outstanding) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let unknown = Mutex::new(BTreeSet::new());
    let data = |offset| image(offset + 1, 512);
    thread::scope(|scope| {
        proxies[0].stall(silent);
        for number in 0..THREADS {
            let (done, outstanding, unknown) = (&done, &outstanding, &unknown);
            scope.spawn(move || {
                // Until one of them takes the silent path.
                for index in 0..LANE / 512 {
                    let offset = number * LANE + index * 512;
                    outstanding.lock().unwrap().insert(offset);
                    match namespace.write_at(&data(offset), offset) {
                        Ok(()) => drop(done.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => {
                            let is_unknown = matches!(error.kind(), ErrorKind::UnknownFate { .. });
                            assert!(is_unknown, "{error}");
                            unknown.lock().unwrap().insert(offset);
                            return;
                        }
                    }
                    outstanding.lock().unwrap().remove(&offset);
                }
                panic!("no write took the silent path");
            });
        }
        // All of them wait for it when nothing more is done.
        let mut before = u64::MAX;
        while std::mem::replace(&mut before, done.load(Ordering::SeqCst)) != done.load(Ordering::SeqCst)
            || outstanding.lock().unwrap().len() < THREADS as usize
        {
            thread::sleep(Duration::from_millis(100));
        }
        proxies[0].kill();
    });
    let unknown = unknown.into_inner().unwrap();
    assert_eq!(unknown, outstanding.into_inner().unwrap(), "the exact set");
    assert_eq!(unknown.len(), THREADS as usize);
    let mut back = vec![0; 512];
    for number in 0..THREADS {
        for offset in (number * LANE..).step_by(512) {
            namespace.read_at(&mut back, offset).unwrap();
            if unknown.contains(&offset) {
                let expected = if carried_out { data(offset) } else { vec![0; 512] };
                assert!(back == expected, "at {offset}");
                break;
            }
            assert!(back == data(offset), "at {offset}");
        }
    }
}

#[test]
fn by_choice_exactly_the_writes_whose_answers_were_lost_are_reported() {
    unknown_writes(Direction::ToHost);
}

#[test]
fn by_choice_exactly_the_writes_that_never_arrived_are_reported() {
    unknown_writes(Direction::ToTarget);
}

#[test]
fn ana_states_change_under_load_and_no_io_fails() {
    let target = two_ports(None);
    let kato = Duration::from_secs(5);
    let paths = [0, 1].map(|port| path(target.local_addrs()[port], kato, UnknownWrites::Replay));
    let subsystem =
        Subsystem::connect(paths, MultipathOptions::default().policy(PathPolicy::QueueDepth)).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    let set = |port, state| target.set_ana_state(SUBSYSTEM_NQN, port, 1, state).unwrap();
    let seen = |path: usize, state| {
        wait_until("the state is not seen", || subsystem.paths(1)[path].ana == state);
    };
    let rounds = under_load(&namespace, 4, 16_384, || {
        for round in 0..3 {
            let (one, other) = (round % 2, 1 - round % 2);
            for (state, shown) in [
                (AnaState::NonOptimized, Seen::NonOptimized),
                (AnaState::Inaccessible, Seen::Inaccessible),
                (AnaState::Change, Seen::Change),
                (AnaState::PersistentLoss, Seen::PersistentLoss),
                (AnaState::Optimized, Seen::Optimized),
            ] {
                set(Some(one as u16), state);
                seen(one, shown);
                assert_eq!(subsystem.paths(1)[other].ana, Seen::Optimized);
            }
            // Nowhere for a while: commands wait.
            for path in [one, other] {
                set(Some(path as u16), AnaState::Inaccessible);
                seen(path, Seen::Inaccessible);
            }
            set(Some(other as u16), AnaState::NonOptimized);
            seen(other, Seen::NonOptimized);
            for path in [one, other] {
                set(Some(path as u16), AnaState::Optimized);
                seen(path, Seen::Optimized);
            }
        }
    });
    assert!(rounds > 0);
    for port in 0..2 {
        set(Some(port), AnaState::PersistentLoss);
    }
    let error = namespace.read_at(&mut [0; 512], 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoPath { nsid: 1, .. }), "{error}");
}

#[test]
fn keys_rotate_on_both_paths_under_load_and_the_old_key_is_refused_on_both_afterwards() {
    let present = Arc::new(Mutex::new(key()));
    let ring = KeyRing::new().key(present.lock().unwrap().clone());
    let target = two_ports(Some(&ring));
    let source = KeySource::callback({
        let present = present.clone();
        move || Ok(vec![present.lock().unwrap().clone()])
    });
    let addresses = [0, 1].map(|port| target.local_addrs()[port]);
    let paths = addresses.map(|address| options(address, None).tls_from(source.clone()));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let (whole, every) = soak(Duration::from_secs(1), Duration::from_millis(100));
    let mut rotations = 0;
    let rounds = under_load(&subsystem.namespace(1).unwrap(), 4, 16_384, || {
        let end = Instant::now() + whole;
        while Instant::now() < end {
            let next = Instant::now() + every;
            let new = key();
            ring.add(None, None, new.clone());
            let old = std::mem::replace(&mut *present.lock().unwrap(), new);
            for rotation in subsystem.rotate_keys() {
                let rotation = rotation.unwrap();
                assert!(rotation.key_changed && !rotation.gap && rotation.held.is_none(), "{rotation:?}");
            }
            assert!(ring.remove(&old));
            for address in addresses {
                let error = options(address, Some(&old)).connect().unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{error}");
            }
            rotations += 1;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    eprintln!("{rounds} writes and reads, {rotations} rotations of both paths, no failed I/O");
    assert!(rounds > 0 && rotations > 1, "{rounds} rounds, {rotations} rotations");
    assert_eq!(target.statistics().failed_commands, 0);
}

#[test]
fn a_path_that_is_not_there_at_first_joins_later() {
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    proxies[1].kill();
    let kato = Duration::from_secs(1);
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Replay));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    assert!(!is_up(&subsystem, 1));
    proxies[1].revive();
    wait_until("it does not join", || is_up(&subsystem, 1));
    proxies[0].kill();
    namespace.write_at(&[7; 512], 0).unwrap();
    let mut back = [0; 512];
    namespace.read_at(&mut back, 0).unwrap();
    assert_eq!(back, [7; 512]);
}

#[test]
fn without_any_path_commands_wait_as_long_as_they_are_told() {
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let kato = Duration::from_millis(400);
    let limit = Duration::from_millis(300);
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Replay));
    let patience = MultipathOptions::default().no_path_timeout(Some(limit));
    let subsystem = Subsystem::connect(paths, patience).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    proxies.iter_mut().for_each(Proxy::kill);
    let start = Instant::now();
    let error = namespace.read_at(&mut [0; 512], 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoPath { .. }), "{error}");
    assert!(start.elapsed() >= limit);
    proxies.iter_mut().for_each(Proxy::revive);
    wait_until("no path comes back", || is_up(&subsystem, 0));
    namespace.read_at(&mut [0; 512], 0).unwrap();
}

#[test]
fn shutting_down_ends_what_waits_for_a_path() {
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let kato = Duration::from_secs(1);
    let paths = proxies.each_ref().map(|proxy| path(proxy.address(), kato, UnknownWrites::Replay));
    let subsystem = Subsystem::connect(paths, MultipathOptions::default()).unwrap();
    let namespace = subsystem.namespace(1).unwrap();
    proxies.iter_mut().for_each(Proxy::kill);
    wait_until("the loss is not seen", || !is_up(&subsystem, 0) && !is_up(&subsystem, 1));
    thread::scope(|scope| {
        let reader = scope.spawn(|| namespace.read_at(&mut [0; 512], 0));
        subsystem.shutdown();
        let error = reader.join().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ShutDown), "{error}");
    });
}

#[test]
fn paths_to_different_subsystems_are_refused() {
    let target = two_ports(None);
    let one = options(target.local_addrs()[0], None);
    let address = target.local_addrs()[1].to_string();
    let other = Options::new(address, "nqn.2024-01.io.example:another", host());
    let error = Subsystem::connect([one, other], MultipathOptions::default()).unwrap_err();
    assert!(error.to_string().contains("one subsystem"), "{error}");
}

#[test]
fn an_alternative_address_takes_the_place_of_one_that_is_down_with_every_connection() {
    let target = two_ports(None);
    let mut proxies = through_proxies(&target);
    let other = proxies[1].address().to_string();
    let options = |first: &Proxy| {
        path(first.address(), Duration::from_secs(1), UnknownWrites::Replay)
            .alternative_address(other.clone())
            .owned_queues(1)
    };
    proxies[0].kill();
    let controller = options(&proxies[0]).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    // A queue that comes later leads to where its association does, though the first address is back.
    proxies[0].revive();
    let mut queue = controller.queue().unwrap();
    queue.submit_read(&namespace, vec![0; 512], 0, 7).map_err(|rejected| rejected.error).unwrap();
    let mut done = Vec::new();
    while done.is_empty() {
        queue.poll(&mut done, Duration::from_secs(1)).unwrap();
    }
    done.remove(0).result.unwrap();
    drop(queue);
    assert_eq!(proxies[0].accepted(), 0);
    // The next association begins with the first address again.
    proxies[1].kill();
    namespace.write_at(&[4; 512], 0).unwrap();
    assert!(proxies[0].accepted() > 0);
    assert!(controller.info().generation > 0);
}
