//! What the tests with rustls share: a certificate made for the run, and configurations of both ends.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use ktls::cipher::{Cipher, RecordCipher, Version};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite, version};

/// The name in the certificate.
pub const NAME: &str = "localhost";
/// For who would have to look the name up.
pub const ADDRESS: &str = "127.0.0.1";

/// Every version and cipher that rustls has.
pub fn ciphers() -> Vec<RecordCipher> {
    RecordCipher::all().filter(|cipher| cipher.cipher().in_process()).collect()
}

/// rustls's suite of this cipher that goes with an ECDSA certificate.
fn suite(cipher: RecordCipher) -> SupportedCipherSuite {
    use ring::cipher_suite as of;
    match (cipher.version(), cipher.cipher()) {
        (Version::Tls13, Cipher::Aes128Gcm) => of::TLS13_AES_128_GCM_SHA256,
        (Version::Tls13, Cipher::Aes256Gcm) => of::TLS13_AES_256_GCM_SHA384,
        (Version::Tls13, Cipher::ChaCha20Poly1305) => of::TLS13_CHACHA20_POLY1305_SHA256,
        (Version::Tls12, Cipher::Aes128Gcm) => of::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        (Version::Tls12, Cipher::Aes256Gcm) => of::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        (Version::Tls12, Cipher::ChaCha20Poly1305) => of::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        _ => panic!("rustls has no {cipher}"),
    }
}

/// The same in OpenSSL's arguments.
pub fn openssl_arguments(cipher: RecordCipher) -> [&'static str; 3] {
    match (cipher.version(), cipher.cipher()) {
        (Version::Tls13, _) => ["-tls1_3", "-ciphersuites", cipher.name()],
        (_, Cipher::Aes128Gcm) => ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        (_, Cipher::Aes256Gcm) => ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        _ => ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    }
}

/// A certificate for [`NAME`] and [`ADDRESS`] that signs itself, and its key, as files.
pub struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    /// Has OpenSSL make one; `None` where it is not installed.
    pub fn make() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let text = format!(
            "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n\
             basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:{NAME},IP:{ADDRESS}\n"
        );
        std::fs::write(&config, text).unwrap();
        let this = Self { folder };
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "2", "-subj", "/CN=test", "-config"]).arg(&config);
        command.arg("-keyout").arg(this.key()).arg("-out").arg(this.path());
        let output = command.output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(this)
    }

    pub fn path(&self) -> PathBuf {
        self.file("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.file("key.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(Path::new(&self.path())).unwrap()
    }

    /// A client that trusts it and has one cipher.
    pub fn client(&self, cipher: RecordCipher) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider(cipher))
            .with_protocol_versions(versions(cipher))
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"test".to_vec()];
        config
    }

    /// A server that shows it and has one cipher.
    pub fn server(&self, cipher: RecordCipher) -> ServerConfig {
        let key = PrivateKeyDer::from_pem_file(self.key()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider(cipher))
            .with_protocol_versions(versions(cipher))
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der()], key)
            .unwrap();
        config.alpn_protocols = vec![b"test".to_vec()];
        config.ticketer = ring::Ticketer::new().unwrap();
        config
    }
}

fn provider(cipher: RecordCipher) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: vec![suite(cipher)], ..ring::default_provider() })
}

fn versions(cipher: RecordCipher) -> &'static [&'static rustls::SupportedProtocolVersion] {
    const TLS12: &[&rustls::SupportedProtocolVersion] = &[&version::TLS12];
    const TLS13: &[&rustls::SupportedProtocolVersion] = &[&version::TLS13];
    match cipher.version() {
        Version::Tls12 => TLS12,
        Version::Tls13 => TLS13,
    }
}

pub fn name() -> ServerName<'static> {
    NAME.try_into().unwrap()
}
