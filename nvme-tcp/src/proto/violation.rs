//! What a peer did that the protocol does not allow.

use std::borrow::Cow;
use std::fmt;

use crate::spec::pdu::{FatalStatus, PduType};

/// A field of a PDU that is wrong: which one, what it should have been and what came. It ends the
/// connection, and the peer is told by a TermReq with the same [`FatalStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The kind of PDU, where it has one that exists.
    pub pdu: Option<PduType>,
    /// The field's name in the specification.
    pub field: &'static str,
    /// What came.
    pub got: u64,
    /// What would have been right.
    pub expected: Cow<'static, str>,
    /// FES of the TermReq.
    pub fes: FatalStatus,
    /// FEI of the TermReq.
    pub fei: u32,
}

impl Violation {
    /// A header field at byte `offset` that has a wrong value (FES 1).
    pub fn field(
        pdu: impl Into<Option<PduType>>,
        field: &'static str,
        offset: u32,
        got: impl Into<u64>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pdu: pdu.into(),
            field,
            got: got.into(),
            expected: expected.into(),
            fes: FatalStatus::InvalidHeaderField,
            fei: offset,
        }
    }

    /// The same, told to the peer as another kind of fatal error.
    #[must_use]
    pub fn told_as(self, fes: FatalStatus) -> Self {
        Self { fes, ..self }
    }

    /// A PDU that comes out of turn (FES 2).
    pub fn sequence(pdu: PduType, expected: impl Into<Cow<'static, str>>) -> Self {
        Self::field(pdu, "PDU-Type", 0, pdu as u8, expected).told_as(FatalStatus::SequenceError)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pdu) = self.pdu {
            write!(f, "{pdu}: ")?;
        }
        write!(f, "{} is {}, expected {}", self.field, self.got, self.expected)
    }
}

impl std::error::Error for Violation {}
