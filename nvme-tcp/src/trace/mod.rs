//! What goes over a connection, PDU by PDU, for whoever looks for a fault: header fields only, never data and never a
//! key.
//!
//! A [`Dump`] keeps the latest of them, to be written into a report. With the feature `tracing`, each is an event of
//! target `nvme_tcp::pdu` at level TRACE too, for subscribers of that crate; its own feature `log` does not show them.
//!
//! ```no_run
//! use nvme_tcp::{Options, host::HostIdentity, trace::Dump};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dump = Dump::new(10_000);
//! let options = Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", HostIdentity::load()?);
//! let controller = options.dump(&dump).connect();
//! // Whatever goes wrong:
//! std::fs::write("nvme-tcp.dump", dump.to_string())?;
//! # drop(controller);
//! # Ok(())
//! # }
//! ```

mod dump;

use std::fmt;

use zerocopy::FromBytes;

use crate::options::Options;
use crate::spec::command::fabrics;
use crate::spec::completion::Status;
use crate::spec::pdu::{CapsuleCmd, CapsuleResp, CommonHeader, DataPdu, PduType, R2t, TermReq};

pub use dump::Dump;

/// A PDU that was received, or was queued to be sent: what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PduEvent {
    /// Whether this host sends it.
    pub sent: bool,
    /// PDU-Type, which may be none that exists.
    pub pdu_type: u8,
    /// FLAGS.
    pub flags: u8,
    /// PLEN, in bytes.
    pub plen: u32,
    /// What else, by type.
    pub detail: Detail,
}

/// What the header of a PDU says beyond its first 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// ICReq, ICResp, and what is no PDU.
    None,
    /// CapsuleCmd.
    Command {
        /// CID.
        cid: u16,
        /// OPC.
        opcode: u8,
        /// NSID; FCTYPE for a fabrics command.
        nsid: u32,
    },
    /// CapsuleResp.
    Response {
        /// CID.
        cid: u16,
        /// The status.
        status: Status,
    },
    /// H2CData, C2HData and R2T.
    Data {
        /// CCCID.
        cid: u16,
        /// TTAG.
        ttag: u16,
        /// DATAO or R2TO, in bytes.
        offset: u32,
        /// DATAL or R2TL, in bytes.
        len: u32,
    },
    /// H2CTermReq and C2HTermReq.
    Terminate {
        /// FES.
        fes: u16,
        /// FEI.
        fei: u32,
    },
}

impl PduEvent {
    /// Reads the header that `bytes` begin with; `None` where they hold no common header.
    ///
    /// ```
    /// use nvme_tcp::trace::{Detail, PduEvent};
    ///
    /// // R2T: 8192 bytes from offset 0 on are asked for.
    /// let r2t = [9, 0, 24, 0, 24, 0, 0, 0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0];
    /// let event = PduEvent::read(false, &r2t).expect("a common header");
    /// assert_eq!(event.detail, Detail::Data { cid: 5, ttag: 6, offset: 0, len: 8192 });
    /// assert!(event.to_string().starts_with("< R2T"));
    /// ```
    pub fn read(sent: bool, bytes: &[u8]) -> Option<Self> {
        let (common, _) = CommonHeader::read_from_prefix(bytes).ok()?;
        let (pdu_type, flags, plen) = (common.pdu_type, common.flags, common.plen.get());
        Some(Self { sent, pdu_type, flags, plen, detail: Detail::read(pdu_type, bytes) })
    }

    /// The PDU's type, where there is such a type.
    ///
    /// ```
    /// use nvme_tcp::spec::pdu::PduType;
    /// use nvme_tcp::trace::PduEvent;
    ///
    /// let kind = |bytes: [u8; 8]| PduEvent::read(true, &bytes).and_then(|event| event.kind());
    /// assert_eq!(kind([4, 0, 72, 0, 72, 0, 0, 0]), Some(PduType::CapsuleCmd));
    /// // A TLS record where a PDU was expected.
    /// assert_eq!(kind([0x16, 3, 3, 0, 7, 0, 0, 0]), None);
    /// ```
    pub fn kind(&self) -> Option<PduType> {
        PduType::from_byte(self.pdu_type)
    }
}

impl Detail {
    fn read(pdu_type: u8, bytes: &[u8]) -> Self {
        let detail = match PduType::from_byte(pdu_type) {
            Some(PduType::CapsuleCmd) => CapsuleCmd::read_from_prefix(bytes).ok().map(|(pdu, _)| {
                let sqe = pdu.sqe;
                let fabrics = sqe.opcode == fabrics::OPCODE;
                let nsid = if fabrics { fabrics::kind(&sqe).into() } else { sqe.nsid.get() };
                Self::Command { cid: sqe.cid.get(), opcode: sqe.opcode, nsid }
            }),
            Some(PduType::CapsuleResp) => CapsuleResp::read_from_prefix(bytes)
                .ok()
                .map(|(pdu, _)| Self::Response { cid: pdu.cqe.cid.get(), status: pdu.cqe.status() }),
            Some(PduType::H2cData | PduType::C2hData) => {
                DataPdu::read_from_prefix(bytes).ok().map(|(pdu, _)| Self::Data {
                    cid: pdu.cccid.get(),
                    ttag: pdu.ttag.get(),
                    offset: pdu.datao.get(),
                    len: pdu.datal.get(),
                })
            }
            Some(PduType::R2t) => R2t::read_from_prefix(bytes).ok().map(|(pdu, _)| Self::Data {
                cid: pdu.cccid.get(),
                ttag: pdu.ttag.get(),
                offset: pdu.r2to.get(),
                len: pdu.r2tl.get(),
            }),
            Some(PduType::H2cTermReq | PduType::C2hTermReq) => TermReq::read_from_prefix(bytes)
                .ok()
                .map(|(pdu, _)| Self::Terminate { fes: pdu.fes.get(), fei: pdu.fei.get() }),
            Some(PduType::IcReq | PduType::IcResp) | None => None,
        };
        detail.unwrap_or(Self::None)
    }
}

impl fmt::Display for PduEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.sent { "> " } else { "< " })?;
        match self.kind() {
            Some(kind) => write!(f, "{:<11}", kind.name())?,
            None => write!(f, "type {:02x}h   ", self.pdu_type)?,
        }
        write!(f, " flags {:02x} plen {}", self.flags, self.plen)?;
        match self.detail {
            Detail::None => Ok(()),
            Detail::Command { cid, opcode: fabrics::OPCODE, nsid } => {
                write!(f, " cid {cid:04x} opcode 7f fctype {nsid:02x}")
            }
            Detail::Command { cid, opcode, nsid } => {
                write!(f, " cid {cid:04x} opcode {opcode:02x} nsid {nsid:x}")
            }
            Detail::Response { cid, status } => write!(f, " cid {cid:04x} status {:04x}", status.0),
            Detail::Data { cid, ttag, offset, len } => {
                write!(f, " cid {cid:04x} ttag {ttag:04x} offset {offset} len {len}")
            }
            Detail::Terminate { fes, fei } => write!(f, " fes {fes:02x} fei {fei:x}"),
        }
    }
}

/// Who hears of a connection's PDUs.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    dump: Option<Dump>,
    /// Tells connections apart.
    connection: u64,
}

impl Watcher {
    /// Of one more connection, where anybody wants to hear of it.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let wanted = options.dump.is_some() || cfg!(feature = "tracing");
        wanted.then(|| Self {
            dump: options.dump.clone(),
            connection: CONNECTIONS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Tells of the PDU that `header` begins.
    #[inline]
    pub(crate) fn tell(&self, sent: bool, header: &[u8]) {
        // Mostly nobody listens.
        if self.dump.is_some() || is_traced() {
            self.tell_of(sent, header);
        }
    }

    fn tell_of(&self, sent: bool, header: &[u8]) {
        let Some(event) = PduEvent::read(sent, header) else { return };
        #[cfg(feature = "tracing")]
        emit(self.connection, &event);
        if let Some(dump) = &self.dump {
            dump.add(self.connection, event);
        }
    }
}

/// Whether any subscriber wants events of this level.
#[inline]
fn is_traced() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::level_filters::LevelFilter::current() == tracing::level_filters::LevelFilter::TRACE;
    #[cfg(not(feature = "tracing"))]
    return false;
}

#[cfg(feature = "tracing")]
fn emit(connection: u64, event: &PduEvent) {
    let PduEvent { sent, pdu_type, flags, plen, detail } = *event;
    let pdu = event.kind().map_or("unknown", PduType::name);
    let (mut cid, mut opcode, mut nsid, mut status, mut offset, mut len) =
        (None, None, None, None, None, None);
    let (mut ttag, mut fes, mut fei) = (None, None, None);
    match detail {
        Detail::None => {}
        Detail::Command { cid: c, opcode: o, nsid: n } => (cid, opcode, nsid) = (Some(c), Some(o), Some(n)),
        Detail::Response { cid: c, status: s } => (cid, status) = (Some(c), Some(s.0)),
        Detail::Data { cid: c, ttag: t, offset: o, len: l } => {
            (cid, ttag, offset, len) = (Some(c), Some(t), Some(o), Some(l));
        }
        Detail::Terminate { fes: s, fei: i } => (fes, fei) = (Some(s), Some(i)),
    }
    tracing::trace!(
        target: "nvme_tcp::pdu",
        connection, sent, pdu, pdu_type, flags, plen, cid, opcode, nsid, status, ttag, offset, len, fes, fei
    );
}

impl Options {
    /// Notes the header of every PDU of every connection in `dump`.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) {
    /// let dump = nvme_tcp::trace::Dump::new(1000);
    /// if let Err(error) = options.dump(&dump).connect() {
    ///     // What went over the wire until then, for a report to the target's maker.
    ///     eprintln!("{error}\n{dump}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn dump(self, dump: &Dump) -> Self {
        Self { dump: Some(dump.clone()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::spec::command::nvm;
    use crate::spec::completion::Cqe;
    use crate::spec::pdu::{FatalStatus, Flags, Layout};

    fn line(sent: bool, bytes: &[u8]) -> String {
        PduEvent::read(sent, bytes).unwrap().to_string()
    }

    #[test]
    fn each_kind_of_pdu_is_one_line_of_header_fields() {
        let layout = Layout::default();
        let mut sqe = nvm::read(7, 0x1234_5678, 8);
        sqe.cid = 0x1003.into();
        let common = layout.common_header(PduType::CapsuleCmd, Flags::empty(), 0);
        let command = CapsuleCmd { common, sqe };
        assert_eq!(
            line(true, command.as_bytes()),
            "> CapsuleCmd  flags 00 plen 72 cid 1003 opcode 02 nsid 7"
        );
        let common = layout.common_header(PduType::CapsuleResp, Flags::empty(), 0);
        let response = CapsuleResp { common, cqe: Cqe::new(0x1003, Status(0x4281), 0) };
        assert_eq!(line(false, response.as_bytes()), "< CapsuleResp flags 00 plen 24 cid 1003 status 4281");
        let common = layout.common_header(PduType::C2hData, Flags::LAST, 512);
        let data = DataPdu::new(common, 3, 0, 4096, 512);
        let expected = "< C2HData     flags 04 plen 536 cid 0003 ttag 0000 offset 4096 len 512";
        assert_eq!(line(false, data.as_bytes()), expected);
        let term = TermReq::new(PduType::C2hTermReq, FatalStatus::SequenceError, 9, 0);
        assert_eq!(line(false, term.as_bytes()), "< C2HTermReq  flags 00 plen 24 fes 02 fei 9");
        assert_eq!(line(false, &[0x16, 3, 3, 0, 7, 0, 0, 0]), "< type 16h    flags 03 plen 7");
        assert_eq!(PduEvent::read(true, &[4, 0, 72]), None);
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn each_is_an_event_with_the_same_fields() {
        use std::sync::{Arc, Mutex};
        use tracing::field::{Field, Visit};
        use tracing::{Event, Metadata, Subscriber, span};

        #[derive(Clone, Default)]
        struct Collect(Arc<Mutex<Vec<String>>>);
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!(" {field}={value:?}"));
            }
        }
        impl Subscriber for Collect {
            fn enabled(&self, _: &Metadata<'_>) -> bool {
                true
            }
            fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
                span::Id::from_u64(1)
            }
            fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
            fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
            fn event(&self, event: &Event<'_>) {
                let mut line = Line(event.metadata().target().to_owned());
                event.record(&mut line);
                self.0.lock().unwrap().push(line.0);
            }
            fn enter(&self, _: &span::Id) {}
            fn exit(&self, _: &span::Id) {}
        }

        let collect = Collect::default();
        let watcher = Watcher { dump: None, connection: 4 };
        let common = Layout::default().common_header(PduType::R2t, Flags::empty(), 0);
        let r2t = R2t::new(common, 5, 6, 0, 8192);
        tracing::subscriber::with_default(collect.clone(), || watcher.tell(false, r2t.as_bytes()));
        let expected = "nvme_tcp::pdu connection=4 sent=false pdu=\"R2T\" pdu_type=9 flags=0 plen=24 cid=5 ttag=6 \
                        offset=0 len=8192";
        assert_eq!(*collect.0.lock().unwrap(), [expected]);
    }
}
