//! One connection of the scripted controller.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use super::super::wire::Pdus;
use super::*;

/// A write whose data is on its way: command, first block, data, how much of it came.
struct Writing {
    cid: u16,
    slba: u64,
    data: Vec<u8>,
    got: usize,
}

/// One connection, from the controller's side.
pub(crate) struct Link {
    stream: TcpStream,
    framer: Framer,
    pub(crate) pdus: Pdus,
    pub(crate) cntlid: u16,
    pub(crate) qid: u16,
    /// The subsystem that the host connected to.
    pub(crate) nqn: String,
    /// What came along with the command that the hook sees.
    pub(crate) data: Vec<u8>,
    shared: Arc<Shared>,
    writing: HashMap<u16, Writing>,
}

pub(super) fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut link = Link {
        stream,
        framer: Framer::new(Sender::Host),
        pdus: Pdus::default(),
        cntlid: 0,
        qid: 0,
        nqn: String::new(),
        data: Vec::new(),
        shared,
        writing: HashMap::new(),
    };
    // A host that goes away is an end like any other.
    drop(link.run());
    drop(link.stream.shutdown(Shutdown::Both));
    link.note(What::Closed);
}

impl Link {
    fn note(&self, what: What) {
        let entry = Entry { at: Instant::now(), cntlid: self.cntlid, qid: self.qid, what };
        self.shared.journal.lock().unwrap().push(entry);
        self.shared.noted.notify_all();
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // What becomes of it, the host's side tells.
        drop(self.stream.write_all(bytes));
    }

    pub(crate) fn complete(&mut self, sqe: &Sqe, status: Status, result: u64) {
        self.send(&self.pdus.response(Cqe::new(sqe.cid.get(), status, result)));
    }

    /// The next PDU with its data, checked by the same framer that a target has.
    pub(crate) fn next(&mut self) -> io::Result<(Pdu, Vec<u8>)> {
        let mut bytes = vec![0; 8];
        self.stream.read_exact(&mut bytes)?;
        let plen = u32::from_le_bytes(bytes[4..].try_into().unwrap()) as usize;
        assert!(plen < 1 << 24, "the host sends a PDU of {plen} bytes");
        bytes.resize(plen, 0);
        self.stream.read_exact(&mut bytes[8..])?;
        let (mut input, mut found, mut data, mut whole) = (&bytes[..], None, Vec::new(), 0);
        while let Some(frame) = self.framer.next(&mut input).unwrap() {
            match frame {
                Frame::Header { pdu, data, .. } => (found, whole) = (Some(pdu), data),
                Frame::Data(bytes) => data.extend_from_slice(bytes),
                Frame::Digest(digest) => assert_eq!(digest, nvme_tcp::spec::digest::crc32c(&data)),
            }
        }
        assert_eq!(data.len(), whole as usize);
        Ok((found.expect("a whole PDU has a header"), data))
    }

    fn initialize(&mut self, request: &IcReq) {
        let (header_digest, data_digest) = (request.dgst & 1 != 0, request.dgst & 2 != 0);
        let alignment = alignment_from_pda(request.hpda).unwrap();
        self.pdus = Pdus { layout: Layout { header_digest, data_digest, alignment } };
        self.framer.set_layout(Layout { header_digest, data_digest, alignment: 4 });
        self.send(&Pdus::ic_resp(0, &self.pdus.layout, self.shared.script.maxh2cdata));
    }

    fn run(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        loop {
            let (pdu, data) = self.next()?;
            match pdu {
                Pdu::IcReq(request) => self.initialize(&request),
                Pdu::CapsuleCmd(capsule) => {
                    let sqe = capsule.sqe;
                    if sqe.opcode == fabrics::OPCODE && fabrics::kind(&sqe) == fabrics::CONNECT {
                        self.connected(&sqe, &data);
                    }
                    self.note(What::Command(sqe));
                    self.data.clone_from(&data);
                    match (shared.script.hook)(self, &sqe) {
                        Reply::Serve => self.command(&sqe, data),
                        Reply::Nothing => {}
                        Reply::Close => return Ok(()),
                    }
                }
                Pdu::H2cData(header) => {
                    let tag = header.ttag.get();
                    if let Some(writing) = self.writing.get_mut(&tag) {
                        let at = header.datao.get() as usize;
                        assert_eq!(at, writing.got, "data out of order");
                        writing.data[at..at + data.len()].copy_from_slice(&data);
                        writing.got += data.len();
                        if writing.got == writing.data.len() {
                            let done = self.writing.remove(&tag).unwrap();
                            self.store(done.slba, &done.data);
                            self.send(&self.pdus.success(done.cid));
                        }
                    }
                }
                Pdu::TermReq(term) => {
                    self.note(What::Terminated(term.fes.get(), term.fei.get()));
                    return Ok(());
                }
                other => panic!("the host sends {other:?}"),
            }
        }
    }

    fn connected(&mut self, sqe: &Sqe, data: &[u8]) {
        self.qid = ConnectFields::read(sqe).qid;
        self.nqn = nvme_tcp::spec::text::from_field(&data[256..512]);
        self.cntlid = match self.qid {
            0 => self.shared.next_cntlid.fetch_add(1, Ordering::SeqCst),
            _ => u16::from_le_bytes([data[16], data[17]]),
        };
    }

    fn store(&self, slba: u64, data: &[u8]) {
        let at = slba as usize * BLOCK as usize;
        self.shared.disk.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
    }

    fn command(&mut self, sqe: &Sqe, data: Vec<u8>) {
        match (self.qid, sqe.opcode) {
            (_, fabrics::OPCODE) => self.fabrics(sqe),
            (0, admin::IDENTIFY) => {
                let data = self.identify(sqe);
                self.give(sqe, &data);
            }
            // Outstanding until a test completes it.
            (0, admin::ASYNC_EVENT_REQUEST) => {}
            (0, admin::SET_FEATURES) => {
                self.complete(sqe, Status::SUCCESS, sqe.get_cdw(11).into());
            }
            (1.., nvm::READ) => {
                let at = sqe.slba() as usize * BLOCK as usize;
                let len = (nvm::block_count(sqe) * BLOCK) as usize;
                let data = self.shared.disk.lock().unwrap()[at..at + len].to_vec();
                self.give(sqe, &data);
            }
            (1.., nvm::WRITE) if sqe.sgl.kind == sgl::IN_CAPSULE => {
                self.store(sqe.slba(), &data);
                self.complete(sqe, Status::SUCCESS, 0);
            }
            (1.., nvm::WRITE) => {
                let (cid, len) = (sqe.cid.get(), sqe.sgl.length.get());
                let data = vec![0; len as usize];
                self.writing.insert(cid, Writing { cid, slba: sqe.slba(), data, got: 0 });
                self.send(&self.pdus.r2t(cid, cid, 0, len));
            }
            _ => self.complete(sqe, Status::SUCCESS, 0),
        }
    }

    /// Sends data and a response, in PDUs of 16 KiB.
    pub(crate) fn give(&mut self, sqe: &Sqe, data: &[u8]) {
        let mut at = 0;
        for piece in data.chunks(16_384) {
            let last = at as usize + piece.len() == data.len();
            let flags = if last { Flags::LAST } else { Flags::empty() };
            self.send(&self.pdus.data(sqe.cid.get(), at, piece, flags));
            at += piece.len() as u32;
        }
        self.complete(sqe, Status::SUCCESS, 0);
    }

    fn fabrics(&mut self, sqe: &Sqe) {
        let mut configurations = self.shared.configurations.lock().unwrap();
        let cc = configurations.entry(self.cntlid).or_default();
        let mut result = 0;
        match (fabrics::kind(sqe), sqe.get_cdw(11)) {
            (fabrics::CONNECT, _) => result = self.cntlid.into(),
            (fabrics::PROPERTY_SET, property::CC) => *cc = sqe.get_cdw(12),
            (fabrics::PROPERTY_GET, property::CC) => result = (*cc).into(),
            (fabrics::PROPERTY_GET, property::CAP) => result = Capabilities::new(128, 1).0,
            (fabrics::PROPERTY_GET, property::VS) => result = 0x0002_0000,
            (fabrics::PROPERTY_GET, property::CSTS) => {
                let enabled = *cc & property::CC_ENABLE != 0;
                let shut = *cc & property::CC_SHUTDOWN_MASK != 0;
                result = if enabled { self.shared.script.status.into() } else { 0 };
                result |= if shut { property::CSTS_SHUTDOWN_COMPLETE.into() } else { 0 };
            }
            other => panic!("fabrics command {other:?}"),
        }
        drop(configurations);
        self.complete(sqe, Status::SUCCESS, result);
    }

    fn identify(&self, sqe: &Sqe) -> Vec<u8> {
        let script = &self.shared.script;
        match sqe.get_cdw(10) as u8 {
            identify::CNS_CONTROLLER => {
                let mut data = IdentifyController::zeroed();
                data.cntrltype = identify::CONTROLLER_IO;
                data.mdts = (script.mdts)(self.cntlid);
                data.oaes = script.events.into();
                data.aerl = script.event_limit;
                data.cntlid = self.cntlid.into();
                data.kas = 1.into();
                data.maxcmd = script.max_commands.into();
                data.nn = 1.into();
                data.sgls = identify::SGLS_SUPPORTED.into();
                data.ioccsz = script.ioccsz.into();
                data.iorcsz = 1.into();
                (script.controller)(&mut data);
                data.as_bytes().to_vec()
            }
            identify::CNS_NAMESPACE => {
                let mut data = IdentifyNamespace::zeroed();
                data.nsze = script.blocks.into();
                data.lbaf[0] = LbaFormat { metadata: script.metadata, data_shift: 9 }.to_raw().into();
                (script.namespace)(&mut data);
                data.as_bytes().to_vec()
            }
            _ => vec![0; identify::IDENTIFY_LEN],
        }
    }
}
