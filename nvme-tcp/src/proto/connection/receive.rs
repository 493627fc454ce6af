//! What each received PDU means to the host.

use super::{Connection, Event, Incoming, Negotiated, State, send};
use crate::proto::frame::Pdu;
use crate::proto::slots::Direction;
use crate::proto::transmit::Payload;
use crate::proto::{CommandId, Violation};
use crate::spec::completion::{Cqe, Status};
use crate::spec::pdu::{
    DataPdu, FatalStatus, Flags, IcResp, Layout, MIN_MAXH2CDATA, PduType, R2t, TermReq, alignment_from_pda,
};

impl Connection {
    pub(super) fn header(&mut self, pdu: &Pdu, data: u32, digest: bool) -> Result<(), Violation> {
        match pdu {
            Pdu::IcResp(response) => self.initialize(response),
            Pdu::CapsuleResp(capsule) => self.response(capsule.cqe),
            Pdu::C2hData(header) => self.data_header(header, data, digest),
            Pdu::R2t(r2t) => self.ready_to_transfer(r2t),
            Pdu::TermReq(term) => {
                self.state = State::Over;
                self.events.push_back(Event::Terminated(term.fes.get(), term.fei.get()));
                Ok(())
            }
            // The framer lets nothing through that only a host sends.
            Pdu::IcReq(_) | Pdu::CapsuleCmd(_) | Pdu::H2cData(_) => Ok(()),
        }
    }

    fn initialize(&mut self, response: &IcResp) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: &'static str| {
            Violation::field(PduType::IcResp, field, offset, got, expected)
                .told_as(FatalStatus::UnsupportedParameter)
        };
        if response.pfv.get() != 0 {
            return Err(wrong("PFV", 8, response.pfv.get().into(), "0"));
        }
        let alignment = alignment_from_pda(response.cpda)
            .ok_or_else(|| wrong("CPDA", 10, response.cpda.into(), "0 to 31"))?;
        let (header_digest, data_digest) = (response.dgst & 1 != 0, response.dgst & 2 != 0);
        let config = &self.config;
        if response.dgst & !3 != 0
            || header_digest && !config.header_digest
            || data_digest && !config.data_digest
        {
            return Err(wrong("DGST", 11, response.dgst.into(), "no digest that was not asked for"));
        }
        let declined = config.header_digest && !header_digest || config.data_digest && !data_digest;
        if declined && !config.digests_optional {
            return Err(wrong("DGST", 11, response.dgst.into(), "the digests that were asked for"));
        }
        let maxh2cdata = response.maxh2cdata.get();
        if maxh2cdata < MIN_MAXH2CDATA || maxh2cdata % 4 != 0 {
            return Err(wrong("MAXH2CDATA", 12, maxh2cdata, "at least 4096 and a multiple of 4"));
        }
        let hpda = alignment_from_pda(config.hpda).unwrap_or(4);
        self.framer.set_layout(Layout { header_digest, data_digest, alignment: hpda });
        self.layout = Layout { header_digest, data_digest, alignment };
        self.maxh2cdata = maxh2cdata;
        self.state = State::Open;
        let negotiated = Negotiated { header_digest, data_digest, alignment, maxh2cdata };
        self.events.push_back(Event::Open(negotiated));
        Ok(())
    }

    fn response(&mut self, cqe: Cqe) -> Result<(), Violation> {
        let id = CommandId::from_wire(cqe.cid.get());
        let slot = self.slots.get(id).filter(|slot| slot.cqe.is_none()).ok_or_else(|| {
            Violation::field(PduType::CapsuleResp, "CID", 20, cqe.cid.get(), "an outstanding command")
        })?;
        slot.cqe = Some(cqe);
        self.answered.push_back(id);
        self.order.answered(id);
        Ok(())
    }

    fn data_header(&mut self, header: &DataPdu, data: u32, digest: bool) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::C2hData, field, offset, got, expected)
        };
        let cid = header.cccid.get();
        let command = CommandId::from_wire(cid);
        let slot = self
            .slots
            .get(command)
            .filter(|slot| slot.direction == Direction::Read && slot.cqe.is_none())
            .ok_or_else(|| wrong("CCCID", 8, cid.into(), "an outstanding read".into()))?;
        let start = header.datao.get();
        if start != slot.moved {
            let expected = format!("{}, what has come so far", slot.moved);
            return Err(wrong("DATAO", 12, start, expected).told_as(FatalStatus::OutOfRange));
        }
        if data > slot.len - slot.moved {
            let expected = format!("at most {} of {}", slot.len - slot.moved, slot.len);
            return Err(wrong("DATAL", 16, data, expected).told_as(FatalStatus::OutOfRange));
        }
        slot.moved += data;
        let success = Flags::from_bits_retain(header.common.flags).contains(Flags::SUCCESS);
        self.incoming = Some(Incoming { command, start, len: data, left: data, digest, success });
        Ok(())
    }

    pub(super) fn data_received(&mut self, n: u32) {
        let Some(incoming) = &mut self.incoming else { return };
        incoming.left = incoming.left.saturating_sub(n);
        if incoming.left == 0 && !incoming.digest {
            self.data_done();
        }
    }

    pub(super) fn digest_received(&mut self, digest: u32) {
        let Some(incoming) = self.incoming else { return };
        if self.slots.get(incoming.command).is_some_and(|slot| !slot.cancelled) {
            let of = Payload { slot: incoming.command.slot(), offset: incoming.start, len: incoming.len };
            self.events.push_back(Event::CheckDigest { of, digest });
        }
        self.data_done();
    }

    fn data_done(&mut self) {
        let Some(Incoming { command, success, .. }) = self.incoming.take() else { return };
        let Some(slot) = self.slots.get(command) else { return };
        if slot.moved == slot.len {
            self.order.whole(command, success);
        }
        if success {
            slot.cqe = Some(Cqe::new(command.to_wire(), Status::SUCCESS, 0));
            self.answered.push_back(command);
        }
    }

    fn ready_to_transfer(&mut self, r2t: &R2t) -> Result<(), Violation> {
        let wrong = |field, offset, got: u32, expected: String| {
            Violation::field(PduType::R2t, field, offset, got, expected)
        };
        let (cid, offset, len) = (r2t.cccid.get(), r2t.r2to.get(), r2t.r2tl.get());
        let command = CommandId::from_wire(cid);
        let slot = self
            .slots
            .get(command)
            .filter(|slot| slot.direction == Direction::Write && slot.cqe.is_none())
            .ok_or_else(|| wrong("CCCID", 8, cid.into(), "an outstanding write".into()))?;
        if offset != slot.moved {
            let expected = format!("{}, what was asked for so far", slot.moved);
            return Err(wrong("R2TO", 12, offset, expected).told_as(FatalStatus::OutOfRange));
        }
        if len == 0 || len > slot.len - slot.moved {
            let expected = format!("1 to {} of {}", slot.len - slot.moved, slot.len);
            return Err(wrong("R2TL", 16, len, expected).told_as(FatalStatus::OutOfRange));
        }
        if slot.r2ts > self.config.maxr2t {
            let expected = format!("{} R2Ts outstanding at most", self.config.maxr2t + 1);
            return Err(wrong("CCCID", 8, cid.into(), expected).told_as(FatalStatus::LimitExceeded));
        }
        slot.moved += len;
        if slot.cancelled {
            // Its buffer is its owner's again. No answer: the controller is told to abort the command.
            return Ok(());
        }
        slot.r2ts += 1;
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(self.maxh2cdata);
            let flags = if done + piece == len { Flags::LAST } else { Flags::empty() };
            let common = self.layout.common_header(PduType::H2cData, flags, piece);
            let header = DataPdu::new(common, cid, r2t.ttag.get(), offset + done, piece);
            let payload = Payload { slot: command.slot(), offset: offset + done, len: piece };
            send(&mut self.transmit, self.watcher.as_ref(), &self.layout, &header, Some(payload));
            slot.unsent += 1;
            done += piece;
        }
        Ok(())
    }

    /// Ends the connection and tells the controller why.
    pub(super) fn terminate(&mut self, violation: &Violation) {
        self.state = State::Over;
        let quoted = self.framer.quote().len();
        let term = TermReq::new(PduType::H2cTermReq, violation.fes, violation.fei, quoted);
        send(&mut self.transmit, self.watcher.as_ref(), &self.layout, &term, None);
        self.transmit.push_bytes(self.framer.quote());
    }
}
