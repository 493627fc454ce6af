//! One connection: the host's core at one end, the target's session at the other, and bytes under way between them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use nvme_tcp::proto::{Completion, Connection, ConnectionConfig, Event, Segment, Transfer};
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp_target::{Hub, Origin, Session};

use crate::model::Random;

/// Bytes that arrive at a time, or the end.
type Way = VecDeque<(Instant, Option<Vec<u8>>)>;

/// What the host hears.
pub(crate) enum Heard {
    Open,
    Completed(Completion, Vec<u8>),
    /// The connection is over.
    Over,
}

pub(crate) struct Wire {
    /// `None` once the host has given it up.
    pub(crate) host: Option<Connection>,
    session: Option<Session>,
    up: Way,
    down: Way,
    /// Nothing arrives any more, either way.
    hole: bool,
    /// More delay than usual.
    pub(crate) slow: Duration,
    buffers: HashMap<u16, Vec<u8>>,
}

impl Wire {
    pub(crate) fn new(hub: &Arc<Hub>, depth: u32) -> Self {
        Self::from(hub, depth, Origin::default())
    }

    /// As a host would come from there.
    pub(crate) fn from(hub: &Arc<Hub>, depth: u32, origin: Origin) -> Self {
        let config = ConnectionConfig {
            depth,
            header_digest: true,
            data_digest: true,
            digests_optional: false,
            maxr2t: 0,
            hpda: 0,
        };
        Self {
            host: Some(Connection::new(config)),
            session: Some(Session::new(hub.clone(), origin, Waker::noop().clone())),
            up: Way::new(),
            down: Way::new(),
            hole: false,
            slow: Duration::ZERO,
            buffers: HashMap::new(),
        }
    }

    pub(crate) fn submit(&mut self, sqe: &Sqe, write: &[u8], read: usize, deadline: Instant) -> Option<u16> {
        let transfer = match (write.len() as u32, read as u32) {
            (0, 0) => Transfer::None,
            (0, read) => Transfer::Read(read),
            (write, _) => Transfer::Write(write),
        };
        let id = self.host.as_mut()?.submit(sqe, transfer, Some(deadline)).ok()?;
        self.buffers.insert(id.slot(), if write.is_empty() { vec![0xee; read] } else { write.to_vec() });
        Some(id.slot())
    }

    /// When something happens here by itself.
    pub(crate) fn next(&self) -> Option<Instant> {
        let arrivals = [self.up.front(), self.down.front()].into_iter().flatten().map(|(at, _)| *at);
        let arrivals = arrivals.filter(|_| !self.hole).min();
        let session = self.session.as_ref().and_then(Session::deadline);
        let host = self.host.as_ref().and_then(Connection::next_deadline);
        [arrivals, session, host].into_iter().flatten().min()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.host.is_none() && self.session.is_none()
    }

    /// The host sends what it has to send.
    pub(crate) fn send(&mut self, now: Instant, random: &mut Random) {
        let Some(host) = &mut self.host else { return };
        let buffers = &self.buffers;
        let bytes_of =
            |p: nvme_tcp::proto::Payload| &buffers[&p.slot][p.offset as usize..(p.offset + p.len) as usize];
        host.fill_digests(|payload| crc32c(bytes_of(payload)));
        let mut bytes = Vec::new();
        for segment in host.segments() {
            match segment {
                Segment::Bytes(header) => bytes.extend_from_slice(header),
                Segment::Payload(payload) => bytes.extend_from_slice(bytes_of(payload)),
            }
        }
        host.sent(bytes.len());
        travel(&mut self.up, bytes, now, self.slow, random);
    }

    /// What has arrived by now is taken at both ends.
    pub(crate) fn turn(&mut self, now: Instant, random: &mut Random) -> Vec<Heard> {
        while !self.hole && self.up.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = self.up.pop_front() else { break };
            let Some(session) = &mut self.session else { continue };
            let over = bytes.is_none_or(|bytes| {
                let mut rest = &*bytes;
                // As a target whose socket takes everything at once.
                while session.consume(&mut rest, now).is_ok() && !rest.is_empty() {}
                session.consume(&mut rest, now).is_err()
            });
            self.answer(now, over, random);
        }
        if self.session.as_mut().is_some_and(|session| session.poll(now).is_err()) {
            self.answer(now, true, random);
        } else {
            self.answer(now, false, random);
        }
        let mut heard = Vec::new();
        while !self.hole && self.down.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = self.down.pop_front() else { break };
            if self.hear(bytes.as_deref(), &mut heard).is_none() {
                heard.push(Heard::Over);
                return heard;
            }
        }
        if self.host.as_mut().is_some_and(|host| host.expired(now).is_some()) {
            heard.push(Heard::Over);
        }
        heard
    }

    /// The target sends what it has to send, and closes if it is `over`.
    fn answer(&mut self, now: Instant, over: bool, random: &mut Random) {
        let Some(session) = &mut self.session else { return };
        session.fill_digests();
        let mut bytes = Vec::new();
        for segment in session.segments() {
            match segment {
                Segment::Bytes(header) => bytes.extend_from_slice(header),
                Segment::Payload(payload) => {
                    payload.pieces(|at| session.memory(at)).for_each(|piece| bytes.extend_from_slice(piece));
                }
            }
        }
        session.sent(bytes.len());
        travel(&mut self.down, bytes, now, self.slow, random);
        if over {
            self.session = None;
            self.up.clear();
            let at = self.down.back().map_or(now, |(at, _)| (*at).max(now));
            self.down.push_back((at, None));
        }
    }

    /// `None` where the connection is over.
    fn hear(&mut self, bytes: Option<&[u8]>, heard: &mut Vec<Heard>) -> Option<()> {
        let Some(host) = &mut self.host else { return Some(()) };
        let mut input = bytes?;
        while let Some(event) = host.consume(&mut input).ok()? {
            match event {
                Event::Open(_) => heard.push(Heard::Open),
                Event::Data { to, bytes } => {
                    let buffer = self.buffers.get_mut(&to.slot)?;
                    buffer[to.offset as usize..(to.offset + to.len) as usize].copy_from_slice(bytes);
                }
                Event::CheckDigest { of, digest } => {
                    let buffer = &self.buffers[&of.slot];
                    if crc32c(&buffer[of.offset as usize..(of.offset + of.len) as usize]) != digest {
                        host.digest_mismatch(of.slot);
                    }
                }
                Event::Completed(completion) => {
                    let buffer = self.buffers.remove(&completion.command.slot()).unwrap_or_default();
                    heard.push(Heard::Completed(completion, buffer));
                }
                Event::Released(_) => {}
                Event::Terminated(..) => return None,
            }
        }
        Some(())
    }

    /// The host gives it up. What is under way to the target may still arrive, `later` than it would have; then the
    /// target hears of the end, unless it never does.
    pub(crate) fn give_up(&mut self, now: Instant, later: Duration, silently: bool) {
        self.host = None;
        self.down.clear();
        for (at, _) in &mut self.up {
            *at += later;
        }
        if !silently {
            let at = self.up.back().map_or(now + later, |(at, _)| *at);
            self.up.push_back((at, None));
        }
    }

    /// Nothing arrives any more, and nobody hears why.
    pub(crate) fn swallow(&mut self) {
        self.hole = true;
    }

    /// A bit of what is under way is flipped.
    pub(crate) fn corrupt(&mut self, random: &mut Random) {
        let ways = if random.one_in(2) { &mut self.up } else { &mut self.down };
        let pieces = ways.len() as u64;
        if let Some((_, Some(bytes))) = ways.get_mut(random.below(pieces) as usize) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
    }

    /// A bit of the first header that is under way to the target is flipped.
    pub(crate) fn corrupt_next_up(&mut self) {
        if let Some((_, Some(bytes))) = self.up.front_mut() {
            bytes[0] ^= 0x80;
        }
    }

    /// The connection breaks off: both ends hear of it when what is under way has arrived, or at once.
    pub(crate) fn cut(&mut self, now: Instant, random: &mut Random) {
        for way in [&mut self.up, &mut self.down] {
            if random.one_in(2) {
                let keep = random.below(way.len() as u64 + 1) as usize;
                way.truncate(keep);
            }
            let at = way.back().map_or(now, |(at, _)| (*at).max(now));
            way.push_back((at, None));
        }
    }
}

/// Sends bytes on their way, in pieces.
fn travel(way: &mut Way, mut bytes: Vec<u8>, now: Instant, slow: Duration, random: &mut Random) {
    while !bytes.is_empty() {
        let whole = random.one_in(2);
        let piece = if whole { bytes.len() } else { 1 + random.below(bytes.len() as u64) as usize };
        let rest = bytes.split_off(piece);
        let usual = now + slow + Duration::from_micros(50 + random.below(500));
        let at = way.back().map_or(usual, |(last, _)| usual.max(*last));
        way.push_back((at, Some(std::mem::replace(&mut bytes, rest))));
    }
}
