//! For tests of initiators: what a target does wrong on purpose.

mod tamper;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nvme_tcp::spec::pdu::PduType;

pub(crate) use tamper::Tampered;

/// A field of a PDU that the target sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// PDU-Type.
    Type,
    /// FLAGS.
    Flags,
    /// HLEN.
    Hlen,
    /// PDO.
    Pdo,
    /// PLEN.
    Plen,
    /// CCCID of C2HData and R2T, CID of CapsuleResp.
    CommandId,
    /// The status field, with the phase bit, of CapsuleResp.
    Status,
    /// DATAO of C2HData, R2TO of R2T.
    Offset,
    /// DATAL of C2HData, R2TL of R2T.
    Length,
    /// MAXH2CDATA of ICResp.
    MaxH2cData,
    /// CPDA of ICResp.
    Cpda,
}

impl Field {
    /// Where it is in a PDU of this kind: offset and length in bytes.
    fn place(self, kind: Option<PduType>) -> (usize, usize) {
        match self {
            Self::Type => (0, 1),
            Self::Flags => (1, 1),
            Self::Hlen => (2, 1),
            Self::Pdo => (3, 1),
            Self::Plen => (4, 4),
            Self::CommandId if kind == Some(PduType::CapsuleResp) => (20, 2),
            Self::CommandId => (8, 2),
            Self::Status => (22, 2),
            Self::Offset | Self::MaxH2cData => (12, 4),
            Self::Length => (16, 4),
            Self::Cpda => (10, 1),
        }
    }
}

/// What goes wrong with a PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is closed in the place of the PDU.
    Cut,
    /// The connection is closed after this many bytes of the PDU.
    CutWithin(usize),
    /// Neither the PDU nor anything after it is sent; the connection stays open.
    Stall,
    /// The PDU, and everything after it on its connection, is sent this much later.
    Delay(Duration),
    /// The PDU is sent this much later, and PDUs of other commands overtake it meanwhile; what follows for the same
    /// command stays behind it. An order that the standard allows.
    Overtaken(Duration),
    /// The PDU is left out.
    Drop,
    /// A field has another value; the header digest is right for it.
    Set(Field, u32),
    /// A field has these bits flipped; the header digest is right for it.
    Flip(Field, u32),
    /// The header digest is wrong, where there is one.
    HeaderDigest,
    /// The data digest is wrong, where there is one.
    DataDigest,
    /// The data has its first bit flipped behind its digest.
    Data,
    /// This many zero bytes (a multiple of 4) follow the data, and PLEN, DATAL and the digest say so.
    MoreData(u32),
}

#[derive(Debug)]
struct Entry {
    kind: Option<PduType>,
    io_queues: Option<bool>,
    /// How many more such PDUs are sent as they should be.
    skip: u64,
    repeated: bool,
    done: bool,
    fault: Fault,
}

/// What a target does wrong on purpose, for tests of initiators: each entry names a PDU that it sends and a
/// [`Fault`].
///
/// A clone is the same plan, so that a test can add to it while the target runs. PDUs are counted from when
/// an entry is added, over all connections that it is for; it happens once.
///
/// ```
/// use nvme_tcp::spec::pdu::PduType;
/// use nvme_tcp_target::{Fault, FaultPlan, Field};
///
/// let plan = FaultPlan::new();
/// // The third piece of data that an I/O queue sends has another command's ID.
/// plan.io(PduType::C2hData, 3, Fault::Flip(Field::CommandId, 1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    entries: Arc<Mutex<Vec<Entry>>>,
    armed: bool,
}

impl FaultPlan {
    /// A plan without faults.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn armed(self) -> Self {
        Self { armed: true, ..self }
    }

    /// Whether a target was given the plan, even if it is still empty.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// The `nth` PDU (from 1) of this kind on any queue.
    pub fn any(&self, kind: PduType, nth: u64, fault: Fault) {
        self.add(Some(kind), None, nth, false, fault);
    }

    /// The `nth` PDU (from 1) of this kind on I/O queues.
    pub fn io(&self, kind: PduType, nth: u64, fault: Fault) {
        self.add(Some(kind), Some(true), nth, false, fault);
    }

    /// The `nth` PDU (from 1) of this kind on admin queues, and on queues that are not connected yet.
    pub fn admin(&self, kind: PduType, nth: u64, fault: Fault) {
        self.add(Some(kind), Some(false), nth, false, fault);
    }

    /// The `nth` PDU (from 1) of this kind on I/O queues, and each one after it.
    pub fn io_from(&self, kind: PduType, nth: u64, fault: Fault) {
        self.add(Some(kind), Some(true), nth, true, fault);
    }

    fn add(&self, kind: Option<PduType>, io_queues: Option<bool>, nth: u64, repeated: bool, fault: Fault) {
        let skip = nth.saturating_sub(1);
        self.lock().push(Entry { kind, io_queues, skip, repeated, done: false, fault });
    }

    /// How many entries have happened.
    pub fn happened(&self) -> usize {
        self.lock().iter().filter(|entry| entry.done).count()
    }

    /// Forgets all entries.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to go wrong with a PDU of this kind on this queue; counts it.
    fn next(&self, kind: Option<PduType>, io_queue: bool) -> Option<Fault> {
        let mut found = None;
        for entry in self.lock().iter_mut() {
            let meant = entry.kind.is_none_or(|wanted| Some(wanted) == kind)
                && entry.io_queues.is_none_or(|wanted| wanted == io_queue);
            if !meant || entry.done && !entry.repeated {
                continue;
            }
            if entry.skip > 0 {
                entry.skip -= 1;
            } else if found.is_none() {
                entry.done = true;
                found = Some(entry.fault);
            }
        }
        found
    }
}
