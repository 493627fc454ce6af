//! The bare loop: requests and replies of the same lengths on a TCP connection, and nothing else.

use std::ffi::OsString;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::TcpCongestion;
use nix::sys::socket::{MsgFlags, recv, setsockopt};

use crate::Result;
use crate::cell::{Cell, Mode, Offsets, SPAN};
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};
use crate::sealed::Channel;

/// A capsule, and the header of a data PDU.
const CAPSULE: u64 = 72;
const HEADER: u64 = 24;
/// How much one read takes at most.
const BUFFER: usize = 256 * 1024;
/// For the thread of one connection at the far end.
const STACK: usize = 128 * 1024;

/// The lengths of a cell's request and reply in bytes: capsule and data, data and response.
fn lengths(cell: &Cell) -> (u64, u64) {
    let size = u64::from(cell.size);
    if cell.write { (CAPSULE + size, HEADER) } else { (CAPSULE, HEADER + size) }
}

/// What a connection's first bytes say: the lengths of its requests and replies, that of the data in one of them, and its
/// kind.
const GREETING: usize = 32;

/// How a bare loop goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) memory: Memory,
    /// Both ends ask the socket again and again instead of sleeping.
    pub(crate) polls: bool,
}

/// What a bare loop's bytes come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// One buffer at each end, which stays in the processor's cache.
    OneBuffer,
    /// The far end moves about in as much memory as a target does, and the near end has a buffer for each request.
    Same,
    /// Replies come from as much memory as a target has, and everything is sealed and opened on its way; what is received
    /// stays where it was opened.
    Sealed,
}

impl Kind {
    /// With as little work as there can be.
    pub(crate) fn least(mode: Mode) -> Self {
        Self { memory: Memory::OneBuffer, polls: mode.polls() }
    }

    /// With the memory, and the cipher, that the mode has to deal with.
    pub(crate) fn like(mode: Mode) -> Self {
        let memory = if mode.is_tls() { Memory::Sealed } else { Memory::Same };
        Self { memory, polls: mode.polls() }
    }

    fn to_number(self) -> u64 {
        (self.memory as u64) << 1 | u64::from(self.polls)
    }

    fn from_number(number: u64) -> Self {
        let memories = [Memory::OneBuffer, Memory::Same, Memory::Sealed];
        let memory = memories.into_iter().find(|memory| *memory as u64 == number >> 1);
        Self { memory: memory.unwrap_or(Memory::OneBuffer), polls: number & 1 == 1 }
    }
}

/// What is received to: one piece of it after the other.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    next: usize,
}

impl Buffer {
    /// Of pages that are there already, lest what is measured be how the kernel finds them.
    fn new(len: usize) -> Self {
        Self { bytes: vec![0x5a; len.next_multiple_of(BUFFER)], next: 0 }
    }

    fn place(&mut self) -> &mut [u8] {
        let begin = self.next;
        self.next = (begin + BUFFER) % self.bytes.len();
        &mut self.bytes[begin..begin + BUFFER]
    }
}

/// One read, which waits in the kernel, or asks it again and again.
pub(crate) fn read(stream: &mut TcpStream, buffer: &mut [u8], polls: bool) -> Result<usize> {
    if !polls {
        return Ok(stream.read(buffer)?);
    }
    loop {
        match recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => std::hint::spin_loop(),
            received => return Ok(received?),
        }
    }
}

/// Answers each request with a reply.
pub(crate) fn serve(listener: &TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A connection that ends is the end of one measurement.
        thread::Builder::new().stack_size(STACK).spawn(|| drop(answer(stream)))?;
    }
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut greeting = [0; GREETING];
    stream.read_exact(&mut greeting)?;
    let [request, reply, size, kind] = std::array::from_fn(|i| {
        let mut number = [0; 8];
        number.copy_from_slice(&greeting[8 * i..8 * i + 8]);
        u64::from_le_bytes(number)
    });
    let kind = Kind::from_number(kind);
    if kind.memory == Memory::Sealed {
        return answer_sealed(Channel::far(stream, kind.polls)?, request, reply, size);
    }
    // What requests carry goes to as much memory as replies come from.
    let moves = kind.memory == Memory::Same;
    let (mut small, mut wide);
    let buffer = if moves && request > reply {
        wide = RECEIVED.lock().map_err(|_| "a connection of the bare loop has failed")?;
        &mut *wide
    } else {
        small = Buffer::new(BUFFER);
        &mut small
    };
    let replies = vec![0xa5; (reply as usize).max(BUFFER)];
    let mut offsets = Offsets::over(size);
    let mut received = 0;
    loop {
        let n = read(&mut stream, buffer.place(), kind.polls)?;
        if n == 0 {
            return Ok(());
        }
        received += n as u64;
        let mut owed = received / request;
        received %= request;
        if moves && reply > request {
            while owed > 0 {
                let together = owed.min(TOGETHER as u64);
                reply_from(
                    &MEMORY,
                    &replies[..(reply - size) as usize],
                    size as usize,
                    together,
                    &mut offsets,
                    &mut stream,
                )?;
                owed -= together;
            }
        }
        let mut owed = owed * reply;
        while owed > 0 {
            let piece = owed.min(replies.len() as u64);
            stream.write_all(&replies[..piece as usize])?;
            owed -= piece;
        }
    }
}

fn answer_sealed(mut channel: Channel, request: u64, reply: u64, size: u64) -> Result<()> {
    let mut offsets = Offsets::over(size);
    // A reply without data is all header.
    let size = if reply > size { size as usize } else { 0 };
    let header = vec![0xa5; reply as usize - size];
    let mut received = 0;
    while let Some(n) = channel.receive()? {
        received += n;
        let owed = received / request;
        received %= request;
        if owed > 0 {
            let data = |at: u64| &MEMORY[at as usize..at as usize + size];
            channel.send((0..owed).flat_map(|_| [&header[..], data(offsets.next())]))?;
        }
    }
    Ok(())
}

/// What requests that carry data are received to, by one connection at a time.
static RECEIVED: LazyLock<Mutex<Buffer>> = LazyLock::new(|| Mutex::new(Buffer::new(SPAN as usize)));

/// What replies come from, for all connections.
static MEMORY: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0xa5; SPAN as usize]);

/// The most replies that one call sends from where they lie.
const TOGETHER: usize = 32;

/// Sends so many replies whose data lies all over `memory`.
fn reply_from(
    memory: &[u8],
    header: &[u8],
    size: usize,
    count: u64,
    offsets: &mut Offsets,
    stream: &mut TcpStream,
) -> Result<()> {
    let mut pieces = Vec::with_capacity(2 * TOGETHER);
    for _ in 0..count {
        let at = offsets.next() as usize;
        pieces.extend([IoSlice::new(header), IoSlice::new(&memory[at..at + size])]);
    }
    let mut left = &mut pieces[..];
    while !left.is_empty() {
        let n = stream.write_vectored(left)?;
        IoSlice::advance_slices(&mut left, n);
    }
    Ok(())
}

/// After the handshake, unlike `Options`: what agrees in it to mark packets has no use on loopback.
pub(crate) fn set_congestion_control(socket: &impl AsFd, name: Option<&str>) -> Result<()> {
    Ok(name.map_or(Ok(()), |name| setsockopt(socket, TcpCongestion, &OsString::from(name)))?)
}

/// Connects, and says what is to follow.
fn greet(far: &FarEnd, cell: &Cell, kind: Kind) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(&far.address)?;
    stream.set_nodelay(true)?;
    set_congestion_control(&stream, far.congestion_control.as_deref())?;
    let (request, reply) = lengths(cell);
    let greeting = [request, reply, cell.size.into(), kind.to_number()];
    stream.write_all(&greeting.map(u64::to_le_bytes).concat())?;
    Ok(stream)
}

/// One connection's near end.
#[derive(Debug)]
pub(crate) struct Requester {
    stream: TcpStream,
    reply: u64,
    requests: Vec<u8>,
    request: u64,
    received: u64,
    polls: bool,
}

impl Requester {
    /// Connects, and sends the first requests.
    pub(crate) fn start(far: &FarEnd, cell: &Cell, kind: Kind) -> Result<Self> {
        let mut stream = greet(far, cell, kind)?;
        let (request, reply) = lengths(cell);
        let requests = vec![0x5a; request as usize * cell.depth];
        stream.write_all(&requests)?;
        Ok(Self { stream, reply, requests, request, received: 0, polls: kind.polls })
    }

    /// Receives once, and sends as many requests as replies came; how many.
    pub(crate) fn step(&mut self, buffer: &mut Buffer) -> Result<u64> {
        self.received += read(&mut self.stream, buffer.place(), self.polls)? as u64;
        let credit = self.received / self.reply;
        self.received %= self.reply;
        if credit > 0 {
            self.stream.write_all(&self.requests[..(credit * self.request) as usize])?;
        }
        Ok(credit)
    }
}

impl AsFd for Requester {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What the connections of a cell receive to.
pub(crate) fn buffer(cell: &Cell, kind: Kind) -> Buffer {
    Buffer::new(if kind.memory == Memory::Same { cell.size as usize * cell.depth } else { BUFFER })
}

/// Runs a cell's bytes.
pub(crate) fn run(far: &FarEnd, cell: &Cell, kind: Kind, time: Duration) -> Result<Sample> {
    if kind.memory == Memory::Sealed {
        return run_sealed(far, cell, kind, time);
    }
    let mut requester = Requester::start(far, cell, kind)?;
    let mut buffer = buffer(cell, kind);
    measure::sample(far, time, || requester.step(&mut buffer))
}

fn run_sealed(far: &FarEnd, cell: &Cell, kind: Kind, time: Duration) -> Result<Sample> {
    let mut channel = Channel::near(greet(far, cell, kind)?, kind.polls)?;
    let (request, reply) = lengths(cell);
    // Each from a buffer of its own.
    let requests = vec![0x5a; request as usize * cell.depth];
    channel.send(std::iter::once(&requests[..]))?;
    let (mut received, mut next) = (0, 0);
    measure::sample(far, time, || {
        received += channel.receive()?.ok_or("the far end is gone")?;
        let credit = received / reply;
        received %= reply;
        if credit > 0 {
            let mine = requests.chunks_exact(request as usize).cycle().skip(next).take(credit as usize);
            channel.send(mine)?;
            next = (next + credit as usize) % cell.depth;
        }
        Ok(credit)
    })
}
