//! Connect, properties, admin commands and the errors of I/O commands, each by name.

use std::time::Duration;

use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::spec::command::admin::{self as spec, ALL_NAMESPACES};
use nvme_tcp::spec::command::fabrics::{self, CNTLID_DYNAMIC};
use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::discovery_log::DiscoveryLogHeader;
use nvme_tcp::spec::identify::{
    self, CNS_ACTIVE_NAMESPACES, CNS_CONTROLLER, CNS_DESCRIPTORS, CNS_NAMESPACE, IdentifyController,
    IdentifyNamespace, LbaFormat,
};
use nvme_tcp::spec::log_page::{EVENT_DISCOVERY, EVENT_NAMESPACE, FirmwareSlotLog, SmartLog};
use nvme_tcp::spec::property::{CAP, CC, CC_ENABLE, CC_FOR_FABRICS, CC_SHUTDOWN_NORMAL, CSTS};
use nvme_tcp_target::{AssociationEnd, Config, Hub, Namespace, SessionEnd, Subsystem};
use zerocopy::FromBytes;

use crate::connect::connect;
use crate::support::{HOST, KATO, Queue, SUBSYSTEM, Splits, admin, bring_up, hub, io};

pub(crate) fn served() -> std::sync::Arc<Hub> {
    hub(Config::default(), Namespace::ram(1 << 20))
}

pub(crate) fn opened(hub: &std::sync::Arc<Hub>) -> Queue {
    let mut queue = Queue::new(hub, ConnectionConfig::default(), Splits::none(), false);
    queue.open();
    queue
}

pub(crate) fn assert_is(status: Status, expected: Status) {
    assert!(status.is(expected), "{status}, expected {expected}");
}

#[test]
fn nothing_but_connect_works_before_connect_and_little_before_enable() {
    let hub = served();
    let mut queue = opened(&hub);
    for sqe in [spec::identify(CNS_CONTROLLER, 0), fabrics::property_get(CAP, true), spec::keep_alive()] {
        let read = if sqe.opcode == spec::IDENTIFY { 4096 } else { 0 };
        assert_is(queue.status(&sqe, &[], read), Status::COMMAND_SEQUENCE_ERROR);
    }
    let (mut queue, connected) = connect(&hub, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    assert_is(queue.status(&spec::identify(CNS_CONTROLLER, 0), &[], 4096), Status::COMMAND_SEQUENCE_ERROR);
    let cntlid = connected.dw0() as u16;
    let mut io_queue = Queue::new(&hub, ConnectionConfig::default(), Splits::none(), false);
    assert_is(io_queue.connect_io(cntlid, 1, 32, 0).status(), Status::COMMAND_SEQUENCE_ERROR);
}

#[test]
fn properties_enable_disable_and_shut_down() {
    let hub = served();
    let (mut queue, _) = connect(&hub, 0, CNTLID_DYNAMIC, SUBSYSTEM, HOST);
    let csts = |queue: &mut Queue| queue.command(&fabrics::property_get(CSTS, false), &[], 0).0.dw0();
    let set = |queue: &mut Queue, cc| queue.status(&fabrics::property_set(CC, cc), &[], 0);
    assert_eq!(csts(&mut queue), 0);
    assert_is(set(&mut queue, CC_FOR_FABRICS | CC_ENABLE), Status::SUCCESS);
    assert_eq!(csts(&mut queue), 1);
    assert_is(set(&mut queue, CC_FOR_FABRICS), Status::SUCCESS);
    assert_eq!(csts(&mut queue), 0);
    // Entries of another size than the wire's.
    assert_is(set(&mut queue, CC_ENABLE), Status::SUCCESS);
    assert_eq!(csts(&mut queue), 1 << 1);
    set(&mut queue, 0);
    set(&mut queue, CC_FOR_FABRICS | CC_ENABLE);
    assert_is(set(&mut queue, CC_FOR_FABRICS | CC_ENABLE | CC_SHUTDOWN_NORMAL), Status::SUCCESS);
    assert_eq!(csts(&mut queue), 1 | 0b10 << 2);
    for wrong in [fabrics::property_get(CAP, false), fabrics::property_get(0x30, false)] {
        assert_is(queue.status(&wrong, &[], 0), Status::INVALID_FIELD);
    }
    assert_is(queue.status(&fabrics::property_set(CSTS, 0), &[], 0), Status::INVALID_FIELD);
}

#[test]
fn identify_shows_controller_and_namespace() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20).block_size(4096));
    hub.add_namespace(SUBSYSTEM, 9, Namespace::ram(4096).metadata_bytes(8).protection(1)).unwrap();
    let (mut queue, cntlid) = admin(&hub);
    let mut identify = |cns, nsid| queue.command(&spec::identify(cns, nsid), &[], 4096);
    let controller = IdentifyController::read_from_bytes(&identify(CNS_CONTROLLER, 0).1).unwrap();
    assert_eq!(controller.cntlid.get(), cntlid);
    assert_eq!((controller.mdts, controller.ioccsz.get()), (8, (64 + 8192) / 16));
    let (_, list) = identify(CNS_ACTIVE_NAMESPACES, 0);
    assert_eq!(list[..12], [1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(identify(CNS_ACTIVE_NAMESPACES, 1).1[..8], [9, 0, 0, 0, 0, 0, 0, 0]);
    let plain = IdentifyNamespace::read_from_bytes(&identify(CNS_NAMESPACE, 1).1).unwrap();
    assert_eq!((plain.nsze.get(), plain.dlfeat & 7, plain.noiob.get()), (256, 1, 256));
    assert_eq!(plain.format(), LbaFormat { metadata: 0, data_shift: 12 });
    let protected = IdentifyNamespace::read_from_bytes(&identify(CNS_NAMESPACE, 9).1).unwrap();
    assert_eq!((protected.format().metadata, protected.dps), (8, 1));
    let absent = IdentifyNamespace::read_from_bytes(&identify(CNS_NAMESPACE, 2).1).unwrap();
    assert_eq!(absent.nsze.get(), 0);
    let (_, first) = identify(CNS_DESCRIPTORS, 1);
    let (_, second) = identify(CNS_DESCRIPTORS, 9);
    let uuid =
        |list: &[u8]| identify::descriptor::iter(list).find(|(kind, _)| *kind == 3).unwrap().1.to_vec();
    assert_ne!(uuid(&first), uuid(&second));
    assert_eq!((uuid(&first)[6] >> 4, uuid(&first)[8] >> 6), (8, 2));
    for (cns, nsid) in [(0x05, 1), (0x06, 0), (0x08, 1)] {
        assert_is(identify(cns, nsid).0.status(), Status::SUCCESS);
    }
    for (cns, nsid, status) in [
        (CNS_NAMESPACE, 0, Status::INVALID_NAMESPACE),
        (CNS_NAMESPACE, 5000, Status::INVALID_NAMESPACE),
        (CNS_DESCRIPTORS, 2, Status::INVALID_NAMESPACE),
        (0x77, 0, Status::INVALID_FIELD),
    ] {
        assert_is(identify(cns, nsid).0.status(), status);
    }
    assert_is(queue.status(&spec::identify(CNS_CONTROLLER, 0), &[], 512), Status::SGL_LENGTH_INVALID);
}

#[test]
fn the_uuid_is_the_same_at_every_start() {
    let descriptors = || {
        let (mut queue, _) = admin(&served());
        queue.command(&spec::identify(CNS_DESCRIPTORS, 1), &[], 4096).1
    };
    assert_eq!(descriptors(), descriptors());
}

#[test]
fn features_are_set_and_read_back() {
    let hub = served();
    let (mut queue, _) = admin(&hub);
    let get = |feature: u8| Sqe::new(spec::GET_FEATURES, 0).cdw(10, feature.into());
    let cqe = queue.command(&spec::set_number_of_queues(1000), &[], 0).0;
    assert_eq!(spec::granted_queues(cqe.dw0()), 64);
    assert_eq!(spec::granted_queues(queue.command(&get(0x07), &[], 0).0.dw0()), 64);
    assert_is(queue.status(&spec::set_features(0x07, 0xffff_ffff), &[], 0), Status::INVALID_FIELD);
    queue.command(&spec::set_features(0x0b, EVENT_NAMESPACE), &[], 0);
    assert_eq!(queue.command(&get(0x0b), &[], 0).0.dw0(), EVENT_NAMESPACE);
    queue.command(&spec::set_features(0x0f, 2050), &[], 0);
    assert_eq!(queue.command(&get(0x0f), &[], 0).0.dw0(), 2100, "rounded up to 100 ms");
    assert_eq!(queue.command(&get(0x06), &[], 0).0.dw0(), 1);
    assert_is(queue.status(&spec::set_features(0x06, 1), &[], 0), Status::SUCCESS);
    assert_is(queue.status(&spec::set_features(0x06, 0), &[], 0), Status::FEATURE_NOT_CHANGEABLE);
    assert_is(queue.status(&spec::set_features(0x99, 0), &[], 0), Status::INVALID_FIELD);
    let save = spec::set_features(0x06, 1).cdw(10, 0x06 | 1 << 31);
    assert_is(queue.status(&save, &[], 0), Status::FEATURE_NOT_SAVEABLE);
}

#[test]
fn log_pages_are_there_in_parts_and_padded() {
    let hub = served();
    let (mut queue, cntlid) = admin(&hub);
    let mut io_queue = io(&hub, cntlid);
    io_queue.command(&nvm::write(1, 0, 16), &[1; 8192], 0);
    let mut log = |lid, offset, len: usize| {
        queue.command(&spec::get_log_page(lid, ALL_NAMESPACES, offset, len as u32), &[], len)
    };
    let smart = SmartLog::read_from_bytes(&log(spec::LOG_SMART, 0, 512).1).unwrap();
    assert_eq!((smart.host_writes[0], smart.data_units_written[0], smart.available_spare), (1, 1, 100));
    let firmware = FirmwareSlotLog::read_from_bytes(&log(spec::LOG_FIRMWARE, 0, 512).1).unwrap();
    assert!(firmware.afi == 1 && firmware.revisions[0] != [0; 8]);
    assert_eq!(log(spec::LOG_SMART, 4, 4).1[..2], [10, 0]);
    assert_eq!(log(spec::LOG_ERROR, 0, 128).1, [0; 128]);
    assert_is(log(spec::LOG_SMART, 4096, 4).0.status(), Status::INVALID_FIELD);
    assert_is(log(0x55, 0, 512).0.status(), Status::INVALID_LOG_PAGE);
    assert_is(log(spec::LOG_DISCOVERY, 0, 1024).0.status(), Status::INVALID_LOG_PAGE);
}

#[test]
fn a_namespace_that_comes_is_told_once_until_its_log_is_read() {
    let hub = served();
    let (mut queue, _) = admin(&hub);
    queue.command(&spec::set_features(0x0b, EVENT_NAMESPACE), &[], 0);
    let request = Sqe::new(spec::ASYNC_EVENT_REQUEST, 0);
    let first = queue.submit(&request, &[], 0);
    queue.run();
    assert!(!queue.done.contains_key(&first), "it is held");
    hub.add_namespace(SUBSYSTEM, 2, Namespace::ram(4096)).unwrap();
    queue.target.poll(queue.now).unwrap();
    queue.run();
    assert_eq!(queue.done.remove(&first).unwrap().completion.cqe.dw0(), 0x0004_0002);
    let second = queue.submit(&request, &[], 0);
    hub.remove_namespace(SUBSYSTEM, 2).unwrap();
    queue.target.poll(queue.now).unwrap();
    queue.run();
    assert!(!queue.done.contains_key(&second), "the log page was not read");
    let page = spec::get_log_page(spec::LOG_CHANGED_NAMESPACES, ALL_NAMESPACES, 0, 4096);
    assert_eq!(queue.command(&page, &[], 4096).1[..8], [2, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(queue.command(&page, &[], 4096).1[..4], [0; 4]);
    hub.add_namespace(SUBSYSTEM, 3, Namespace::ram(4096)).unwrap();
    queue.target.poll(queue.now).unwrap();
    queue.run();
    assert!(queue.done.contains_key(&second));
}

#[test]
fn event_requests_are_bounded_and_abortable() {
    let hub = served();
    let (mut queue, _) = admin(&hub);
    let request = Sqe::new(spec::ASYNC_EVENT_REQUEST, 0);
    let held: Vec<_> = (0..4).map(|_| queue.submit(&request, &[], 0)).collect();
    assert_is(queue.status(&request, &[], 0), Status::AER_LIMIT_EXCEEDED);
    // Command IDs carry a generation: try each of this slot.
    let aborted = (0..16_u16).find(|generation| {
        let cid = held[1] | generation << 12;
        queue.command(&spec::abort(0, cid), &[], 0).0.dw0() & 1 == 0
    });
    assert!(aborted.is_some());
    let status = queue.done.remove(&held[1]).unwrap().completion.cqe.status();
    assert_is(status, Status::ABORT_REQUESTED);
    assert_eq!(queue.command(&spec::abort(1, 7), &[], 0).0.dw0(), 1, "not aborted");
}

#[test]
fn an_association_lives_as_long_as_it_is_kept_alive() {
    let hub = served();
    let (mut queue, cntlid) = admin(&hub);
    let mut io_queue = io(&hub, cntlid);
    queue.now += KATO - Duration::from_millis(1);
    assert_is(queue.status(&spec::keep_alive(), &[], 0), Status::SUCCESS);
    assert_eq!(queue.target.deadline(), Some(queue.now + KATO));
    // Any command counts, also on another queue.
    io_queue.now = queue.now + KATO / 2;
    assert_is(io_queue.status(&nvm::flush(1), &[], 0), Status::SUCCESS);
    assert_eq!(queue.target.deadline(), Some(io_queue.now + KATO));
    let expiry = io_queue.now + KATO;
    assert_eq!(queue.target.poll(expiry - Duration::from_millis(1)), Ok(()));
    let ended = queue.target.poll(expiry).unwrap_err();
    assert_eq!(ended, SessionEnd::Association(AssociationEnd::KeepAliveExpired(KATO)));
    drop(queue);
    assert_eq!(hub.associations(), 0);
    io_queue.submit(&nvm::flush(1), &[], 0);
    io_queue.run();
    assert_eq!(io_queue.end, Some(AssociationEnd::Ended.into()));
    assert!(io_queue.done.is_empty());
}

#[test]
fn discovery_lists_what_the_host_may_see_and_tells_changes() {
    let hub = served();
    hub.add_subsystem(Subsystem::new("nqn.hidden").allow_host("nqn.other")).unwrap();
    let queue = Queue::new(&hub, ConnectionConfig::default(), Splits::none(), false);
    let (mut queue, _) = bring_up(queue, DISCOVERY_NQN);
    let header = |queue: &mut Queue| {
        let (_, page) = queue.command(&spec::get_log_page(spec::LOG_DISCOVERY, 0, 0, 1024), &[], 1024);
        DiscoveryLogHeader::read_from_bytes(&page).unwrap()
    };
    // There is no listener here; tests/target.rs reads entries.
    let before = header(&mut queue);
    assert_eq!(before.numrec.get(), 0);
    queue.command(&spec::set_features(0x0b, EVENT_DISCOVERY), &[], 0);
    let request = queue.submit(&Sqe::new(spec::ASYNC_EVENT_REQUEST, 0), &[], 0);
    queue.run();
    hub.remove_subsystem("nqn.hidden").unwrap();
    queue.target.poll(queue.now).unwrap();
    queue.run();
    assert_eq!(queue.done.remove(&request).unwrap().completion.cqe.dw0(), 0x0070_f002);
    assert_ne!(header(&mut queue).genctr, before.genctr);
    assert_is(queue.status(&spec::set_number_of_queues(1), &[], 0), Status::INVALID_FIELD);
    assert_is(queue.status(&spec::identify(CNS_NAMESPACE, 1), &[], 4096), Status::INVALID_FIELD);
}

#[test]
fn a_subsystem_that_goes_takes_its_associations_along() {
    let hub = served();
    let (mut queue, cntlid) = admin(&hub);
    let mut io_queue = io(&hub, cntlid);
    hub.remove_subsystem(SUBSYSTEM).unwrap();
    for queue in [&mut queue, &mut io_queue] {
        assert_eq!(queue.target.poll(queue.now), Err(AssociationEnd::Ended.into()));
    }
}

#[test]
fn io_commands_that_cannot_be_are_refused_by_name() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    hub.add_namespace(SUBSYSTEM, 2, Namespace::ram(8192).read_only()).unwrap();
    hub.add_namespace(SUBSYSTEM, 3, Namespace::ram(8192).metadata_bytes(8)).unwrap();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    let block = [0; 512];
    let mut status = |sqe: &Sqe, write: &[u8], read| queue.status(sqe, write, read);
    assert_is(status(&nvm::read(1, 2047, 1), &[], 512), Status::SUCCESS);
    assert_is(status(&nvm::read(1, 2047, 2), &[], 1024), Status::LBA_OUT_OF_RANGE);
    assert_is(status(&nvm::write(1, u64::MAX, 1), &block, 0), Status::LBA_OUT_OF_RANGE);
    assert_is(status(&nvm::write_zeroes(1, 2048, 1), &[], 0), Status::LBA_OUT_OF_RANGE);
    assert_is(status(&nvm::read(1, 0, 2), &[], 512), Status::SGL_LENGTH_INVALID);
    assert_is(status(&nvm::write(1, 0, 2), &block, 0), Status::SGL_LENGTH_INVALID);
    assert_is(status(&nvm::deallocate(1, 2), &[0; 16], 0), Status::SGL_LENGTH_INVALID);
    assert_is(status(&nvm::read(7, 0, 1), &[], 512), Status::INVALID_NAMESPACE);
    assert_is(status(&nvm::read(0, 0, 1), &[], 512), Status::INVALID_NAMESPACE);
    assert_is(status(&nvm::write(2, 0, 1), &block, 0), Status::WRITE_PROTECTED);
    assert_is(status(&nvm::write_zeroes(2, 0, 1), &[], 0), Status::WRITE_PROTECTED);
    assert_is(status(&nvm::read(2, 0, 1), &[], 512), Status::SUCCESS);
    assert_is(status(&nvm::read(3, 0, 1), &[], 512), Status::INVALID_FIELD);
    assert_is(status(&Sqe::new(0x7d, 1), &[0; 4], 0), Status::INVALID_OPCODE);
    assert_is(status(&nvm::flush(ALL_NAMESPACES), &[], 0), Status::SUCCESS);
    // More than MDTS: no byte of it is asked for.
    assert_is(status(&nvm::write(1, 0, 2048), &vec![0; (1 << 20) + 512], 0), Status::INVALID_FIELD);
    assert_is(queue.status(&fabrics::property_get(CAP, true), &[], 0), Status::INVALID_OPCODE);
}

#[test]
fn linux_deallocates_one_range_with_a_whole_page_of_data() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    assert_is(queue.status(&nvm::write(1, 0, 2), &[7; 1024], 0), Status::SUCCESS);
    // nvme_setup_discard of host/core.c: always 256 ranges' room, of which NR says how many count.
    let mut page = [0xff; 4096];
    page[..16].copy_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_is(queue.status(&nvm::deallocate(1, 1), &page, 0), Status::SUCCESS);
    let (_, data) = queue.command(&nvm::read(1, 0, 2), &[], 1024);
    assert!(data[..512].iter().all(|byte| *byte == 0) && data[512..].iter().all(|byte| *byte == 7));
}

#[test]
fn sqhd_goes_round_with_the_queue() {
    let hub = served();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = Queue::new(&hub, ConnectionConfig::default(), Splits::none(), false);
    assert_eq!(queue.connect_io(cntlid, 1, 3, 0).sqhd.get(), 1);
    let heads: Vec<_> = (0..4).map(|_| queue.command(&nvm::flush(1), &[], 0).0.sqhd.get()).collect();
    assert_eq!(heads, [2, 0, 1, 2]);
}
