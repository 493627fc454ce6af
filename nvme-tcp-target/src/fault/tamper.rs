//! The sending end of a connection with a fault plan.

use std::time::Instant;

use nvme_tcp::driver::transport::{TransportError, Wait};
use nvme_tcp::driver::wire::Outlet;
use nvme_tcp::proto::Segment;
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{COMMON_HEADER_LEN, DIGEST_LEN, Flags, PduType};

use super::{Fault, FaultPlan, Field};
use crate::session::{Session, SessionEnd};
use crate::statistics::Counters;
use crate::target::Close;

/// The sending end of a connection with a fault plan: everything is copied, and changed as planned.
#[derive(Debug)]
pub(crate) struct Tampered {
    plan: FaultPlan,
    waiting: Vec<u8>,
    held: Vec<Held>,
    after: Option<After>,
}

/// PDUs that are sent later.
#[derive(Debug)]
struct Held {
    until: Instant,
    /// The command that they are for; `None` for everything there is.
    command: Option<u16>,
    bytes: Vec<u8>,
}

/// What happens once all that waits is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Cut,
    Stall,
}

impl Tampered {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { plan, waiting: Vec::new(), held: Vec::new(), after: None }
    }

    /// When something is to be sent that is held.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    /// Sends what the socket takes now; whether that was all, but for what is held.
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
                    Segment::Payload(payload) => {
                        payload
                            .pieces(|at| session.memory(at))
                            .for_each(|piece| bytes.extend_from_slice(piece));
                    }
                }
            }
            session.sent(bytes.len());
            self.tamper(&bytes, io_queue, Instant::now());
        }
        self.release(Instant::now());
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
        // Only now: of a session that is over, the last words are sent all the same.
        session.poll(Instant::now()).map_err(|end: SessionEnd| Close::from(end))?;
        Ok(flushed)
    }

    /// What was held for long enough goes out; after an end nothing does.
    fn release(&mut self, now: Instant) {
        if self.after.is_some() {
            self.held.clear();
        }
        let waiting = &mut self.waiting;
        self.held.retain(|held| {
            let stays = held.until > now;
            if !stays {
                waiting.extend_from_slice(&held.bytes);
            }
            stays
        });
    }

    /// What holds the PDUs of a command, if anything does: it alone before everything.
    fn holder(&mut self, command: Option<u16>) -> Option<&mut Held> {
        let at = |wanted: Option<u16>| self.held.iter().position(|held| held.command == wanted);
        let at = command.and_then(|command| at(Some(command))).or_else(|| at(None))?;
        self.held.get_mut(at)
    }

    /// Takes whole PDUs, and adds them to what waits as the plan wants them.
    fn tamper(&mut self, mut bytes: &[u8], io_queue: bool, now: Instant) {
        while self.after.is_none() && bytes.len() >= COMMON_HEADER_LEN {
            let plen = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
            let (pdu, rest) = bytes.split_at(plen.clamp(COMMON_HEADER_LEN, bytes.len()));
            bytes = rest;
            let kind = PduType::from_byte(pdu[0]);
            let fault = self.plan.next(kind, io_queue);
            let command = command_of(pdu, kind);
            if let Some(held) = self.holder(command) {
                match fault {
                    None | Some(Fault::Delay(_) | Fault::Overtaken(_)) => held.bytes.extend_from_slice(pdu),
                    Some(Fault::Drop) => {}
                    // What ends the connection does so at once.
                    Some(Fault::Cut | Fault::CutWithin(_)) => self.after = Some(After::Cut),
                    Some(Fault::Stall) => self.after = Some(After::Stall),
                    Some(fault) => held.bytes.extend(change(pdu, fault)),
                }
                continue;
            }
            let from = self.waiting.len();
            self.waiting.extend_from_slice(pdu);
            match fault {
                Some(Fault::Delay(delay)) => self.hold(from, None, now + delay),
                Some(Fault::Overtaken(delay)) => self.hold(from, command, now + delay),
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

    /// Takes what waits back from there on, to be sent later.
    fn hold(&mut self, from: usize, command: Option<u16>, until: Instant) {
        let bytes = self.waiting.split_off(from);
        self.held.push(Held { until, command, bytes });
    }

    fn end(&mut self, at: usize, after: After) {
        self.waiting.truncate(at);
        self.after = Some(after);
    }
}

/// Which command a PDU is for.
fn command_of(pdu: &[u8], kind: Option<PduType>) -> Option<u16> {
    let has_one = matches!(kind, Some(PduType::CapsuleResp | PduType::C2hData | PduType::R2t));
    let (at, _) = Field::CommandId.place(kind);
    pdu.get(at..).filter(|_| has_one)?.first_chunk().map(|id| u16::from_le_bytes(*id))
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
    use std::time::Duration;

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
        tampered.tamper(&pdu, false, Instant::now());
        tampered.tamper(&[&pdu[..], &pdu, &pdu].concat(), true, Instant::now());
        let sent: Vec<_> = tampered.waiting.chunks(pdu.len()).collect();
        assert_eq!(sent[0], pdu);
        assert_eq!(sent[1], pdu);
        assert_eq!(sent[2][8..10], 0x8007_u16.to_le_bytes());
        assert_eq!(sent[2][24..28], crc32c(&sent[2][..24]).to_le_bytes());
        assert_eq!(sent[3], pdu);
        assert_eq!(plan.happened(), 1);
    }

    #[test]
    fn others_overtake_a_pdu_that_is_held_and_its_own_command_does_not() {
        let (now, delay) = (Instant::now(), Duration::from_secs(1));
        let of = |command: u8| {
            let mut pdu = data_pdu(&Layout::default());
            pdu[8] = command;
            pdu
        };
        let plan = FaultPlan::new();
        plan.io(PduType::C2hData, 1, Fault::Overtaken(delay));
        let mut tampered = Tampered::new(plan.clone());
        tampered.tamper(&[of(1), of(2), of(1), of(3)].concat(), true, now);
        assert_eq!(tampered.waiting, [of(2), of(3)].concat());
        // From here on everything waits, but for the command that does already.
        plan.io(PduType::C2hData, 1, Fault::Delay(delay * 2));
        tampered.tamper(&[of(4), of(1), of(5)].concat(), true, now);
        assert_eq!(tampered.next(), Some(now + delay));
        tampered.release(now + delay);
        assert_eq!(tampered.waiting, [of(2), of(3), of(1), of(1), of(1)].concat());
        tampered.release(now + delay * 2);
        assert_eq!(tampered.waiting.split_off(5 * of(1).len()), [of(4), of(5)].concat());
        assert_eq!(tampered.next(), None);
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
        tampered.tamper(&[&pdu[..], &pdu, &pdu].concat(), true, Instant::now());
        tampered.tamper(&pdu, true, Instant::now());
        assert_eq!(tampered.waiting.len(), pdu.len() + 5);
        assert_eq!(tampered.after, Some(After::Cut));
    }
}
