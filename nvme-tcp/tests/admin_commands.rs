//! Admin commands against a scripted controller: log pages, features, firmware, what destroys, and passthrough.

mod support;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nvme_tcp::proto::DataFault;
use nvme_tcp::spec::command::admin::{self, FeatureValue, LogPage};
use nvme_tcp::spec::command::maintenance::{
    self, CommitAction, SanitizeAction, SanitizeOptions, SecureErase,
};
use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::identify::{self, IdentifyController, LbaFormat};
use nvme_tcp::spec::log_page::{AnaGroup, AnaLog, AnaState, SmartLog};
use nvme_tcp::spec::pdu::Flags;
use nvme_tcp::{
    Activation, AsyncEvents, EraseConsent, ErrorKind, FirmwareCommit, FormatOptions, HostBehavior,
    NewNamespace, PowerManagement, RawCommand, RawData,
};
use support::controller::{LIMIT, Link, Reply, Script, Target};
use zerocopy::IntoBytes;

const NQN: &str = "nqn.2024-01.io.example:tests";

fn scripted(hook: impl Fn(&mut Link, &Sqe) -> Reply + Send + Sync + 'static) -> Script {
    Script { hook: Box::new(hook), ..Script::default() }
}

/// Serves `log` as log page `lid`.
fn serving(lid: u8, log: Vec<u8>) -> Script {
    scripted(move |link, sqe| {
        if link.qid > 0 || sqe.opcode != admin::GET_LOG_PAGE || sqe.get_cdw(10) as u8 != lid {
            return Reply::Serve;
        }
        let fields = admin::LogPageFields::read(sqe);
        assert_eq!(fields.len, u64::from(sqe.sgl.length.get()));
        let mut page = log.get(fields.offset as usize..).unwrap_or_default().to_vec();
        page.resize(fields.len as usize, 0);
        link.give(sqe, &page);
        Reply::Nothing
    })
}

#[test]
fn a_long_log_is_read_in_pieces_and_the_event_cleared_at_the_last() {
    let log: Vec<u8> = (0..300_000_u32).map(|at| (at / 7) as u8).collect();
    let target = Target::start(serving(0xc0, log.clone()));
    let controller = target.connect();
    let mut data = vec![0; 280_000];
    controller.get_log(LogPage { lsp: 3, ..LogPage::new(0xc0) }, 1024, &mut data).unwrap();
    assert!(data == log[1024..281_024]);
    let sent: Vec<_> = target
        .sent(false, admin::GET_LOG_PAGE)
        .iter()
        .map(|sqe| (admin::LogPageFields::read(sqe).offset, sqe.get_cdw(10) & 0xffff))
        .collect();
    // MDTS is 128 KiB; RAE is bit 15.
    assert_eq!(sent, [(1024, 0x83c0), (132_096, 0x83c0), (263_168, 0x03c0)]);
    assert!(controller.get_log_page(2, 0, &mut [0; 6]).is_err());
}

#[test]
fn typed_logs_are_what_the_controller_sent() {
    let mut smart = SmartLog::zeroed();
    smart.temperature.set(300);
    smart.power_on_hours.set(1 << 70);
    let target = Target::start(serving(admin::LOG_SMART, smart.as_bytes().to_vec()));
    let controller = target.connect();
    let log = controller.smart_log(None).unwrap();
    assert_eq!((log.temperature.get(), log.power_on_hours.get()), (300, 1 << 70));
    assert_eq!(target.sent(false, admin::GET_LOG_PAGE)[0].nsid.get(), admin::ALL_NAMESPACES);

    let mut errors = vec![0; 3 * 64];
    (errors[0], errors[64]) = (2, 1);
    let script = Script { controller: |data| data.elpe = 1, ..serving(admin::LOG_ERROR, errors) };
    let target = Target::start(script);
    let controller = target.connect();
    assert_eq!(controller.error_log(100).unwrap().len(), 2);
    assert_eq!(controller.error_log(1).unwrap().len(), 1);
    let asked: Vec<_> =
        target.sent(false, admin::GET_LOG_PAGE).iter().map(|sqe| sqe.sgl.length.get()).collect();
    assert_eq!(asked, [128, 64], "no more than ELPE says there is");

    let target = Target::start(serving(admin::LOG_CHANGED_NAMESPACES, vec![7, 0, 0, 0]));
    assert_eq!(target.connect().changed_namespaces().unwrap(), Some(vec![7]));
}

#[test]
fn the_ana_log_is_as_long_as_identify_says() {
    let groups = vec![AnaGroup::new(1, 0, AnaState::Inaccessible, vec![1])];
    let log = AnaLog::new(5, groups);
    let ana = |data: &mut IdentifyController| {
        data.cmic = identify::CMIC_ANA;
        data.nanagrpid = 2.into();
    };
    let target = Target::start(Script { controller: ana, ..serving(admin::LOG_ANA, log.to_bytes()) });
    let controller = target.connect();
    assert_eq!(controller.ana_log().unwrap(), log);
    assert_eq!(target.sent(false, admin::GET_LOG_PAGE)[0].sgl.length.get(), 16 + 2 * 32 + 4);

    let huge = |data: &mut IdentifyController| {
        data.cmic = identify::CMIC_ANA;
        data.nanagrpid = u32::MAX.into();
    };
    let target = Target::start(Script { controller: huge, ..serving(admin::LOG_ANA, log.to_bytes()) });
    let error = target.connect().ana_log().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed(_)), "{error}");
    let target = Target::start(Script::default());
    let error = target.connect().ana_log().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
}

#[test]
fn lists_of_namespaces_go_on_behind_a_full_page() {
    let target = Target::start(scripted(|link, sqe| {
        if (link.qid, sqe.opcode, sqe.get_cdw(10)) != (0, admin::IDENTIFY, 0x10) {
            return Reply::Serve;
        }
        let after = sqe.nsid.get();
        let mut page: Vec<u8> =
            (after + 1..=2000.min(after + 1024)).flat_map(|id: u32| id.to_le_bytes()).collect();
        page.resize(identify::IDENTIFY_LEN, 0);
        link.give(sqe, &page);
        Reply::Nothing
    }));
    let found = target.connect().allocated_namespaces().unwrap();
    assert!(found.iter().copied().eq(1..=2000));
}

#[test]
fn features_have_their_bits() {
    let memory = Arc::new(Mutex::new((0, [0x55_u8; 512])));
    let shared = memory.clone();
    let target = Target::start(scripted(move |link, sqe| {
        let mut memory = shared.lock().unwrap();
        match (link.qid, sqe.opcode, sqe.get_cdw(10) as u8) {
            (0, admin::SET_FEATURES, admin::FEATURE_HOST_BEHAVIOR) => {
                memory.1.copy_from_slice(&link.data);
                link.complete(sqe, Status::SUCCESS, 0);
            }
            (0, admin::GET_FEATURES, admin::FEATURE_HOST_BEHAVIOR) => link.give(sqe, &memory.1),
            (0, admin::SET_FEATURES, feature) if feature != admin::FEATURE_NUMBER_OF_QUEUES => {
                memory.0 = sqe.get_cdw(11);
                link.complete(sqe, Status::SUCCESS, 0);
            }
            (0, admin::GET_FEATURES, _) => link.complete(sqe, Status::SUCCESS, memory.0.into()),
            _ => return Reply::Serve,
        }
        Reply::Nothing
    }));
    let controller = target.connect();
    controller.set_power_management(PowerManagement { state: 3, workload: 2 }, true).unwrap();
    assert_eq!(memory.lock().unwrap().0, 3 | 2 << 5);
    assert_eq!(controller.power_management().unwrap(), PowerManagement { state: 3, workload: 2 });
    let sent = target.sent(false, admin::SET_FEATURES);
    assert_eq!(sent.last().unwrap().get_cdw(10), 1 << 31 | 2);
    assert!(controller.set_power_management(PowerManagement { state: 32, workload: 0 }, false).is_err());
    controller.set_write_cache(true, false).unwrap();
    assert!(controller.write_cache().unwrap());
    let events = AsyncEvents::ANA_CHANGE | AsyncEvents::from_bits_retain(1 << 20);
    controller.set_async_events(events).unwrap();
    assert_eq!(controller.async_events().unwrap(), events);
    memory.lock().unwrap().0 = 7 | 3 << 16;
    let queues = controller.number_of_queues().unwrap();
    assert_eq!((queues.submission, queues.completion), (8, 4));
    memory.lock().unwrap().0 = 5000;
    assert_eq!(controller.keep_alive_timeout().unwrap(), Some(Duration::from_secs(5)));
    // Without keep-alives of this host's the controller would give up.
    assert!(controller.set_keep_alive_timeout(Duration::from_secs(60)).is_err());
    controller.set_keep_alive_timeout(Duration::ZERO).unwrap();
    assert_eq!(controller.keep_alive_timeout().unwrap(), None);
    let behavior = HostBehavior { retry_delays: true, extended_formats: false, copy_formats: 0x0104 };
    controller.set_host_behavior(behavior).unwrap();
    assert_eq!(controller.host_behavior().unwrap(), behavior);
    assert_eq!(memory.lock().unwrap().1[..8], [1, 0x55, 0, 0x55, 4, 1, 0x55, 0x55]);
    controller.get_feature(0xd0, 9, FeatureValue::Saved, &mut []).unwrap();
    let sent = target.sent(false, admin::GET_FEATURES);
    let last = sent.last().unwrap();
    assert_eq!((last.nsid.get(), last.get_cdw(10)), (9, 0x2d0));
}

#[test]
fn firmware_goes_over_in_units_and_says_when_it_runs() {
    let image: Vec<u8> = (0..20_000_u32).map(|at| (at / 3) as u8).collect();
    let received = Arc::new(Mutex::new(Vec::new()));
    let status = Arc::new(Mutex::new(Status::SUCCESS));
    let (noted, answer) = (received.clone(), status.clone());
    let hook = move |link: &mut Link, sqe: &Sqe| match (link.qid, sqe.opcode) {
        (0, maintenance::FIRMWARE_DOWNLOAD) => {
            assert_eq!(link.data.len(), (sqe.get_cdw(10) as usize + 1) * 4);
            noted.lock().unwrap().push((sqe.get_cdw(11) as usize * 4, link.data.clone()));
            link.complete(sqe, Status::SUCCESS, 0);
            Reply::Nothing
        }
        (0, maintenance::FIRMWARE_COMMIT) => {
            link.complete(sqe, *answer.lock().unwrap(), 0);
            Reply::Nothing
        }
        _ => Reply::Serve,
    };
    let small = |data: &mut IdentifyController| {
        data.mdts = 1;
        data.oacs = identify::OACS_FIRMWARE.into();
        data.fwug = 2;
    };
    let target = Target::start(Script { controller: small, ..scripted(hook) });
    let controller = target.connect();
    controller.firmware_download(&image).unwrap();
    let pieces = received.lock().unwrap().clone();
    assert_eq!(
        pieces.iter().map(|(at, data)| (*at, data.len())).collect::<Vec<_>>(),
        [(0, 8192), (8192, 8192), (16_384, 3616)]
    );
    assert!(pieces.concat_data() == image);
    assert!(controller.firmware_download(&image[..7]).is_err());
    let action = CommitAction::ReplaceAndActivate;
    let commit = FirmwareCommit { slot: 2, action, boot_partition: false, timeout: LIMIT };
    let commit_with = |answer: Status| {
        *status.lock().unwrap() = answer;
        controller.firmware_commit(&commit)
    };
    assert_eq!(commit_with(Status::SUCCESS).unwrap(), Activation::AsAsked);
    let answers = [
        (Status::of(1, 0x0b), Activation::ConventionalReset),
        (Status::of(1, 0x10), Activation::SubsystemReset),
        (Status::of(1, 0x11), Activation::ControllerReset),
        (Status::of(1, 0x12), Activation::TakesTooLong),
    ];
    for (answer, activation) in answers {
        assert_eq!(commit_with(answer).unwrap(), activation);
    }
    let error = commit_with(Status::INVALID_FIRMWARE_IMAGE).unwrap_err();
    assert!(error.status().unwrap().is(Status::INVALID_FIRMWARE_IMAGE), "{error}");
    assert_eq!(target.sent(false, maintenance::FIRMWARE_COMMIT)[0].get_cdw(10), 0x1a);
    let target = Target::start(Script::default());
    let error = target.connect().firmware_download(&image).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
}

trait Concat {
    fn concat_data(&self) -> Vec<u8>;
}

impl Concat for Vec<(usize, Vec<u8>)> {
    fn concat_data(&self) -> Vec<u8> {
        self.iter().flat_map(|(_, data)| data.iter().copied()).collect()
    }
}

/// FNA of [`formatting`]'s controller.
static FNA: AtomicU8 = AtomicU8::new(0);

fn formatting() -> Script {
    Script {
        controller: |data| {
            data.oacs = identify::OACS_FORMAT.into();
            data.fna = FNA.load(Ordering::SeqCst);
        },
        namespace: |data| {
            data.lbaf[1] = LbaFormat { metadata: 0, data_shift: 12 }.to_raw().into();
            data.lbaf[2] = LbaFormat { metadata: 8, data_shift: 12 }.to_raw().into();
        },
        ..Script::default()
    }
}

#[test]
fn nothing_is_destroyed_without_consent_that_names_it() {
    let target = Target::start(formatting());
    let controller = target.connect();
    let format = FormatOptions { nsid: Some(1), format: 1, erase: SecureErase::UserData, timeout: LIMIT };
    let one = || EraseConsent::for_namespace(NQN, 1);
    let all = || EraseConsent::for_whole_subsystem(NQN);
    let sanitize =
        |consent| controller.sanitize(consent, SanitizeAction::BlockErase, SanitizeOptions::default(), LIMIT);
    assert!(controller.format(EraseConsent::for_namespace(NQN, 2), &format).is_err());
    assert!(controller.format(EraseConsent::for_namespace("nqn.other", 1), &format).is_err());
    assert!(controller.format(one(), &FormatOptions { nsid: None, ..format }).is_err());
    assert!(controller.format(one(), &FormatOptions { nsid: Some(u32::MAX), ..format }).is_err());
    for without in [2, 3, 64] {
        assert!(controller.format(one(), &FormatOptions { format: without, ..format }).is_err());
    }
    FNA.store(identify::FNA_ERASE_ALL, Ordering::SeqCst);
    let error = controller.format(one(), &format).unwrap_err();
    assert!(error.to_string().contains("every namespace"), "{error}");
    assert!(sanitize(one()).is_err());
    assert!(controller.delete_namespace(one(), 2, LIMIT).is_err());
    assert!(controller.delete_namespace(one(), u32::MAX, LIMIT).is_err());
    let destructive = [maintenance::FORMAT, maintenance::SANITIZE, maintenance::NAMESPACE_MANAGEMENT];
    assert!(destructive.iter().all(|opcode| target.sent(false, *opcode).is_empty()));

    controller.format(one(), &FormatOptions { erase: SecureErase::None, ..format }).unwrap();
    controller.format(all(), &format).unwrap();
    sanitize(all()).unwrap();
    controller.delete_namespace(one(), 1, LIMIT).unwrap();
    let sent = target.sent(false, maintenance::FORMAT);
    let sent: Vec<_> = sent.iter().map(|sqe| (sqe.nsid.get(), sqe.get_cdw(10))).collect();
    assert_eq!(sent, [(1, 1), (1, 0x201)]);
    assert_eq!(target.sent(false, maintenance::SANITIZE)[0].get_cdw(10), 0x12);
    assert_eq!(target.sent(false, maintenance::NAMESPACE_MANAGEMENT)[0].nsid.get(), 1);
}

#[test]
fn namespaces_are_created_and_attached() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let target = Target::start(scripted(move |link, sqe| match (link.qid, sqe.opcode) {
        (0, maintenance::NAMESPACE_MANAGEMENT | maintenance::NAMESPACE_ATTACHMENT) => {
            noted.lock().unwrap().push(link.data.clone());
            link.complete(sqe, Status::SUCCESS, 12);
            Reply::Nothing
        }
        (0, admin::ABORT) => {
            link.complete(sqe, Status::SUCCESS, u64::from(sqe.get_cdw(10) == 0x0002_0001));
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let new = NewNamespace { blocks: 0x1234, capacity: 0x1000, format: 0x21, shared: true, ana_group: 3 };
    assert_eq!(controller.create_namespace(&new, LIMIT).unwrap(), 12);
    controller.attach_namespace(12, &[1, 0x203]).unwrap();
    assert!(controller.detach_namespace(12, &[]).is_err());
    assert!(!controller.abort(1, 2).unwrap() && controller.abort(1, 3).unwrap());
    let seen = seen.lock().unwrap();
    let created = &seen[0];
    assert_eq!((created[0..2].to_vec(), created[8..10].to_vec()), (vec![0x34, 0x12], vec![0, 0x10]));
    assert_eq!((created[26], created[30], created[92]), (0x41, 1, 3));
    assert_eq!((seen[1].len(), &seen[1][..8]), (4096, &[2, 0, 1, 0, 3, 2, 0, 0][..]));
}

#[test]
fn passthrough_gives_back_what_came() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (0, 0xc1) => {
            assert_eq!((sqe.cdw2.get(), sqe.cdw3.get(), sqe.get_cdw(15)), (2, 3, 15));
            assert_eq!(link.data, [9; 16]);
            link.complete(sqe, Status::of(7, 0x12), 0x1_0000_0002);
            Reply::Nothing
        }
        (0, 0xc2) => {
            link.send(&link.pdus.data(sqe.cid.get(), 0, &[7; 8], Flags::LAST));
            link.complete(sqe, Status::SUCCESS, 4);
            Reply::Nothing
        }
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let command = RawCommand { cdw2: 2, cdw3: 3, cdw10: [0, 0, 0, 0, 0, 15], ..RawCommand::new(0xc1, 0) };
    let done = controller.admin_passthrough(&command, RawData::Write(&[9; 16])).unwrap();
    assert_eq!((done.status, done.result, done.received), (Status::of(7, 0x12), 0x1_0000_0002, 0));
    let mut data = [0; 16];
    let done = controller.admin_passthrough(&RawCommand::new(0xc2, 0), RawData::Read(&mut data)).unwrap();
    assert_eq!((done.result, done.received, data[..8] == [7; 8]), (4, 8, true));
    for own in [0x7f, admin::KEEP_ALIVE, admin::ASYNC_EVENT_REQUEST] {
        assert!(controller.admin_passthrough(&RawCommand::new(own, 0), RawData::None).is_err());
    }
    let read = RawCommand { cdw10: [3, 0, 0, 0, 0, 0], ..RawCommand::new(nvm::READ, 1) };
    let mut block = [1; 512];
    let done = controller.io_passthrough(&read, RawData::Read(&mut block)).unwrap();
    assert_eq!((done.received, block), (512, [0; 512]));
    assert_eq!(target.sent(true, nvm::READ)[0].slba(), 3);
    // What is short elsewhere is an error.
    let mut data = [0; 16];
    let error = controller.get_log_page(0xc2, 0, &mut data).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Data { fault: DataFault::Short { .. }, .. }), "{error}");
}

#[test]
fn a_command_has_the_time_that_its_caller_gives_it() {
    let target = Target::start(scripted(|link, sqe| match (link.qid, sqe.opcode) {
        (0, 0xc0) => Reply::Nothing,
        _ => Reply::Serve,
    }));
    let controller = target.connect();
    let command = RawCommand { timeout: Some(Duration::from_millis(50)), ..RawCommand::new(0xc0, 0) };
    let error = controller.admin_passthrough(&command, RawData::None).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
}
