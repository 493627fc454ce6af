//! NVMe qualified names: who a host is and what a subsystem is called.

use thiserror::Error;

/// The well-known name of the discovery subsystem (NVMe Base, "NVMe Qualified Names").
pub const DISCOVERY_NQN: &str = "nqn.2014-08.org.nvmexpress.discovery";

/// What a name made from a UUID begins with; the UUID's text follows.
pub const UUID_NQN_PREFIX: &str = "nqn.2014-08.org.nvmexpress:uuid:";

/// The longest name in bytes, its terminating zero not counted.
pub const MAX_NQN_LEN: usize = 223;

/// What is wrong with an NQN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NqnError {
    /// There is no name.
    #[error("an NQN is empty")]
    Empty,
    /// The name is longer than [`MAX_NQN_LEN`] bytes.
    #[error("an NQN is {len} bytes long, at most {MAX_NQN_LEN} are allowed")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The name holds something else than visible ASCII.
    #[error("an NQN holds {found:?} at byte {at}: only visible ASCII without spaces is allowed")]
    Character {
        /// Where, in bytes from the start.
        at: usize,
        /// What stands there.
        found: char,
    },
}

/// Checks what every consumer of a name relies on: it is not empty, has at most [`MAX_NQN_LEN`] bytes
/// and holds visible ASCII only (a space would end it inside a PSK identity).
///
/// The registered forms, `nqn.yyyy-mm.reverse.domain:name` and `nqn.2014-08.org.nvmexpress:uuid:UUID`,
/// are not enforced: targets in the field carry others, and what to call itself is theirs to say.
///
/// ```
/// use nvme_tcp::nqn::{NqnError, validate};
///
/// assert_eq!(validate("nqn.2024-01.io.example:images"), Ok(()));
/// assert_eq!(validate("two words"), Err(NqnError::Character { at: 3, found: ' ' }));
/// ```
///
/// # Errors
/// One [`NqnError`] for each of the three.
pub fn validate(nqn: &str) -> Result<(), NqnError> {
    if nqn.is_empty() {
        return Err(NqnError::Empty);
    }
    if nqn.len() > MAX_NQN_LEN {
        return Err(NqnError::TooLong { len: nqn.len() });
    }
    match nqn.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
        Some((at, found)) => Err(NqnError::Character { at, found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_registered_and_other_names() {
        for nqn in [DISCOVERY_NQN, "nqn.psk-test-host", "hostnqn", "nqn.2016-06.io.spdk:cnode1"] {
            assert_eq!(validate(nqn), Ok(()), "{nqn}");
        }
        assert_eq!(validate(&"n".repeat(MAX_NQN_LEN)), Ok(()));
    }

    #[test]
    fn refuses_what_could_not_stand_in_an_identity() {
        assert_eq!(validate(""), Err(NqnError::Empty));
        assert_eq!(validate(&"n".repeat(224)), Err(NqnError::TooLong { len: 224 }));
        assert_eq!(validate("nqn.a b"), Err(NqnError::Character { at: 5, found: ' ' }));
        assert_eq!(validate("nqn.\u{e9}"), Err(NqnError::Character { at: 4, found: '\u{e9}' }));
        assert_eq!(validate("nqn.a\n"), Err(NqnError::Character { at: 5, found: '\n' }));
    }
}
