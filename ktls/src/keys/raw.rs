//! Keys as they are, whoever agreed on them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use zeroize::Zeroize;

use super::{Established, TrafficSecret};
use crate::cipher::{CipherSuite, NONCE_LEN, RecordCipher, Version};
use crate::crypto::{Nonce, RecordKey};
use crate::error::Error as ConnectionError;
use crate::event::Flow;
use crate::handshake::MAX_FRAGMENT_LEN;
use crate::secret::Secret;

/// Why keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A part has not the length that its cipher asks for.
    #[error("the {part} of {cipher} has {expected} bytes, got {got}")]
    Length {
        /// "key" or "IV".
        part: &'static str,
        /// For which cipher.
        cipher: RecordCipher,
        /// What it should be, in bytes.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// The two directions of a connection have one version and one cipher.
    #[error("one direction has {tx}, the other {rx}: both must have the same")]
    Differ {
        /// What is given to send.
        tx: RecordCipher,
        /// What is given to receive.
        rx: RecordCipher,
    },
}

/// Why whoever keeps a connection's secrets would not do what was asked: any error of theirs.
pub type ScheduleError = Box<dyn StdError + Send + Sync>;

/// Keeps a connection's secrets after the handshake: a TLS stack that hands the records over, and nothing
/// else.
pub trait Schedule: Send {
    /// The next key of a direction (RFC 8446, section 7.2), with sequence number 0.
    ///
    /// # Errors
    /// Any: the connection ends with [`Error::Stack`](crate::Error::Stack).
    fn next_key(&mut self, direction: Flow) -> Result<DirectionKey, ScheduleError>;

    /// Takes the body of a NewSessionTicket (RFC 8446, section 4.6.1).
    ///
    /// # Errors
    /// Any: the connection ends with [`Error::Stack`](crate::Error::Stack).
    fn ticket(&mut self, body: &[u8]) -> Result<(), ScheduleError>;
}

pub(crate) type SharedSchedule = Arc<Mutex<dyn Schedule>>;

/// Where the key after the present one comes from.
#[derive(Clone)]
enum Next {
    Nowhere,
    Secret(TrafficSecret),
    Schedule(SharedSchedule, Flow),
}

/// The key of one direction, with the number of its next record.
#[derive(Clone)]
pub struct DirectionKey {
    cipher: RecordCipher,
    key: Secret,
    iv: Secret,
    sequence: u64,
    next: Next,
}

impl DirectionKey {
    /// Takes the key itself, the IV and the number of the next record.
    ///
    /// `iv` has 12 bytes for every cipher. In TLS 1.3, and with ChaCha20 in TLS 1.2, it is the write IV. With
    /// the others in TLS 1.2 it is the 4 bytes of the implicit part (the salt) and then the 8 bytes that the
    /// **next** record to be sent is to carry as its explicit nonce; they count up from there. They must not
    /// come to a value that the key was used with before: Finished, at least, was such a record. To receive,
    /// the 8 bytes do not matter.
    ///
    /// There is no key after it: a KeyUpdate ends the direction with
    /// [`Error::NoNextKey`](crate::Error::NoNextKey). [`from_secret`](Self::from_secret) has one.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn new(cipher: RecordCipher, key: &[u8], iv: &[u8], sequence: u64) -> Result<Self, KeyError> {
        let part = |part, bytes: &[u8], expected| {
            let wrong = KeyError::Length { part, cipher, expected, got: bytes.len() };
            if bytes.len() == expected { Secret::new(bytes).ok_or(wrong) } else { Err(wrong) }
        };
        let key = part("key", key, cipher.cipher().key_len())?;
        let iv = part("IV", iv, NONCE_LEN)?;
        Ok(Self { cipher, key, iv, sequence, next: Next::Nowhere })
    }

    /// Takes TLS 1.3's application traffic secret and the number of the next record under it.
    pub fn from_secret(secret: TrafficSecret, sequence: u64) -> Self {
        let (key, iv) = secret.key_and_iv();
        Self { cipher: secret.suite().into(), key, iv, sequence, next: Next::Secret(secret) }
    }

    /// How it protects records.
    pub fn cipher(&self) -> RecordCipher {
        self.cipher
    }

    /// The number of the next record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The key itself.
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// The IV, 12 bytes: [`new`](Self::new) says of what.
    pub fn iv(&self) -> &Secret {
        &self.iv
    }

    /// Wipes the key and the IV, once the kernel has them: what makes the next key stays.
    pub(crate) fn wipe(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }

    /// Ready to seal and open; `None` where only the kernel has the cipher.
    pub(crate) fn record_key(&self) -> Option<RecordKey> {
        RecordKey::for_cipher(self.cipher.cipher(), &self.key, &self.iv)
    }

    /// The explicit nonce of the record `sequence`, or TLS 1.3's way.
    pub(crate) fn nonce(&self, sequence: u64) -> Nonce {
        if !self.cipher.has_explicit_nonce() {
            return Nonce::Sequence(sequence);
        }
        let first = self.iv.expose().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Nonce::Explicit(first.wrapping_add(sequence.wrapping_sub(self.sequence)))
    }

    /// Refuses where there can be no next key: asked before a KeyUpdate is sent.
    pub(crate) fn check_next(&self, direction: Flow) -> Result<(), ConnectionError> {
        let why = match (self.cipher.version(), &self.next) {
            (Version::Tls12, _) => "TLS 1.2 has no KeyUpdate",
            (Version::Tls13, Next::Nowhere) => "the key was given without its traffic secret",
            _ => return Ok(()),
        };
        Err(ConnectionError::NoNextKey { direction, why })
    }

    /// The key after a KeyUpdate.
    pub(crate) fn next(&self, direction: Flow) -> Result<Self, ConnectionError> {
        self.check_next(direction)?;
        match &self.next {
            Next::Nowhere => unreachable!("refused above"),
            Next::Secret(secret) => Ok(Self::from_secret(secret.next(), 0)),
            Next::Schedule(schedule, flow) => {
                let next = schedule.lock().unwrap_or_else(PoisonError::into_inner).next_key(*flow);
                let next = next.map_err(|error| ConnectionError::Stack(error.into()))?;
                if next.cipher != self.cipher {
                    let wrong = KeyError::Differ { tx: self.cipher, rx: next.cipher };
                    return Err(ConnectionError::Stack(Arc::new(wrong)));
                }
                Ok(Self { next: self.next.clone(), ..next })
            }
        }
    }
}

impl From<TrafficSecret> for DirectionKey {
    /// With sequence number 0.
    fn from(secret: TrafficSecret) -> Self {
        Self::from_secret(secret, 0)
    }
}

impl fmt::Debug for DirectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectionKey")
            .field("cipher", &self.cipher)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// The keys of both directions, from any source: another TLS stack, a key log, an application's own.
#[derive(Clone)]
pub struct RawKeys {
    pub(crate) tx: DirectionKey,
    pub(crate) rx: DirectionKey,
    pub(crate) max_send_fragment: usize,
    pub(crate) max_receive_fragment: usize,
    pub(crate) schedule: Option<SharedSchedule>,
}

impl RawKeys {
    /// Takes a key to send and one to receive.
    ///
    /// # Errors
    /// [`KeyError::Differ`].
    pub fn new(tx: impl Into<DirectionKey>, rx: impl Into<DirectionKey>) -> Result<Self, KeyError> {
        let (tx, rx) = (tx.into(), rx.into());
        if tx.cipher != rx.cipher {
            return Err(KeyError::Differ { tx: tx.cipher, rx: rx.cipher });
        }
        let [max_send_fragment, max_receive_fragment] = [MAX_FRAGMENT_LEN; 2];
        Ok(Self { tx, rx, max_send_fragment, max_receive_fragment, schedule: None })
    }

    /// Sets the most plaintext that the peer takes in a record, in bytes: RFC 8449's record_size_limit, in
    /// TLS 1.3 less one. 16,384 by default.
    #[must_use]
    pub fn max_send_fragment(mut self, bytes: usize) -> Self {
        self.max_send_fragment = bytes;
        self
    }

    /// Sets the most plaintext that this end takes in a record, in bytes: what it has announced as RFC 8449's
    /// record_size_limit, in TLS 1.3 less one. A longer record ends the connection. 16,384 by default.
    #[must_use]
    pub fn max_receive_fragment(mut self, bytes: usize) -> Self {
        self.max_receive_fragment = bytes;
        self
    }

    /// Names who gives the next keys and takes the tickets, for TLS 1.3.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Schedule + 'static) -> Self {
        let shared: SharedSchedule = Arc::new(Mutex::new(schedule));
        self.tx.next = Next::Schedule(Arc::clone(&shared), Flow::Send);
        self.rx.next = Next::Schedule(Arc::clone(&shared), Flow::Receive);
        self.schedule = Some(shared);
        self
    }

    /// How records are protected.
    pub fn cipher(&self) -> RecordCipher {
        self.tx.cipher
    }
}

impl From<Established> for RawKeys {
    fn from(keys: Established) -> Self {
        let Established { tx, rx, max_send_fragment, max_receive_fragment, .. } = keys;
        let (tx, rx) = (tx.into(), rx.into());
        Self { tx, rx, max_send_fragment, max_receive_fragment, schedule: None }
    }
}

impl fmt::Debug for RawKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawKeys")
            .field("tx", &self.tx)
            .field("rx", &self.rx)
            .field("max_send_fragment", &self.max_send_fragment)
            .field("max_receive_fragment", &self.max_receive_fragment)
            .finish_non_exhaustive()
    }
}

/// The suite of this library that has this cipher in TLS 1.3, if there is one.
pub(super) fn suite_of(cipher: RecordCipher) -> Option<CipherSuite> {
    CipherSuite::ALL.into_iter().find(|suite| cipher == *suite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Cipher;

    fn cipher(version: Version, cipher: Cipher) -> RecordCipher {
        RecordCipher::new(version, cipher).unwrap()
    }

    #[test]
    fn lengths_are_those_of_the_cipher() {
        for cipher in RecordCipher::all() {
            let len = cipher.cipher().key_len();
            assert!(DirectionKey::new(cipher, &vec![1; len], &[2; 12], 3).is_ok());
            let wrong = KeyError::Length { part: "key", cipher, expected: len, got: len - 1 };
            assert_eq!(DirectionKey::new(cipher, &vec![1; len - 1], &[2; 12], 3).unwrap_err(), wrong);
            let wrong = KeyError::Length { part: "IV", cipher, expected: 12, got: 8 };
            assert_eq!(DirectionKey::new(cipher, &vec![1; len], &[2; 8], 3).unwrap_err(), wrong);
        }
    }

    #[test]
    fn directions_agree() {
        let key = |cipher| DirectionKey::new(cipher, &[1; 16], &[2; 12], 0).unwrap();
        let (tx, rx) = (cipher(Version::Tls12, Cipher::Aes128Gcm), cipher(Version::Tls13, Cipher::Aes128Gcm));
        assert_eq!(RawKeys::new(key(tx), key(rx)).unwrap_err(), KeyError::Differ { tx, rx });
        assert!(RawKeys::new(key(tx), key(tx)).is_ok());
    }

    #[test]
    fn explicit_nonces_count_from_where_they_begin() {
        let gcm = cipher(Version::Tls12, Cipher::Aes128Gcm);
        let iv = [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let key = DirectionKey::new(gcm, &[0; 16], &iv, 5).unwrap();
        assert_eq!(key.nonce(5), Nonce::Explicit(u64::MAX));
        assert_eq!(key.nonce(7), Nonce::Explicit(1));
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls ring's assembler")]
    fn a_wiped_key_still_has_a_next_one() {
        let suite = CipherSuite::Aes128GcmSha256;
        let secret = TrafficSecret::new(suite, Secret::new(&[3; 32]).unwrap()).unwrap();
        let mut key = DirectionKey::from_secret(secret.clone(), 4);
        key.wipe();
        assert!(key.key().is_empty() && key.iv().is_empty());
        let next = key.next(Flow::Send).unwrap();
        assert_eq!((next.key(), next.sequence()), (&secret.next().key_and_iv().0, 0));
    }

    #[test]
    fn keys_are_not_printed() {
        let key = DirectionKey::new(cipher(Version::Tls13, Cipher::Aes128Gcm), &[0xab; 16], &[0xcd; 12], 9);
        let text = format!("{:?}", key.unwrap());
        assert_eq!(text, "DirectionKey { cipher: TLS_AES_128_GCM_SHA256, sequence: 9, .. }");
    }
}
