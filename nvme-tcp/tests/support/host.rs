//! The protocol core of the host with memory of its own, fed with bytes instead of a socket.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::collections::HashMap;

use nvme_tcp::proto::{
    CommandId, Completion, Connection, ConnectionConfig, Door, Event, Foreseen, Gaps, Payload, Segment,
    Transfer, Violation,
};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{Layout, alignment_from_pda};

use super::wire::{Pdus, pattern};

/// What came out of the core, with data only named: its bytes are in [`Host::memory`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Open,
    Data(Payload),
    CheckDigest(Payload),
    Completed(Completion),
    Released(CommandId),
    Terminated(u16, u32),
}

pub(crate) struct Host {
    pub(crate) connection: Connection,
    pub(crate) pdus: Pdus,
    /// What was read, by slot.
    pub(crate) memory: HashMap<u16, Vec<u8>>,
    pub(crate) seen: Vec<Seen>,
    /// What was sent.
    pub(crate) wire: Vec<u8>,
    /// How many headers were as foreseen.
    pub(crate) foreseen: usize,
}

impl Host {
    /// A connection that has sent ICReq and received nothing.
    pub(crate) fn new(config: ConnectionConfig) -> Self {
        let layout = Layout {
            header_digest: config.header_digest,
            data_digest: config.data_digest,
            alignment: alignment_from_pda(config.hpda).unwrap(),
        };
        let mut host = Self {
            connection: Connection::new(config),
            pdus: Pdus { layout },
            memory: HashMap::new(),
            seen: Vec::new(),
            wire: Vec::new(),
            foreseen: 0,
        };
        host.send(usize::MAX);
        host
    }

    /// The same with ICResp received.
    pub(crate) fn open(config: ConnectionConfig, cpda: u8, maxh2cdata: u32) -> Self {
        let mut host = Self::new(config);
        host.wire.clear();
        let response = Pdus::ic_resp(cpda, &host.pdus.layout, maxh2cdata);
        assert_eq!(host.feed(&response), Ok(vec![Seen::Open]));
        host
    }

    pub(crate) fn read(&mut self, len: u32) -> CommandId {
        let id = self.connection.submit(&nvm::read(1, 0, 1), Transfer::Read(len), None).unwrap();
        self.memory.insert(id.slot(), vec![0; len as usize]);
        id
    }

    pub(crate) fn write(&mut self, len: u32) -> CommandId {
        self.connection.submit(&nvm::write(1, 0, 1), Transfer::Write(len), None).unwrap()
    }

    pub(crate) fn flush(&mut self) -> CommandId {
        self.connection.submit(&nvm::flush(1), Transfer::None, None).unwrap()
    }

    /// Gives `bytes` in by `consume` and says what came of it.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Seen>, Violation> {
        let before = self.seen.len();
        let mut input = bytes;
        while let Some(event) = self.connection.consume(&mut input)? {
            match event {
                Event::Open(_) => self.seen.push(Seen::Open),
                Event::Data { to, bytes } => {
                    self.place(to).copy_from_slice(bytes);
                    self.data(to);
                }
                Event::CheckDigest { of, digest } => {
                    if crc32c(self.place(of)) != digest {
                        self.connection.digest_mismatch(of.slot);
                    }
                    self.seen.push(Seen::CheckDigest(of));
                }
                Event::Completed(completion) => self.seen.push(Seen::Completed(completion)),
                Event::Released(id) => self.seen.push(Seen::Released(id)),
                Event::Terminated(fes, fei) => self.seen.push(Seen::Terminated(fes, fei)),
            }
        }
        assert!(input.is_empty(), "consume left {} bytes", input.len());
        Ok(self.seen[before..].to_vec())
    }

    /// Gives `bytes` in by whichever door is offered for them.
    pub(crate) fn feed_by_door(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let (place, most) = match self.connection.door() {
                Door::InPlace(at) => (Some(at), at.len),
                Door::Discard(most) => (None, most),
                Door::Consume => return self.feed(bytes).map(drop),
            };
            let (now, rest) = bytes.split_at(bytes.len().min(most as usize));
            if let Some(at) = place {
                self.put(at, now);
            }
            self.connection.advance(now.len());
            bytes = rest;
            self.feed(&[])?;
        }
        Ok(())
    }

    /// Gives `bytes` in as far as they are foreseen, and by `consume` from where on they are not.
    pub(crate) fn feed_as_foreseen(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        let mut ahead = Vec::new();
        let gaps = self.connection.foresee(&mut ahead, 3, 20_000);
        let mut right = true;
        for (index, at) in ahead.into_iter().enumerate() {
            let len = at.len as usize;
            if gaps.before(index) == 0 {
                let (now, rest) = bytes.split_at(bytes.len().min(len));
                self.put(at, now);
                self.connection.advance(now.len());
                bytes = rest;
                self.feed(&[])?;
                continue;
            }
            if gaps.before(index) == Gaps::MOST {
                let Some((response, rest)) = bytes.split_at_checked(24) else { break };
                if !self.connection.is_foreseen_response(response) {
                    right = false;
                    break;
                }
                self.feed(response)?;
                bytes = rest;
            }
            let Some((header, rest)) = bytes.split_first_chunk() else { break };
            let (now, rest) = rest.split_at(rest.len().min(len));
            match self.connection.take_foreseen(header, at, now.len()) {
                Foreseen::Another => {
                    right = false;
                    break;
                }
                Foreseen::Begun => self.put(at, now),
                Foreseen::Completed(completion) => {
                    self.put(at, now);
                    self.seen.push(Seen::Completed(completion));
                }
            }
            self.foreseen += 1;
            bytes = rest;
        }
        self.connection.came_as_foreseen(right);
        self.feed(bytes).map(drop)
    }

    /// Data that came for `at`, or the beginning of it.
    fn put(&mut self, at: Payload, now: &[u8]) {
        if now.is_empty() {
            return;
        }
        let at = Payload { len: now.len() as u32, ..at };
        self.place(at).copy_from_slice(now);
        self.data(at);
    }

    /// Notes data, as one piece with what came just before it.
    fn data(&mut self, to: Payload) {
        if let Some(Seen::Data(last)) = self.seen.last_mut() {
            if last.slot == to.slot && last.offset + last.len == to.offset {
                last.len += to.len;
                return;
            }
        }
        self.seen.push(Seen::Data(to));
    }

    fn place(&mut self, at: Payload) -> &mut [u8] {
        let memory = self.memory.get_mut(&at.slot).expect("data is for reads");
        &mut memory[at.offset as usize..(at.offset + at.len) as usize]
    }

    /// Sends at most `most` bytes; how many that were.
    pub(crate) fn send(&mut self, most: usize) -> usize {
        self.connection.fill_digests(|p| crc32c(&super::wire::patterned(p.slot, p.offset, p.len)));
        let mut sent = Vec::new();
        for segment in self.connection.segments() {
            if sent.len() >= most {
                break;
            }
            match segment {
                Segment::Bytes(bytes) => sent.extend_from_slice(bytes),
                Segment::Payload(p) => {
                    sent.extend((p.offset..p.offset + p.len).map(|at| pattern(p.slot, at)))
                }
            }
        }
        sent.truncate(most);
        self.connection.sent(sent.len());
        self.wire.extend_from_slice(&sent);
        sent.len()
    }

    /// Sends everything and takes what was sent so far.
    pub(crate) fn take_wire(&mut self) -> Vec<u8> {
        self.send(usize::MAX);
        std::mem::take(&mut self.wire)
    }
}
