//! What a queue takes before, during and after authentication.

use std::sync::Arc;

use nvme_tcp::auth::{
    Agreed, AuthError, Authentication, DhGroup, DhchapSecret, Entropy, Host, Reason, SecretHash,
    SecureChannel,
};
use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::proto::{BringUpError, ConnectionConfig, Exchange};
use nvme_tcp::spec::command::fabrics::{self, AUTHREQ_ASCR, AUTHREQ_ATR, CNTLID_DYNAMIC, ConnectData};
use nvme_tcp::spec::command::{Sqe, admin, nvm};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::property::{CAP, CC, CC_ENABLE, CC_FOR_FABRICS};
use nvme_tcp_target::{Channel, Config, Hub, Namespace, Origin, SessionEnd, Subsystem};
use zerocopy::IntoBytes;

use crate::support::{HOST, HOST_ID, Queue, SUBSYSTEM, Splits};

fn secret(fill: u8) -> DhchapSecret {
    DhchapSecret::new(SecretHash::Sha256, &[fill; 32]).unwrap()
}

fn settings() -> Authentication {
    Authentication::new(secret(1)).controller_secret(secret(2)).groups([DhGroup::Null, DhGroup::Ffdhe2048])
}

fn hub() -> Arc<Hub> {
    let hub = Hub::new(Config::default());
    let subsystem = Subsystem::new(SUBSYSTEM)
        .allow_host_with(HOST, settings())
        .allow_host("nqn.without-secret")
        .namespace(1, Namespace::ram(1 << 20));
    hub.add_subsystem(subsystem).unwrap();
    hub
}

fn opened(hub: &Arc<Hub>, concat: bool) -> Queue {
    let channel = if concat { Channel::Concat } else { Channel::Plain };
    let origin = Origin { channel, ..Origin::default() };
    let mut queue = Queue::from(hub, origin, ConnectionConfig::default(), Splits::none(), false);
    queue.open();
    queue
}

fn connect(queue: &mut Queue, qid: u16, cntlid: u16, subsystem: &str, host: &str) -> Cqe {
    let data = ConnectData::new(HOST_ID, cntlid, subsystem, host).unwrap();
    queue.command(&fabrics::connect(qid, 32, 0, 0), data.as_bytes(), 0).0
}

fn authenticate(
    queue: &mut Queue,
    settings: Authentication,
    channel: SecureChannel,
) -> Result<Agreed, BringUpError> {
    let host = Host::new(settings, HOST, SUBSYSTEM, channel, Entropy::gather().unwrap());
    let mut exchange = Exchange::new(host);
    while let Some(command) = exchange.command()? {
        let (cqe, data) = queue.command(&command.sqe, &command.write, command.read as usize);
        exchange.completed(&cqe, &data)?;
    }
    Ok(exchange.into_agreed().unwrap())
}

fn assert_required(queue: &mut Queue, sqe: &Sqe, write: &[u8], read: usize) {
    let status = queue.status(sqe, write, read);
    assert!(status.is(Status::AUTHENTICATION_REQUIRED), "{sqe:?}: {status}");
}

/// Every kind of command that is not authentication.
fn assert_closed(queue: &mut Queue) {
    assert_required(queue, &fabrics::property_get(CAP, true), &[], 0);
    assert_required(queue, &fabrics::property_set(CC, CC_FOR_FABRICS | CC_ENABLE), &[], 0);
    assert_required(queue, &admin::identify(1, 0), &[], 4096);
    assert_required(queue, &admin::get_log_page(admin::LOG_ERROR, 0, 0, 64), &[], 64);
    assert_required(queue, &admin::set_number_of_queues(1), &[], 0);
    assert_required(queue, &admin::keep_alive(), &[], 0);
    assert_required(queue, &Sqe::new(admin::ASYNC_EVENT_REQUEST, 0), &[], 0);
    assert_required(queue, &Sqe::new(nvm::WRITE, 1), &[1; 512], 0);
    let data = ConnectData::new(HOST_ID, CNTLID_DYNAMIC, SUBSYSTEM, HOST).unwrap();
    assert_required(queue, &fabrics::connect(0, 32, 0, 0), data.as_bytes(), 0);
}

#[test]
fn nothing_but_authentication_comes_before_it_on_any_queue() {
    let hub = hub();
    let mut queue = opened(&hub, false);
    let connected = connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    assert_eq!(connected.dw0() >> 16 << 16, AUTHREQ_ATR);
    assert_closed(&mut queue);
    assert!(!queue.target.is_set_up());
    assert!(authenticate(&mut queue, settings(), SecureChannel::None).unwrap().mutual);
    assert!(queue.target.is_set_up());
    assert_eq!(queue.status(&fabrics::property_get(CAP, true), &[], 0), Status::SUCCESS);
    let enable = fabrics::property_set(CC, CC_FOR_FABRICS | CC_ENABLE);
    assert_eq!(queue.status(&enable, &[], 0), Status::SUCCESS);

    let mut io = opened(&hub, false);
    let connected = connect(&mut io, 1, connected.dw0() as u16, SUBSYSTEM, HOST);
    assert_eq!(connected.dw0() >> 16 << 16, AUTHREQ_ATR);
    assert_required(&mut io, &Sqe::new(nvm::READ, 1), &[], 512);
    assert_required(&mut io, &Sqe::new(nvm::WRITE, 1), &[7; 512], 0);
    assert_required(&mut io, &Sqe::new(nvm::WRITE, 1), &vec![7; 65536], 0);
    authenticate(&mut io, settings(), SecureChannel::None).unwrap();
    let (cqe, data) = io.command(&Sqe::new(nvm::READ, 1), &[], 512);
    // What was refused before was not written either.
    assert_eq!((cqe.status(), data), (Status::SUCCESS, vec![0; 512]));

    // Once more, on the queue in use.
    authenticate(&mut queue, settings(), SecureChannel::None).unwrap();
    assert_eq!(queue.status(&admin::keep_alive(), &[], 0), Status::SUCCESS);
    authenticate(&mut queue, Authentication::new(secret(9)), SecureChannel::None).unwrap_err();
    assert_eq!(queue.end, Some(SessionEnd::Authentication(AuthError::HostUnverified)));
}

#[test]
fn a_wrong_secret_is_told_and_ends_the_queue() {
    let mut queue = opened(&hub(), false);
    connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    let error = authenticate(&mut queue, Authentication::new(secret(9)), SecureChannel::None).unwrap_err();
    let refused = AuthError::Refused(Reason::Failed);
    assert!(matches!(error, BringUpError::Authentication(error) if error == refused), "{error}");
    assert_eq!(queue.end, Some(SessionEnd::Authentication(AuthError::HostUnverified)));
}

#[test]
fn a_host_that_does_not_know_the_controller_ends_the_queue() {
    let mut queue = opened(&hub(), false);
    connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    let other = Authentication::new(secret(1)).controller_secret(secret(9));
    let error = authenticate(&mut queue, other, SecureChannel::None).unwrap_err();
    let unverified = AuthError::ControllerUnverified;
    assert!(matches!(error, BringUpError::Authentication(error) if error == unverified), "{error}");
    assert_eq!(queue.end, Some(SessionEnd::Authentication(AuthError::Refused(Reason::Failed))));
}

#[test]
fn a_connection_for_concatenation_takes_nothing_else_before_and_after() {
    let hub = hub();
    for (qid, subsystem, host) in
        [(0, SUBSYSTEM, "nqn.without-secret"), (0, DISCOVERY_NQN, HOST), (1, SUBSYSTEM, HOST)]
    {
        let cntlid = if qid == 0 { CNTLID_DYNAMIC } else { 1 };
        let refused = connect(&mut opened(&hub, true), qid, cntlid, subsystem, host);
        assert!(!refused.status().is_success(), "{qid} {subsystem} {host}");
    }
    let mut queue = opened(&hub, true);
    let connected = connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    assert_eq!(connected.dw0() >> 16 << 16, AUTHREQ_ATR | AUTHREQ_ASCR);
    assert_closed(&mut queue);
    let agreed = authenticate(&mut queue, settings(), SecureChannel::NewTlsPsk).unwrap();
    assert!(agreed.mutual && agreed.tls_psk.is_some());
    assert_closed(&mut queue);
    assert!(!queue.target.is_set_up());
}

#[test]
fn sc_c_is_what_the_connection_is_for() {
    for (concat, channel, expected) in [(true, SecureChannel::None, 2), (false, SecureChannel::NewTlsPsk, 0)]
    {
        let mut queue = opened(&hub(), concat);
        connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
        let error = authenticate(&mut queue, settings(), channel).unwrap_err();
        let refused = AuthError::Refused(Reason::SecureChannelMismatch);
        assert!(matches!(error, BringUpError::Authentication(error) if error == refused), "{error}");
        let found = AuthError::SecureChannel { expected, found: channel as u8 };
        assert_eq!(queue.end, Some(SessionEnd::Authentication(found)));
    }
}

#[test]
fn authentication_commands_have_their_lengths_and_their_place() {
    let mut queue = opened(&hub(), false);
    connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    let mut assert_is = |sqe: Sqe, write: &[u8], read, expected: Status| {
        let status = queue.status(&sqe, write, read);
        assert!(status.is(expected), "{sqe:?}: {status}");
    };
    assert_is(fabrics::authentication_receive(4096), &[], 4096, Status::COMMAND_SEQUENCE_ERROR);
    assert_is(fabrics::authentication_send(71), &[0; 72], 0, Status::INVALID_FIELD);
    assert_is(fabrics::authentication_send(72).cdw(10, 0), &[0; 72], 0, Status::INVALID_FIELD);
    let large = vec![0; 65540];
    assert_is(fabrics::authentication_send(65540), &large, 0, Status::INVALID_FIELD);
    // A message that is wrong is taken, and answered by Failure1.
    assert_is(fabrics::authentication_send(4), &[0; 4], 0, Status::SUCCESS);
    assert_is(fabrics::authentication_receive(512), &[], 256, Status::INVALID_FIELD);
    assert_is(fabrics::authentication_receive(65540), &[], 65540, Status::INVALID_FIELD);
    assert_is(fabrics::authentication_receive(256), &[], 256, Status::SUCCESS);
    assert!(matches!(queue.end, Some(SessionEnd::Authentication(AuthError::Truncated { len: 4, .. }))));
}

#[test]
fn a_host_without_a_secret_needs_none_and_can_give_none() {
    let hub = hub();
    let mut queue = opened(&hub, false);
    let connected = connect(&mut queue, 0, CNTLID_DYNAMIC, SUBSYSTEM, "nqn.without-secret");
    assert_eq!(connected.dw0() >> 16, 0);
    assert_eq!(queue.status(&fabrics::property_get(CAP, true), &[], 0), Status::SUCCESS);
    let status = queue.status(&fabrics::authentication_send(72), &[0; 72], 0);
    assert!(status.is(Status::INVALID_OPCODE), "{status}");
}
