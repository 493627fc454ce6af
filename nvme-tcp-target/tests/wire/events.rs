//! Asynchronous events and the log pages that go with them, resized namespaces, and ANA over two ports.

use std::sync::Arc;

use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin::{self as spec, ALL_NAMESPACES};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::{CNS_CONTROLLER, CNS_NAMESPACE, IdentifyController, IdentifyNamespace};
use nvme_tcp::spec::log_page::{EVENT_NAMESPACE, RETAIN_EVENT};
use nvme_tcp_target::{AnaState, Config, Hub, Namespace, NamespaceError, Origin, SubsystemError};
use zerocopy::FromBytes;

use crate::support::{Queue, SUBSYSTEM, Splits, admin, bring_up, hub, io};

const EVENT_ANA: u32 = 1 << 11;
const LOG_ANA: u8 = 0x0c;
/// DW0 of the event that namespaces changed, and that ANA states did.
const NAMESPACE_CHANGED: u32 = 0x0004_0002;
const ANA_CHANGED: u32 = 0x000c_0302;

/// A hub that serves 1 MiB as namespace 1, and the same as namespace 2 in ANA group 2.
fn two_groups() -> Arc<Hub> {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    hub.add_namespace(SUBSYSTEM, 2, Namespace::ram(1 << 20).ana_group(2)).unwrap();
    hub
}

/// An admin queue and an I/O queue by this port.
fn by_port(hub: &Arc<Hub>, port: u16) -> (Queue, Queue) {
    let queue = || {
        let origin = Origin { port, ..Origin::default() };
        Queue::from(hub, origin, ConnectionConfig::default(), Splits::none(), false)
    };
    let (admin, cntlid) = bring_up(queue(), SUBSYSTEM);
    let mut io = queue();
    assert_eq!(io.connect_io(cntlid, 1, 32, 0).status(), Status::SUCCESS);
    (admin, io)
}

fn request(queue: &mut Queue) -> u16 {
    let slot = queue.submit(&Sqe::new(spec::ASYNC_EVENT_REQUEST, 0), &[], 0);
    queue.run();
    slot
}

/// What an event request was answered with, if it was.
fn told(queue: &mut Queue, slot: u16) -> Option<u32> {
    queue.target.poll(queue.now).unwrap();
    queue.run();
    queue.done.remove(&slot).map(|done| done.completion.cqe.dw0())
}

fn enable(queue: &mut Queue, events: u32) {
    assert_eq!(
        queue.status(&spec::set_features(spec::FEATURE_ASYNC_EVENTS, events), &[], 0),
        Status::SUCCESS
    );
}

fn log(queue: &mut Queue, lid: u8, len: usize) -> Vec<u8> {
    let (cqe, page) = queue.command(&spec::get_log_page(lid, ALL_NAMESPACES, 0, len as u32), &[], len);
    assert_eq!(cqe.status(), Status::SUCCESS, "log page {lid:#04x}");
    page
}

#[test]
fn an_event_waits_until_it_is_unmasked_and_asked_for() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let (mut queue, _) = admin(&hub);
    enable(&mut queue, 0);
    let first = request(&mut queue);
    hub.resize_namespace(SUBSYSTEM, 1, 2 << 20).unwrap();
    assert_eq!(told(&mut queue, first), None, "masked");
    enable(&mut queue, EVENT_NAMESPACE);
    assert_eq!(told(&mut queue, first), Some(NAMESPACE_CHANGED));
    // RAE keeps the list, and further events back.
    let mut retained = spec::get_log_page(spec::LOG_CHANGED_NAMESPACES, ALL_NAMESPACES, 0, 4096);
    retained = retained.cdw(10, retained.get_cdw(10) | RETAIN_EVENT);
    assert_eq!(queue.command(&retained, &[], 4096).1[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    let second = request(&mut queue);
    hub.resize_namespace(SUBSYSTEM, 1, 3 << 20).unwrap();
    assert_eq!(told(&mut queue, second), None, "the log page was only looked at");
    assert_eq!(log(&mut queue, spec::LOG_CHANGED_NAMESPACES, 4096)[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    // It comes before it is asked for.
    drop(hub.add_namespace(SUBSYSTEM, 5, Namespace::ram(512)));
    assert_eq!(told(&mut queue, second), Some(NAMESPACE_CHANGED));
    log(&mut queue, spec::LOG_CHANGED_NAMESPACES, 4096);
    hub.remove_namespace(SUBSYSTEM, 5).unwrap();
    let third = request(&mut queue);
    assert_eq!(told(&mut queue, third), Some(NAMESPACE_CHANGED));
}

#[test]
fn a_namespace_that_is_resized_has_its_new_size_in_every_controller() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let mut queues: Vec<_> = (0..2).map(|port| by_port(&hub, port)).collect();
    let requests: Vec<_> = queues
        .iter_mut()
        .map(|(admin, _)| {
            enable(admin, EVENT_NAMESPACE);
            request(admin)
        })
        .collect();
    hub.resize_namespace(SUBSYSTEM, 1, 4096).unwrap();
    for ((admin, io), slot) in queues.iter_mut().zip(requests) {
        assert_eq!(told(admin, slot), Some(NAMESPACE_CHANGED));
        let (_, page) = admin.command(&spec::identify(CNS_NAMESPACE, 1), &[], 4096);
        assert_eq!(IdentifyNamespace::read_from_bytes(&page).unwrap().nsze.get(), 8);
        assert_eq!(io.status(&nvm::read(1, 7, 1), &[], 512), Status::SUCCESS);
        assert!(io.status(&nvm::read(1, 8, 1), &[], 512).is(Status::LBA_OUT_OF_RANGE));
    }
    let wrong = hub.resize_namespace(SUBSYSTEM, 1, 1000).unwrap_err();
    assert!(
        matches!(
            wrong,
            SubsystemError::Namespace { nsid: 1, source: NamespaceError::Size { size: 1000, .. } }
        ),
        "{wrong}"
    );
    assert!(matches!(hub.resize_namespace(SUBSYSTEM, 9, 512), Err(SubsystemError::Nsid(9))));
}

#[test]
fn log_pages_say_what_there_is_and_what_went_wrong() {
    let hub = hub(Config::default(), Namespace::ram(1 << 20));
    let (mut queue, cntlid) = admin(&hub);
    let dword = |page: &[u8], at: usize| page[at * 4..].first_chunk().copied().map_or(0, u32::from_le_bytes);
    let supported = log(&mut queue, 0x00, 1024);
    let lids: Vec<_> = (0..256).filter(|lid| dword(&supported, *lid) & 1 != 0).collect();
    assert_eq!(lids, [0, 1, 2, 3, 4, 5, 0x0c]);
    for lid in lids {
        log(&mut queue, lid as u8, 512);
    }
    let effects = log(&mut queue, 0x05, 4096);
    assert_eq!((dword(&effects, 0x06), dword(&effects, 0x10)), (1, 0), "Identify, Firmware Commit");
    assert_eq!((dword(&effects, 256 + 1), dword(&effects, 256 + 2)), (3, 1), "Write, Read");
    let mut io_queue = io(&hub, cntlid);
    assert!(io_queue.status(&nvm::read(1, 1 << 40, 1), &[], 512).is(Status::LBA_OUT_OF_RANGE));
    let errors = log(&mut queue, spec::LOG_ERROR, 128);
    assert_eq!((errors[0], errors[8], errors[24]), (1, 1, 1), "count, queue, namespace");
    assert_eq!(errors[12..14], [0x00, 0x81], "LBA out of range, do not retry");
    assert_eq!(errors[16..24], (1_u64 << 40).to_le_bytes());
    assert_eq!(log(&mut queue, spec::LOG_SMART, 512)[176], 1);
    let mut refused = |sqe: &Sqe, len| queue.status(sqe, &[], len);
    let page = spec::get_log_page(spec::LOG_SMART, ALL_NAMESPACES, 0, 512);
    assert!(refused(&page.cdw(14, 1 << 23), 512).is(Status::INVALID_FIELD), "an offset in entries");
    assert!(refused(&page.cdw(12, 2), 512).is(Status::INVALID_FIELD), "an offset within a dword");
    assert!(refused(&spec::get_log_page(spec::LOG_SMART, 1, 0, 512), 512).is(Status::INVALID_FIELD));
    assert!(refused(&page, 508).is(Status::SGL_LENGTH_INVALID));
}

#[test]
fn each_port_has_its_own_ana_states() {
    let hub = two_groups();
    let mut ports = [0, 1].map(|port| by_port(&hub, port));
    for (state, status) in [
        (AnaState::NonOptimized, Status::SUCCESS),
        (AnaState::Inaccessible, Status::ANA_INACCESSIBLE),
        (AnaState::PersistentLoss, Status::ANA_PERSISTENT_LOSS),
        (AnaState::Change, Status::ANA_TRANSITION),
        (AnaState::Optimized, Status::SUCCESS),
    ] {
        hub.set_ana_state(SUBSYSTEM, Some(1), 2, state).unwrap();
        for (port, nsid, expected) in [(0, 2, Status::SUCCESS), (1, 1, Status::SUCCESS), (1, 2, status)] {
            for sqe in [nvm::write(nsid, 0, 1), nvm::flush(nsid)] {
                let data: &[u8] = if sqe.opcode == nvm::WRITE { &[7; 512] } else { &[] };
                // Without DNR: another path may do it.
                assert_eq!(ports[port].1.status(&sqe, data, 0), expected, "{state:?} {port} {nsid}");
            }
        }
        let states = ports.each_mut().map(|(queue, _)| log(queue, LOG_ANA, 16 + 2 * 36));
        assert_eq!(states.map(|log| (log[16 + 16], log[16 + 36 + 16])), [(1, 1), (1, state as u8)]);
    }
    assert!(matches!(
        hub.set_ana_state(SUBSYSTEM, None, 129, AnaState::Change),
        Err(SubsystemError::AnaGroup(129))
    ));
}

#[test]
fn an_ana_change_is_told_where_it_is_seen() {
    let hub = two_groups();
    let mut admins = [0, 1].map(|port| by_port(&hub, port).0);
    let mut slots = admins.each_mut().map(|queue| {
        enable(queue, EVENT_ANA);
        request(queue)
    });
    hub.set_ana_state(SUBSYSTEM, Some(1), 2, AnaState::Inaccessible).unwrap();
    assert_eq!(told(&mut admins[0], slots[0]), None);
    assert_eq!(told(&mut admins[1], slots[1]), Some(ANA_CHANGED));
    // Groups only, and each with its namespaces.
    let short = spec::get_log_page(LOG_ANA, 0, 0, 80);
    let short = short.cdw(10, short.get_cdw(10) | 1 << 8);
    let (_, page) = admins[1].command(&short, &[], 80);
    assert_eq!((page[8], page[20], page[48], page[48 + 16]), (2, 0, 2, 3));
    slots[1] = request(&mut admins[1]);
    hub.set_ana_state(SUBSYSTEM, None, 1, AnaState::NonOptimized).unwrap();
    for (queue, slot) in admins.iter_mut().zip(slots) {
        assert_eq!(told(queue, slot), Some(ANA_CHANGED));
    }
}

#[test]
fn identify_shows_what_ana_needs() {
    let hub = two_groups();
    let (mut queue, _) = admin(&hub);
    let (_, page) = queue.command(&spec::identify(CNS_CONTROLLER, 0), &[], 4096);
    let found = IdentifyController::read_from_bytes(&page).unwrap();
    assert_eq!((found.cmic, found.nn.get(), found.mnan.get()), (0b1011, 1024, 1024));
    assert_eq!(found.oaes.get(), EVENT_NAMESPACE | EVENT_ANA);
    assert_eq!((found.aerl, found.elpe, found.lpa), (3, 15, 0b110));
    assert_eq!((page[343], page[344], page[348]), (0x5f, 128, 128));
    assert!(page[342] > 0);
    for nsid in [1, 2] {
        let (_, page) = queue.command(&spec::identify(CNS_NAMESPACE, nsid), &[], 4096);
        let found = IdentifyNamespace::read_from_bytes(&page).unwrap();
        assert_eq!((found.anagrpid.get(), found.nmic), (nsid, 1));
    }
}
