//! Discovery against scripted controllers: logs that change, referrals that go round, and entries that lie.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nvme_tcp::discovery::{Discovery, EntryKind, Refusal, TlsNeed, Why, discover};
use nvme_tcp::nqn::DISCOVERY_NQN;
use nvme_tcp::spec::command::admin::{self, LogPageFields};
use nvme_tcp::spec::discovery_log::{
    ADRFAM_IPV4, DiscoveryLogEntry, DiscoveryLogHeader, ENTRY_LEN, SECTYPE_NONE, SECTYPE_TLS13, SUBTYPE_NVM,
    SUBTYPE_REFERRAL, TREQ_REQUIRED, TRTYPE_TCP,
};
use nvme_tcp::spec::text;
use nvme_tcp::{ErrorKind, Options, Scope};
use support::controller::{Reply, Script, Target, options};
use zerocopy::IntoBytes;

const SUBSYSTEM: &str = "nqn.2024-01.io.example:tests";

/// An entry for a listener at `address` that has no TLS.
fn entry(subtype: u8, nqn: &str, address: &str) -> DiscoveryLogEntry {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut entry = *DiscoveryLogEntry::zeroed();
    (entry.trtype, entry.adrfam, entry.subtype) = (TRTYPE_TCP, ADRFAM_IPV4, subtype);
    entry.sectype = SECTYPE_NONE;
    entry.trsvcid = text::to_field(port, b' ').unwrap();
    entry.traddr = text::to_field(host, b' ').unwrap();
    entry.subnqn = text::to_field(nqn, 0).unwrap();
    entry
}

/// A discovery controller, what its log holds, and the names that it was called by.
struct Server {
    target: Target,
    log: Arc<Mutex<Vec<DiscoveryLogEntry>>>,
    called: Arc<Mutex<Vec<String>>>,
}

/// A discovery controller whose GENCTR counts on at each of the first `changes` reads of its header.
fn server(changes: u64) -> Server {
    let log: Arc<Mutex<Vec<DiscoveryLogEntry>>> = Arc::default();
    let called: Arc<Mutex<Vec<String>>> = Arc::default();
    let (entries, names) = (log.clone(), called.clone());
    let reads = AtomicU64::new(0);
    let script = Script {
        hook: Box::new(move |link, sqe| {
            if sqe.opcode != admin::GET_LOG_PAGE {
                return Reply::Serve;
            }
            let fields = LogPageFields::read(sqe);
            let entries = entries.lock().unwrap();
            if fields.offset == 0 {
                names.lock().unwrap().push(link.nqn.clone());
                let genctr = reads.fetch_add(1, Ordering::SeqCst).min(changes);
                link.give(sqe, DiscoveryLogHeader::new(genctr, entries.len() as u64).as_bytes());
                return Reply::Nothing;
            }
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.as_bytes().to_vec()).collect();
            let at = fields.offset as usize - ENTRY_LEN;
            link.give(sqe, &bytes[at..at + fields.len as usize]);
            Reply::Nothing
        }),
        // Two pages.
        controller: |data| data.mdts = 1,
        ..Script::default()
    };
    Server { target: Target::start(script), log, called }
}

impl Server {
    fn options(&self) -> Options {
        self.target.options()
    }

    fn address(&self) -> &str {
        &self.target.address
    }

    fn holds(&self, entries: impl IntoIterator<Item = DiscoveryLogEntry>) {
        *self.log.lock().unwrap() = entries.into_iter().collect();
    }
}

#[test]
fn a_log_is_read_in_pieces_and_anew_when_it_changes() {
    let server = server(3);
    server.holds((0..20).map(|n| entry(SUBTYPE_NVM, &format!("nqn.x:{n}"), "127.0.0.1:4420")));
    let entries = discover(server.options()).unwrap();
    assert_eq!(entries.len(), 20);
    assert_eq!(entries[19].subsystem_nqn, "nqn.x:19");
    assert_eq!(entries[0].address, "127.0.0.1:4420");
    let sent = server.target.sent(false, admin::GET_LOG_PAGE);
    // Twice it changed meanwhile: three times header, three pieces of at most 8 KiB, header.
    assert_eq!(sent.len(), 3 * 5);
    assert!(sent.iter().all(|sqe| LogPageFields::read(sqe).len <= 8192));
    // Only reading the last header clears the event.
    let retained = sent.iter().map(|sqe| sqe.get_cdw(10) >> 15 & 1).collect::<Vec<_>>();
    assert_eq!(retained, [1, 1, 1, 1, 0].repeat(3));
}

#[test]
fn a_log_that_never_rests_is_given_up() {
    let server = server(u64::MAX);
    let error = discover(server.options()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unstable { .. }), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn a_count_beyond_belief_is_refused() {
    let script = Script {
        hook: Box::new(|link, sqe| {
            if sqe.opcode != admin::GET_LOG_PAGE {
                return Reply::Serve;
            }
            link.give(sqe, DiscoveryLogHeader::new(1, u64::MAX).as_bytes());
            Reply::Nothing
        }),
        ..Script::default()
    };
    let target = Target::start(script);
    let error = discover(target.options()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Malformed(wrong) if wrong.field == "NUMREC"), "{error}");
}

#[test]
fn referrals_are_followed_once_each_however_they_go_round() {
    let servers = [server(0), server(0), server(0)];
    let [a, b, c] = &servers;
    let refer = |to: &Server| entry(SUBTYPE_REFERRAL, DISCOVERY_NQN, to.address());
    let unique = "nqn.2024-01.io.example:discovery";
    a.holds([entry(SUBTYPE_NVM, "nqn.x:a", "127.0.0.1:1"), refer(a), refer(b)]);
    b.holds([
        refer(a),
        entry(SUBTYPE_REFERRAL, unique, c.address()),
        entry(SUBTYPE_NVM, "nqn.x:b", "127.0.0.1:1"),
    ]);
    c.holds([refer(a), refer(b), entry(SUBTYPE_NVM, "nqn.x:b", "127.0.0.1:1")]);
    let found = Discovery::new(a.options()).run().unwrap();
    assert!(found.unreached.is_empty(), "{:?}", found.unreached);
    let names: Vec<_> = found.subsystems().map(|entry| entry.subsystem_nqn.as_str()).collect();
    assert_eq!(names, ["nqn.x:a", "nqn.x:b"]);
    // The header is read twice by one who asks once.
    let called = |server: &Server| server.called.lock().unwrap().clone();
    assert_eq!([called(a), called(b)], [[DISCOVERY_NQN; 2], [DISCOVERY_NQN; 2]]);
    assert_eq!(called(c), [unique; 2]);
    let depths: Vec<_> = found.found.iter().map(|found| found.depth).collect();
    assert!(depths.is_sorted() && depths.contains(&1), "{depths:?}");
}

#[test]
fn a_discovery_subsystem_with_a_name_of_its_own_is_called_by_it() {
    let server = server(0);
    server.holds([entry(SUBTYPE_NVM, "nqn.x:a", "127.0.0.1:1")]);
    let unique = "nqn.2024-01.io.example:discovery";
    let found = Discovery::new(server.options()).discovery_nqn(unique).run().unwrap();
    assert_eq!(found.subsystems().count(), 1);
    assert_eq!(*server.called.lock().unwrap(), [unique; 2]);
}

#[test]
fn referrals_end_at_the_callers_limits() {
    let servers: Vec<_> = (0..4).map(|_| server(0)).collect();
    for (n, server) in servers.iter().enumerate() {
        let mut entries = vec![entry(SUBTYPE_NVM, &format!("nqn.x:{n}"), "127.0.0.1:1")];
        let next = servers.get(n + 1);
        entries.extend(next.map(|next| entry(SUBTYPE_REFERRAL, DISCOVERY_NQN, next.address())));
        server.holds(entries);
    }
    let begin = || Discovery::new(servers[0].options());
    let found = begin().max_depth(2).run().unwrap();
    assert_eq!(found.subsystems().count(), 3);
    assert!(matches!(found.unreached[0].why, Why::TooDeep(2)));
    let found = begin().max_controllers(2).run().unwrap();
    assert_eq!(found.subsystems().count(), 2);
    assert!(matches!(found.unreached[0].why, Why::TooMany(2)));
    let found = begin().max_depth(0).run().unwrap();
    assert_eq!((found.subsystems().count(), found.unreached.len()), (1, 1));
    assert_eq!(found.unreached[0].entry.kind, EntryKind::Referral);
    assert_eq!(begin().run().unwrap().subsystems().count(), 4);
}

#[test]
fn a_referral_that_leads_nowhere_does_not_spoil_the_rest() {
    let server = server(0);
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let mut insists = entry(SUBTYPE_REFERRAL, DISCOVERY_NQN, "127.0.0.1:9");
    (insists.sectype, insists.treq) = (SECTYPE_TLS13, TREQ_REQUIRED);
    let nameless = entry(SUBTYPE_REFERRAL, "", "127.0.0.1:9");
    server.holds([
        entry(SUBTYPE_REFERRAL, DISCOVERY_NQN, &gone),
        insists,
        nameless,
        entry(SUBTYPE_NVM, "nqn.x:a", "127.0.0.1:1"),
    ]);
    let found = Discovery::new(server.options()).run().unwrap();
    assert_eq!(found.subsystems().count(), 1);
    let mut why: Vec<_> = found.unreached.iter().map(|unreached| &unreached.why).collect();
    // Refusals are known before anything is tried.
    assert_eq!(why.len(), 3);
    assert!(matches!(why.remove(0), Why::Refused(Refusal::TlsRequired)));
    assert!(matches!(why.remove(0), Why::Refused(Refusal::Name(_))));
    assert!(matches!(why.remove(0), Why::Failed(error) if error.scope() == Scope::Controller));
    // The first one must be there.
    assert!(Discovery::new(options(&gone)).run().is_err());
}

#[test]
fn everything_found_is_connected_to_as_the_options_say() {
    let server = server(0);
    let target = Target::start(Script::default());
    let mut insists = entry(SUBTYPE_NVM, SUBSYSTEM, "127.0.0.1:9");
    (insists.sectype, insists.treq) = (SECTYPE_TLS13, TREQ_REQUIRED);
    server.holds([
        entry(SUBTYPE_NVM, SUBSYSTEM, &target.address),
        // The same port once more, for another of its own.
        {
            let mut again = entry(SUBTYPE_NVM, SUBSYSTEM, &target.address);
            again.portid = 2.into();
            again
        },
        insists,
    ]);
    let options = server.options().io_queues(2);
    let connected = Discovery::new(options.clone()).run().unwrap().connect_all(&options);
    let [reached, refused] = &connected[..] else { panic!("{connected:?}") };
    let controller = reached.controller.as_ref().unwrap();
    assert_eq!(controller.info().traits.io_queues, 2);
    assert!(controller.namespace(1).is_ok());
    assert_eq!(refused.entry.tls, TlsNeed::Required);
    let error = refused.controller.as_ref().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Entry(Refusal::TlsRequired)), "{error}");
    assert_eq!(error.scope(), Scope::Configuration);
}
