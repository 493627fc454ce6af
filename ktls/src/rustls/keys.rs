//! Keys out of rustls.

use std::sync::Arc;

use ::rustls::client::ClientConnectionData;
use ::rustls::kernel::KernelConnection;
use ::rustls::server::ServerConnectionData;
use ::rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};
use zeroize::Zeroizing;

use crate::cipher::{Cipher, NONCE_LEN, RecordCipher, Version};
use crate::error::Error;
use crate::event::Flow;
use crate::keys::{DirectionKey, RawKeys, Schedule, ScheduleError};

pub(super) fn of_client(
    secrets: ExtractedSecrets,
    kernel: KernelConnection<ClientConnectionData>,
) -> Result<RawKeys, Error> {
    let version = kernel.protocol_version();
    let on_ticket = |kernel: &mut KernelConnection<_>, body: &[u8]| {
        kernel.handle_new_session_ticket(body).map_err(ScheduleError::from)
    };
    Ok(of(secrets, version)?.schedule(Keeper { kernel, on_ticket }))
}

pub(super) fn of_server(
    secrets: ExtractedSecrets,
    kernel: KernelConnection<ServerConnectionData>,
) -> Result<RawKeys, Error> {
    let version = kernel.protocol_version();
    let on_ticket = |_: &mut KernelConnection<_>, _: &[u8]| {
        Err(ScheduleError::from("the client sent a NewSessionTicket, which only servers do"))
    };
    Ok(of(secrets, version)?.schedule(Keeper { kernel, on_ticket }))
}

/// The keys alone, with no next ones.
pub(super) fn of(secrets: ExtractedSecrets, version: ProtocolVersion) -> Result<RawKeys, Error> {
    let ExtractedSecrets { tx, rx } = secrets;
    let key = |secret| direction_key(version, secret).map_err(|error| Error::Stack(error.into()));
    RawKeys::new(key(tx)?, key(rx)?).map_err(|error| Error::Stack(Arc::new(error)))
}

fn direction_key(
    version: ProtocolVersion,
    (sequence, secrets): (u64, ConnectionTrafficSecrets),
) -> Result<DirectionKey, ScheduleError> {
    let version = match version {
        ProtocolVersion::TLSv1_2 => Version::Tls12,
        ProtocolVersion::TLSv1_3 => Version::Tls13,
        other => return Err(format!("the kernel has no {other:?}").into()),
    };
    let (cipher, key, iv) = match &secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::ChaCha20Poly1305, key, iv),
        _ => return Err("rustls negotiated a cipher that the kernel has not".into()),
    };
    let cipher = RecordCipher::new(version, cipher).ok_or("no such cipher in this version of TLS")?;
    let mut nonce = Zeroizing::new([0; NONCE_LEN]);
    nonce.copy_from_slice(iv.as_ref());
    if cipher.has_explicit_nonce() {
        // rustls makes a record's explicit nonce by mixing its number into these 8 bytes; the kernel and this
        // library count up from them. Either would come to a nonce that the other has used, Finished's for
        // one. With the first bit changed the two stay 2^63 apart, but for the few numbers that were used.
        nonce[NONCE_LEN - 8] ^= 0x80;
    }
    Ok(DirectionKey::new(cipher, key.as_ref(), &*nonce, sequence)?)
}

/// rustls as the keeper of the secrets.
struct Keeper<Data, OnTicket> {
    kernel: KernelConnection<Data>,
    on_ticket: OnTicket,
}

impl<Data, OnTicket> Schedule for Keeper<Data, OnTicket>
where
    Data: Send,
    OnTicket: FnMut(&mut KernelConnection<Data>, &[u8]) -> Result<(), ScheduleError> + Send,
{
    fn next_key(&mut self, direction: Flow) -> Result<DirectionKey, ScheduleError> {
        let next = match direction {
            Flow::Send => self.kernel.update_tx_secret()?,
            Flow::Receive => self.kernel.update_rx_secret()?,
        };
        direction_key(self.kernel.protocol_version(), next)
    }

    fn ticket(&mut self, body: &[u8]) -> Result<(), ScheduleError> {
        (self.on_ticket)(&mut self.kernel, body)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use ::rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;
    use crate::crypto::Nonce;

    #[test]
    fn explicit_nonces_of_rustls_and_ours_never_meet() {
        for base in [0, 1, 7, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, u64::MAX] {
            for records in [1_u64, 2, 3, 1000] {
                let [a, b, c, d, e, f, g, h] = base.to_be_bytes();
                let iv = Iv::new([1, 2, 3, 4, a, b, c, d, e, f, g, h]);
                let secrets = ConnectionTrafficSecrets::Aes256Gcm { key: AeadKey::from([7; 32]), iv };
                let key = direction_key(ProtocolVersion::TLSv1_2, (records, secrets)).unwrap();
                assert_eq!(key.iv().expose()[..4], [1, 2, 3, 4]);
                let used: Vec<u64> = (0..records).map(|number| base ^ number).collect();
                for number in records..records + 3000 {
                    let Nonce::Explicit(nonce) = key.nonce(number) else { panic!("TLS 1.2 has them") };
                    assert!(!used.contains(&nonce), "{base:x}, {number}");
                }
            }
        }
    }

    #[test]
    fn what_the_kernel_has_not_is_refused() {
        let secrets = ConnectionTrafficSecrets::Chacha20Poly1305 {
            key: AeadKey::from([7; 32]),
            iv: Iv::new([0; NONCE_LEN]),
        };
        let error = direction_key(ProtocolVersion::TLSv1_1, (0, secrets)).unwrap_err();
        assert!(error.to_string().contains("TLSv1_1"), "{error}");
    }
}
