//! A host's queue and a target's session with a wire between them that cuts the bytes anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use nvme_tcp::proto::{
    BringUp, Completion, Connection, ConnectionConfig, Door, Event, Payload, Segment, Settings, Step,
    Transfer,
};
use nvme_tcp::spec::command::Sqe;
use nvme_tcp::spec::command::fabrics::{self, ConnectData};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp_target::{Config, Hub, Namespace, Origin, Session, SessionEnd, Subsystem};
use zerocopy::IntoBytes;

pub(crate) const SUBSYSTEM: &str = "nqn.2024-01.test:subsystem";
pub(crate) const HOST: &str = "nqn.2024-01.test:host";
pub(crate) const HOST_ID: [u8; 16] = [7; 16];
pub(crate) const KATO: Duration = Duration::from_secs(10);

/// A hub that serves `namespace` as number 1 to any host.
pub(crate) fn hub(config: Config, namespace: Namespace) -> Arc<Hub> {
    let hub = Hub::new(config);
    hub.add_subsystem(Subsystem::new(SUBSYSTEM).namespace(1, namespace)).unwrap();
    hub
}

/// How the wire cuts what goes over it: these lengths, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Splits {
    lengths: Vec<usize>,
    next: usize,
}

impl Splits {
    pub(crate) fn new(lengths: Vec<usize>) -> Self {
        Self { lengths, next: 0 }
    }

    pub(crate) fn none() -> Self {
        Self::new(vec![usize::MAX])
    }

    pub(crate) fn next(&mut self) -> usize {
        let length = self.lengths[self.next % self.lengths.len()];
        self.next += 1;
        length.max(1)
    }
}

/// A command that is done, with the data it read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) completion: Completion,
    pub(crate) data: Vec<u8>,
}

pub(crate) struct Queue {
    pub(crate) host: Connection,
    pub(crate) target: Session,
    pub(crate) now: Instant,
    /// What it names itself in Connect.
    pub(crate) host_id: [u8; 16],
    /// Why the session ended.
    pub(crate) end: Option<SessionEnd>,
    /// Why the host's end did: its violation, or the target's TermReq.
    pub(crate) host_end: Option<String>,
    pub(crate) done: BTreeMap<u16, Done>,
    buffers: BTreeMap<u16, Vec<u8>>,
    splits: Splits,
    doors: bool,
    to_target: Vec<u8>,
    to_host: Vec<u8>,
}

impl Queue {
    pub(crate) fn new(hub: &Arc<Hub>, config: ConnectionConfig, splits: Splits, doors: bool) -> Self {
        Self::from(hub, Origin::default(), config, splits, doors)
    }

    pub(crate) fn from(
        hub: &Arc<Hub>,
        origin: Origin,
        config: ConnectionConfig,
        splits: Splits,
        doors: bool,
    ) -> Self {
        Self {
            host: Connection::new(config),
            target: Session::new(hub.clone(), origin, Waker::noop().clone()),
            now: Instant::now(),
            host_id: HOST_ID,
            end: None,
            host_end: None,
            done: BTreeMap::new(),
            buffers: BTreeMap::new(),
            splits,
            doors,
            to_target: Vec::new(),
            to_host: Vec::new(),
        }
    }

    /// Queues a command with what it writes, or with room for what it reads.
    pub(crate) fn submit(&mut self, sqe: &Sqe, write: &[u8], read: usize) -> u16 {
        let transfer = match (write.len() as u32, read as u32) {
            (0, 0) => Transfer::None,
            (0, read) => Transfer::Read(read),
            (write, _) => Transfer::Write(write),
        };
        let id = self.host.submit(sqe, transfer, None).expect("a slot is free");
        let buffer = if write.is_empty() { vec![0xee; read] } else { write.to_vec() };
        self.buffers.insert(id.slot(), buffer);
        id.slot()
    }

    /// One command, start to end.
    pub(crate) fn command(&mut self, sqe: &Sqe, write: &[u8], read: usize) -> (Cqe, Vec<u8>) {
        let slot = self.submit(sqe, write, read);
        self.run();
        let done = self.done.remove(&slot);
        let done = done.unwrap_or_else(|| panic!("no answer; ended by {:?}", self.end));
        assert_eq!(done.completion.fault, None);
        (done.completion.cqe, done.data)
    }

    pub(crate) fn status(&mut self, sqe: &Sqe, write: &[u8], read: usize) -> Status {
        self.command(sqe, write, read).0.status()
    }

    /// Lets bytes go to and fro until nothing moves any more.
    pub(crate) fn run(&mut self) {
        loop {
            let sent = self.host_sends() | self.target_sends();
            let received = self.target_receives() | self.host_receives();
            if !sent && !received {
                break;
            }
        }
    }

    fn host_sends(&mut self) -> bool {
        let buffers = &self.buffers;
        let at = |payload: Payload| part(buffers.get(&payload.slot).map_or(&[], |b| b), payload);
        self.host.fill_digests(|payload| crc32c(at(payload)));
        let bytes = gather(self.host.segments(), at, self.splits.next());
        self.host.sent(bytes.len());
        self.to_target.extend(&bytes);
        !bytes.is_empty()
    }

    fn target_sends(&mut self) -> bool {
        self.target.fill_digests();
        let target = &self.target;
        let bytes = gather(target.segments(), |payload| target.memory(payload), self.splits.next());
        self.target.sent(bytes.len());
        self.to_host.extend(&bytes);
        !bytes.is_empty()
    }

    /// Bytes for the target that no host of ours would send.
    pub(crate) fn inject(&mut self, bytes: &[u8]) {
        self.to_target.extend(bytes);
        self.run();
    }

    fn target_receives(&mut self) -> bool {
        let n = self.splits.next().min(self.to_target.len());
        let bytes: Vec<u8> = self.to_target.drain(..n).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.end.is_none() {
            let received = match self.target.door() {
                Door::InPlace(payload) if self.doors => {
                    let place = self.target.memory_mut(payload);
                    let n = rest.len().min(place.len());
                    place[..n].copy_from_slice(&rest[..n]);
                    rest = &rest[n..];
                    self.target.advance(n, self.now)
                }
                Door::Discard(len) if self.doors => {
                    let n = rest.len().min(len as usize);
                    rest = &rest[n..];
                    self.target.advance(n, self.now)
                }
                _ => {
                    // Not past the next data, so that the doors are used.
                    let n = if self.doors { 1 } else { rest.len() };
                    let mut now = &rest[..n];
                    let received = self.target.consume(&mut now, self.now);
                    rest = &rest[n - now.len()..];
                    received
                }
            };
            self.end = self.end.take().or(received.err());
        }
        if self.end.is_none() {
            self.end = self.target.poll(self.now).err();
        }
        !bytes.is_empty()
    }

    fn host_receives(&mut self) -> bool {
        let n = self.splits.next().min(self.to_host.len());
        let bytes: Vec<u8> = self.to_host.drain(..n).collect();
        let mut rest = &bytes[..];
        loop {
            let door = if self.doors { self.host.door() } else { Door::Consume };
            if let Door::InPlace(payload) = door {
                let n = rest.len().min(payload.len as usize);
                let buffer = self.buffers.get_mut(&payload.slot).expect("a buffer");
                buffer[payload.offset as usize..][..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                self.host.advance(n);
            }
            let event = match self.host.consume(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(violation) => {
                    self.host_end = Some(violation.to_string());
                    break;
                }
            };
            match event {
                Event::Data { to, bytes } => {
                    let buffer = self.buffers.get_mut(&to.slot).expect("a buffer");
                    buffer[to.offset as usize..][..bytes.len()].copy_from_slice(bytes);
                }
                Event::CheckDigest { of, digest } => {
                    if crc32c(part(&self.buffers[&of.slot], of)) != digest {
                        self.host.digest_mismatch(of.slot);
                    }
                }
                Event::Completed(completion) => {
                    let slot = completion.command.slot();
                    let data = self.buffers.remove(&slot).unwrap_or_default();
                    self.done.insert(slot, Done { completion, data });
                }
                Event::Terminated(fes, fei) => self.host_end = Some(format!("FES {fes}, FEI {fei}")),
                Event::Open(_) | Event::Released(_) => {}
            }
        }
        !bytes.is_empty()
    }

    /// ICReq and ICResp.
    pub(crate) fn open(&mut self) {
        self.run();
        assert!(self.host.is_open(), "{:?} {:?}", self.end, self.host_end);
    }

    /// Connects an I/O queue of `controller`.
    pub(crate) fn connect_io(&mut self, cntlid: u16, qid: u16, entries: u32, attributes: u8) -> Cqe {
        self.open();
        let data = ConnectData::new(self.host_id, cntlid, SUBSYSTEM, HOST).unwrap();
        self.command(&fabrics::connect(qid, entries, attributes, 0), data.as_bytes(), 0).0
    }
}

fn part(buffer: &[u8], payload: Payload) -> &[u8] {
    &buffer[payload.offset as usize..][..payload.len as usize]
}

/// The first `max` bytes of what is to be sent.
fn gather<'a>(
    segments: impl Iterator<Item = Segment<'a>>,
    resolve: impl Fn(Payload) -> &'a [u8],
    max: usize,
) -> Vec<u8> {
    let mut gathered = Vec::new();
    for segment in segments {
        match segment {
            Segment::Bytes(bytes) => gathered.extend_from_slice(bytes),
            Segment::Payload(payload) => {
                payload.pieces(&resolve).for_each(|piece| gathered.extend_from_slice(piece));
            }
        }
        if gathered.len() >= max {
            break;
        }
    }
    gathered.truncate(max);
    gathered
}

/// An admin queue whose controller is up, and its controller ID.
pub(crate) fn bring_up(mut queue: Queue, subsystem: &str) -> (Queue, u16) {
    let mut bring_up = BringUp::new(Settings {
        host_nqn: HOST.to_owned(),
        host_id: queue.host_id,
        subsystem_nqn: subsystem.to_owned(),
        keep_alive: KATO,
        admin_entries: 32,
        io_queues: 4,
        io_entries: 128,
        sq_flow_control: true,
    });
    queue.open();
    loop {
        match bring_up.next(queue.now).unwrap() {
            Step::Admin(command) => {
                let (cqe, data) = queue.command(&command.sqe, &command.write, command.read as usize);
                bring_up.completed(&cqe, &data, queue.now).unwrap();
            }
            Step::Wait(at) => queue.now = at,
            Step::Ready => return (queue, bring_up.into_traits().cntlid),
        }
    }
}

/// An admin queue with everything as it is by default.
pub(crate) fn admin(hub: &Arc<Hub>) -> (Queue, u16) {
    bring_up(Queue::new(hub, ConnectionConfig::default(), Splits::none(), false), SUBSYSTEM)
}

/// An I/O queue with everything as it is by default.
pub(crate) fn io(hub: &Arc<Hub>, cntlid: u16) -> Queue {
    let mut queue = Queue::new(hub, ConnectionConfig::default(), Splits::none(), false);
    let connected = queue.connect_io(cntlid, 1, 128, 0);
    assert_eq!(connected.status(), Status::SUCCESS);
    queue
}
