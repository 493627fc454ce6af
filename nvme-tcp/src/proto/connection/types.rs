//! What goes into a connection and what comes out.

use crate::proto::CommandId;
use crate::proto::transmit::Payload;
use crate::spec::completion::Cqe;
use crate::spec::pdu::{CapsuleResp, DATA_HEADER_LEN};

/// The in-capsule limit of every admin and fabrics command in bytes (TCP, section 3.3.2.1).
pub const ADMIN_IN_CAPSULE: u32 = 8192;

/// What this host wants of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionConfig {
    /// Commands outstanding at once, 1 to 4,096.
    pub depth: u32,
    /// Ask for header digests; a controller that declines is a violation unless `digests_optional`.
    pub header_digest: bool,
    /// Ask for data digests.
    pub data_digest: bool,
    /// Take a controller's word that it does without a digest that was asked for.
    pub digests_optional: bool,
    /// R2Ts that the controller may have outstanding for one command, 0-based.
    pub maxr2t: u32,
    /// HPDA: where received data is to begin, 0-based dwords, 0 to 31.
    pub hpda: u8,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            depth: 31,
            header_digest: false,
            data_digest: false,
            digests_optional: false,
            maxr2t: 0,
            hpda: 0,
        }
    }
}

/// What ICReq and ICResp agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Header digests are in force.
    pub header_digest: bool,
    /// Data digests are in force.
    pub data_digest: bool,
    /// Where sent data begins: a multiple of this many bytes.
    pub alignment: u32,
    /// The most data in one H2CData PDU in bytes.
    pub maxh2cdata: u32,
}

/// What was wrong with a command's data though its connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFault {
    /// A data digest did not match what came.
    Digest,
    /// The controller reported success and had sent less than was asked for.
    Short {
        /// Bytes received.
        got: u32,
        /// Bytes asked for.
        expected: u32,
    },
}

/// A command that is done: its buffer belongs to its owner again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which command.
    pub command: CommandId,
    /// What the controller said.
    pub cqe: Cqe,
    /// What the data had to say about that.
    pub fault: Option<DataFault>,
    /// Whether [`Connection::cancel`](crate::proto::Connection::cancel) was called for it.
    pub cancelled: bool,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The connection takes commands now.
    Open(Negotiated),
    /// Copy `bytes` to the command's data at `to`. Only from [`Connection::consume`](crate::proto::Connection::consume).
    Data {
        /// Where they belong.
        to: Payload,
        /// What was received.
        bytes: &'a [u8],
    },
    /// A data PDU is whole: call [`Connection::digest_mismatch`](crate::proto::Connection::digest_mismatch) unless the CRC-32C of `of` is `digest`.
    CheckDigest {
        /// Which data.
        of: Payload,
        /// The digest that came.
        digest: u32,
    },
    /// A command is done.
    Completed(Completion),
    /// A cancelled write's buffer is free, though the command is not done.
    Released(CommandId),
    /// The controller gave the connection up: FES, FEI.
    Terminated(u16, u32),
}

/// Which door the next received bytes best come in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Receive straight into the command's data here, then [`Connection::advance`](crate::proto::Connection::advance).
    InPlace(Payload),
    /// Receive and throw away at most this many bytes (the data of a cancelled read), then
    /// [`Connection::advance`](crate::proto::Connection::advance); or receive anywhere and [`Connection::consume`](crate::proto::Connection::consume).
    Discard(u32),
    /// Receive anywhere, then [`Connection::consume`](crate::proto::Connection::consume).
    Consume,
}

/// Which way the socket is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Something is to be sent.
    pub write: bool,
    /// Something is to be received.
    pub read: bool,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Every slot is taken: complete something first.
    #[error("all {0} slots of the queue are taken")]
    Full(usize),
    /// ICReq and ICResp were not exchanged yet, or the connection is over.
    #[error("the connection takes no commands now")]
    NotOpen,
}

/// How long a command's data is, and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// It has none.
    None,
    /// This many bytes come from the controller.
    Read(u32),
    /// This many bytes go to the controller.
    Write(u32),
}

/// How many bytes come before each piece of data that [`Connection::foresee`](crate::proto::Connection::foresee) names: its
/// header, and before that the response of the read before it, if such come in capsules of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Before the first; 0 in the midst of its PDU.
    pub first: usize,
    /// Before each other one.
    pub others: usize,
}

impl Gaps {
    /// The most that one is.
    pub const MOST: usize = size_of::<CapsuleResp>() + DATA_HEADER_LEN;

    pub(super) fn of(responds: bool) -> usize {
        if responds { Self::MOST } else { DATA_HEADER_LEN }
    }

    /// The one before the piece with this number, from 0.
    pub fn before(self, index: usize) -> usize {
        if index == 0 { self.first } else { self.others }
    }
}

/// What a PDU was for which [`Connection::foresee`](crate::proto::Connection::foresee) had named the place of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Another than was foreseen: nothing of it is taken.
    Another,
    /// That one, of which more is to come: data, or its response.
    Begun,
    /// That one, and with its data the command is done.
    Completed(Completion),
}
