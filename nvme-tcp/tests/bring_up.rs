//! Bring-up against what is no controller, or one that cannot be used; and keep-alives.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nvme_tcp::auth::message::{self, Kind};
use nvme_tcp::auth::{AuthError, Authentication, DhchapSecret, SecretHash};
use nvme_tcp::proto::{BringUp, BringUpError, Settings};
use nvme_tcp::spec::command::{Sqe, admin, fabrics};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::property;
use nvme_tcp::{Error, ErrorKind, NamespaceRefusal};
use support::controller::{LIMIT, Link, Reply, Script, Target, What, options};

/// Listens for one connection, takes its ICReq and goes on with `answer`.
fn listener(answer: impl FnOnce(TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut request = [0; 128];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(request[..8], [0, 0, 128, 0, 128, 0, 0, 0]);
        answer(stream);
    });
    (address, thread)
}

#[test]
fn a_listener_that_answers_in_tls_is_named() {
    // Alert, fatal, unexpected_message: what a TLS server makes of an ICReq.
    let (address, thread) = listener(|mut stream| stream.write_all(&[21, 3, 3, 0, 2, 2, 10]).unwrap());
    let error = options(&address).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PeerSpeaksTls { .. }), "{error}");
    assert!(error.hint().unwrap().contains("--tls"));
    thread.join().unwrap();
}

#[test]
fn a_listener_that_closes_at_ic_req_gave_no_ic_resp() {
    let (address, thread) = listener(drop);
    let error = options(&address).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoIcResp { tls: false, .. }), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_listener_that_says_nothing_is_not_waited_for_longer_than_asked() {
    let (address, thread) = listener(|mut stream| {
        // Until the host gives up.
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    });
    let (start, limit) = (Instant::now(), Duration::from_millis(300));
    let error = options(&address).connect_timeout(limit).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { what: "ICReq", .. }), "{error}");
    assert!((limit..LIMIT / 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    thread.join().unwrap();
}

fn refused(script: Script) -> Error {
    let target = Target::start(script);
    target.options().connect().unwrap_err()
}

#[test]
fn a_controller_with_a_fatal_status_is_given_up() {
    let error = refused(Script { status: property::CSTS_FATAL, ..Script::default() });
    assert!(matches!(error.kind(), ErrorKind::BringUp(BringUpError::Fatal)), "{error}");
}

#[test]
fn a_controller_that_never_gets_ready_is_given_cap_to() {
    let start = Instant::now();
    let error = refused(Script { status: 0, ..Script::default() });
    let limit = Duration::from_millis(500);
    let not_ready = BringUpError::NotReady { wanted: "ready", limit };
    assert_eq!(error.to_string(), not_ready.to_string());
    assert!(start.elapsed() >= limit);
}

#[test]
fn a_controller_of_one_command_at_a_time_is_used_so() {
    let target = Target::start(Script { max_commands: 1, ..Script::default() });
    let controller = target.options().connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_at(&[7; 4096], 0).unwrap();
    let mut back = [0; 4096];
    namespace.read_at(&mut back, 0).unwrap();
    assert_eq!(back, [7; 4096]);
}

#[test]
fn a_controller_whose_queues_hold_nothing_is_refused() {
    let mut bring_up = BringUp::new(Settings {
        host_nqn: "nqn.2024-01.io.example:host".into(),
        host_id: [1; 16],
        subsystem_nqn: "nqn.2024-01.io.example:tests".into(),
        keep_alive: Duration::ZERO,
        admin_entries: 32,
        io_queues: 1,
        io_entries: 32,
        sq_flow_control: true,
    });
    let now = Instant::now();
    let answer = |result| Cqe::new(0, Status::SUCCESS, result);
    bring_up.next(now).unwrap();
    bring_up.completed(&answer(1), &[], now).unwrap();
    // CAP of all zeros: MQES is 0.
    let error = bring_up.completed(&answer(0), &[], now).unwrap_err();
    assert!(matches!(error, BringUpError::Unusable { field: "CAP.MQES", got: 0, .. }), "{error}");
}

#[test]
fn a_capsule_too_small_for_a_command_is_refused() {
    let error = refused(Script { ioccsz: 3, ..Script::default() });
    let field = |error: &Error| match error.kind() {
        ErrorKind::BringUp(BringUpError::Unusable { field, got, .. }) => Some((*field, *got)),
        _ => None,
    };
    assert_eq!(field(&error), Some(("IOCCSZ", 3)), "{error}");
}

#[test]
fn a_namespace_with_metadata_is_refused() {
    let target = Target::start(Script { metadata: 8, ..Script::default() });
    let error = target.connect().namespace(1).unwrap_err();
    let refusal = NamespaceRefusal::Metadata(8);
    assert!(matches!(error.kind(), ErrorKind::Namespace { nsid: 1, refusal: r } if *r == refusal), "{error}");
}

#[test]
fn a_controller_that_falls_silent_during_bring_up_is_timed_out() {
    let silent = Script {
        hook: Box::new(|_, sqe| match sqe.opcode {
            admin::IDENTIFY => Reply::Nothing,
            _ => Reply::Serve,
        }),
        ..Script::default()
    };
    let target = Target::start(silent);
    let limit = Duration::from_millis(300);
    let error = target.options().timeout(limit).connect().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { after, .. } if *after == limit), "{error}");
}

#[test]
fn keep_alives_come_within_kato_of_each_other() {
    let kato = Duration::from_secs(1);
    let target = Target::start(Script::default());
    let controller = target.options().keep_alive(kato).connect().unwrap();
    let times = target.wait_for("three keep-alives", |journal| {
        let times: Vec<_> = journal
            .iter()
            .filter(|entry| match entry.what {
                What::Command(sqe) => {
                    let connect = sqe.opcode == fabrics::OPCODE && fabrics::kind(&sqe) == fabrics::CONNECT;
                    entry.qid == 0 && (connect || sqe.opcode == admin::KEEP_ALIVE)
                }
                _ => false,
            })
            .map(|entry| entry.at)
            .collect();
        (times.len() == 4).then_some(times)
    });
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] < kato, "{:?}", pair[1] - pair[0]);
    }
    controller.shutdown();
}

#[test]
fn an_unanswered_keep_alive_ends_the_association() {
    let deaf = Script {
        hook: Box::new(|_, sqe| match sqe.opcode {
            admin::KEEP_ALIVE => Reply::Nothing,
            _ => Reply::Serve,
        }),
        ..Script::default()
    };
    let target = Target::start(deaf);
    let limit = Duration::from_millis(300);
    let controller = target.options().keep_alive(limit).timeout(limit).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    // The I/O queue, on which nothing went wrong, is closed along with the admin queue.
    target.wait_for("the end of the I/O queue", |journal| {
        journal.iter().find(|entry| entry.qid == 1 && matches!(entry.what, What::Closed)).map(drop)
    });
    let error = namespace.read_at(&mut [0; 512], 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}

#[test]
fn what_is_wrong_in_authentication_is_told_though_the_controller_closes_when_it_hears_of_it() {
    for closes in [true, false] {
        let received = AtomicBool::new(false);
        let hook = move |link: &mut Link, sqe: &Sqe| match fabrics::kind(sqe) {
            fabrics::CONNECT => {
                link.complete(sqe, Status::SUCCESS, (fabrics::AUTHREQ_ATR | u32::from(link.cntlid)).into());
                Reply::Nothing
            }
            fabrics::AUTHENTICATION_RECEIVE => {
                received.store(true, Ordering::SeqCst);
                // It is due after a reply.
                link.give(sqe, &message::success2(0));
                Reply::Nothing
            }
            // The second tells it of that.
            fabrics::AUTHENTICATION_SEND if received.load(Ordering::SeqCst) && closes => Reply::Close,
            fabrics::AUTHENTICATION_SEND => {
                let taken = !received.load(Ordering::SeqCst);
                link.complete(sqe, if taken { Status::SUCCESS } else { Status::INVALID_FIELD }, 0);
                Reply::Nothing
            }
            _ => Reply::Serve,
        };
        let target = Target::start(Script { hook: Box::new(hook), ..Script::default() });
        let secret = DhchapSecret::generate(SecretHash::Sha256).unwrap();
        let error = target.options().authentication(Authentication::new(secret)).connect().unwrap_err();
        let ErrorKind::BringUp(BringUpError::Authentication(error)) = error.kind() else { panic!("{error}") };
        assert!(matches!(error, AuthError::Message { found: Kind::Success2, .. }), "{error}");
    }
}
