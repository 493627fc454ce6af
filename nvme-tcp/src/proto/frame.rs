//! Cuts the received byte stream into PDUs and checks what every PDU must obey, whoever receives it.

use std::borrow::Cow;

use zerocopy::FromBytes;

use super::Violation;
use crate::spec::digest::crc32c;
use crate::spec::pdu::{
    COMMON_HEADER_LEN, CapsuleCmd, CapsuleResp, CommonHeader, DIGEST_LEN, DataPdu, FatalStatus, Flags, IcReq,
    IcResp, Layout, MAX_HEADER_LEN, MAX_QUOTE_LEN, PduType, R2t, TermReq,
};

/// Who sends the bytes that a [`Framer`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The initiator.
    Host,
    /// The target.
    Controller,
}

/// A PDU's header, whole and checked by itself.
#[derive(Clone, Debug)]
pub enum Pdu {
    /// ICReq.
    IcReq(Box<IcReq>),
    /// ICResp.
    IcResp(Box<IcResp>),
    /// H2CTermReq or C2HTermReq.
    TermReq(TermReq),
    /// CapsuleCmd.
    CapsuleCmd(CapsuleCmd),
    /// CapsuleResp.
    CapsuleResp(CapsuleResp),
    /// H2CData.
    H2cData(DataPdu),
    /// C2HData.
    C2hData(DataPdu),
    /// R2T.
    R2t(R2t),
}

/// What the stream holds next.
#[derive(Debug)]
pub enum Frame<'a> {
    /// A header; `data` bytes of data follow it, with a data digest behind them if `digest`.
    Header {
        /// The header.
        pdu: Pdu,
        /// How much data follows, in bytes.
        data: u32,
        /// Whether a [`Frame::Digest`] follows the data.
        digest: bool,
    },
    /// The next piece of the PDU's data.
    Data(&'a [u8]),
    /// The data digest behind the PDU's data, not yet compared with anything.
    Digest(u32),
}

/// Where in a PDU the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The PDU before is whole; its header stays in the buffer to be quoted until more bytes are asked for.
    Between,
    /// The common header comes.
    Common,
    /// The common header is checked; `need` bytes are the whole header with its digest.
    Header { kind: PduType, need: usize },
    /// Padding, then data, then perhaps a digest.
    Data { pad: u32, left: u32, digest: bool },
    /// A data digest, of which some bytes have come.
    Digest,
    /// A violation was found.
    Dead,
}

/// Cuts one direction of a connection into [`Frame`]s.
///
/// It checks the PDU's type, direction and place in the sequence, HLEN, flags, PDO, PLEN and the header
/// digest; and DATAL of a data PDU against PLEN. What a field means for a command is its owner's to check.
#[derive(Debug)]
pub struct Framer {
    sender: Sender,
    layout: Layout,
    initialized: bool,
    state: State,
    buffer: [u8; MAX_HEADER_LEN + DIGEST_LEN],
    have: usize,
    /// Whether the last data was long.
    long: bool,
}

/// The shortest header of any PDU, in bytes.
const SHORTEST: usize = 24;

/// Data from this length on, in bytes, is not copied for less than what one more receive costs.
pub(super) const LONG: u32 = 32 * 1024;

impl Framer {
    /// Takes what `sender` sends, from its ICReq or ICResp on.
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            layout: Layout::default(),
            initialized: false,
            state: State::Between,
            buffer: [0; MAX_HEADER_LEN + DIGEST_LEN],
            have: 0,
            long: false,
        }
    }

    /// How PDUs are laid out from the next one on: what ICReq and ICResp agreed.
    pub fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// How PDUs are laid out.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether the next byte is the first of a PDU.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Between
    }

    /// A data PDU's header, which the caller has checked, was received elsewhere, between PDUs and without digests: `len`
    /// bytes of data come next.
    pub(super) fn begin_data(&mut self, header: &[u8; SHORTEST], len: u32) {
        debug_assert!(self.is_between() && self.initialized, "a header in the midst of a PDU");
        self.buffer[..SHORTEST].copy_from_slice(header);
        self.have = SHORTEST;
        self.state = State::Data { pad: 0, left: len, digest: false };
    }

    /// `len` bytes of data come, or came elsewhere.
    pub(super) fn note_data(&mut self, len: u32) {
        self.long = len >= LONG;
    }

    /// How many bytes of data come next, without header or padding before them; zero when none do.
    pub fn data_next(&self) -> u32 {
        match self.state {
            State::Data { pad: 0, left, .. } => left,
            _ => 0,
        }
    }

    /// Whether the data that comes next is likely to be so long that it should not be copied, as the last was: then little
    /// is received until its header is here.
    pub fn expects_long_data(&self) -> bool {
        self.long
    }

    /// Takes `n` bytes of data, at most [`Framer::data_next`], that were received elsewhere.
    pub fn advance(&mut self, n: u32) {
        if let State::Data { pad: 0, left, digest } = self.state {
            debug_assert!(n <= left, "more data than the PDU has");
            self.state = match (left.saturating_sub(n), digest) {
                (0, false) => State::Between,
                (0, true) => {
                    self.have = 0;
                    State::Digest
                }
                (left, digest) => State::Data { pad: 0, left, digest },
            };
        }
    }

    /// The beginning of the PDU at hand, as a TermReq quotes it.
    pub fn quote(&self) -> &[u8] {
        &self.buffer[..self.have.min(MAX_QUOTE_LEN)]
    }

    /// Takes bytes off the front of `input` until a frame is whole. `None` asks for more input.
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Violation> {
        if input.is_empty() { Ok(None) } else { self.take(input) }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, Violation> {
        loop {
            let (kind, need) = match self.state {
                State::Between | State::Common => {
                    if self.state == State::Between {
                        self.have = 0;
                        self.state = State::Common;
                    }
                    if !self.collect_shortest(input) && !self.collect(COMMON_HEADER_LEN, input) {
                        return Ok(None);
                    }
                    let kind = match self.check_common(&self.common()) {
                        Ok(kind) => kind,
                        Err(violation) => {
                            // What is quoted does not depend on how the bytes came.
                            self.have = COMMON_HEADER_LEN;
                            self.state = State::Dead;
                            return Err(violation);
                        }
                    };
                    (kind, usize::from(kind.header_len()) + self.digest_len(kind))
                }
                State::Header { kind, need } => (kind, need),
                State::Data { pad, left, digest } if pad > 0 => {
                    let n = pad.min(u32::try_from(input.len()).unwrap_or(u32::MAX));
                    *input = input.get(n as usize..).unwrap_or_default();
                    self.state = State::Data { pad: pad - n, left, digest };
                    if n < pad {
                        return Ok(None);
                    }
                    continue;
                }
                State::Data { left, .. } => {
                    let n = input.len().min(left as usize);
                    let Some((data, rest)) = input.split_at_checked(n).filter(|_| n > 0) else {
                        return Ok(None);
                    };
                    *input = rest;
                    self.advance(n as u32);
                    return Ok(Some(Frame::Data(data)));
                }
                State::Digest => {
                    if !self.collect(DIGEST_LEN, input) {
                        return Ok(None);
                    }
                    let digest = read_digest(&self.buffer);
                    self.state = State::Between;
                    return Ok(Some(Frame::Digest(digest)));
                }
                State::Dead => return Ok(None),
            };
            if !self.collect(need, input) {
                self.state = State::Header { kind, need };
                return Ok(None);
            }
            return self.header(kind).map(Some);
        }
    }

    /// Where so much is here at once, and nothing was taken of the header yet: takes as much as every header has, which
    /// costs less than two pieces.
    fn collect_shortest(&mut self, input: &mut &[u8]) -> bool {
        let (0, Some((bytes, rest)), Some(room)) =
            (self.have, input.split_first_chunk::<SHORTEST>(), self.buffer.first_chunk_mut())
        else {
            return false;
        };
        *room = *bytes;
        *input = rest;
        self.have = SHORTEST;
        true
    }

    /// Fills the buffer up to `need` bytes; whether it holds them.
    fn collect(&mut self, need: usize, input: &mut &[u8]) -> bool {
        if self.have >= need {
            return true;
        }
        let n = need.saturating_sub(self.have).min(input.len());
        if let (Some((bytes, rest)), Some(room)) =
            (input.split_at_checked(n), self.buffer.get_mut(self.have..self.have + n))
        {
            room.copy_from_slice(bytes);
            *input = rest;
            self.have += n;
        }
        self.have >= need
    }

    fn common(&self) -> CommonHeader {
        // The buffer is longer than a common header.
        CommonHeader::read_from_prefix(&self.buffer)
            .map_or(CommonHeader::bare(PduType::IcReq), |(head, _)| head)
    }

    fn digest_len(&self, kind: PduType) -> usize {
        let digest = self.layout.header_digest && kind.allowed_flags().contains(Flags::HDGST);
        if digest { DIGEST_LEN } else { 0 }
    }

    fn check_common(&self, common: &CommonHeader) -> Result<PduType, Violation> {
        let kind = PduType::from_byte(common.pdu_type)
            .ok_or_else(|| Violation::field(None, "PDU-Type", 0, common.pdu_type, "a type that exists"))?;
        if kind.is_from_host() != (self.sender == Sender::Host) {
            return Err(Violation::field(kind, "PDU-Type", 0, common.pdu_type, "a type for this direction"));
        }
        let first = matches!(kind, PduType::IcReq | PduType::IcResp);
        if first == self.initialized {
            let expected = if first { "it only once" } else { "ICReq or ICResp first" };
            return Err(Violation::sequence(kind, expected));
        }
        if common.hlen != kind.header_len() {
            return Err(Violation::field(kind, "HLEN", 2, common.hlen, kind.header_len().to_string()));
        }
        self.check_flags(kind, common)?;
        self.check_lengths(kind, common)?;
        Ok(kind)
    }

    fn check_flags(&self, kind: PduType, common: &CommonHeader) -> Result<(), Violation> {
        let wrong = |expected: Cow<'static, str>| Violation::field(kind, "FLAGS", 1, common.flags, expected);
        let allowed = kind.allowed_flags();
        let flags = Flags::from_bits_retain(common.flags);
        if !allowed.contains(flags) {
            return Err(wrong(format!("nothing outside {:#x}", allowed.bits()).into()));
        }
        let header_digest = self.layout.header_digest && allowed.contains(Flags::HDGST);
        if flags.contains(Flags::HDGST) != header_digest {
            return Err(wrong(if header_digest { "HDGSTF set" } else { "HDGSTF clear" }.into()));
        }
        let data_digest = self.layout.data_digest && allowed.contains(Flags::DDGST) && common.pdo != 0;
        if flags.contains(Flags::DDGST) != data_digest {
            return Err(wrong(if data_digest { "DDGSTF set" } else { "DDGSTF clear" }.into()));
        }
        if flags.contains(Flags::SUCCESS) && !flags.contains(Flags::LAST) {
            return Err(wrong("SUCCESS only with LAST_PDU".into()));
        }
        Ok(())
    }

    fn check_lengths(&self, kind: PduType, common: &CommonHeader) -> Result<(), Violation> {
        let plen = common.plen.get();
        let head = u32::from(kind.header_len()) + self.digest_len(kind) as u32;
        let (least, most) = match kind {
            PduType::H2cTermReq | PduType::C2hTermReq => (head, head + MAX_QUOTE_LEN as u32),
            _ if !kind.allowed_flags().contains(Flags::DDGST) => (head, head),
            PduType::CapsuleCmd if common.pdo == 0 => (head, head),
            _ => {
                let pdo = u32::from(common.pdo);
                if pdo < head || pdo > head + self.layout.alignment {
                    let expected = format!("{head} to {}", head + self.layout.alignment);
                    return Err(Violation::field(kind, "PDO", 3, common.pdo, expected));
                }
                let digest = if self.layout.data_digest { DIGEST_LEN as u32 } else { 0 };
                (pdo + digest + 1, u32::MAX)
            }
        };
        if plen < least || plen > most {
            let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(Violation::field(kind, "PLEN", 4, plen, expected));
        }
        Ok(())
    }

    /// The header is whole: checks its digest and says what it is.
    fn header(&mut self, kind: PduType) -> Result<Frame<'static>, Violation> {
        let common = self.common();
        let frame = self.parse(kind, &common);
        match &frame {
            Ok(Frame::Header { data, digest, pdu }) => {
                self.initialized = true;
                let pad = match pdu {
                    Pdu::TermReq(_) => 0,
                    _ => u32::from(common.pdo).saturating_sub(self.have as u32),
                };
                self.state = match *data {
                    0 => State::Between,
                    left => {
                        self.note_data(left);
                        State::Data { pad, left, digest: *digest }
                    }
                };
            }
            Ok(_) => {}
            Err(_) => self.state = State::Dead,
        }
        frame
    }

    fn parse(&self, kind: PduType, common: &CommonHeader) -> Result<Frame<'static>, Violation> {
        let hlen = usize::from(kind.header_len());
        let (head, rest) = self.buffer.split_at(hlen);
        if self.digest_len(kind) > 0 {
            let (got, right) = (read_digest(rest), crc32c(head));
            if got != right {
                let mut wrong = Violation::field(kind, "HDGST", got, got, format!("{right}"));
                wrong.fes = FatalStatus::HeaderDigest;
                return Err(wrong);
            }
        }
        let plen = common.plen.get();
        let digest = Flags::from_bits_retain(common.flags).contains(Flags::DDGST);
        let mut data = 0;
        if common.pdo != 0 && kind.allowed_flags().contains(Flags::DDGST) {
            data = plen - u32::from(common.pdo) - if digest { DIGEST_LEN as u32 } else { 0 };
        }
        let pdu = match kind {
            PduType::IcReq => Pdu::IcReq(Box::new(read(head, kind)?)),
            PduType::IcResp => Pdu::IcResp(Box::new(read(head, kind)?)),
            PduType::H2cTermReq | PduType::C2hTermReq => {
                data = plen - hlen as u32;
                Pdu::TermReq(read(head, kind)?)
            }
            PduType::CapsuleCmd => Pdu::CapsuleCmd(read(head, kind)?),
            PduType::CapsuleResp => Pdu::CapsuleResp(read(head, kind)?),
            PduType::H2cData => Pdu::H2cData(checked_data(read(head, kind)?, kind, data)?),
            PduType::C2hData => Pdu::C2hData(checked_data(read(head, kind)?, kind, data)?),
            PduType::R2t => Pdu::R2t(read(head, kind)?),
        };
        Ok(Frame::Header { pdu, data, digest })
    }
}

fn checked_data(pdu: DataPdu, kind: PduType, data: u32) -> Result<DataPdu, Violation> {
    if pdu.datal.get() != data {
        return Err(Violation::field(kind, "DATAL", 16, pdu.datal.get(), format!("{data}, as PLEN says")));
    }
    Ok(pdu)
}

fn read<T: FromBytes>(head: &[u8], kind: PduType) -> Result<T, Violation> {
    // The buffer holds HLEN bytes, which is the size of each header's structure.
    T::read_from_bytes(head)
        .map_err(|_| Violation::field(kind, "HLEN", 2, head.len() as u64, "its own length"))
}

fn read_digest(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |digest| u32::from_le_bytes(*digest))
}

#[cfg(test)]
mod tests;
