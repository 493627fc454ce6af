//! What a handshake leaves behind: a key for each direction, and where the next one comes from.

mod log;
mod raw;

pub use log::{KeyLog, KeyLogError};
pub(crate) use raw::SharedSchedule;
pub use raw::{DirectionKey, KeyError, RawKeys, Schedule, ScheduleError};

use crate::cipher::{CipherSuite, NONCE_LEN};
use crate::crypto::{Group, Prk, RecordKey};
use crate::secret::Secret;

/// The application traffic secret of one direction (RFC 8446, section 7.1).
#[derive(Clone, Debug)]
pub struct TrafficSecret {
    suite: CipherSuite,
    secret: Secret,
}

impl TrafficSecret {
    /// Takes a secret as long as the suite's hash; `None` for another length.
    pub fn new(suite: CipherSuite, secret: Secret) -> Option<Self> {
        (secret.len() == suite.hash().output_len()).then_some(Self { suite, secret })
    }

    /// The suite that it belongs to.
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// The secret itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The AEAD key and the 12-byte write IV (RFC 8446, section 7.3).
    pub fn key_and_iv(&self) -> (Secret, Secret) {
        let prk = self.prk();
        (prk.expand_label("key", &[], self.suite.key_len()), prk.expand_label("iv", &[], NONCE_LEN))
    }

    /// The same, ready to seal and open records.
    pub fn record_key(&self) -> RecordKey {
        let (key, iv) = self.key_and_iv();
        RecordKey::new(self.suite, &key, &iv).unwrap_or_else(|| unreachable!("made to the suite's lengths"))
    }

    /// The secret after a KeyUpdate (RFC 8446, section 7.2).
    pub fn next(&self) -> Self {
        let secret = self.prk().expand_label("traffic upd", &[], self.suite.hash().output_len());
        Self { suite: self.suite, secret }
    }

    fn prk(&self) -> Prk {
        Prk::from_secret(self.suite.hash(), &self.secret)
    }
}

/// A finished handshake: all that a record layer needs, with both sequence numbers at zero.
#[derive(Clone, Debug)]
pub struct Established {
    /// The suite agreed on.
    pub suite: CipherSuite,
    /// The group of the key agreement.
    pub group: Group,
    /// The PSK identity that both ends use.
    pub psk_identity: Vec<u8>,
    /// Seals what this end sends.
    pub tx: TrafficSecret,
    /// Opens what the peer sends.
    pub rx: TrafficSecret,
    /// The largest record plaintext that the peer takes, content type byte not counted
    /// (RFC 8449's record_size_limit less one; 16,384 where the peer set none).
    pub max_send_fragment: usize,
    /// The same for what this end takes: 16,384 where it announced no less, or the peer did not answer.
    pub max_receive_fragment: usize,
}
