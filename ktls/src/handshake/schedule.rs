//! The key schedule (RFC 8446, section 7.1) and the transcript that it runs over.
//!
//! ```text
//!              0 ----> Extract <- PSK                Early      -> binder key
//! Derive("derived") -> Extract <- (EC)DHE secret     Handshake  -> c hs traffic, s hs traffic
//! Derive("derived") -> Extract <- 0                  Master     -> c ap traffic, s ap traffic
//! ```

use subtle::ConstantTimeEq;

use super::error::Error;
use super::message::message_type;
use crate::cipher::CipherSuite;
use crate::crypto::{Digest, Hash, Hasher, Prk, hmac};
use crate::keys::TrafficSecret;
use crate::secret::{MAX_SECRET_LEN, Secret};

/// The label of the binder key of a pre-shared key that was not made by an earlier handshake.
pub(super) const EXTERNAL_BINDER: &str = "ext binder";

fn derive_secret(prk: &Prk, label: &str, transcript: &[u8]) -> Secret {
    prk.expand_label(label, transcript, prk.hash().output_len())
}

/// The step down to the next extraction.
fn extract_next(prk: &Prk, input: &[u8]) -> Prk {
    let salt = derive_secret(prk, "derived", Hasher::new(prk.hash()).finish().as_ref());
    Prk::extract(prk.hash(), salt.expose(), input)
}

/// The Early Secret.
pub(super) struct EarlySecret(Prk);

impl EarlySecret {
    pub(super) fn new(hash: Hash, psk: &Secret) -> Self {
        Self(Prk::extract(hash, &[], psk.expose()))
    }

    /// The binder over `transcript`, which ends with the truncated ClientHello (section 4.2.11.2).
    pub(super) fn binder(&self, label: &str, transcript: &[u8]) -> Secret {
        let hash = self.0.hash();
        finished_mac(hash, &derive_secret(&self.0, label, Hasher::new(hash).finish().as_ref()), transcript)
    }

    pub(super) fn into_handshake(self, shared: &Secret) -> HandshakeSecret {
        HandshakeSecret(extract_next(&self.0, shared.expose()))
    }
}

/// The traffic secrets of both directions.
pub(super) struct Traffic {
    pub(super) client: TrafficSecret,
    pub(super) server: TrafficSecret,
}

impl Traffic {
    fn derive(
        suite: CipherSuite,
        prk: &Prk,
        client: &str,
        server: &str,
        transcript: &[u8],
    ) -> Result<Self, Error> {
        let secret =
            |label| TrafficSecret::new(suite, derive_secret(prk, label, transcript)).ok_or(Error::Crypto);
        Ok(Self { client: secret(client)?, server: secret(server)? })
    }
}

/// The Handshake Secret.
pub(super) struct HandshakeSecret(Prk);

impl HandshakeSecret {
    /// `transcript` ends with the ServerHello.
    pub(super) fn traffic(&self, suite: CipherSuite, transcript: &[u8]) -> Result<Traffic, Error> {
        Traffic::derive(suite, &self.0, "c hs traffic", "s hs traffic", transcript)
    }

    pub(super) fn into_master(self) -> MasterSecret {
        let zeros = [0; MAX_SECRET_LEN];
        MasterSecret(extract_next(&self.0, &zeros[..self.0.hash().output_len()]))
    }
}

/// The Master Secret.
pub(super) struct MasterSecret(Prk);

impl MasterSecret {
    /// `transcript` ends with the server's Finished.
    pub(super) fn traffic(&self, suite: CipherSuite, transcript: &[u8]) -> Result<Traffic, Error> {
        Traffic::derive(suite, &self.0, "c ap traffic", "s ap traffic", transcript)
    }
}

fn finished_mac(hash: Hash, base: &Secret, transcript: &[u8]) -> Secret {
    let key = Prk::from_secret(hash, base).expand_label("finished", &[], hash.output_len());
    hmac(hash, key.expose(), &[transcript])
}

/// The `verify_data` of the end that sends under `base`, its handshake traffic secret (section 4.4.4).
pub(super) fn verify_data(base: &TrafficSecret, transcript: &[u8]) -> Secret {
    finished_mac(base.suite().hash(), base.secret(), transcript)
}

/// Checks a peer's Finished, which was sent under `base` over `transcript`.
pub(super) fn check_finished(base: &TrafficSecret, transcript: &[u8], body: &[u8]) -> Result<(), Error> {
    let expected = verify_data(base, transcript);
    let len = base.suite().hash().output_len();
    if body.len() != len {
        let (expected, got) = (format!("{len} bytes"), format!("{} bytes", body.len()));
        return Err(Error::decode("Finished.verify_data", expected, got));
    }
    if mac_matches(&expected, body) { Ok(()) } else { Err(Error::FinishedMismatch) }
}

/// Compares a MAC with what the peer sent, in constant time.
pub(super) fn mac_matches(mac: &Secret, received: &[u8]) -> bool {
    mac.expose().ct_eq(received).into()
}

/// The hash over all handshake messages so far (section 4.4.1).
#[derive(Clone)]
pub(super) struct Transcript {
    hash: Hash,
    hasher: Hasher,
}

impl Transcript {
    pub(super) fn new(hash: Hash) -> Self {
        Self { hash, hasher: Hasher::new(hash) }
    }

    pub(super) fn add(&mut self, message: &[u8]) {
        self.hasher.update(message);
    }

    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The hash as it would be with `message` added.
    pub(super) fn digest_with(&self, message: &[u8]) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(message);
        hasher.finish()
    }

    /// Puts a `message_hash` in the place of the first ClientHello: done before a HelloRetryRequest
    /// is added.
    pub(super) fn fold_first_hello(&mut self) {
        let first = self.digest();
        // A hash's output is at most 64 bytes.
        let len = first.as_ref().len() as u8;
        self.hasher = Hasher::new(self.hash);
        self.add(&[message_type::MESSAGE_HASH, 0, 0, len]);
        self.add(first.as_ref());
    }
}

#[cfg(all(test, not(miri)))]
mod tests;
