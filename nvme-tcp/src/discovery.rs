//! What a discovery controller knows: subsystems and where they listen.

use zerocopy::FromBytes;

use crate::controller::Controller;
use crate::error::{Error, Result};
use crate::nqn::DISCOVERY_NQN;
use crate::options::Options;
use crate::spec::command::admin::LOG_DISCOVERY;
use crate::spec::discovery_log::{
    ADRFAM_IPV6, DiscoveryLogEntry, DiscoveryLogHeader, ENTRY_LEN, MAX_RECORDS, SECTYPE_NONE,
    SUBTYPE_CURRENT_DISCOVERY, SUBTYPE_NVM, SUBTYPE_REFERRAL, TREQ_REQUIRED, TRTYPE_TCP,
};
use crate::spec::text;

/// How often a log that changes while it is read is read anew.
const MAX_TRIES: u32 = 10;
/// Entries in one read: 64 KiB, which every controller's MDTS allows.
const ENTRIES_PER_READ: usize = 64;

/// What an entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsNeed {
    /// It has none.
    Off,
    /// It can: SECTYPE names TLS and TREQ does not insist.
    Possible,
    /// It insists.
    Required,
}

/// One entry of the discovery log, for TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// Asks the discovery controller at the options' address, whatever subsystem they name.
///
/// # Errors
/// No connection, or the log kept changing.
pub fn discover(options: Options) -> Result<Vec<Entry>> {
    let options =
        Options { subsystem_nqn: DISCOVERY_NQN.to_owned(), io_queues: 0, owned_queues: 0, ..options };
    let controller = options.connect()?;
    let entries = read_log(&controller);
    controller.shutdown();
    entries
}

/// Reads the log; its header before and after, since it may change meanwhile (Base, section 5.1.12.3.1).
fn read_log(controller: &Controller) -> Result<Vec<Entry>> {
    for _ in 0..MAX_TRIES {
        let before = header(controller)?;
        let count = before.numrec.get();
        if count > MAX_RECORDS {
            return Err(Error::invalid(format!("the discovery log says it has {count} records")));
        }
        let mut entries = Vec::new();
        let mut buffer = vec![0; ENTRY_LEN * ENTRIES_PER_READ];
        let mut done = 0;
        while done < count {
            let some = (count - done).min(ENTRIES_PER_READ as u64) as usize;
            let chunk = &mut buffer[..some * ENTRY_LEN];
            controller.get_log_page(LOG_DISCOVERY, (done + 1) * ENTRY_LEN as u64, chunk)?;
            let whole =
                chunk.chunks_exact(ENTRY_LEN).filter_map(|e| DiscoveryLogEntry::ref_from_bytes(e).ok());
            entries.extend(whole.filter(|entry| entry.trtype == TRTYPE_TCP).map(Entry::read));
            done += some as u64;
        }
        if header(controller)?.genctr == before.genctr {
            return Ok(entries);
        }
    }
    Err(Error::invalid(format!("the discovery log changed {MAX_TRIES} times while it was read")))
}

fn header(controller: &Controller) -> Result<DiscoveryLogHeader> {
    let mut buffer = [0; ENTRY_LEN];
    controller.get_log_page(LOG_DISCOVERY, 0, &mut buffer)?;
    DiscoveryLogHeader::read_from_bytes(&buffer)
        .map_err(|_| Error::invalid("a discovery log header has another length"))
}

impl Entry {
    fn read(entry: &DiscoveryLogEntry) -> Self {
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
        Self {
            kind,
            subsystem_nqn: text::from_field(&entry.subnqn),
            address,
            port_id: entry.portid.get(),
            tls,
        }
    }
}
