//! Who may have which queue, and what becomes of queues when their controller is reset.

use std::sync::Arc;

use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::psk::{ConfiguredKey, KeyHash, Policy, candidates};
use nvme_tcp::spec::command::admin as spec;
use nvme_tcp::spec::command::fabrics::{self, CNTLID_DYNAMIC, ConnectData, InvalidParameter};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::identify::{CNS_CONTROLLER, IdentifyController};
use nvme_tcp::spec::property::{CC, CC_ENABLE, CC_FOR_FABRICS};
use nvme_tcp_target::{AssociationEnd, Channel, Config, Hub, KeyRing, Namespace, Origin};
use zerocopy::{FromBytes, IntoBytes};

use crate::support::{HOST, HOST_ID, Queue, SUBSYSTEM, Splits, admin, bring_up, hub, io};

fn over(hub: &Arc<Hub>, origin: Origin) -> Queue {
    Queue::from(hub, origin, ConnectionConfig::default(), Splits::none(), false)
}

fn refused(cqe: Cqe) -> Option<InvalidParameter> {
    cqe.status().is(Status::CONNECT_INVALID_PARAMETERS).then(|| InvalidParameter::read(cqe.dw0()))
}

#[test]
fn an_io_queue_with_other_security_than_its_admin_queue_is_refused_by_its_cntlid() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let key = |fill: u8| ConfiguredKey::new(KeyHash::Sha256, &[fill; 32]).unwrap();
    let keys = KeyRing::new().key(key(1)).key(key(2));
    let identity =
        |fill: u8| candidates(&[key(fill)], HOST, SUBSYSTEM, Policy::ALL).unwrap()[0].identity().to_owned();
    let tls = |fill: u8| Channel::Tls { identity: identity(fill), keys: keys.clone() };
    let generated = || Channel::Generated { identity: identity(1) };
    for (on, by, expected) in [
        (Channel::Plain, Channel::Plain, None),
        (tls(1), Channel::Plain, Some(InvalidParameter::CNTLID)),
        (Channel::Plain, tls(1), Some(InvalidParameter::CNTLID)),
        (generated(), tls(1), Some(InvalidParameter::CNTLID)),
        (tls(1), generated(), Some(InvalidParameter::CNTLID)),
        (tls(1), tls(1), None),
        // While keys are rotated, both are valid for this host and this subsystem.
        (tls(1), tls(2), None),
    ] {
        let origin = |channel: &Channel| Origin { channel: channel.clone(), ..Origin::default() };
        let (_admin, cntlid) = bring_up(over(&hub, origin(&on)), SUBSYSTEM);
        let connected = over(&hub, origin(&by)).connect_io(cntlid, 1, 32, 0);
        assert_eq!(refused(connected), expected, "{by:?} on {on:?}");
    }
}

#[test]
fn an_io_queue_comes_in_by_the_port_of_its_admin_queue() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let (_admin, cntlid) = admin(&hub);
    let connected = over(&hub, Origin { port: 1, ..Origin::default() }).connect_io(cntlid, 1, 32, 0);
    assert_eq!(refused(connected), Some(InvalidParameter::CNTLID));
}

#[test]
fn a_queue_from_before_a_reset_does_nothing_any_more() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let (mut admin_queue, cntlid) = admin(&hub);
    let mut old = io(&hub, cntlid);
    for cc in [CC_FOR_FABRICS, CC_FOR_FABRICS | CC_ENABLE] {
        assert_eq!(admin_queue.status(&fabrics::property_set(CC, cc), &[], 0), Status::SUCCESS);
    }
    // The same number again, by another connection.
    let mut new = io(&hub, cntlid);
    old.submit(&nvm::write(1, 0, 1), &[7; 512], 0);
    old.run();
    assert_eq!(old.end, Some(AssociationEnd::Ended.into()));
    assert!(old.done.is_empty(), "{:?}", old.done);
    let (cqe, data) = new.command(&nvm::read(1, 0, 1), &[], 512);
    assert_eq!((cqe.status(), data), (Status::SUCCESS, vec![0; 512]));
    // Its end leaves the queue alone that has its number now.
    drop(old);
    assert_eq!(new.status(&nvm::flush(1), &[], 0), Status::SUCCESS);
}

#[test]
fn small_io_queues_leave_the_admin_queue_its_32_entries() {
    let mut config = Config::default();
    config.queue_entries = 8;
    let hub = hub(config, Namespace::ram(1 << 20));
    let connect = |entries| {
        let mut queue = over(&hub, Origin::default());
        queue.open();
        let data = ConnectData::new(HOST_ID, CNTLID_DYNAMIC, SUBSYSTEM, HOST).unwrap();
        queue.command(&fabrics::connect(0, entries, 0, 0), data.as_bytes(), 0).0
    };
    assert_eq!(connect(32).status(), Status::SUCCESS);
    assert_eq!(refused(connect(33)), Some(InvalidParameter::SQSIZE));
    let (_admin, cntlid) = admin(&hub);
    let connected = over(&hub, Origin::default()).connect_io(cntlid, 1, 9, 0);
    assert_eq!(refused(connected), Some(InvalidParameter::SQSIZE));
}

#[test]
fn mdts_never_says_that_there_is_no_limit() {
    for (max_transfer, mdts) in [(0, 1), (4096, 1), (8192, 1), (8193, 2), (1 << 20, 8)] {
        let mut config = Config::default();
        config.max_transfer = max_transfer;
        let (mut queue, cntlid) = admin(&hub(config.clone(), Namespace::ram(1 << 20)));
        let (_, page) = queue.command(&spec::identify(CNS_CONTROLLER, 0), &[], 4096);
        let found = IdentifyController::read_from_bytes(&page).unwrap();
        assert_eq!((found.mdts, found.cntlid.get()), (mdts, cntlid), "{max_transfer}");
    }
}
