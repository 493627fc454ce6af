//! Compare, fused Compare and Write, Verify, Write Uncorrectable, Copy and reservations.

use std::sync::Arc;

use nvme_tcp::proto::ConnectionConfig;
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::admin as spec;
use nvme_tcp::spec::command::nvm::{self, DsmRange};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::{CNS_CONTROLLER, CNS_NAMESPACE, IdentifyController, IdentifyNamespace};
use nvme_tcp_target::{Config, Hub, Namespace};
use zerocopy::{FromBytes, IntoBytes};

use crate::support::{Queue, SUBSYSTEM, Splits, admin, bring_up, hub, io};

const WRITE_UNCORRECTABLE: u8 = 0x04;
const COMPARE: u8 = 0x05;
const VERIFY: u8 = 0x0c;
const REGISTER: u8 = 0x0d;
const REPORT: u8 = 0x0e;
const ACQUIRE: u8 = 0x11;
const RELEASE: u8 = 0x15;
const COPY: u8 = 0x19;

fn served() -> Arc<Hub> {
    hub(Config::default(), Namespace::ram(1 << 20))
}

/// A command with another opcode, and FUSE.
fn as_opcode(sqe: Sqe, opcode: u8, fuse: u8) -> Sqe {
    Sqe { opcode, flags: sqe.flags | fuse, ..sqe }
}

fn compare(slba: u64, count: u32) -> Sqe {
    as_opcode(nvm::read(1, slba, count), COMPARE, 0)
}

#[track_caller]
fn assert_is(status: Status, expected: Status) {
    assert!(status.is(expected), "{status}, expected {expected}");
}

fn blocks(fill: u8, count: usize) -> Vec<u8> {
    vec![fill; count * 512]
}

fn read(queue: &mut Queue, slba: u64, count: u32) -> Vec<u8> {
    let (cqe, data) = queue.command(&nvm::read(1, slba, count), &[], count as usize * 512);
    assert_eq!(cqe.status(), Status::SUCCESS);
    data
}

#[test]
fn compare_says_whether_it_is_the_same() {
    let hub = served();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    // More than is looked at in one piece.
    let data: Vec<u8> = (0..300 * 512).map(|at| (at / 7) as u8).collect();
    assert_is(queue.status(&nvm::write(1, 3, 300), &data, 0), Status::SUCCESS);
    assert_is(queue.status(&compare(3, 300), &data, 0), Status::SUCCESS);
    let mut other = data.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_is(queue.status(&compare(3, 300), &other, 0), Status::COMPARE_FAILURE);
    assert_is(queue.status(&compare(2048, 1), &blocks(0, 1), 0), Status::LBA_OUT_OF_RANGE);
    assert_is(queue.status(&compare(0, 2), &blocks(0, 1), 0), Status::SGL_LENGTH_INVALID);
}

/// Sends a fused pair; what each was answered with.
fn fused(queue: &mut Queue, first: &Sqe, expected: &[u8], second: &Sqe, data: &[u8]) -> [Status; 2] {
    let first = as_opcode(*first, first.opcode, 1);
    let second = as_opcode(*second, second.opcode, 2);
    let slots = [queue.submit(&first, expected, 0), queue.submit(&second, data, 0)];
    queue.run();
    slots.map(|slot| queue.done.remove(&slot).expect("an answer").completion.cqe.status())
}

#[test]
fn a_fused_write_is_done_only_where_its_compare_matches() {
    let hub = served();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    // In the capsule, and by R2T.
    for count in [1_u32, 64] {
        let (old, new) = (blocks(0, count as usize), blocks(5, count as usize));
        let (first, second) = (compare(8, count), nvm::write(1, 8, count));
        let done = fused(&mut queue, &first, &old, &second, &new);
        assert_eq!(done, [Status::SUCCESS; 2]);
        assert_eq!(read(&mut queue, 8, count), new);
        let done = fused(&mut queue, &first, &old, &second, &blocks(9, count as usize));
        assert_is(done[0], Status::COMPARE_FAILURE);
        assert_is(done[1], Status::FAILED_FUSED);
        assert_eq!(read(&mut queue, 8, count), new);
        assert_is(queue.status(&nvm::write(1, 8, count), &old, 0), Status::SUCCESS);
    }
    let [first, second] =
        fused(&mut queue, &compare(0, 1), &blocks(0, 1), &nvm::write(1, 1, 1), &blocks(1, 1));
    assert_is(first, Status::INVALID_FIELD);
    assert_is(second, Status::INVALID_FIELD);
}

#[test]
fn a_fused_command_without_its_partner_is_refused() {
    let hub = served();
    let (mut admin_queue, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    let second = as_opcode(nvm::write(1, 0, 1), nvm::WRITE, 2);
    assert_is(queue.status(&second, &blocks(1, 1), 0), Status::MISSING_FUSED);
    let first = as_opcode(compare(0, 64), COMPARE, 1);
    let alone = queue.submit(&first, &blocks(0, 64), 0);
    queue.run();
    assert!(!queue.done.contains_key(&alone), "its partner may still come");
    assert_is(queue.status(&nvm::flush(1), &[], 0), Status::SUCCESS);
    assert_is(queue.done.remove(&alone).unwrap().completion.cqe.status(), Status::MISSING_FUSED);
    assert_eq!(read(&mut queue, 0, 1), blocks(0, 1), "nothing was written");
    let fused_identify = as_opcode(spec::identify(CNS_CONTROLLER, 0), spec::IDENTIFY, 1);
    assert_is(admin_queue.status(&fused_identify, &[], 4096), Status::INVALID_FIELD);
}

#[test]
fn what_is_marked_uncorrectable_is_not_read_until_it_is_written() {
    let hub = served();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    let mark = as_opcode(nvm::write_zeroes(1, 10, 4), WRITE_UNCORRECTABLE, 0);
    let verify = |slba, count| as_opcode(nvm::write_zeroes(1, slba, count), VERIFY, 0);
    assert_is(queue.status(&verify(0, 2048), &[], 0), Status::SUCCESS);
    assert_is(queue.status(&verify(0, 2049), &[], 0), Status::LBA_OUT_OF_RANGE);
    assert_is(queue.status(&mark, &[], 0), Status::SUCCESS);
    assert_is(queue.status(&nvm::read(1, 8, 3), &[], 3 * 512), Status::UNRECOVERED_READ);
    assert_is(queue.status(&compare(13, 1), &blocks(0, 1), 0), Status::UNRECOVERED_READ);
    assert_is(queue.status(&verify(0, 2048), &[], 0), Status::UNRECOVERED_READ);
    assert_eq!(read(&mut queue, 14, 1), blocks(0, 1));
    assert_is(queue.status(&nvm::write(1, 9, 3), &blocks(1, 3), 0), Status::SUCCESS);
    assert_eq!(read(&mut queue, 9, 3), blocks(1, 3));
    assert_is(queue.status(&nvm::read(1, 12, 1), &[], 512), Status::UNRECOVERED_READ);
    assert_is(queue.status(&nvm::write_zeroes(1, 12, 1), &[], 0), Status::SUCCESS);
    let range = DsmRange { attributes: 0.into(), nlb: 1.into(), slba: 13.into() };
    assert_is(queue.status(&nvm::deallocate(1, 1), range.as_bytes(), 0), Status::SUCCESS);
    assert_is(queue.status(&verify(0, 2048), &[], 0), Status::SUCCESS);
}

/// Copy to `to` of ranges of blocks: command and data.
fn copy(to: u64, ranges: &[(u64, u16)]) -> (Sqe, Vec<u8>) {
    let mut data = Vec::new();
    for (slba, count) in ranges {
        let mut descriptor = [0; 32];
        descriptor[8..16].copy_from_slice(&slba.to_le_bytes());
        descriptor[16..18].copy_from_slice(&(count - 1).to_le_bytes());
        data.extend(descriptor);
    }
    (as_opcode(nvm::read(1, to, ranges.len() as u32), COPY, 0), data)
}

#[test]
fn copy_gathers_its_ranges() {
    let hub = served();
    let (_admin, cntlid) = admin(&hub);
    let mut queue = io(&hub, cntlid);
    for block in 0..8 {
        queue.command(&nvm::write(1, block, 1), &blocks(block as u8, 1), 0);
    }
    let mut status = |to, ranges: &[(u64, u16)]| {
        let (sqe, data) = copy(to, ranges);
        queue.status(&sqe, &data, 0)
    };
    assert_is(status(100, &[(6, 2), (1, 1)]), Status::SUCCESS);
    // Source and destination may overlap.
    assert_is(status(1, &[(0, 6)]), Status::SUCCESS);
    assert_is(status(2046, &[(0, 3)]), Status::LBA_OUT_OF_RANGE);
    assert_is(status(0, &[(2047, 2)]), Status::LBA_OUT_OF_RANGE);
    let limit = Status::CONNECT_RESTART_DISCOVERY;
    assert_is(status(0, &[(0, 2049)]), limit);
    assert_is(status(0, &[(0, 2000), (0, 100)]), limit);
    assert_is(status(0, &[(0, 1); 129]), limit);
    let (sqe, data) = copy(0, &[(0, 1)]);
    assert_is(queue.status(&sqe.cdw(12, 1 << 8), &data, 0), Status::INVALID_FIELD);
    assert_is(queue.status(&sqe.cdw(12, 1), &data, 0), Status::SGL_LENGTH_INVALID);
    assert_eq!(read(&mut queue, 100, 3), [blocks(6, 1), blocks(7, 1), blocks(1, 1)].concat());
    let first: Vec<_> = read(&mut queue, 0, 8).chunks(512).map(|block| block[0]).collect();
    assert_eq!(first, [0, 0, 1, 2, 3, 4, 5, 7]);
}

#[test]
fn identify_says_that_they_are_there() {
    let (mut queue, _) = admin(&served());
    let (_, page) = queue.command(&spec::identify(CNS_CONTROLLER, 0), &[], 4096);
    let found = IdentifyController::read_from_bytes(&page).unwrap();
    assert_eq!((found.oncs.get(), found.fuses.get(), page[534]), (0b1_1010_1111, 1, 1));
    let (_, page) = queue.command(&spec::identify(CNS_NAMESPACE, 1), &[], 4096);
    let found = IdentifyNamespace::read_from_bytes(&page).unwrap();
    assert_eq!((found.rescap, page[80]), (0xfe, 127));
    assert_eq!((page[74..76].to_vec(), page[76..80].to_vec()), (vec![0, 8], vec![0, 8, 0, 0]));
}

/// The queues of a host of its own.
fn host(hub: &Arc<Hub>, fill: u8) -> (Queue, Queue) {
    let queue = || {
        let mut queue = Queue::new(hub, ConnectionConfig::default(), Splits::none(), false);
        queue.host_id = [fill; 16];
        queue
    };
    let (admin, cntlid) = bring_up(queue(), SUBSYSTEM);
    let mut io = queue();
    assert_eq!(io.connect_io(cntlid, 1, 32, 0).status(), Status::SUCCESS);
    (admin, io)
}

fn keys(keys: &[u64]) -> Vec<u8> {
    keys.iter().flat_map(|key| key.to_le_bytes()).collect()
}

#[test]
fn a_reservation_keeps_other_hosts_out_on_every_controller() {
    let hub = served();
    let (_a, mut a) = host(&hub, 0xa);
    let (_b, mut b) = host(&hub, 0xb);
    // The same host again, by a second controller.
    let (_a2, mut a2) = host(&hub, 0xa);
    let write = |queue: &mut Queue| queue.status(&nvm::write(1, 0, 1), &blocks(1, 1), 0);
    let order = |queue: &mut Queue, opcode, cdw10, data: &[u64]| {
        queue.status(&Sqe::new(opcode, 1).cdw(10, cdw10), &keys(data), 0)
    };
    assert_is(order(&mut a, ACQUIRE, 1 << 8, &[1, 0]), Status::RESERVATION_CONFLICT);
    assert_is(order(&mut a, REGISTER, 0, &[0, 1]), Status::SUCCESS);
    assert_is(order(&mut a, ACQUIRE, 1 << 8, &[1, 0]), Status::SUCCESS);
    assert_is(write(&mut a), Status::SUCCESS);
    assert_is(write(&mut a2), Status::SUCCESS);
    assert_is(write(&mut b), Status::RESERVATION_CONFLICT);
    assert_is(b.status(&nvm::flush(1), &[], 0), Status::RESERVATION_CONFLICT);
    let (sqe, data) = copy(0, &[(1, 1)]);
    assert_is(b.status(&sqe, &data, 0), Status::RESERVATION_CONFLICT);
    assert_is(b.status(&nvm::read(1, 0, 1), &[], 512), Status::SUCCESS);
    // Preempted, the first host is out.
    assert_is(order(&mut b, REGISTER, 0, &[0, 2]), Status::SUCCESS);
    assert_is(order(&mut b, ACQUIRE, 2 << 8 | 1, &[2, 1]), Status::SUCCESS);
    assert_is(write(&mut b), Status::SUCCESS);
    assert_is(a.status(&nvm::read(1, 0, 1), &[], 512), Status::RESERVATION_CONFLICT);
    let report = Sqe::new(REPORT, 1).cdw(10, 31).cdw(11, 1);
    let (cqe, page) = a.command(&report, &[], 128);
    assert_eq!(cqe.status(), Status::SUCCESS);
    assert_eq!((page[4], page[5], page[64 + 2], page[64 + 8]), (2, 1, 1, 2));
    assert_eq!(page[64 + 16..64 + 32], [0xb; 16]);
    assert_is(a.status(&report.cdw(11, 0), &[], 128), Status::HOST_ID_INCONSISTENT);
    assert_is(a.status(&report, &[], 124), Status::SGL_LENGTH_INVALID);
    // It outlives its holder's association.
    drop((_b, b));
    assert_is(write(&mut a), Status::RESERVATION_CONFLICT);
    let (_b, mut b) = host(&hub, 0xb);
    assert_is(order(&mut b, RELEASE, 2 << 8, &[2]), Status::SUCCESS);
    assert_is(write(&mut a), Status::SUCCESS);
    assert_is(order(&mut b, REGISTER, 0, &[0]), Status::SGL_LENGTH_INVALID);
}
