//! The flags that say whether a connection is sealed, and with which key. Names are nvme-cli's.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, Policy};
use nvme_tcp::{KeySource, Security, TlsKeyring};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::output;
use crate::secrets::AuthArgs;

/// The environment variable that may hold a key's text.
pub const KEY_VARIABLE: &str = "NVME_TCP_TLS_KEY";

/// A key's text as it stands on the command line: not shown by any error or `Debug`.
#[derive(Clone)]
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText")
    }
}

/// Where the configured key comes from.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// File with the key in its interchange form (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub keyfile: Option<PathBuf>,
    /// The key itself; every user of this machine can see it: rather use --keyfile, or the environment
    /// variable NVME_TCP_TLS_KEY
    #[arg(long, value_name = "TEXT", conflicts_with = "keyfile")]
    pub tls_key: Option<KeyText>,
}

impl KeyArgs {
    /// Where the key comes from, in words; nothing of the key itself.
    fn source(&self) -> String {
        match (&self.keyfile, &self.tls_key) {
            (Some(path), _) => format!("key from {}", path.display()),
            (None, Some(_)) => "key from the command line".to_owned(),
            (None, None) => format!("key from {KEY_VARIABLE}"),
        }
    }

    /// The key that the flags name, else the environment's, if there is one.
    pub fn load(&self) -> Result<Option<ConfiguredKey>, Failure> {
        if let Some(path) = &self.keyfile {
            return Ok(Some(ConfiguredKey::from_file(path)?));
        }
        if let Some(KeyText(text)) = &self.tls_key {
            output::warn(
                "a key on the command line can be seen by every user of this machine and stays in the \
                 shell's history; --keyfile keeps it private",
            );
            return Ok(Some(text.parse()?));
        }
        match std::env::var(KEY_VARIABLE).map(Zeroizing::new) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => match text.parse() {
                Ok(key) => Ok(Some(key)),
                Err(error) => {
                    let failure =
                        Failure::usage(format_args!("environment variable {KEY_VARIABLE}: {error}"));
                    Err(failure.hint(error.hint()))
                }
            },
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format_args!("environment variable {KEY_VARIABLE} is not text")))
            }
        }
    }

    /// The same where there must be one.
    pub fn require(&self) -> Result<ConfiguredKey, Failure> {
        self.load()?.ok_or_else(|| {
            let hint = format!(
                "name a file by --keyfile, or set {KEY_VARIABLE}; `nvme-tcp key generate --keyfile FILE` makes one"
            );
            Failure::usage("no key is given").hint(hint)
        })
    }
}

/// The version of a PSK identity, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Identity {
    /// Names host and subsystem
    #[value(name = "0")]
    V0,
    /// Names the key as well, by a digest
    #[value(name = "1")]
    V1,
}

impl From<Identity> for IdentityVersion {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::V0 => Self::V0,
            Identity::V1 => Self::V1,
        }
    }
}

/// Whether and how the connection is sealed.
#[derive(Clone, Debug, Args)]
pub struct TlsArgs {
    /// Require TLS 1.3: nothing is sent in plain, whatever the target answers
    #[arg(long)]
    pub tls: bool,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Take the TLS keys that are in a keyring of the kernel's: .nvme, where nvme-cli puts them, or a serial number
    #[arg(long, value_name = "RING", value_parser = keyring, requires = "tls", conflicts_with_all = ["keyfile", "tls_key"])]
    pub keyring: Option<TlsKeyring>,
    /// Try PSK identities of this version only
    #[arg(long, value_name = "VERSION", requires = "tls")]
    pub identity: Option<Identity>,
    /// Try keys of the derivation that libnvme had before 1.15 only
    #[arg(long, requires = "tls")]
    pub compat: bool,
    #[command(flatten)]
    pub auth: AuthArgs,
}

impl TlsArgs {
    /// What is asked for, in words.
    pub fn summary(&self) -> String {
        match (self.tls, self.auth.concat) {
            (true, _) if self.keyring.is_some() => "TLS required, key from a keyring".to_owned(),
            (true, _) => format!("TLS required, {}", self.key.source()),
            (false, true) => "TLS required, key by DH-HMAC-CHAP".to_owned(),
            (false, false) => "plain".to_owned(),
        }
    }

    /// The keys and the identities to try; `None` for what the flags of TLS do not say.
    pub fn resolve(&self) -> Result<Option<Security>, Failure> {
        if !self.tls {
            return match self.key.keyfile.is_some() || self.key.tls_key.is_some() {
                // Whoever gives a key does not expect plain text.
                true => Err(Failure::usage("a key is given, but not --tls").hint(
                    "add --tls to require TLS, or leave the key out for a plain connection".to_owned(),
                )),
                false => Ok(None),
            };
        }
        let mut policy = Policy::default();
        if let Some(version) = self.identity {
            policy = policy.only_version(version.into());
        }
        if self.compat {
            policy = policy.only_derivation(Derivation::Compat);
        }
        Ok(Some(match &self.keyring {
            Some(keyring) => Security::TlsFrom { source: KeySource::tls_keyring(keyring.clone()), policy },
            None => Security::Tls { keys: Arc::new([self.key.require()?]), policy },
        }))
    }
}

/// `.nvme`, or a serial number as nvme-cli and keyctl print it.
fn keyring(text: &str) -> Result<TlsKeyring, &'static str> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i32::from_str_radix(digits, 16),
        None if text == ".nvme" => return Ok(TlsKeyring::nvme()),
        None => text.parse(),
    };
    number.map(TlsKeyring::serial).map_err(|_| "expected .nvme or a keyring's serial number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Shared {
        #[command(flatten)]
        tls: TlsArgs,
    }

    fn shared(line: &str) -> Result<Shared, clap::Error> {
        Shared::try_parse_from(["test"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn wrong_values_are_refused() {
        for line in [
            "--identity 0",
            "--tls --identity 2",
            "--tls --keyfile f --tls-key k",
            "--compat",
            "--keyring .nvme",
            "--tls --keyring .nvme --keyfile f",
            "--tls --keyring nvme",
        ] {
            assert!(shared(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_keyring_is_named_or_numbered() {
        let source = |ring: &str| match shared(&format!("--tls --keyring {ring} --identity 1"))
            .unwrap()
            .tls
            .resolve()
            .unwrap()
        {
            Some(Security::TlsFrom { source, policy }) => {
                assert_eq!(policy, Policy::ALL.only_version(IdentityVersion::V1));
                format!("{source:?}")
            }
            other => panic!("{other:?}"),
        };
        for (ring, keyring) in
            [(".nvme", TlsKeyring::nvme()), ("77", TlsKeyring::serial(77)), ("0x4d", TlsKeyring::serial(77))]
        {
            assert_eq!(source(ring), format!("{:?}", KeySource::tls_keyring(keyring)));
        }
    }

    #[test]
    fn no_key_no_tls_and_no_tls_no_key() {
        assert!(shared("").unwrap().tls.resolve().unwrap().is_none());
        let failure = shared("--keyfile f").unwrap().tls.resolve().unwrap_err();
        assert!(failure.to_string().contains("hint: add --tls"), "{failure}");
    }

    #[test]
    fn the_flags_choose_the_identities() {
        const TEXT: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";
        let policy = |flags: &str| {
            let args = shared(&format!("--tls --tls-key {TEXT} {flags}")).unwrap();
            match args.tls.resolve().unwrap() {
                Some(Security::Tls { keys, policy }) if keys.len() == 1 => policy,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(policy(""), Policy::ALL);
        let only = Policy::ALL.only_version(IdentityVersion::V0).only_derivation(Derivation::Compat);
        assert_eq!(policy("--identity 0 --compat"), only);
        assert!(!format!("{:?}", shared(&format!("--tls --tls-key {TEXT}")).unwrap()).contains("VRLb"));
    }
}
