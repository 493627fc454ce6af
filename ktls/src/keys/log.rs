//! Keys from a key log: the file that `SSLKEYLOGFILE` names, as OpenSSL, GnuTLS, NSS, rustls and others write
//! it (RFC 9850).

use std::collections::HashMap;

use thiserror::Error;

use super::raw::suite_of;
use super::{DirectionKey, RawKeys, TrafficSecret};
use crate::cipher::RecordCipher;
use crate::handshake::Role;
use crate::secret::{MAX_SECRET_LEN, Secret};

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// Why a key log gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyLogError {
    /// A line is not a label, 32 bytes and a secret in hex.
    #[error("key log, line {line}: expected {expected}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What should stand there. What does is not told: it may be a secret.
        expected: &'static str,
    },
    /// There is no such line for the connection: it has another ClientHello, or is not of TLS 1.3.
    #[error("the key log has no {label} for this connection")]
    Missing {
        /// The line's label.
        label: &'static str,
    },
    /// The secret is not as long as the hash of the suite.
    #[error("a traffic secret of {cipher} has {expected} bytes, the key log's has {got}")]
    SecretLength {
        /// Which cipher.
        cipher: RecordCipher,
        /// Its hash's length in bytes.
        expected: usize,
        /// What stands in the log.
        got: usize,
    },
    /// Not a suite of TLS 1.3 whose key schedule this library knows.
    #[error("keys of {cipher} cannot be made from a key log, only those of TLS 1.3 with AES-GCM or ChaCha20")]
    Cipher {
        /// Which cipher.
        cipher: RecordCipher,
    },
}

#[derive(Default)]
struct Secrets {
    client: Option<Secret>,
    server: Option<Secret>,
}

/// The application traffic secrets of TLS 1.3 connections, by the random of their ClientHello.
#[derive(Default)]
pub struct KeyLog {
    connections: HashMap<[u8; 32], Secrets>,
}

impl KeyLog {
    /// Reads a key log's text. Comments, empty lines and other labels are passed over.
    ///
    /// # Errors
    /// [`KeyLogError::Line`].
    pub fn parse(text: &str) -> Result<Self, KeyLogError> {
        let mut log = Self::default();
        for (at, line) in text.lines().enumerate() {
            let wrong = |expected| KeyLogError::Line { line: at + 1, expected };
            let mut words = line.split_ascii_whitespace();
            let Some(label) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            if label != CLIENT && label != SERVER {
                continue;
            }
            let mut random = [0; 32];
            if words.next().and_then(|word| unhex(word, &mut random)) != Some(random.len()) {
                return Err(wrong("the 32 bytes of the ClientHello's random in hex"));
            }
            let mut secret = Secret::zeroed(MAX_SECRET_LEN).unwrap_or_else(|| unreachable!("the most"));
            let len = words.next().and_then(|word| unhex(word, secret.expose_mut()));
            let secret = len.and_then(|len| Secret::new(secret.expose().get(..len)?));
            let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
                return Err(wrong("a secret of at most 64 bytes in hex"));
            };
            if words.next().is_some() {
                return Err(wrong("three words"));
            }
            let secrets = log.connections.entry(random).or_default();
            if label == CLIENT { secrets.client = Some(secret) } else { secrets.server = Some(secret) }
        }
        Ok(log)
    }

    /// The randoms of the connections in it.
    pub fn client_randoms(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.connections.keys()
    }

    /// The keys of one connection for its end `role`. `sent` and `received` are the records that went under
    /// each key before, tickets of the server among them.
    ///
    /// # Errors
    /// [`KeyLogError::Missing`], [`KeyLogError::SecretLength`], [`KeyLogError::Cipher`].
    pub fn keys(
        &self,
        client_random: &[u8; 32],
        cipher: impl Into<RecordCipher>,
        role: Role,
        sent: u64,
        received: u64,
    ) -> Result<RawKeys, KeyLogError> {
        let cipher = cipher.into();
        let suite = suite_of(cipher).ok_or(KeyLogError::Cipher { cipher })?;
        let secrets = self.connections.get(client_random);
        let client = secrets.and_then(|secrets| secrets.client.as_ref());
        let server = secrets.and_then(|secrets| secrets.server.as_ref());
        let take = |secret: Option<&Secret>, label, sequence| {
            let secret = secret.ok_or(KeyLogError::Missing { label })?;
            let (expected, got) = (suite.hash().output_len(), secret.len());
            let traffic = TrafficSecret::new(suite, secret.clone());
            let traffic = traffic.ok_or(KeyLogError::SecretLength { cipher, expected, got })?;
            Ok(DirectionKey::from_secret(traffic, sequence))
        };
        let (tx, rx) = match role {
            Role::Client => (take(client, CLIENT, sent)?, take(server, SERVER, received)?),
            Role::Server => (take(server, SERVER, sent)?, take(client, CLIENT, received)?),
        };
        Ok(RawKeys::new(tx, rx).unwrap_or_else(|_| unreachable!("both were made for one cipher")))
    }
}

/// Reads hex into `out` and gives the number of bytes; `None` for what is no hex, and for too much of it.
fn unhex(text: &str, out: &mut [u8]) -> Option<usize> {
    let pairs = text.as_bytes().chunks_exact(2);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !pairs.remainder().is_empty() {
        return None;
    }
    let out = out.get_mut(..pairs.len())?;
    for (byte, pair) in out.iter_mut().zip(pairs) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::{Cipher, CipherSuite, Version};

    fn log(client: usize, server: usize) -> String {
        format!(
            "# made by hand\n\nCLIENT_RANDOM {r} {m}\nCLIENT_HANDSHAKE_TRAFFIC_SECRET {r} {c}\n\
             CLIENT_TRAFFIC_SECRET_0 {r} {c}\nSERVER_TRAFFIC_SECRET_0 {r} {s}\nEXPORTER_SECRET {r} {s}\n",
            r = "Ab".repeat(32),
            m = "00".repeat(48),
            c = "11".repeat(client),
            s = "22".repeat(server),
        )
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls ring's assembler")]
    fn gives_each_end_its_keys() {
        let log = KeyLog::parse(&log(32, 32)).unwrap();
        assert_eq!(log.client_randoms().collect::<Vec<_>>(), [&[0xab; 32]]);
        let suite = CipherSuite::ChaCha20Poly1305Sha256;
        let client = log.keys(&[0xab; 32], suite, Role::Client, 1, 2).unwrap();
        let server = log.keys(&[0xab; 32], suite, Role::Server, 2, 1).unwrap();
        for (out, into, sequence) in [(&client.tx, &server.rx, 1), (&server.tx, &client.rx, 2)] {
            assert_eq!((out.key(), out.iv()), (into.key(), into.iv()));
            assert_eq!((out.sequence(), into.sequence()), (sequence, sequence));
        }
        let secret = TrafficSecret::new(suite, Secret::new(&[0x11; 32]).unwrap()).unwrap();
        assert_eq!(client.tx.key(), &secret.key_and_iv().0);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let random = [0xab; 32];
        let suite = CipherSuite::Aes256GcmSha384;
        let parsed = KeyLog::parse(&log(32, 32)).unwrap();
        let keys = |suite: RecordCipher, random| parsed.keys(random, suite, Role::Client, 0, 0).unwrap_err();
        assert_eq!(keys(suite.into(), &[1; 32]), KeyLogError::Missing { label: CLIENT });
        let cipher = suite.into();
        assert_eq!(keys(cipher, &random), KeyLogError::SecretLength { cipher, expected: 48, got: 32 });
        let cipher = RecordCipher::new(Version::Tls12, Cipher::Aes128Gcm).unwrap();
        assert_eq!(keys(cipher, &random), KeyLogError::Cipher { cipher });
    }

    #[test]
    fn bad_lines_are_numbered_and_not_shown() {
        let random = "ab".repeat(32);
        for rest in [
            String::new(),
            "ab".to_owned(),
            random.clone(),
            format!("{random} 1"),
            format!("{random} +1"),
            format!("{random} {}", "cd".repeat(65)),
            format!("{random} cd cd"),
        ] {
            let error = KeyLog::parse(&format!("#\n{CLIENT} {rest}\n")).map(drop).unwrap_err();
            assert!(matches!(error, KeyLogError::Line { line: 2, .. }), "{rest}: {error}");
            assert!(!error.to_string().contains("cd"), "{error}");
        }
    }
}
