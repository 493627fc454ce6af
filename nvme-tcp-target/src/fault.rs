//! For tests of initiators: what a target does wrong on purpose.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nvme_tcp::driver::transport::{TransportError, Wait};
use nvme_tcp::driver::wire::Outlet;
use nvme_tcp::proto::Segment;
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{COMMON_HEADER_LEN, DIGEST_LEN, Flags, PduType};

use crate::session::{Session, SessionEnd};
use crate::statistics::Counters;
use crate::target::Close;

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

/// The sending end of a connection with a fault plan: everything is copied, and changed as planned.
#[derive(Debug)]
pub(crate) struct Tampered {
    plan: FaultPlan,
    waiting: Vec<u8>,
    after: Option<After>,
}

/// What happens once all that waits is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Cut,
    Stall,
}

impl Tampered {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { plan, waiting: Vec::new(), after: None }
    }

    /// Sends what the socket takes now; whether that was all.
    pub(crate) fn flush(
        &mut self,
        session: &mut Session,
        outlet: &mut Outlet,
        counters: &Counters,
    ) -> Result<bool, Close> {
        let io_queue = session.qid().is_some_and(|qid| qid > 0);
        while session.wants_write() {
            session.fill_digests();
            let mut bytes = Vec::new();
            for segment in session.segments() {
                match segment {
                    Segment::Bytes(header) => bytes.extend_from_slice(header),
                    Segment::Payload(payload) => bytes.extend_from_slice(session.memory(payload)),
                }
            }
            session.sent(bytes.len());
            self.tamper(&bytes, io_queue);
        }
        // Where that is the session's end, its last words are sent all the same.
        let polled = session.poll(std::time::Instant::now()).map_err(|end: SessionEnd| Close::from(end));
        while !self.waiting.is_empty() {
            let segments = std::iter::once(Segment::Bytes(&self.waiting));
            match outlet.send(segments, |_| &[], Wait::Now)? {
                Some(n) => {
                    counters.bytes_sent.add(n as u64);
                    self.waiting.drain(..n);
                }
                None => return Ok(false),
            }
        }
        let flushed =
            outlet.half_mut().flush(Wait::Now).map_err(|error: TransportError| Close::from(error))?;
        if flushed && self.after == Some(After::Cut) {
            return Err(Close::Fault);
        }
        polled.map(|()| flushed)
    }

    /// Takes whole PDUs, and adds them to what waits as the plan wants them.
    fn tamper(&mut self, mut bytes: &[u8], io_queue: bool) {
        while self.after.is_none() && bytes.len() >= COMMON_HEADER_LEN {
            let plen = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            let (pdu, rest) = bytes.split_at(plen.clamp(COMMON_HEADER_LEN, bytes.len()));
            bytes = rest;
            let fault = self.plan.next(PduType::from_byte(pdu[0]), io_queue);
            let from = self.waiting.len();
            self.waiting.extend_from_slice(pdu);
            match fault {
                None => {}
                Some(Fault::Cut) => self.end(from, After::Cut),
                Some(Fault::CutWithin(n)) => self.end(from + n.min(pdu.len()), After::Cut),
                Some(Fault::Stall) => self.end(from, After::Stall),
                Some(Fault::Drop) => self.waiting.truncate(from),
                Some(fault) => {
                    let changed = change(pdu, fault);
                    self.waiting.truncate(from);
                    self.waiting.extend(changed);
                }
            }
        }
    }

    fn end(&mut self, at: usize, after: After) {
        self.waiting.truncate(at);
        self.after = Some(after);
    }
}

/// A whole PDU with a fault in it.
fn change(pdu: &[u8], fault: Fault) -> Vec<u8> {
    let mut pdu = pdu.to_vec();
    let kind = PduType::from_byte(pdu[0]);
    let flags = Flags::from_bits_retain(pdu[1]);
    let (hlen, pdo) = (usize::from(pdu[2]), usize::from(pdu[3]));
    let data_digest = flags.contains(Flags::DDGST);
    let flip_last = |pdu: &mut Vec<u8>| pdu.iter_mut().last().into_iter().for_each(|byte| *byte ^= 1);
    match fault {
        Fault::Set(field, value) => put(&mut pdu, field.place(kind), |_| value),
        Fault::Flip(field, mask) => put(&mut pdu, field.place(kind), |value| value ^ mask),
        Fault::HeaderDigest if flags.contains(Flags::HDGST) => {
            pdu[hlen] ^= 1;
            return pdu;
        }
        Fault::DataDigest if data_digest => flip_last(&mut pdu),
        Fault::Data if pdo != 0 => pdu[pdo] ^= 1,
        Fault::MoreData(more) if pdo != 0 => {
            let digest = if data_digest { DIGEST_LEN } else { 0 };
            pdu.truncate(pdu.len() - digest);
            pdu.resize(pdu.len() + more as usize, 0);
            if data_digest {
                let digest = crc32c(&pdu[pdo..]);
                pdu.extend(digest.to_le_bytes());
            }
            for field in [Field::Plen, Field::Length] {
                put(&mut pdu, field.place(kind), |value| value + more);
            }
        }
        _ => {}
    }
    if flags.contains(Flags::HDGST) {
        let digest = crc32c(&pdu[..hlen]);
        pdu[hlen..hlen + DIGEST_LEN].copy_from_slice(&digest.to_le_bytes());
    }
    pdu
}

/// Changes a little-endian number in place.
fn put(pdu: &mut [u8], (at, len): (usize, usize), change: impl FnOnce(u32) -> u32) {
    let mut value = [0; 4];
    value[..len].copy_from_slice(&pdu[at..at + len]);
    let changed = change(u32::from_le_bytes(value)).to_le_bytes();
    pdu[at..at + len].copy_from_slice(&changed[..len]);
}

#[cfg(test)]
mod tests {
    use nvme_tcp::spec::pdu::{DataPdu, Layout};
    use zerocopy::IntoBytes;

    use super::*;

    fn data_pdu(layout: &Layout) -> Vec<u8> {
        let header = DataPdu::new(layout.common_header(PduType::C2hData, Flags::LAST, 8), 7, 0, 0, 8);
        let mut pdu = header.as_bytes().to_vec();
        if layout.header_digest {
            pdu.extend(crc32c(&pdu).to_le_bytes());
        }
        pdu.extend([9; 8]);
        if layout.data_digest {
            pdu.extend(crc32c(&[9; 8]).to_le_bytes());
        }
        pdu
    }

    #[test]
    fn only_the_planned_pdu_is_changed_and_its_digest_follows() {
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 2, Fault::Flip(Field::CommandId, 0x8000));
        let layout = Layout { header_digest: true, ..Layout::default() };
        let pdu = data_pdu(&layout);
        let mut tampered = Tampered::new(plan.clone());
        tampered.tamper(&pdu, false);
        tampered.tamper(&[&pdu[..], &pdu, &pdu].concat(), true);
        let sent: Vec<_> = tampered.waiting.chunks(pdu.len()).collect();
        assert_eq!(sent[0], pdu);
        assert_eq!(sent[1], pdu);
        assert_eq!(sent[2][8..10], 0x8007_u16.to_le_bytes());
        assert_eq!(sent[2][24..28], crc32c(&sent[2][..24]).to_le_bytes());
        assert_eq!(sent[3], pdu);
        assert_eq!(plan.happened(), 1);
    }

    #[test]
    fn more_data_is_a_pdu_that_is_right_in_itself() {
        let layout = Layout { data_digest: true, ..Layout::default() };
        let pdu = data_pdu(&layout);
        let changed = change(&pdu, Fault::MoreData(4));
        assert_eq!(changed.len(), pdu.len() + 4);
        assert_eq!(changed[4..8], (changed.len() as u32).to_le_bytes());
        assert_eq!(changed[16..20], 12_u32.to_le_bytes());
        assert_eq!(changed[36..], crc32c(&changed[24..36]).to_le_bytes());
    }

    #[test]
    fn nothing_follows_a_cut() {
        let plan = FaultPlan::new();
        plan.any(PduType::C2hData, 2, Fault::CutWithin(5));
        let pdu = data_pdu(&Layout::default());
        let mut tampered = Tampered::new(plan);
        tampered.tamper(&[&pdu[..], &pdu, &pdu].concat(), true);
        tampered.tamper(&pdu, true);
        assert_eq!(tampered.waiting.len(), pdu.len() + 5);
        assert_eq!(tampered.after, Some(After::Cut));
    }
}
