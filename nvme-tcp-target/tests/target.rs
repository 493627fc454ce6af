//! A running target and this family's initiator, over loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nvme_tcp::Options;
use nvme_tcp::discovery::{TlsNeed, discover};
use nvme_tcp::host::{HostIdentity, HostSource};
use nvme_tcp::psk::{ConfiguredKey, KeyHash};
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp_target::{
    AnaState, Fault, FaultPlan, KeyRing, Listener, Namespace, Subsystem, Target, TargetBuilder, TargetEvent,
};

const SUBSYSTEM: &str = "nqn.2024-01.test:images";
const HOST: &str = "nqn.2024-01.test:host";
const SIZE: u64 = 64 << 20;

fn host() -> HostIdentity {
    HostIdentity { nqn: HOST.to_owned(), id: [7; 16], source: HostSource::Given }
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn builder() -> TargetBuilder {
    Target::builder().subsystem(Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(SIZE)))
}

/// A builder's events, as lines.
fn lines(builder: TargetBuilder) -> (TargetBuilder, Receiver<String>) {
    let (sender, receiver) = channel();
    let listener = move |event: &TargetEvent| drop(sender.send(event.to_string()));
    (builder.on_event(listener), receiver)
}

fn wait_for(lines: &Receiver<String>, wanted: &str) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("no event says {wanted:?}"));
        if line.contains(wanted) {
            return line;
        }
    }
}

fn options(target: &Target) -> Options {
    Options::new(target.local_addrs()[0].to_string(), SUBSYSTEM, host())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn write_and_read_back(options: Options) {
    let controller = options.connect().unwrap();
    assert_eq!(controller.namespaces().unwrap(), [1]);
    let namespace = controller.namespace(1).unwrap();
    assert_eq!(namespace.size(), SIZE);
    let data = pattern(5 << 20);
    for (len, at) in [(512, 0), (8192, 512), (8704, 16384), (data.len(), 1 << 20)] {
        namespace.write_at(&data[..len], at).unwrap();
    }
    namespace.flush().unwrap();
    for (len, at) in [(512, 0), (8192, 512), (8704, 16384), (data.len(), 1 << 20)] {
        let mut back = vec![0; len];
        namespace.read_at(&mut back, at).unwrap();
        assert!(back == data[..len], "{len} bytes at {at}");
    }
    namespace.write_zeroes(1 << 20, 4096).unwrap();
    namespace.deallocate((1 << 20) + 4096, 4096).unwrap();
    let mut back = vec![1; 12288];
    namespace.read_at(&mut back, 1 << 20).unwrap();
    assert!(back[..8192].iter().all(|byte| *byte == 0));
    assert!(back[8192..] == data[8192..12288]);
    controller.shutdown();
}

#[test]
fn what_was_written_comes_back_plain() {
    let target = builder().listen(Listener::plain(loopback())).start().unwrap();
    write_and_read_back(options(&target));
    write_and_read_back(options(&target).digests(true, true).hpda(31).maxr2t(3).io_queues(3));
    let statistics = target.statistics();
    assert!(statistics.bytes_received > 10 << 20 && statistics.bytes_sent > 10 << 20, "{statistics:?}");
    assert_eq!((statistics.failed_commands, statistics.violations), (0, 0), "{statistics:?}");
    target.shutdown();
}

#[test]
fn what_was_written_comes_back_over_tls_with_either_key_of_the_ring() {
    let keys = [KeyHash::Sha256, KeyHash::Sha384].map(|hash| ConfiguredKey::generate(hash).unwrap());
    let ring = KeyRing::new().key(keys[0].clone());
    ring.add(Some(HOST), Some(SUBSYSTEM), keys[1].clone());
    let target = builder().listen(Listener::tls(loopback(), ring)).start().unwrap();
    for key in keys {
        write_and_read_back(options(&target).tls(key).digests(true, true));
    }
}

#[test]
fn a_host_that_shuts_down_truncates_nothing() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let (builder, lines) = lines(builder());
    let target = builder.listen(Listener::tls(loopback(), KeyRing::new().key(key.clone()))).start().unwrap();
    options(&target).tls(key).connect().unwrap().shutdown();
    let line = wait_for(&lines, "admin queue");
    assert!(line.contains("the peer closed the connection"), "{line}");
}

#[test]
fn tls_on_a_plain_listener_is_closed_and_named() {
    let (builder, events) = lines(builder());
    let target = builder.listen(Listener::plain(loopback())).start().unwrap();
    let mut stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    let mut answer = Vec::new();
    // The kernel may say reset: bytes were left unread.
    drop(stream.read_to_end(&mut answer));
    assert!(answer.is_empty(), "{answer:?}");
    wait_for(&events, "the host speaks TLS");
    assert_eq!(target.statistics().refused_connections, 1);
}

#[test]
fn plain_on_a_tls_listener_gets_no_byte_of_nvme() {
    let (builder, events) = lines(builder());
    let ring = KeyRing::new().key(ConfiguredKey::generate(KeyHash::Sha256).unwrap());
    let target = builder.listen(Listener::tls(loopback(), ring)).start().unwrap();
    let mut stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    stream.write_all(&[0, 0, 128, 0, 128, 0, 0, 0]).unwrap();
    stream.write_all(&[0; 120]).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    // A TLS alert at most.
    assert!(answer.first().is_none_or(|first| *first == 21), "{answer:?}");
    wait_for(&events, "this listener requires TLS");
}

#[test]
fn a_wrong_key_is_refused() {
    let (builder, events) = lines(builder());
    let ring = KeyRing::new().key(ConfiguredKey::generate(KeyHash::Sha256).unwrap());
    let target = builder.listen(Listener::tls(loopback(), ring)).start().unwrap();
    let wrong = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    options(&target).tls(wrong).connect().unwrap_err();
    wait_for(&events, "TLS handshake failed");
}

#[test]
fn a_host_without_leave_and_an_unknown_subsystem_are_refused() {
    let only =
        Subsystem::new(SUBSYSTEM).allow_host("nqn.2024-01.test:other").namespace(1, Namespace::ram(SIZE));
    let target = Target::builder().subsystem(only).listen(Listener::plain(loopback())).start().unwrap();
    let refused = options(&target).connect().unwrap_err();
    assert!(refused.to_string().contains("invalid host"), "{refused}");
    let address = target.local_addrs()[0].to_string();
    let unknown = Options::new(address, "nqn.2024-01.test:unknown", host()).connect().unwrap_err();
    assert!(unknown.to_string().contains("SUBNQN"), "{unknown}");
}

#[test]
fn discovery_lists_each_listener_for_each_subsystem_the_host_may_see() {
    let ring = KeyRing::new().key(ConfiguredKey::generate(KeyHash::Sha256).unwrap());
    let target = builder()
        .subsystem(Subsystem::new("nqn.2024-01.test:hidden").allow_host("nqn.2024-01.test:other"))
        .listen(Listener::plain(([0, 0, 0, 0], 0)))
        .listen(Listener::tls(loopback(), ring))
        .start()
        .unwrap();
    let ports: Vec<_> = target.local_addrs().iter().map(SocketAddr::port).collect();
    let entries = discover(Options::new(format!("127.0.0.1:{}", ports[0]), "", host())).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.subsystem_nqn.as_str(), entry.address.as_str(), entry.tls))
        .collect();
    let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    assert_eq!(
        found,
        [(SUBSYSTEM, &*addresses[0], TlsNeed::Off), (SUBSYSTEM, &*addresses[1], TlsNeed::Required)]
    );
}

#[test]
fn each_listener_is_a_path_with_its_own_state_to_the_same_subsystem() {
    let target =
        builder().listen(Listener::plain(loopback())).listen(Listener::plain(loopback())).start().unwrap();
    let controllers = [0, 1].map(|port: usize| {
        Options::new(target.local_addrs()[port].to_string(), SUBSYSTEM, host()).connect().unwrap()
    });
    let namespaces = controllers.each_ref().map(|controller| controller.namespace(1).unwrap());
    namespaces[0].write_at(&[7; 512], 0).unwrap();
    let mut back = [0; 512];
    namespaces[1].read_at(&mut back, 0).unwrap();
    assert_eq!(back, [7; 512]);
    target.set_ana_state(SUBSYSTEM, Some(1), 1, AnaState::PersistentLoss).unwrap();
    let lost = namespaces[1].read_at(&mut back, 0).unwrap_err();
    assert!(lost.to_string().contains("persistent loss"), "{lost}");
    namespaces[0].read_at(&mut back, 0).unwrap();
    target.set_ana_state(SUBSYSTEM, None, 1, AnaState::Optimized).unwrap();
    namespaces[1].read_at(&mut back, 0).unwrap();
}

#[test]
fn shutting_down_ends_every_connection_and_frees_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let serve = || {
        let subsystem = Subsystem::new(SUBSYSTEM).namespace(1, Namespace::file(&path, Some(1 << 20)));
        Target::builder().subsystem(subsystem).listen(Listener::plain(loopback())).start()
    };
    let target = serve().unwrap();
    let controller = options(&target).io_queues(4).connect().unwrap();
    assert!(serve().is_err(), "the file is locked");
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&[5; 512], 1024).unwrap();
    target.shutdown();
    assert_eq!(std::fs::read(&path).unwrap()[1024..1536], [5; 512]);
    drop(serve().unwrap());
}

#[test]
fn a_fault_plan_cuts_where_it_says() {
    let faults = FaultPlan::new();
    let target = builder().listen(Listener::plain(loopback())).faults(faults.clone()).start().unwrap();
    let controller = options(&target).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&pattern(4096), 0).unwrap();
    faults.io(PduType::C2hData, 1, Fault::CutWithin(100));
    let mut back = vec![0; 4096];
    // Whether the initiator tries again by itself is its own affair: a read has no side effect.
    drop(namespace.read_at(&mut back, 0));
    assert_eq!(faults.happened(), 1);
}

#[test]
fn a_fault_plan_delays_and_lets_other_commands_overtake_and_every_byte_is_right() {
    let faults = FaultPlan::new();
    let target = builder().listen(Listener::plain(loopback())).faults(faults.clone()).start().unwrap();
    let controller = options(&target).owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&pattern(1 << 20), 0).unwrap();
    let mut queue = controller.queue().unwrap();
    let delay = Duration::from_millis(300);
    for (fault, order) in [(Fault::Overtaken(delay), [2, 3, 1]), (Fault::Delay(delay), [1, 2, 3])] {
        faults.io(PduType::C2hData, 1, fault);
        let begun = Instant::now();
        for cookie in 1..=3 {
            queue.submit_read(&namespace, vec![0; 4096], cookie * 8192, cookie).unwrap();
        }
        let mut completions = Vec::new();
        while completions.len() < 3 {
            assert!(queue.poll(&mut completions, Duration::from_secs(60)).unwrap() > 0);
        }
        assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
        assert_eq!(completions.iter().map(|completion| completion.cookie).collect::<Vec<_>>(), order);
        for completion in completions {
            completion.result.unwrap();
            let at = completion.cookie as usize * 8192;
            assert!(completion.buffer.unwrap() == pattern(1 << 20)[at..at + 4096]);
        }
    }
    // Each of many pieces is overtaken by those of the other commands.
    faults.io_from(PduType::C2hData, 1, Fault::Overtaken(Duration::from_millis(1)));
    let mut back = vec![0; 1 << 20];
    namespace.read_at(&mut back, 0).unwrap();
    assert!(back == pattern(1 << 20));
}
