//! What a controller sends, byte by byte, right or wrong.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{
    CapsuleResp, CommonHeader, DataPdu, FatalStatus, Flags, IcResp, Layout, PduType, R2t, TermReq,
};
use zerocopy::IntoBytes;

/// The byte at `offset` of the data that tests move: different at every place that is likely mixed up.
pub(crate) fn pattern(seed: u16, offset: u32) -> u8 {
    (offset as u8) ^ (offset >> 8) as u8 ^ (offset >> 16) as u8 ^ (seed as u8).wrapping_mul(31)
}

/// `len` bytes of [`pattern`] from `offset` on.
pub(crate) fn patterned(seed: u16, offset: u32, len: u32) -> Vec<u8> {
    (offset..offset + len).map(|at| pattern(seed, at)).collect()
}

/// Builds PDUs in a layout that ICReq and ICResp agreed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pdus {
    pub(crate) layout: Layout,
}

impl Pdus {
    /// A header, with its digest where it has one.
    fn seal(header: &(impl IntoBytes + zerocopy::Immutable), common: &CommonHeader) -> Vec<u8> {
        let mut bytes = header.as_bytes().to_vec();
        if Flags::from_bits_retain(common.flags).contains(Flags::HDGST) {
            bytes.extend(crc32c(&bytes).to_le_bytes());
        }
        bytes
    }

    pub(crate) fn ic_resp(cpda: u8, layout: &Layout, maxh2cdata: u32) -> Vec<u8> {
        IcResp::new(cpda, layout.header_digest, layout.data_digest, maxh2cdata).as_bytes().to_vec()
    }

    pub(crate) fn response(&self, cqe: Cqe) -> Vec<u8> {
        let common = self.layout.common_header(PduType::CapsuleResp, Flags::empty(), 0);
        Self::seal(&CapsuleResp { common, cqe }, &common)
    }

    pub(crate) fn success(&self, cid: u16) -> Vec<u8> {
        self.response(Cqe::new(cid, Status::SUCCESS, 0))
    }

    pub(crate) fn r2t(&self, cid: u16, ttag: u16, offset: u32, len: u32) -> Vec<u8> {
        let common = self.layout.common_header(PduType::R2t, Flags::empty(), 0);
        Self::seal(&R2t::new(common, cid, ttag, offset, len), &common)
    }

    /// C2HData with the right digest.
    pub(crate) fn data(&self, cid: u16, offset: u32, data: &[u8], flags: Flags) -> Vec<u8> {
        let len = data.len() as u32;
        let common = self.layout.common_header(PduType::C2hData, flags, len);
        let mut bytes = Self::seal(&DataPdu::new(common, cid, 0, offset, len), &common);
        bytes.resize(bytes.len().max(common.pdo.into()), 0);
        bytes.extend_from_slice(data);
        if self.layout.data_digest && len > 0 {
            bytes.extend(crc32c(data).to_le_bytes());
        }
        bytes
    }

    pub(crate) fn terminate(fes: FatalStatus, fei: u32, quote: &[u8]) -> Vec<u8> {
        let mut bytes = TermReq::new(PduType::C2hTermReq, fes, fei, quote.len()).as_bytes().to_vec();
        bytes.extend_from_slice(quote);
        bytes
    }
}
