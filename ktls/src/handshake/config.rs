//! What each end offers and accepts.

use std::sync::Arc;

use super::error::Error;
use super::psk::{Psk, PskStore};
use super::{MAX_RECORD_SIZE_LIMIT, MIN_RECORD_SIZE_LIMIT};
use crate::crypto::Group;

/// What a client offers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(super) psk: Psk,
    pub(super) groups: Vec<Group>,
    pub(super) key_shares: usize,
    pub(super) record_size_limit: Option<u16>,
    pub(super) middlebox_compatibility: bool,
}

impl ClientConfig {
    /// Offers `psk` and nothing else (known servers look at the first identity only), its suite, every
    /// group with a share for the first, and no record_size_limit.
    pub fn new(psk: Psk) -> Self {
        Self {
            psk,
            groups: Group::ALL.to_vec(),
            key_shares: 1,
            record_size_limit: None,
            middlebox_compatibility: true,
        }
    }

    /// The groups for the key agreement, the preferred first, each once.
    #[must_use]
    pub fn groups(mut self, groups: impl Into<Vec<Group>>) -> Self {
        self.groups = groups.into();
        self
    }

    /// For how many groups, from the first on, the first ClientHello has a share. A server that wants
    /// another one costs a round trip more, a share costs a key pair.
    #[must_use]
    pub fn key_shares(mut self, key_shares: usize) -> Self {
        self.key_shares = key_shares;
        self
    }

    /// The record_size_limit to announce (RFC 8449): how many bytes of plaintext this end takes in one
    /// record, its content type byte among them; 64 to 16,385.
    #[must_use]
    pub fn record_size_limit(mut self, limit: u16) -> Self {
        self.record_size_limit = Some(limit);
        self
    }

    /// Whether the handshake looks like one of TLS 1.2 to what stands between the ends (RFC 8446, appendix
    /// D.4): a session id and ChangeCipherSpec records. On by default.
    #[must_use]
    pub fn middlebox_compatibility(mut self, on: bool) -> Self {
        self.middlebox_compatibility = on;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_groups(&self.groups)?;
        check_limit(self.record_size_limit.unwrap_or(MAX_RECORD_SIZE_LIMIT))
    }
}

/// What a server accepts.
#[derive(Clone)]
pub struct ServerConfig {
    pub(super) keys: Arc<dyn PskStore>,
    pub(super) groups: Vec<Group>,
    pub(super) record_size_limit: u16,
}

impl ServerConfig {
    /// Accepts the keys in `keys`, with every group.
    pub fn new(keys: impl PskStore + 'static) -> Self {
        let record_size_limit = MAX_RECORD_SIZE_LIMIT;
        Self { keys: Arc::new(keys), groups: Group::ALL.to_vec(), record_size_limit }
    }

    /// The record_size_limit to answer with (RFC 8449), where a client announces its own: how many bytes of
    /// plaintext this end takes in one protected record, the content type byte among them; 64 to 16,385, which
    /// is the default.
    #[must_use]
    pub fn record_size_limit(mut self, limit: u16) -> Self {
        self.record_size_limit = limit;
        self
    }

    /// The groups for the key agreement; which of them is taken, the client's order says.
    #[must_use]
    pub fn groups(mut self, groups: impl Into<Vec<Group>>) -> Self {
        self.groups = groups.into();
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        check_groups(&self.groups)?;
        check_limit(self.record_size_limit)
    }
}

fn check_limit(limit: u16) -> Result<(), Error> {
    if (MIN_RECORD_SIZE_LIMIT..=MAX_RECORD_SIZE_LIMIT).contains(&limit) {
        Ok(())
    } else {
        Err(Error::Config("a record_size_limit is 64 to 16385"))
    }
}

fn check_groups(groups: &[Group]) -> Result<(), Error> {
    if groups.is_empty() {
        return Err(Error::Config("a handshake needs at least one group"));
    }
    if groups.iter().enumerate().any(|(at, group)| groups[..at].contains(group)) {
        return Err(Error::Config("each group stands in the list once"));
    }
    Ok(())
}
