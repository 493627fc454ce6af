//! Hosts that would hold a connection's thread for ever: each is let go of in time.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use ktls::handshake::{ClientConfig, Psk};
use nvme_tcp::psk::{ConfiguredKey, KeyHash, Policy, candidates};
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::fabrics::{self, CNTLID_DYNAMIC, ConnectData};
use nvme_tcp::spec::pdu::{CapsuleCmd, Flags, IcReq, Layout, PduType};
use nvme_tcp::spec::property::CAP;
use nvme_tcp::spec::sgl::Sgl;
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target, TargetBuilder, TargetEvent};
use zerocopy::IntoBytes;

const SUBSYSTEM: &str = "nqn.2024-01.test:images";
const HOST: &str = "nqn.2024-01.test:host";
/// What the targets here are told to wait for.
const SHORT: Duration = Duration::from_millis(300);
/// What no test takes unless it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A target whose closed connections are told by a line each.
fn target(listener: Listener, timeouts: (Duration, Duration)) -> (Target, Receiver<String>) {
    let (sender, lines) = channel();
    let tell = move |event: &TargetEvent| {
        if matches!(event, TargetEvent::Closed { .. }) {
            drop(sender.send(event.to_string()));
        }
    };
    let builder: TargetBuilder = Target::builder()
        .subsystem(Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(1 << 20)))
        .config(|config| (config.setup_timeout, config.send_timeout) = timeouts)
        .on_event(tell);
    (builder.listen(listener).start().unwrap(), lines)
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn capsule(mut sqe: Sqe, data: &[u8]) -> Vec<u8> {
    sqe.sgl = if data.is_empty() { Sgl::transport(0) } else { Sgl::in_capsule(data.len() as u32) };
    let common = Layout::default().common_header(PduType::CapsuleCmd, Flags::empty(), data.len() as u32);
    [CapsuleCmd { common, sqe }.as_bytes(), data].concat()
}

/// As many commands as fit in a TLS record. Each is answered at once.
fn questions() -> Vec<u8> {
    capsule(fabrics::property_get(CAP, true), &[]).repeat(200)
}

#[test]
fn a_host_that_reads_nothing_is_let_go_of() {
    let (target, lines) = target(Listener::plain(loopback()), (DEADLINE, SHORT));
    let mut stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(IcReq::new(0, false, false, 0).as_bytes()).unwrap();
    let data = ConnectData::new([7; 16], CNTLID_DYNAMIC, SUBSYSTEM, HOST).unwrap();
    // Without a keep-alive timer, which would end it as well.
    stream.write_all(&capsule(fabrics::connect(0, 32, 0, 0), data.as_bytes())).unwrap();
    let questions = questions();
    let start = Instant::now();
    while start.elapsed() < DEADLINE && stream.write_all(&questions).is_ok() {}
    let line = lines.recv_timeout(DEADLINE).unwrap();
    assert!(line.contains("admin queue closed: the host read nothing of what it was sent"), "{line}");
    target.shutdown();
}

#[test]
fn a_host_that_sends_without_end_before_connect_is_let_go_of() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let listener = Listener::tls(loopback(), KeyRing::new().key(key.clone()));
    let (target, lines) = target(listener, (SHORT, DEADLINE));
    let psk = candidates(&[key], HOST, SUBSYSTEM, Policy::ALL).unwrap().swap_remove(0);
    let psk = Psk::new(psk.identity().as_bytes().to_vec(), psk.secret().clone(), psk.hash()).unwrap();
    let stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    let deadline = Some(Instant::now() + DEADLINE);
    let socket =
        ktls::Socket::connect(stream, &ClientConfig::new(psk), &ktls::Options::new(), deadline).unwrap();
    let (mut send, mut recv) = socket.into_halves();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while recv.recv_vectored(&mut [IoSliceMut::new(&mut buffer)], ktls::Wait::Block).is_ok_and(|n| n > 0)
        {
        }
    });
    let request = IcReq::new(0, false, false, 0);
    send.send_vectored(&[IoSlice::new(request.as_bytes())], ktls::Wait::Block).unwrap();
    let questions = questions();
    let start = Instant::now();
    while start.elapsed() < DEADLINE
        && send
            .send_vectored(&[IoSlice::new(&questions)], ktls::Wait::Block)
            .is_ok_and(|n| n == questions.len())
    {}
    let line = lines.recv_timeout(DEADLINE).unwrap();
    assert!(line.contains("no queue was connected and authenticated in time"), "{line}");
    drop(send);
    reader.join().unwrap();
}

#[test]
fn a_host_that_broke_the_protocol_and_goes_on_sending_is_let_go_of() {
    let (target, lines) = target(Listener::plain(loopback()), (DEADLINE, DEADLINE));
    let mut stream = TcpStream::connect(target.local_addrs()[0]).unwrap();
    let mut reading = stream.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let mut told = Vec::new();
        // The kernel may say reset: bytes were left unread.
        drop(reading.read_to_end(&mut told));
        told
    });
    // A capsule before ICReq, and then whatever.
    let questions = questions();
    let start = Instant::now();
    while start.elapsed() < DEADLINE && stream.write_all(&questions).is_ok() {}
    let line = lines.recv_timeout(DEADLINE).unwrap();
    assert!(line.contains("broke the protocol"), "{line}");
    assert!(start.elapsed() < DEADLINE);
    let told = reader.join().unwrap();
    assert_eq!(told.first(), Some(&(PduType::C2hTermReq as u8)));
}
