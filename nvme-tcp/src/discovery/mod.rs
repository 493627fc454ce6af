//! What discovery controllers know: subsystems and where they listen.
//!
//! [`discover`] asks one; a [`Discovery`] follows the referrals to others as well, and what it finds can be
//! [connected to](Discovered::connect_all). Whatever an entry says of TLS, it never makes a connection less secure
//! than the caller's options ask for: [`Entry::decide`].
//!
//! ```no_run
//! use nvme_tcp::{Options, discovery::Discovery, host::HostIdentity, nqn::DISCOVERY_NQN};
//!
//! # fn main() -> nvme_tcp::Result<()> {
//! let options = Options::new("10.0.0.5:8009", DISCOVERY_NQN, HostIdentity::load()?);
//! let found = Discovery::new(options.clone()).run()?;
//! for connection in found.connect_all(&options) {
//!     match connection.controller {
//!         Ok(controller) => println!("{}: {:?}", connection.entry.subsystem_nqn, controller.namespaces()?),
//!         Err(error) => println!("{}: {error}", connection.entry.address),
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod decision;
mod walk;

use zerocopy::FromBytes;

use crate::controller::Controller;
use crate::error::{Error, ErrorKind, Result};
use crate::nqn::DISCOVERY_NQN;
use crate::options::Options;
use crate::spec::command::admin::{LOG_DISCOVERY, LogPage};
use crate::spec::completion::Status;
use crate::spec::discovery_log::{
    ADRFAM_IPV6, CNTLID_DYNAMIC, DiscoveryLogEntry, DiscoveryLogHeader, ENTRY_LEN, MAX_RECORDS, SECTYPE_NONE,
    SUBTYPE_CURRENT_DISCOVERY, SUBTYPE_NVM, SUBTYPE_REFERRAL, TREQ_REQUIRED, TRTYPE_TCP,
};
use crate::spec::malformed::{self, Malformed};
use crate::spec::text;

pub use decision::{Decision, Refusal};
pub use walk::{Connected, Discovered, Discovery, Found, Unreached, Why};

/// How often a log that changes while it is read is read anew.
const MAX_TRIES: u32 = 10;
/// Entries in one read: 64 KiB, in pieces of MDTS.
const ENTRIES_PER_READ: usize = 64;

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A subsystem with namespaces.
    Subsystem,
    /// Another discovery controller.
    Referral,
    /// The discovery controller that was asked.
    ThisDiscovery,
    /// Something that this library does not know.
    Other(u8),
}

/// Whether the listener wants TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsNeed {
    /// It has none.
    Off,
    /// It can: SECTYPE names TLS and TREQ does not insist.
    Possible,
    /// It insists.
    Required,
}

/// One entry of the discovery log, for TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// What it leads to.
    pub kind: EntryKind,
    /// The subsystem's NQN.
    pub subsystem_nqn: String,
    /// Host and port, as [`Options::new`] takes them.
    pub address: String,
    /// PORTID.
    pub port_id: u16,
    /// Whether the listener wants TLS.
    pub tls: TlsNeed,
    /// SECTYPE: 0 for none, 1 for TLS 1.2, 2 for TLS 1.3.
    pub security_type: u8,
    /// CNTLID, where the subsystem's controllers are not dynamic.
    pub controller_id: Option<u16>,
    /// ASQSZ: the most entries in the admin queue; 0 where the entry does not say.
    pub admin_queue_size: u16,
    /// EFLAGS: DUPRETINFO in bit 0, EPCSD (persistent connections) in 1, NCC in 2.
    pub flags: u16,
}

/// Asks the discovery controller at the options' address, whatever subsystem they name, and no other.
///
/// ```no_run
/// # fn main() -> nvme_tcp::Result<()> {
/// use nvme_tcp::{Options, discovery, host::HostIdentity, nqn::DISCOVERY_NQN};
///
/// let options = Options::new("10.0.0.5:8009", DISCOVERY_NQN, HostIdentity::load()?);
/// for entry in discovery::discover(options)? {
///     println!("{:?} {} at {}", entry.kind, entry.subsystem_nqn, entry.address);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// No connection, or the log is malformed or kept changing.
pub fn discover(options: Options) -> Result<Vec<Entry>> {
    ask(options, DISCOVERY_NQN).map(|answer| answer.entries)
}

/// What one discovery controller said.
struct Answer {
    entries: Vec<Entry>,
    /// The NQN that it gives itself.
    nqn: String,
}

/// Asks the discovery controller of name `nqn` at the options' address.
fn ask(options: Options, nqn: &str) -> Result<Answer> {
    let options = Options { subsystem_nqn: nqn.to_owned(), io_queues: 0, owned_queues: 0, ..options };
    let controller = options.connect()?;
    let nqn = controller.info().traits.subsystem_nqn;
    let entries = controller.discovery_log();
    controller.shutdown();
    Ok(Answer { entries: entries?, nqn })
}

impl Controller {
    /// The entries for TCP of the discovery log of this controller, which is to be a discovery controller. The log
    /// is read anew until it did not change meanwhile (GENCTR); that clears the event that tells of its change.
    ///
    /// ```no_run
    /// # fn example(discovery: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::events::{AsyncEvent, Event};
    ///
    /// // A discovery controller with a keep-alive tells when its log changes.
    /// let events = discovery.events()?;
    /// while let Some(event) = events.recv() {
    ///     if matches!(event, Event::Reported(AsyncEvent::DiscoveryLogChanged)) {
    ///         println!("{} entries now", discovery.discovery_log()?.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A command failed, the log is malformed or kept changing, or the association is lost.
    pub fn discovery_log(&self) -> Result<Vec<Entry>> {
        for _ in 0..MAX_TRIES {
            match self.discovery_log_once() {
                Ok(Some(entries)) => return Ok(entries),
                Ok(None) => {}
                // The controller noticed it before us.
                Err(error) if error.status().is_some_and(|s| s.is(Status::DISCOVER_RESTART)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::Unstable { what: "the discovery log", tries: MAX_TRIES }.into())
    }

    /// Reads the log; its header before and after, since it may change meanwhile (Base, section 5.1.12.3.1): `None`
    /// if it did.
    fn discovery_log_once(&self) -> Result<Option<Vec<Entry>>> {
        let before = self.discovery_header(true)?;
        let count = before.numrec.get();
        let wrong = |field, got, expected| {
            Error::from(Malformed { structure: "discovery log", field, got, expected })
        };
        if before.recfmt.get() != 0 {
            return Err(wrong("RECFMT", before.recfmt.get().into(), "0"));
        }
        if count > MAX_RECORDS {
            return Err(wrong("NUMREC", count, "at most 65,535"));
        }
        let page = LogPage { retain_event: true, ..LogPage::new(LOG_DISCOVERY) };
        let mut entries = Vec::new();
        let mut buffer = vec![0; ENTRY_LEN * ENTRIES_PER_READ];
        let mut done = 0;
        while done < count {
            let some = (count - done).min(ENTRIES_PER_READ as u64) as usize;
            let chunk = &mut buffer[..some * ENTRY_LEN];
            self.get_log(page, (done + 1) * ENTRY_LEN as u64, chunk)?;
            let whole =
                chunk.chunks_exact(ENTRY_LEN).filter_map(|e| DiscoveryLogEntry::ref_from_bytes(e).ok());
            entries.extend(whole.filter(|entry| entry.trtype == TRTYPE_TCP).map(Entry::read));
            done += some as u64;
        }
        let after = self.discovery_header(false)?;
        Ok((after.genctr == before.genctr).then_some(entries))
    }

    fn discovery_header(&self, retain_event: bool) -> Result<Box<DiscoveryLogHeader>> {
        let mut buffer = [0; ENTRY_LEN];
        self.get_log(LogPage { retain_event, ..LogPage::new(LOG_DISCOVERY) }, 0, &mut buffer)?;
        Ok(malformed::read("discovery log", &buffer)?.0)
    }
}

impl Entry {
    /// What an entry of the log says. Text that is not printable comes out as `?`.
    ///
    /// ```
    /// use nvme_tcp::discovery::Entry;
    /// use nvme_tcp::spec::discovery_log::{ADRFAM_IPV6, DiscoveryLogEntry};
    ///
    /// let mut raw = DiscoveryLogEntry::zeroed();
    /// raw.adrfam = ADRFAM_IPV6;
    /// raw.traddr[..11].copy_from_slice(b"2001:db8::5");
    /// raw.trsvcid[..4].copy_from_slice(b"4420");
    /// // As `Options::new` takes it.
    /// assert_eq!(Entry::read(&raw).address, "[2001:db8::5]:4420");
    /// ```
    pub fn read(entry: &DiscoveryLogEntry) -> Self {
        let kind = match entry.subtype {
            SUBTYPE_NVM => EntryKind::Subsystem,
            SUBTYPE_REFERRAL => EntryKind::Referral,
            SUBTYPE_CURRENT_DISCOVERY => EntryKind::ThisDiscovery,
            other => EntryKind::Other(other),
        };
        // SECTYPE says whether the listener can; TREQ alone says nothing (it may speak of other means).
        let tls = match (entry.sectype, entry.treq & 0b11) {
            (SECTYPE_NONE, _) => TlsNeed::Off,
            (_, TREQ_REQUIRED) => TlsNeed::Required,
            _ => TlsNeed::Possible,
        };
        let (host, port) = (text::from_field(&entry.traddr), text::from_field(&entry.trsvcid));
        let address =
            if entry.adrfam == ADRFAM_IPV6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        // FFFEh is the static model without a controller of its own.
        let controller_id = Some(entry.cntlid.get()).filter(|id| *id < CNTLID_DYNAMIC - 1);
        Self {
            kind,
            subsystem_nqn: text::from_field(&entry.subnqn),
            address,
            port_id: entry.portid.get(),
            tls,
            security_type: entry.sectype,
            controller_id,
            admin_queue_size: entry.asqsz.get(),
            flags: entry.eflags.get(),
        }
    }
}
