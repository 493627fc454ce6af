//! Connect: what it refuses, and which parameter it names.

use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::spec::command::fabrics::{self, CNTLID_DYNAMIC, ConnectData, InvalidParameter};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::property::{CC, CC_FOR_FABRICS};
use nvme_tcp_target::{AssociationEnd, Channel, Config, Hub, KeyRing, Origin, Subsystem};
use zerocopy::IntoBytes;

use crate::admin::{assert_is, opened, served};
use crate::support::{HOST, HOST_ID, Queue, SUBSYSTEM, Splits, admin};

/// Connects with these fields on a new connection.
pub(crate) fn connect(
    hub: &std::sync::Arc<Hub>,
    qid: u16,
    cntlid: u16,
    subsystem: &str,
    host: &str,
) -> (Queue, Cqe) {
    let mut queue = opened(hub);
    let data = ConnectData::new(HOST_ID, cntlid, subsystem, host).unwrap();
    let cqe = queue.command(&fabrics::connect(qid, 32, 0, 10_000), data.as_bytes(), 0).0;
    (queue, cqe)
}

fn assert_invalid(cqe: Cqe, parameter: InvalidParameter) {
    assert!(cqe.status().is(Status::CONNECT_INVALID_PARAMETERS), "{}", cqe.status());
    assert_eq!(InvalidParameter::read(cqe.dw0()), parameter);
    assert!(cqe.status().do_not_retry());
}

#[test]
fn connect_names_the_parameter_it_refuses() {
    let hub = served();
    assert_invalid(connect(&hub, 0, CNTLID_DYNAMIC, "nqn.unknown", HOST).1, InvalidParameter::SUBNQN);
    assert_invalid(connect(&hub, 0, CNTLID_DYNAMIC, SUBSYSTEM, "").1, InvalidParameter::HOSTNQN);
    assert_invalid(connect(&hub, 0, 1, SUBSYSTEM, HOST).1, InvalidParameter::CNTLID);
    assert_invalid(connect(&hub, 1, 77, SUBSYSTEM, HOST).1, InvalidParameter::CNTLID);
    let mut queue = opened(&hub);
    let data = ConnectData::new(HOST_ID, CNTLID_DYNAMIC, SUBSYSTEM, HOST).unwrap();
    for entries in [1, 129] {
        let cqe = queue.command(&fabrics::connect(0, entries, 0, 0), data.as_bytes(), 0).0;
        assert_invalid(cqe, InvalidParameter::SQSIZE);
    }
    let format = fabrics::connect(0, 32, 0, 0).cdw(10, 1);
    assert_is(queue.status(&format, data.as_bytes(), 0), Status::CONNECT_INCOMPATIBLE_FORMAT);
    assert_is(
        queue.status(&fabrics::connect(0, 32, 0, 0), &data.as_bytes()[..512], 0),
        Status::SGL_LENGTH_INVALID,
    );
    assert_eq!(hub.associations(), 0);
}

#[test]
fn only_allowed_hosts_connect() {
    let hub = Hub::new(Config::default());
    hub.add_subsystem(Subsystem::new(SUBSYSTEM).allow_host(HOST)).unwrap();
    assert_is(
        connect(&hub, 0, CNTLID_DYNAMIC, SUBSYSTEM, "nqn.other").1.status(),
        Status::CONNECT_INVALID_HOST,
    );
    assert_is(connect(&hub, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST).1.status(), Status::SUCCESS);
}

#[test]
fn a_host_is_who_its_psk_identity_says() {
    let hub = served();
    let channel = Channel::Tls { identity: format!("NVMe0R01 {HOST} {SUBSYSTEM}"), keys: KeyRing::default() };
    for (host, subsystem, expected) in [
        (HOST, SUBSYSTEM, Status::SUCCESS),
        ("nqn.other", SUBSYSTEM, Status::CONNECT_INVALID_HOST),
        (HOST, DISCOVERY_NQN, Status::CONNECT_INVALID_HOST),
    ] {
        let origin = Origin { channel: channel.clone(), ..Origin::default() };
        let mut queue = Queue::from(&hub, origin, ConnectionConfig::default(), Splits::none(), false);
        queue.open();
        let data = ConnectData::new(HOST_ID, CNTLID_DYNAMIC, subsystem, host).unwrap();
        assert_is(queue.status(&fabrics::connect(0, 32, 0, 0), data.as_bytes(), 0), expected);
    }
}

#[test]
fn an_io_queue_belongs_to_its_host_and_controller() {
    let hub = served();
    let (mut admin_queue, cntlid) = admin(&hub);
    let mut queue = opened(&hub);
    let attempt = |queue: &mut Queue, qid, id: [u8; 16]| {
        let data = ConnectData::new(id, cntlid, SUBSYSTEM, HOST).unwrap();
        queue.command(&fabrics::connect(qid, 32, 0, 0), data.as_bytes(), 0).0
    };
    assert_invalid(attempt(&mut queue, 1, [8; 16]), InvalidParameter::CNTLID);
    assert_invalid(attempt(&mut queue, 5, HOST_ID), InvalidParameter::QID);
    assert_is(attempt(&mut queue, 1, HOST_ID).status(), Status::SUCCESS);
    assert_is(attempt(&mut queue, 1, HOST_ID).status(), Status::COMMAND_SEQUENCE_ERROR);
    let mut second = opened(&hub);
    assert_is(attempt(&mut second, 1, HOST_ID).status(), Status::COMMAND_SEQUENCE_ERROR);
    // Its number is free again once the connection is gone.
    drop(queue);
    assert_is(attempt(&mut second, 1, HOST_ID).status(), Status::SUCCESS);
    // A reset takes the I/O queues along.
    let disable = fabrics::property_set(CC, CC_FOR_FABRICS);
    assert_is(admin_queue.status(&disable, &[], 0), Status::SUCCESS);
    second.run();
    assert_eq!(second.target.poll(second.now), Err(AssociationEnd::Ended.into()));
    let mut third = opened(&hub);
    assert_is(attempt(&mut third, 1, HOST_ID).status(), Status::COMMAND_SEQUENCE_ERROR);
}
