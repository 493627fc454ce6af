//! The bare loop: requests and replies of the same lengths on a TCP connection, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::Result;
use crate::cell::Cell;
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};

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

/// What a connection's first bytes say: the lengths of its requests and replies, and whether both ends poll.
const GREETING: usize = 24;

/// One read, which waits in the kernel, or asks it again and again.
fn read(stream: &mut TcpStream, buffer: &mut [u8], polls: bool) -> Result<usize> {
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
    let [request, reply, polls] = std::array::from_fn(|i| {
        let mut number = [0; 8];
        number.copy_from_slice(&greeting[8 * i..8 * i + 8]);
        u64::from_le_bytes(number)
    });
    let mut buffer = vec![0; BUFFER];
    let replies = vec![0xa5; (reply as usize).max(BUFFER)];
    let mut received = 0;
    loop {
        let n = read(&mut stream, &mut buffer, polls != 0)?;
        if n == 0 {
            return Ok(());
        }
        received += n as u64;
        let mut owed = received / request * reply;
        received %= request;
        while owed > 0 {
            let piece = owed.min(replies.len() as u64);
            stream.write_all(&replies[..piece as usize])?;
            owed -= piece;
        }
    }
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
    pub(crate) fn start(far: &FarEnd, cell: &Cell, polls: bool) -> Result<Self> {
        let mut stream = TcpStream::connect(&far.address)?;
        stream.set_nodelay(true)?;
        let (request, reply) = lengths(cell);
        stream.write_all(&[request, reply, u64::from(polls)].map(u64::to_le_bytes).concat())?;
        let requests = vec![0x5a; request as usize * cell.depth];
        stream.write_all(&requests)?;
        Ok(Self { stream, reply, requests, request, received: 0, polls })
    }

    /// Receives once, and sends as many requests as replies came; how many.
    pub(crate) fn step(&mut self, buffer: &mut [u8]) -> Result<u64> {
        self.received += read(&mut self.stream, buffer, self.polls)? as u64;
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

/// What a connection of a cell receives to.
pub(crate) fn buffer(cell: &Cell) -> Vec<u8> {
    vec![0; BUFFER.max(lengths(cell).1 as usize)]
}

/// Runs a cell's bytes; both ends poll or both sleep.
pub(crate) fn run(far: &FarEnd, cell: &Cell, polls: bool, time: Duration) -> Result<Sample> {
    let mut requester = Requester::start(far, cell, polls)?;
    let mut buffer = buffer(cell);
    measure::sample(far, time, || requester.step(&mut buffer))
}
