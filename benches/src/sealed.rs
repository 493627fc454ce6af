//! The bare loop's bytes, sealed and opened as TLS has to: what the cipher leaves of a connection's speed.

use std::io::Write;
use std::net::TcpStream;

use ktls::cipher::CipherSuite;
use ktls::crypto::RecordKey;
use ktls::keys::TrafficSecret;
use ktls::secret::Secret;

use crate::{Result, raw};

/// A record's length, as many bytes as TLS has before it.
const HEADER: usize = 5;
const TAG: usize = 16;
/// Plaintext in a record.
const FRAGMENT: usize = 16 * 1024;
/// As much is sealed before it is sent.
const SEND: usize = 256 * 1024;
/// As much is received at once, and what was left of a record before.
const RECEIVE: usize = 256 * 1024;

/// The key of one direction. What it seals is worth nothing to anybody.
fn key(fill: u8) -> Result<RecordKey> {
    let secret = Secret::new(&[fill; 32]).ok_or("no memory for a secret")?;
    let secret = TrafficSecret::new(CipherSuite::Aes128GcmSha256, secret).ok_or("not SHA-256's length")?;
    Ok(secret.record_key())
}

/// One end of a connection.
pub(crate) struct Channel {
    stream: TcpStream,
    polls: bool,
    seals: RecordKey,
    opens: RecordKey,
    sealed: u64,
    opened: u64,
    out: Vec<u8>,
    input: Vec<u8>,
    have: usize,
}

impl Channel {
    /// The end that connected.
    pub(crate) fn near(stream: TcpStream, polls: bool) -> Result<Self> {
        Ok(Self::new(stream, polls, key(1)?, key(2)?))
    }

    /// The end that took the connection.
    pub(crate) fn far(stream: TcpStream, polls: bool) -> Result<Self> {
        Ok(Self::new(stream, polls, key(2)?, key(1)?))
    }

    fn new(stream: TcpStream, polls: bool, seals: RecordKey, opens: RecordKey) -> Self {
        Self {
            stream,
            polls,
            seals,
            opens,
            sealed: 0,
            opened: 0,
            out: Vec::with_capacity(SEND + FRAGMENT + HEADER + TAG),
            input: vec![0; RECEIVE + FRAGMENT + HEADER + TAG],
            have: 0,
        }
    }

    /// Sends `pieces`, in records that are as full as they can be.
    pub(crate) fn send<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut begin = self.begin();
        for mut piece in pieces {
            while !piece.is_empty() {
                let room = FRAGMENT - (self.out.len() - begin - HEADER);
                let (now, later) = piece.split_at(room.min(piece.len()));
                self.out.extend_from_slice(now);
                piece = later;
                if now.len() == room {
                    self.finish(begin)?;
                    if self.out.len() >= SEND {
                        self.write_out()?;
                    }
                    begin = self.begin();
                }
            }
        }
        if self.out.len() > begin + HEADER {
            self.finish(begin)?;
        } else {
            self.out.truncate(begin);
        }
        self.write_out()
    }

    /// Makes room for a record's header; where the record begins.
    fn begin(&mut self) -> usize {
        let begin = self.out.len();
        self.out.extend_from_slice(&[0; HEADER]);
        begin
    }

    /// Seals the record that begins there.
    fn finish(&mut self, begin: usize) -> Result<()> {
        let (header, data) = self.out[begin..].split_at_mut(HEADER);
        header[..4].copy_from_slice(&((data.len() + TAG) as u32).to_le_bytes());
        let tag = self.seals.seal(self.sealed, header, data)?;
        self.sealed += 1;
        self.out.extend_from_slice(&tag);
        Ok(())
    }

    fn write_out(&mut self) -> Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Receives once, and opens what records are whole; how many bytes were in them. `None` at the end.
    pub(crate) fn receive(&mut self) -> Result<Option<u64>> {
        let n = raw::read(&mut self.stream, &mut self.input[self.have..], self.polls)?;
        if n == 0 {
            return Ok(None);
        }
        self.have += n;
        let (mut at, mut plain) = (0, 0);
        while let Some((header, rest)) = self.input[at..self.have].split_first_chunk_mut::<HEADER>() {
            let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let Some(record) = rest.get_mut(..len) else { break };
            plain += self.opens.open(self.opened, header, record)?.len() as u64;
            self.opened += 1;
            at += HEADER + len;
        }
        self.input.copy_within(at..self.have, 0);
        self.have -= at;
        Ok(Some(plain))
    }
}
