//! What comes from the host: PDUs taken apart, and each of their fields checked.

use nvme_tcp::proto::{ADMIN_IN_CAPSULE, Door, Frame, Payload, Pdu, Violation};
use nvme_tcp::spec::command::{PSDT_SGL, Sqe, fabrics};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::spec::pdu::{
    CapsuleCmd, DataPdu, FatalStatus, Flags, IcReq, IcResp, Layout, PduType, R2t, alignment_from_pda,
};
use nvme_tcp::spec::sgl;

use super::super::slots::Stage;
use super::super::{Event, Negotiated};
use super::{Connection, Incoming, State};

impl Connection {
    /// Which door the next received bytes best come in by.
    pub fn door(&mut self) -> Door {
        let left = self.framer.data_next();
        match self.incoming {
            Some(incoming) if left > 0 => match self.receiver(incoming.slot) {
                Some(slot) => {
                    let offset = incoming.start + (incoming.len - left);
                    Door::InPlace(Payload { slot, offset, len: left })
                }
                None => Door::Discard(left),
            },
            _ => Door::Consume,
        }
    }

    /// The slot of incoming data, if its memory may be written to.
    fn receiver(&mut self, slot: Option<u16>) -> Option<u16> {
        let slot = slot?;
        self.slots.get(slot).filter(|command| command.stage == Stage::Receiving)?;
        Some(slot)
    }

    /// Whether long data is likely to come next; as long as [`door`](Self::door) does not say where it goes, little should
    /// be received, or it is copied.
    pub fn expects_long_data(&self) -> bool {
        self.framer.expects_long_data()
    }

    /// `n` bytes were received where [`Door::InPlace`] or [`Door::Discard`] said.
    pub fn advance(&mut self, n: usize) {
        self.framer.advance(n as u32);
        self.data_received(n as u32);
    }

    /// Takes bytes off the front of `input` until something happens; `None` when all of it is taken.
    /// Events that need no bytes come out first, so this alone is enough to drain them.
    pub fn consume<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Violation> {
        loop {
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            if self.state == State::Over {
                *input = &[];
                return Ok(None);
            }
            let next = self.framer.next(input);
            let handled = match next {
                Ok(None) => return Ok(None),
                Ok(Some(Frame::Data(bytes))) => {
                    let Some(incoming) = self.incoming else { continue };
                    let offset = incoming.start + (incoming.len - incoming.left);
                    let receiver = self.receiver(incoming.slot);
                    self.data_received(bytes.len() as u32);
                    if let Some(slot) = receiver {
                        let to = Payload { slot, offset, len: bytes.len() as u32 };
                        return Ok(Some(Event::Data { to, bytes }));
                    }
                    Ok(())
                }
                Ok(Some(Frame::Digest(digest))) => {
                    self.digest_received(digest);
                    Ok(())
                }
                Ok(Some(Frame::Header { pdu, data, digest })) => self.header(&pdu, data, digest),
                Err(violation) => Err(violation),
            };
            handled.inspect_err(|violation| self.terminate(violation))?;
        }
    }

    fn header(&mut self, pdu: &Pdu, data: u32, digest: bool) -> Result<(), Violation> {
        match pdu {
            Pdu::IcReq(request) => self.initialize(request),
            Pdu::CapsuleCmd(capsule) => self.capsule(capsule, data, digest),
            Pdu::H2cData(header) => self.data_header(header, data, digest),
            Pdu::TermReq(term) => {
                self.state = State::Over;
                self.events.push_back(Event::Terminated(term.fes.get(), term.fei.get()));
                Ok(())
            }
            // The framer lets nothing through that only a controller sends.
            Pdu::IcResp(_) | Pdu::CapsuleResp(_) | Pdu::C2hData(_) | Pdu::R2t(_) => Ok(()),
        }
    }

    fn initialize(&mut self, request: &IcReq) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: &'static str| {
            Violation::field(PduType::IcReq, field, offset, got, expected)
                .told_as(FatalStatus::UnsupportedParameter)
        };
        if request.pfv.get() != 0 {
            return Err(wrong("PFV", 8, request.pfv.get().into(), "0"));
        }
        let alignment = alignment_from_pda(request.hpda)
            .ok_or_else(|| wrong("HPDA", 10, request.hpda.into(), "0 to 31"))?;
        if request.dgst & !3 != 0 {
            return Err(wrong("DGST", 11, request.dgst.into(), "no bit besides 0 and 1"));
        }
        let header_digest = self.config.header_digest && request.dgst & 1 != 0;
        let data_digest = self.config.data_digest && request.dgst & 2 != 0;
        let response = IcResp::new(self.config.cpda, header_digest, data_digest, self.config.maxh2cdata);
        self.push(&response.common, &response, None);
        let cpda = alignment_from_pda(self.config.cpda).unwrap_or(4);
        self.framer.set_layout(Layout { header_digest, data_digest, alignment: cpda });
        self.layout = Layout { header_digest, data_digest, alignment };
        self.max_r2ts = self.config.max_r2ts.min(request.maxr2t.get().saturating_add(1));
        self.state = State::Open;
        let max_r2ts = self.max_r2ts;
        self.events.push_back(Event::Open(Negotiated { header_digest, data_digest, alignment, max_r2ts }));
        Ok(())
    }

    fn capsule(&mut self, capsule: &CapsuleCmd, data: u32, digest: bool) -> Result<(), Violation> {
        let sqe = &capsule.sqe;
        let limit = if sqe.opcode == fabrics::OPCODE { ADMIN_IN_CAPSULE } else { self.in_capsule };
        if data > limit {
            let expected = format!("at most {limit} bytes of in-capsule data");
            return Err(Violation::field(PduType::CapsuleCmd, "PLEN", 4, data, expected)
                .told_as(FatalStatus::LimitExceeded));
        }
        if data > 0 {
            self.incoming = Some(Incoming { slot: None, start: 0, len: data, left: data, digest });
        }
        let cid = sqe.cid.get();
        if self.slots.is_cid_taken(cid) {
            self.push_response(cid, Status::COMMAND_ID_CONFLICT.with_do_not_retry(), 0);
            return Ok(());
        }
        let len = match checked_len(sqe, data) {
            Ok(len) => len,
            Err(status) => {
                self.push_response(cid, status.with_do_not_retry(), 0);
                return Ok(());
            }
        };
        let stage = if len > 0 { Stage::Asking } else { Stage::Executing };
        let Some(slot) = self.slots.take(sqe, stage, len) else {
            let expected = format!("at most {} commands outstanding", self.slots.len());
            return Err(Violation::sequence(PduType::CapsuleCmd, expected));
        };
        if let Some(incoming) = self.incoming.as_mut().filter(|_| data > 0) {
            incoming.slot = Some(slot);
        }
        self.events.push_back(match len {
            0 => Event::Command { slot, sqe: *sqe },
            len => Event::Want { slot, sqe: *sqe, len },
        });
        Ok(())
    }

    /// Sends R2Ts for as much of the command's data as may be outstanding at once.
    pub(super) fn ask(&mut self, index: u16) {
        let step = self.config.r2t_len;
        while let Some(command) = self.slots.get(index) {
            let (asked, left) = (command.asked, command.len - command.asked);
            // R2Ts are answered in order, so those outstanding begin with the one that data comes for.
            let outstanding = asked.div_ceil(step) - command.received / step;
            if left == 0 || outstanding >= self.max_r2ts {
                break;
            }
            let piece = left.min(step);
            command.asked += piece;
            let cid = command.sqe.cid.get();
            let common = self.layout.common_header(PduType::R2t, Flags::empty(), 0);
            let r2t = R2t::new(common, cid, ttag(index, asked / step), asked, piece);
            self.push(&common, &r2t, None);
        }
    }

    fn data_header(&mut self, header: &DataPdu, data: u32, digest: bool) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::H2cData, field, offset, got, expected)
        };
        let step = self.config.r2t_len;
        let tag = header.ttag.get();
        let index = slot_of(tag);
        let command = self
            .slots
            .get(index)
            .filter(|command| command.stage == Stage::Receiving && command.asked > command.received)
            .filter(|command| tag == ttag(index, command.received / step))
            .ok_or_else(|| wrong("TTAG", 10, tag.into(), "that of the oldest unanswered R2T".into()))?;
        let (cid, expected_cid) = (header.cccid.get(), command.sqe.cid.get());
        if cid != expected_cid {
            return Err(wrong("CCCID", 8, cid.into(), format!("{expected_cid}, as in the R2T")));
        }
        let (start, received) = (header.datao.get(), command.received);
        if start != received {
            let expected = format!("{received}, what has come so far");
            return Err(wrong("DATAO", 12, start, expected).told_as(FatalStatus::OutOfRange));
        }
        if data > self.config.maxh2cdata {
            let expected = format!("at most {}, MAXH2CDATA", self.config.maxh2cdata);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::LimitExceeded));
        }
        let r2t_end = (received / step).saturating_add(1).saturating_mul(step).min(command.len);
        if data > r2t_end - received {
            let expected = format!("at most {}, what the R2T leaves", r2t_end - received);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::OutOfRange));
        }
        let last = Flags::from_bits_retain(header.common.flags).contains(Flags::LAST);
        if last != (received + data == r2t_end) {
            let expected = "LAST_PDU on the last PDU that answers an R2T, and on no other";
            return Err(wrong("FLAGS", 1, header.common.flags.into(), expected.into()));
        }
        self.incoming = Some(Incoming { slot: Some(index), start, len: data, left: data, digest });
        Ok(())
    }

    fn data_received(&mut self, n: u32) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.left = incoming.left.saturating_sub(n);
        if incoming.left == 0 && !incoming.digest {
            self.data_done();
        }
    }

    fn digest_received(&mut self, digest: u32) {
        let Some(incoming) = self.incoming else { return };
        if let Some(slot) = self.receiver(incoming.slot) {
            let of = Payload { slot, offset: incoming.start, len: incoming.len };
            self.events.push_back(Event::CheckDigest { of, digest });
        }
        self.data_done();
    }

    /// A PDU's data is whole.
    fn data_done(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        let Some(slot) = self.receiver(incoming.slot) else { return };
        let Some(command) = self.slots.get(slot) else { return };
        command.received += incoming.len;
        if command.received == command.len {
            command.stage = Stage::Executing;
            let sqe = command.sqe;
            self.events.push_back(Event::Command { slot, sqe });
        } else {
            self.ask(slot);
        }
    }
}

/// How many bytes of write data the command has, of which `data` follow in the capsule.
fn checked_len(sqe: &Sqe, data: u32) -> Result<u32, Status> {
    const PSDT: u8 = 0b11 << 6;
    if sqe.flags & PSDT != PSDT_SGL {
        return Err(Status::INVALID_FIELD);
    }
    let sgl = &sqe.sgl;
    let len = sgl.length.get();
    match (is_write(sqe), sgl.kind) {
        (true, sgl::IN_CAPSULE) if sgl.address.get() != 0 => Err(Status::SGL_OFFSET_INVALID),
        (true, sgl::IN_CAPSULE) if len != data => Err(Status::SGL_LENGTH_INVALID),
        (true, sgl::IN_CAPSULE) => Ok(len),
        (_, sgl::TRANSPORT) if data > 0 => Err(Status::SGL_LENGTH_INVALID),
        (write, sgl::TRANSPORT) => Ok(if write { len } else { 0 }),
        _ => Err(Status::SGL_TYPE_INVALID),
    }
}

/// Whether data goes from host to controller: bits 1:0 of the opcode, or of FCTYPE, are 01b (Base, section
/// 4.1, and Fabrics, section 6).
pub(crate) fn is_write(sqe: &Sqe) -> bool {
    let code = if sqe.opcode == fabrics::OPCODE { fabrics::kind(sqe) } else { sqe.opcode };
    code & 0b11 == 0b01
}

/// The tag of a command's `n`th R2T: the slot below, the number's low bits above.
fn ttag(slot: u16, n: u32) -> u16 {
    slot & 0x0fff | (n as u16 & 0xf) << 12
}

fn slot_of(ttag: u16) -> u16 {
    ttag & 0x0fff
}
