//! The bare loop: requests and replies of the same lengths on a TCP connection, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::Result;
use crate::cell::Cell;
use crate::far_end::FarEnd;
use crate::measure::{self, Sample};

/// A capsule, and the header of a data PDU.
const CAPSULE: u64 = 72;
const HEADER: u64 = 24;
/// How much one read takes at most.
const BUFFER: usize = 256 * 1024;

/// The lengths of a cell's request and reply in bytes: capsule and data, data and response.
fn lengths(cell: &Cell) -> (u64, u64) {
    let size = u64::from(cell.size);
    if cell.write { (CAPSULE + size, HEADER) } else { (CAPSULE, HEADER + size) }
}

/// Answers each request with a reply; the first bytes of a connection say how long the two are.
pub(crate) fn serve(listener: &TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // A connection that ends is the end of one measurement.
        drop(answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut lengths = [0; 16];
    stream.read_exact(&mut lengths)?;
    let (request, reply) = lengths.split_at(8);
    let (request, reply) = (u64::from_le_bytes(request.try_into()?), u64::from_le_bytes(reply.try_into()?));
    let mut buffer = vec![0; BUFFER];
    let replies = vec![0xa5; (reply as usize).max(BUFFER)];
    let mut received = 0;
    loop {
        let n = stream.read(&mut buffer)?;
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

/// Runs a cell's bytes.
pub(crate) fn run(far: &FarEnd, cell: &Cell, time: Duration) -> Result<Sample> {
    let mut stream = TcpStream::connect(&far.address)?;
    stream.set_nodelay(true)?;
    let (request, reply) = lengths(cell);
    stream.write_all(&[request.to_le_bytes(), reply.to_le_bytes()].concat())?;
    let requests = vec![0x5a; request as usize * cell.depth];
    let mut buffer = vec![0; BUFFER.max(reply as usize)];
    let mut received = 0;
    let mut credit = cell.depth as u64;
    measure::sample(far, time, || {
        stream.write_all(&requests[..(credit * request) as usize])?;
        credit = 0;
        while credit == 0 {
            received += stream.read(&mut buffer)? as u64;
            credit = received / reply;
            received %= reply;
        }
        Ok(credit)
    })
}
