//! The I/O commands of a namespace, against a scripted controller: how they are split, what they say, and what is
//! made of the answers.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use nvme_tcp::spec::command::nvm::{self, CopyRange, DsmRange, IoFlags};
use nvme_tcp::spec::command::reservation::{AcquireAction, RegisterAction, ReleaseAction};
use nvme_tcp::spec::command::{Sqe, admin, reservation};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::{
    self, IdentifyController, IdentifyNvmController, ONCS_COMPARE, ONCS_COPY, ONCS_DSM, ONCS_RESERVATIONS,
    ONCS_VERIFY, ONCS_WRITE_UNCORRECTABLE, ONCS_WRITE_ZEROES,
};
use nvme_tcp::spec::reservation::{Registrant, ReservationStatus, ReservationType};
use nvme_tcp::{Acquire, ByteRange, DatasetAttributes, DatasetRange, ErrorKind, Register, Release};
use support::controller::{BLOCK, LIMIT, Link, Reply, Script, Target, What};
use support::wire::patterned;
use zerocopy::{FromBytes, IntoBytes};

const KIB: u64 = 1024;

/// Every optional command, and fused compare and write of up to 8 blocks.
fn everything(data: &mut IdentifyController) {
    data.oncs = (ONCS_COMPARE
        | ONCS_WRITE_UNCORRECTABLE
        | ONCS_DSM
        | ONCS_WRITE_ZEROES
        | ONCS_RESERVATIONS
        | ONCS_VERIFY
        | ONCS_COPY)
        .into();
    data.fuses = 1.into();
    data.acwu = 7.into();
    data.ocfs = 1.into();
}

fn scripted(hook: impl Fn(&mut Link, &Sqe) -> Reply + Send + Sync + 'static) -> Script {
    Script { hook: Box::new(hook), controller: everything, ..Script::default() }
}

/// First block and number of blocks of each.
fn blocks(sqes: &[Sqe]) -> Vec<(u64, u32)> {
    sqes.iter().map(|sqe| (sqe.slba(), nvm::block_count(sqe))).collect()
}

/// The NVM command set's limits: 8 KiB for each of three commands, and for Dataset Management 2 ranges of 16
/// blocks.
fn limits(link: &mut Link, sqe: &Sqe) -> Reply {
    if (link.qid, sqe.opcode, sqe.get_cdw(10) as u8)
        != (0, admin::IDENTIFY, identify::CNS_COMMAND_SET_CONTROLLER)
    {
        return Reply::Serve;
    }
    let mut data = IdentifyNvmController::zeroed();
    (data.vsl, data.wzsl, data.wusl, data.dmrl) = (1, 1, 1, 2);
    data.dmrsl.set(16);
    link.give(sqe, data.as_bytes());
    Reply::Nothing
}

#[test]
fn reads_and_writes_cross_no_optimal_boundary() {
    let target = Target::start(Script { namespace: |data| data.noiob = 48.into(), ..Script::default() });
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    assert_eq!(namespace.info().optimal_boundary, 48 * 512);
    let data = patterned(1, 0, 100 * BLOCK);
    namespace.write_at(&data, 10 * 512).unwrap();
    let mut back = vec![0; data.len()];
    namespace.read_at(&mut back, 10 * 512).unwrap();
    assert!(back == data);
    let split = [(10, 38), (48, 48), (96, 14)];
    assert_eq!(blocks(&target.sent(true, nvm::WRITE)), split);
    assert_eq!(blocks(&target.sent(true, nvm::READ)), split);
}

#[test]
fn flags_stand_in_cdw12_of_every_command() {
    let target = Target::start(scripted(|_, _| Reply::Serve));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let fua = IoFlags::FORCE_UNIT_ACCESS;
    namespace.write_with(&[1; 1024], 0, fua).unwrap();
    namespace.read_with(&mut [0; 1024], 0, fua | IoFlags::LIMITED_RETRY).unwrap();
    namespace.write_zeroes_with(0, 1024, IoFlags::DEALLOCATE | fua).unwrap();
    let flags = |opcode| target.sent(true, opcode).iter().map(|sqe| sqe.get_cdw(12)).collect::<Vec<_>>();
    assert_eq!(flags(nvm::WRITE), [1 | 1 << 30]);
    assert_eq!(flags(nvm::READ), [1 | 0b11 << 30]);
    assert_eq!(flags(nvm::WRITE_ZEROES), [1 | 1 << 25 | 1 << 30]);
    assert!(namespace.write_with(&[1; 512], 0, IoFlags::DEALLOCATE).is_err());
    assert_eq!(flags(nvm::WRITE).len(), 1);
}

#[test]
fn commands_without_data_keep_to_the_controllers_limits() {
    let target = Target::start(scripted(limits));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    namespace.verify(0, 20 * 512).unwrap();
    namespace.write_zeroes(512, 17 * 512).unwrap();
    namespace.write_uncorrectable(0, 16 * 512).unwrap();
    assert_eq!(blocks(&target.sent(true, nvm::VERIFY)), [(0, 16), (16, 4)]);
    assert_eq!(blocks(&target.sent(true, nvm::WRITE_ZEROES)), [(1, 16), (17, 1)]);
    assert_eq!(blocks(&target.sent(true, nvm::WRITE_UNCORRECTABLE)), [(0, 16)]);
    let asked = target.sent(false, admin::IDENTIFY);
    let asked = asked.iter().filter(|sqe| sqe.get_cdw(10) == identify::CNS_COMMAND_SET_CONTROLLER.into());
    assert_eq!(asked.count(), 1, "the limits are asked for once");
}

#[test]
fn limits_that_the_controller_does_not_know_are_none() {
    let target = Target::start(scripted(|link, sqe| {
        if (link.qid, sqe.get_cdw(10) as u8) == (0, identify::CNS_COMMAND_SET_CONTROLLER)
            && sqe.opcode == admin::IDENTIFY
        {
            link.complete(sqe, Status::INVALID_FIELD.with_do_not_retry(), 0);
            return Reply::Nothing;
        }
        Reply::Serve
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_zeroes(0, 8 << 20).unwrap();
    assert_eq!(blocks(&target.sent(true, nvm::WRITE_ZEROES)), [(0, 16_384)]);
}

#[test]
fn ranges_of_dataset_management_go_over_whole() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let target = Target::start(scripted(move |link, sqe| {
        if (link.qid, sqe.opcode) == (1, nvm::DATASET_MANAGEMENT) {
            let ranges = <[DsmRange]>::ref_from_bytes(&link.data).unwrap();
            assert_eq!(ranges.len() as u32, sqe.get_cdw(10) + 1);
            let ranges = ranges.iter().map(|r| (r.slba.get(), r.nlb.get(), r.attributes.get()));
            noted.lock().unwrap().push((sqe.get_cdw(11), ranges.collect::<Vec<_>>()));
        }
        limits(link, sqe)
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let range = |offset, len| ByteRange { offset, len };
    namespace.deallocate_ranges(&[range(0, 20 * 512), range(8 * KIB, 0), range(1 << 20, 512)]).unwrap();
    let hint = DatasetRange { range: range(512, 512), attributes: 1 << 8 };
    namespace.dataset_management(&[hint], DatasetAttributes::INTEGRAL_READ).unwrap();
    assert!(namespace.deallocate_ranges(&[range(0, 512), range(8 << 20, 512)]).is_err());
    let expected =
        vec![(4, vec![(0, 16, 0), (16, 4, 0)]), (4, vec![(2048, 1, 0)]), (1, vec![(1, 1, 1 << 8)])];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn copy_splits_its_sources_at_the_namespaces_limits() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let hook = move |link: &mut Link, sqe: &Sqe| {
        if (link.qid, sqe.opcode) == (1, nvm::COPY) {
            let ranges = <[CopyRange]>::ref_from_bytes(&link.data).unwrap();
            assert_eq!(ranges.len() as u32, nvm::copy_count(sqe));
            let ranges = ranges.iter().map(|range| (range.slba.get(), range.count())).collect::<Vec<_>>();
            noted.lock().unwrap().push((sqe.slba(), ranges));
        }
        Reply::Serve
    };
    let namespace = |data: &mut identify::IdentifyNamespace| {
        data.mssrl.set(8);
        data.mcl.set(12);
        data.msrc = 1;
    };
    let target = Target::start(Script { namespace, ..scripted(hook) });
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let range = |offset, len| ByteRange { offset, len };
    namespace.copy(&[range(0, 10 * 512), range(1 << 20, 3 * 512)], 2 << 20).unwrap();
    let expected = vec![(4096, vec![(0, 8), (8, 2)]), (4106, vec![(2048, 3)])];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert!(namespace.copy(&[range(0, 4096)], 512).is_err(), "source and destination overlap");
}

#[test]
fn compare_tells_whether_the_data_is_the_same() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::COMPARE) if sqe.slba() == 1 => {
            link.complete(sqe, Status::COMPARE_FAILURE, 0);
            Reply::Nothing
        }
        (1, nvm::COMPARE) if sqe.slba() == 2 => {
            link.complete(sqe, Status::UNRECOVERED_READ, 0);
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    assert!(namespace.compare(&[0; 512], 0).unwrap());
    assert!(!namespace.compare(&[0; 512], 512).unwrap());
    let error = namespace.compare(&[0; 512], 1024).unwrap_err();
    assert!(error.status().unwrap().is(Status::UNRECOVERED_READ), "{error}");
}

#[test]
fn nothing_comes_between_a_fused_compare_and_its_write() {
    let target = Target::start(scripted(|_, _| Reply::Serve));
    let controller = target.options().queue_size(4).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    thread::scope(|scope| {
        for n in 0..4 {
            let namespace = &namespace;
            scope.spawn(move || {
                for _ in 0..30 {
                    namespace.read_at(&mut [0; 4096], n * 4096).unwrap();
                }
            });
        }
        for _ in 0..2 {
            let namespace = &namespace;
            scope.spawn(move || {
                for _ in 0..20 {
                    assert!(namespace.compare_and_write(&[0; 1024], &[0; 1024], 1 << 20).unwrap());
                }
            });
        }
    });
    let journal = target.journal();
    let commands: Vec<_> = journal
        .iter()
        .filter_map(|entry| match entry.what {
            What::Command(sqe) if entry.qid == 1 => Some((sqe.opcode, sqe.flags)),
            _ => None,
        })
        .collect();
    let firsts = (0..commands.len()).filter(|at| commands[*at] == (nvm::COMPARE, 0x41));
    let pairs = firsts.map(|at| assert_eq!(commands[at + 1], (nvm::WRITE, 0x42))).count();
    assert_eq!(pairs, 40);
    assert_eq!(commands.iter().filter(|(_, flags)| *flags == 0x42).count(), 40);
}

#[test]
fn a_fused_compare_that_fails_says_so_whichever_answer_comes_first() {
    let held = Mutex::new(None);
    let target = Target::start(scripted(move |link, sqe| match (link.qid, sqe.opcode) {
        (1, nvm::COMPARE) => {
            *held.lock().unwrap() = Some(*sqe);
            Reply::Nothing
        }
        (1, nvm::WRITE) => {
            let compare = held.lock().unwrap().take().unwrap();
            let status = if sqe.slba() == 0 { Status::COMPARE_FAILURE } else { Status::RESERVATION_CONFLICT };
            link.complete(sqe, Status::FAILED_FUSED, 0);
            link.complete(&compare, status, 0);
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    assert!(!namespace.compare_and_write(&[0; 512], &[1; 512], 0).unwrap());
    let error = namespace.compare_and_write(&[0; 512], &[1; 512], 512).unwrap_err();
    assert!(error.status().unwrap().is(Status::RESERVATION_CONFLICT), "{error}");
    // ACWU is 8 blocks.
    assert!(namespace.compare_and_write(&[0; 9 * 512], &[1; 9 * 512], 0).is_err());
    assert!(namespace.compare_and_write(&[0; 512], &[1; 1024], 0).is_err());
    assert_eq!(target.sent(true, nvm::COMPARE).len(), 2);
    let controller = target.options().queue_size(2).connect().unwrap();
    let small = controller.namespace(1).unwrap();
    assert!(small.compare_and_write(&[0; 512], &[1; 512], 0).is_err(), "there is room for one command only");
}

#[test]
fn a_fused_pair_waits_for_room() {
    let (hold, held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (hold, released) = (Mutex::new(hold), Mutex::new(released));
    let first = AtomicBool::new(true);
    let target = Target::start(scripted(move |link, sqe| {
        if link.qid == 1 && sqe.opcode == nvm::READ && first.swap(false, Ordering::SeqCst) {
            hold.lock().unwrap().send(()).unwrap();
            released.lock().unwrap().recv_timeout(LIMIT).unwrap();
        }
        Reply::Serve
    }));
    // Two commands at once: with one outstanding, there is no room for a pair.
    let controller = target.options().queue_size(3).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    // Not while the controller waits.
    assert!(namespace.compare_and_write(&[0; 512], &[0; 512], 0).unwrap());
    thread::scope(|scope| {
        scope.spawn(|| namespace.read_at(&mut [0; 512], 0).unwrap());
        held.recv_timeout(LIMIT).unwrap();
        let pair = scope.spawn(|| namespace.compare_and_write(&[0; 512], &[0; 512], 0).unwrap());
        release.send(()).unwrap();
        assert!(pair.join().unwrap());
    });
}

#[test]
fn reservation_commands_carry_their_keys() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let target = Target::start(scripted(move |link, sqe| {
        if [reservation::REGISTER, reservation::ACQUIRE, reservation::RELEASE].contains(&sqe.opcode)
            && link.qid == 1
        {
            noted.lock().unwrap().push((sqe.opcode, sqe.get_cdw(10), link.data.clone()));
        }
        match (link.qid, sqe.opcode) {
            (1, reservation::RELEASE) => {
                link.complete(sqe, Status::RESERVATION_CONFLICT, 0);
                Reply::Nothing
            }
            _ => Reply::Serve,
        }
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let register = Register {
        action: RegisterAction::Replace,
        current_key: 0x0102,
        new_key: 0x0304,
        ignore_existing_key: true,
        ..Register::default()
    };
    namespace.reservation_register(&register).unwrap();
    let kind = ReservationType::WriteExclusive;
    let action = AcquireAction::Preempt;
    namespace.reservation_acquire(&Acquire { action, kind, current_key: 5, preempt_key: 6 }).unwrap();
    let release = Release { action: ReleaseAction::Release, kind: Some(kind), ..Release::default() };
    let error = namespace.reservation_release(&release).unwrap_err();
    assert!(error.status().unwrap().is(Status::RESERVATION_CONFLICT), "{error}");
    let keys = |a: u64, b: u64| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let expected = vec![
        (reservation::REGISTER, 0x0a, keys(0x0102, 0x0304)),
        (reservation::ACQUIRE, 0x101, keys(5, 6)),
        (reservation::RELEASE, 0x100, vec![0; 8]),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn a_report_on_many_registrants_is_read_whole() {
    let registrants = (0..70).map(|n| Registrant::new(n, n == 3, n.into(), [n as u8; 16])).collect();
    let report = ReservationStatus::new(8, Some(ReservationType::ExclusiveAccess), true, registrants);
    let mut bytes = report.to_bytes();
    let target = Target::start(scripted(move |link, sqe| match (link.qid, sqe.opcode) {
        (1, reservation::REPORT) => {
            assert_eq!(sqe.get_cdw(11), 1);
            let len = (sqe.get_cdw(10) as usize + 1) * 4;
            link.give(sqe, &bytes[..len]);
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    assert_eq!(namespace.reservation_report().unwrap(), report);
    let asked: Vec<_> =
        target.sent(true, reservation::REPORT).iter().map(|sqe| sqe.sgl.length.get()).collect();
    assert_eq!(asked, [4096, 64 + 70 * 64]);
    // A report that promises more than a command can bring is refused, and not read.
    bytes = report.to_bytes();
    bytes[5..7].fill(0xff);
    let target = Target::start(scripted(move |link, sqe| match (link.qid, sqe.opcode) {
        (1, reservation::REPORT) => {
            link.give(sqe, &bytes[..4096]);
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let error = controller.namespace(1).unwrap().reservation_report().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed(wrong) if wrong.got == 65_535), "{error}");
}

#[test]
fn a_command_that_the_controller_does_not_have_is_not_sent() {
    let target = Target::start(Script::default());
    let controller = target.connect();
    let namespace = controller.namespace(1).unwrap();
    let range = ByteRange { offset: 0, len: 512 };
    let results = [
        namespace.compare(&[0; 512], 0).map(drop),
        namespace.compare_and_write(&[0; 512], &[0; 512], 0).map(drop),
        namespace.verify(0, 512),
        namespace.write_uncorrectable(0, 512),
        namespace.copy(&[range], 4096),
        namespace.reservation_report().map(drop),
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
    }
    namespace.deallocate(0, 512).unwrap();
    let io = target.journal().iter().filter(|e| e.qid > 0 && matches!(e.what, What::Command(_))).count();
    assert_eq!(io, 1, "only Connect");
}
