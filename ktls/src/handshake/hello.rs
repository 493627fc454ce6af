//! ClientHello, ServerHello and HelloRetryRequest (RFC 8446, sections 4.1 and 4.2).

use std::collections::HashSet;

use super::error::Error;
use super::message::{
    Extensions, LEGACY_VERSION, PSK_DHE_KE, SSL3, TLS13, extension_type, message, message_type, put_extension,
};
use super::wire::{Reader, put_u16, put_vec8, put_vec16};
use crate::cipher::CipherSuite;
use crate::crypto::{Group, Hash};

/// The random of a ServerHello that is a HelloRetryRequest: SHA-256 of "HelloRetryRequest".
pub(super) const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// How many identities of a ClientHello a server looks up; peers send one.
pub(super) const MAX_IDENTITIES: usize = 4;

/// What a client says first.
pub(super) struct ClientHelloParts<'a> {
    pub(super) random: &'a [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) suite: CipherSuite,
    pub(super) groups: &'a [Group],
    pub(super) shares: &'a [(Group, &'a [u8])],
    pub(super) cookie: Option<&'a [u8]>,
    pub(super) record_size_limit: Option<u16>,
    pub(super) identity: &'a [u8],
}

impl ClientHelloParts<'_> {
    /// The message with a binder of zeros: the last bytes, as many as the hash has.
    pub(super) fn encode(&self) -> Vec<u8> {
        message(message_type::CLIENT_HELLO, |out| {
            put_u16(out, LEGACY_VERSION);
            out.extend_from_slice(self.random);
            put_vec8(out, |out| out.extend_from_slice(self.session_id));
            put_vec16(out, |out| put_u16(out, self.suite.id()));
            // legacy_compression_methods: none.
            put_vec8(out, |out| out.push(0));
            put_vec16(out, |out| self.extensions(out));
        })
    }

    fn extensions(&self, out: &mut Vec<u8>) {
        put_extension(out, extension_type::SUPPORTED_VERSIONS, |out| {
            put_vec8(out, |out| put_u16(out, TLS13))
        });
        put_extension(out, extension_type::SUPPORTED_GROUPS, |out| {
            put_vec16(out, |out| self.groups.iter().for_each(|group| put_u16(out, group.id())));
        });
        put_extension(out, extension_type::KEY_SHARE, |out| {
            put_vec16(out, |out| self.shares.iter().for_each(|(group, share)| put_share(out, *group, share)));
        });
        put_extension(out, extension_type::PSK_KEY_EXCHANGE_MODES, |out| {
            put_vec8(out, |out| out.push(PSK_DHE_KE));
        });
        if let Some(cookie) = self.cookie {
            put_extension(out, extension_type::COOKIE, |out| {
                put_vec16(out, |out| out.extend_from_slice(cookie));
            });
        }
        if let Some(limit) = self.record_size_limit {
            put_extension(out, extension_type::RECORD_SIZE_LIMIT, |out| put_u16(out, limit));
        }
        put_extension(out, extension_type::PRE_SHARED_KEY, |out| {
            put_vec16(out, |out| {
                put_vec16(out, |out| out.extend_from_slice(self.identity));
                // obfuscated_ticket_age: zero for a key that no ticket made.
                out.extend_from_slice(&[0; 4]);
            });
            put_vec16(out, |out| {
                put_vec8(out, |out| out.resize(out.len() + self.suite.hash().output_len(), 0));
            });
        });
    }
}

/// The length of the binders list with one binder of `hash`: what the binder itself does not cover.
pub(super) fn binders_len(hash: Hash) -> usize {
    2 + 1 + hash.output_len()
}

fn put_share(out: &mut Vec<u8>, group: Group, share: &[u8]) {
    put_u16(out, group.id());
    put_vec16(out, |out| out.extend_from_slice(share));
}

/// The identities of a ClientHello with their binders.
pub(super) struct OfferedPsks<'a> {
    pub(super) identities: Vec<(&'a [u8], &'a [u8])>,
    /// The length of the binders list, its own length field included.
    pub(super) binders_len: usize,
}

/// A ClientHello as a server sees it.
pub(super) struct ClientHello<'a> {
    pub(super) random: [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) suites: Vec<u16>,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16("ClientHello.legacy_version")?;
        let random = reader.array("ClientHello.random")?;
        let session_id = reader.vec8(0..=32, "ClientHello.legacy_session_id")?;
        let suites = reader.list16("ClientHello.cipher_suites")?;
        let compression = reader.vec8(1..=255, "ClientHello.legacy_compression_methods")?;
        let extensions = Extensions::read(&mut reader, "ClientHello")?;
        reader.end("ClientHello")?;
        supports_tls13(&extensions, legacy_version)?;
        if compression != [0] {
            let got = format!("{compression:02x?}");
            return Err(Error::illegal("ClientHello.legacy_compression_methods", "[00]", got));
        }
        Ok(Self { random, session_id, suites, extensions })
    }

    /// Whether the client takes a pre-shared key with a key agreement.
    pub(super) fn offers_psk_dhe_ke(&self) -> Result<bool, Error> {
        const FIELD: &str = "psk_key_exchange_modes";
        let mut data = self.extensions.require(extension_type::PSK_KEY_EXCHANGE_MODES)?;
        let modes = data.vec8(1..=255, FIELD)?;
        data.end(FIELD)?;
        Ok(modes.contains(&PSK_DHE_KE))
    }

    /// Whether the client sends early data, which is no more than an offer: the server says whether it counts.
    pub(super) fn offers_early_data(&self) -> Result<bool, Error> {
        match self.extensions.get(extension_type::EARLY_DATA) {
            Some(data) => data.end("early_data").map(|()| true),
            None => Ok(false),
        }
    }

    pub(super) fn groups(&self) -> Result<Vec<u16>, Error> {
        let mut data = self.extensions.require(extension_type::SUPPORTED_GROUPS)?;
        let groups = data.list16("supported_groups")?;
        data.end("supported_groups")?;
        Ok(groups)
    }

    /// The key shares, each for another one of `groups`.
    pub(super) fn shares(&self, groups: &[u16]) -> Result<Vec<(u16, &'a [u8])>, Error> {
        const FIELD: &str = "ClientHello key_share";
        let mut data = self.extensions.require(extension_type::KEY_SHARE)?;
        let mut list = Reader::new(data.vec16(0..=0xffff, FIELD)?);
        data.end(FIELD)?;
        let mut shares = Vec::new();
        // Each once: the lists are as long as the peer likes.
        let mut expected: HashSet<u16> = groups.iter().copied().collect();
        while !list.is_empty() {
            let group = list.u16(FIELD)?;
            let share = list.vec16(1..=0xffff, FIELD)?;
            if !expected.remove(&group) {
                let got = format!("group {group:#06x}");
                return Err(Error::illegal(FIELD, "one share for a supported group", got));
            }
            shares.push((group, share));
        }
        Ok(shares)
    }

    pub(super) fn psks(&self) -> Result<Option<OfferedPsks<'a>>, Error> {
        const FIELD: &str = "ClientHello pre_shared_key";
        let Some(mut data) = self.extensions.get(extension_type::PRE_SHARED_KEY) else {
            return Ok(None);
        };
        if self.extensions.last() != Some(extension_type::PRE_SHARED_KEY) {
            return Err(Error::illegal(FIELD, "to be the last extension", "others behind it"));
        }
        let mut list = Reader::new(data.vec16(7..=0xffff, FIELD)?);
        let binders_len = data.remaining();
        let mut binders = Reader::new(data.vec16(33..=0xffff, FIELD)?);
        data.end(FIELD)?;
        let mut identities = Vec::new();
        while !list.is_empty() {
            let identity = list.vec16(1..=0xffff, "PskIdentity.identity")?;
            // An age says nothing about a key that no ticket made.
            list.bytes(4, "PskIdentity.obfuscated_ticket_age")?;
            if binders.is_empty() {
                return Err(Error::illegal(FIELD, "one binder for each identity", "fewer"));
            }
            let binder = binders.vec8(32..=255, "PskBinderEntry")?;
            identities.push((identity, binder));
        }
        if !binders.is_empty() {
            return Err(Error::illegal(FIELD, "one binder for each identity", "more"));
        }
        identities.truncate(MAX_IDENTITIES);
        Ok(Some(OfferedPsks { identities, binders_len }))
    }
}

fn supports_tls13(extensions: &Extensions<'_>, legacy_version: u16) -> Result<(), Error> {
    const FIELD: &str = "ClientHello supported_versions";
    if legacy_version <= SSL3 {
        return Err(Error::OlderVersion { version: legacy_version });
    }
    let Some(mut data) = extensions.get(extension_type::SUPPORTED_VERSIONS) else {
        return Err(Error::OlderVersion { version: legacy_version.min(LEGACY_VERSION) });
    };
    let mut list = Reader::new(data.vec8(2..=254, FIELD)?);
    data.end(FIELD)?;
    let mut newest = 0;
    while !list.is_empty() {
        match list.u16(FIELD)? {
            TLS13 => return Ok(()),
            // Numbers above are GREASE, drafts or DTLS.
            version if version < TLS13 => newest = newest.max(version),
            _ => {}
        }
    }
    Err(Error::OlderVersion { version: newest })
}

/// What a server answers.
pub(super) struct ServerHelloParts<'a> {
    pub(super) random: [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) suite: CipherSuite,
    pub(super) group: Group,
    /// The share and the number of the identity; neither in a HelloRetryRequest.
    pub(super) chosen: Option<(&'a [u8], u16)>,
}

impl ServerHelloParts<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        message(message_type::SERVER_HELLO, |out| {
            put_u16(out, LEGACY_VERSION);
            out.extend_from_slice(&self.random);
            put_vec8(out, |out| out.extend_from_slice(self.session_id));
            put_u16(out, self.suite.id());
            out.push(0);
            put_vec16(out, |out| {
                put_extension(out, extension_type::SUPPORTED_VERSIONS, |out| put_u16(out, TLS13));
                put_extension(out, extension_type::KEY_SHARE, |out| match self.chosen {
                    Some((share, _)) => put_share(out, self.group, share),
                    None => put_u16(out, self.group.id()),
                });
                if let Some((_, identity)) = self.chosen {
                    put_extension(out, extension_type::PRE_SHARED_KEY, |out| put_u16(out, identity));
                }
            });
        })
    }
}

/// A ServerHello as a client sees it.
pub(super) struct ServerHello<'a> {
    pub(super) random: [u8; 32],
    session_id: &'a [u8],
    suite: u16,
    compression: u8,
    pub(super) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// Reads the message; a server that chose an older TLS is told apart before anything else is judged.
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16("ServerHello.legacy_version")?;
        let random = reader.array("ServerHello.random")?;
        let session_id = reader.vec8(0..=32, "ServerHello.legacy_session_id_echo")?;
        let suite = reader.u16("ServerHello.cipher_suite")?;
        let compression = reader.u8("ServerHello.legacy_compression_method")?;
        let extensions = Extensions::read(&mut reader, "ServerHello")?;
        reader.end("ServerHello")?;
        let version = extensions.get(extension_type::SUPPORTED_VERSIONS);
        let Some(mut version) = version.filter(|_| legacy_version > SSL3) else {
            return Err(Error::OlderVersion { version: legacy_version });
        };
        let chosen = version.u16("ServerHello supported_versions")?;
        version.end("ServerHello supported_versions")?;
        if chosen != TLS13 || legacy_version != LEGACY_VERSION {
            let got = format!("{chosen:#06x} with legacy_version {legacy_version:#06x}");
            return Err(Error::illegal("ServerHello supported_versions", "0x0304", got));
        }
        Ok(Self { random, session_id, suite, compression, extensions })
    }

    pub(super) fn is_retry(&self) -> bool {
        self.random == RETRY_RANDOM
    }

    /// What must be so in every answer (section 4.1.3).
    pub(super) fn check(&self, session_id: &[u8], suite: CipherSuite) -> Result<(), Error> {
        if self.session_id != session_id {
            let field = "ServerHello.legacy_session_id_echo";
            return Err(Error::illegal(field, "the client's session id", "another"));
        }
        if self.suite != suite.id() {
            let got = format!("{:#06x}", self.suite);
            return Err(Error::illegal("ServerHello.cipher_suite", suite.name(), got));
        }
        if self.compression != 0 {
            let got = self.compression.to_string();
            return Err(Error::illegal("ServerHello.legacy_compression_method", "0", got));
        }
        Ok(())
    }
}
