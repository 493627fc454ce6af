//! What a connection reports beside its data.

use std::fmt;

/// One of a connection's two directions, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// What this end sends.
    Send,
    /// What this end receives.
    Receive,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Receive => "receive",
        })
    }
}

/// Something the owner of a connection should act on while all is still well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A key has sealed or opened so many records that it should be replaced soon, by a KeyUpdate or a
    /// new connection. It comes once for each key; at the limit the direction refuses to go on.
    BudgetLow {
        /// Whose key it is.
        direction: Flow,
        /// Records so far.
        used: u64,
        /// Records at which the direction stops.
        limit: u64,
    },
    /// The peer changed its sending key (RFC 8446, section 4.6.3), and this end followed.
    PeerUpdatedKey,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BudgetLow { direction, used, limit } => {
                write!(f, "the {direction} key has been used for {used} of {limit} records")
            }
            Self::PeerUpdatedKey => f.write_str("the peer changed its sending key"),
        }
    }
}
