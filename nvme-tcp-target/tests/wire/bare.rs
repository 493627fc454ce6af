//! A session with no host of ours behind it, for hosts that break the protocol.

use nvme_tcp::spec::command::fabrics::{self, ConnectData};
use nvme_tcp::spec::command::{Sqe, nvm};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{
    CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, FatalStatus, Flags, IcReq, Layout, MAX_QUOTE_LEN,
    PduType, R2t, TermReq,
};
use nvme_tcp::spec::sgl::Sgl;
use nvme_tcp_target::{Config, Hub, Namespace, Origin, Session, SessionEnd};
use zerocopy::{FromBytes, IntoBytes};

use crate::support::{HOST, HOST_ID, Queue, SUBSYSTEM, admin, hub};

/// A session with no host of ours behind it: bytes in, bytes out.
pub(crate) struct Bare {
    pub(crate) session: Session,
    _admin: Queue,
    pub(crate) layout: Layout,
    /// How many C2HTermReqs there were.
    told: u32,
}

/// What the target said in the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terminated {
    pub(crate) fes: u16,
    pub(crate) fei: u32,
    pub(crate) field: &'static str,
}

impl Bare {
    /// A session of a target whose I/O queues take 4 KiB in a capsule, 8 KiB in an H2CData PDU and 16 KiB
    /// in an R2T, before ICReq.
    pub(crate) fn new() -> (Self, u16) {
        let mut config = Config::default();
        config.connection.in_capsule = 4096;
        config.connection.maxh2cdata = 8192;
        config.connection.r2t_len = 16384;
        let hub: std::sync::Arc<Hub> = hub(config, Namespace::ram(1 << 20));
        let (admin, cntlid) = admin(&hub);
        let session = Session::new(hub, Origin::default(), std::task::Waker::noop().clone());
        (Self { session, _admin: admin, layout: Layout::default(), told: 0 }, cntlid)
    }

    /// The same with its ICReq exchanged.
    pub(crate) fn initialized(digests: bool) -> (Self, u16) {
        let (mut bare, cntlid) = Self::new();
        let answer = bare.feed(IcReq::new(0, digests, digests, 0).as_bytes()).unwrap();
        assert_eq!(answer.len(), 128);
        bare.layout = Layout { header_digest: digests, data_digest: digests, alignment: 4 };
        (bare, cntlid)
    }

    /// The same as I/O queue 1 with 8 entries.
    pub(crate) fn io(digests: bool) -> Self {
        let (mut bare, cntlid) = Self::initialized(digests);
        let data = ConnectData::new(HOST_ID, cntlid, SUBSYSTEM, HOST).unwrap();
        let connected = bare.capsule(&fabrics::connect(1, 8, 0, 0), data.as_bytes());
        assert_eq!(response(&bare.feed(&connected).unwrap()).status(), Status::SUCCESS);
        bare
    }

    /// Bytes in, what is sent out.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SessionEnd> {
        let now = std::time::Instant::now();
        let mut rest = bytes;
        let mut fed = Ok(());
        while fed.is_ok() && !rest.is_empty() {
            fed = self.session.consume(&mut rest, now);
        }
        let mut sent = Vec::new();
        self.session.fill_digests();
        for segment in self.session.segments() {
            match segment {
                nvme_tcp::proto::Segment::Bytes(bytes) => sent.extend_from_slice(bytes),
                nvme_tcp::proto::Segment::Payload(at) => {
                    at.pieces(|at| self.session.memory(at)).for_each(|piece| sent.extend_from_slice(piece));
                }
            }
        }
        self.session.sent(sent.len());
        if let Err(SessionEnd::Violation(violation)) = &fed {
            // What is told is what was found, with the offending PDU quoted, once and at the end.
            if let Some(last) = pdus(&sent).last() {
                let (term, quote) = TermReq::read_from_prefix(last).unwrap();
                assert_eq!(term.common.pdu_type, PduType::C2hTermReq as u8);
                assert_eq!((term.fes.get(), term.fei.get()), (violation.fes as u16, violation.fei));
                assert!(quote.len() <= MAX_QUOTE_LEN);
                self.told += 1;
            }
            assert_eq!(self.told, 1);
        }
        fed.map(|()| sent)
    }

    pub(crate) fn violation(&mut self, bytes: &[u8]) -> Terminated {
        match self.feed(bytes) {
            Err(SessionEnd::Violation(found)) => {
                // It stays over.
                assert!(self.feed(&[0; 8]).is_err());
                Terminated { fes: found.fes as u16, fei: found.fei, field: found.field }
            }
            other => panic!("no violation was found: {other:?}"),
        }
    }

    /// A CapsuleCmd as it should be, with in-capsule data where there is some.
    pub(crate) fn capsule(&self, sqe: &Sqe, data: &[u8]) -> Vec<u8> {
        let mut sqe = *sqe;
        if !data.is_empty() {
            sqe.sgl = Sgl::in_capsule(data.len() as u32);
        } else if sqe.sgl.kind == 0 {
            sqe.sgl = Sgl::transport(0);
        }
        self.pdu(|common| CapsuleCmd { common, sqe }, PduType::CapsuleCmd, Flags::empty(), data)
    }

    pub(crate) fn data(&self, cid: u16, ttag: u16, offset: u32, flags: Flags, data: &[u8]) -> Vec<u8> {
        let len = data.len() as u32;
        let header = |common| DataPdu::new(common, cid, ttag, offset, len);
        self.pdu(header, PduType::H2cData, flags, data)
    }

    pub(crate) fn pdu<T: IntoBytes + zerocopy::Immutable>(
        &self,
        header: impl FnOnce(CommonHeader) -> T,
        kind: PduType,
        flags: Flags,
        data: &[u8],
    ) -> Vec<u8> {
        let common = self.layout.common_header(kind, flags, data.len() as u32);
        let mut pdu = header(common).as_bytes().to_vec();
        if self.layout.header_digest {
            pdu.extend(crc32c(&pdu).to_le_bytes());
        }
        if !data.is_empty() {
            pdu.resize(common.pdo.into(), 0);
            pdu.extend(data);
            if self.layout.data_digest {
                pdu.extend(crc32c(data).to_le_bytes());
            }
        }
        pdu
    }

    /// Sends a write of `len` bytes with command ID 1, and takes the R2T.
    pub(crate) fn write(&mut self, len: u32) -> R2t {
        let mut sqe = nvm::write(1, 0, len / 512);
        sqe.cid = 1.into();
        sqe.sgl = Sgl::transport(len);
        let capsule = self.capsule(&sqe, &[]);
        let answer = self.feed(&capsule).unwrap();
        let (r2t, _) = R2t::read_from_prefix(&answer[..]).unwrap();
        assert_eq!(r2t.common.pdu_type, PduType::R2t as u8);
        r2t
    }
}

/// Cuts what was sent at the PDUs' borders.
fn pdus(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Ok((common, _)) = CommonHeader::read_from_prefix(bytes) {
        let (pdu, rest) = bytes.split_at(common.plen.get() as usize);
        found.push(pdu);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    found
}

pub(crate) fn response(bytes: &[u8]) -> Cqe {
    let (capsule, _) = CapsuleResp::read_from_prefix(bytes).unwrap();
    assert_eq!(capsule.common.pdu_type, PduType::CapsuleResp as u8);
    capsule.cqe
}

pub(crate) fn told(fes: FatalStatus, fei: u32, field: &'static str) -> Terminated {
    Terminated { fes: fes as u16, fei, field }
}
