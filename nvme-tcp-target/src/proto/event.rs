//! What a connection tells its owner.

use nvme_tcp::proto::Payload;
use nvme_tcp::spec::command::Sqe;

#[cfg(doc)]
use super::Connection;
use super::Negotiated;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The connection takes commands now.
    Open(Negotiated),
    /// A command has `len` bytes of data to be received: call [`Connection::grant`] when there is memory for
    /// them, or refuse it by [`Connection::respond`], before anything else.
    Want {
        /// The command's slot.
        slot: u16,
        /// The command.
        sqe: Sqe,
        /// How much data, in bytes.
        len: u32,
    },
    /// Copy `bytes` to the command's data at `to`. Only from [`Connection::consume`].
    Data {
        /// Where they belong.
        to: Payload,
        /// What was received.
        bytes: &'a [u8],
    },
    /// A data PDU is whole: call [`Connection::digest_mismatch`] unless the CRC-32C of `of` is `digest`.
    CheckDigest {
        /// Which data.
        of: Payload,
        /// The digest that came.
        digest: u32,
    },
    /// A command, and all of its write data, is there. It is answered by [`Connection::respond`], now or
    /// later.
    Command {
        /// Its slot.
        slot: u16,
        /// The command.
        sqe: Sqe,
    },
    /// A command is over, and its memory is its owner's again.
    Free(u16),
    /// The host gave the connection up: FES, FEI.
    Terminated(u16, u32),
}
