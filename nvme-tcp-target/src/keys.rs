//! The pre-shared keys of a TLS listener.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nvme_tcp::psk::{ConfiguredKey, Policy, TlsPsk, candidates};

/// Whom a PSK identity names: host and subsystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PskNames {
    /// The host NQN.
    pub host: String,
    /// The subsystem NQN.
    pub subsystem: String,
}

impl PskNames {
    /// Takes a PSK identity apart: `NVMe<v><t><hh> <host NQN> <subsystem NQN>[ <digest>]`.
    pub fn parse(identity: &str) -> Option<Self> {
        let mut words = identity.split(' ');
        words.next().filter(|word| word.len() == 8 && word.starts_with("NVMe"))?;
        let (host, subsystem) = (words.next()?, words.next()?);
        let names = Self { host: host.to_owned(), subsystem: subsystem.to_owned() };
        (words.count() <= 1).then_some(names)
    }
}

#[derive(Debug)]
struct Entry {
    /// `None` for any.
    host: Option<String>,
    /// `None` for any, the discovery subsystem included.
    subsystem: Option<String>,
    key: ConfiguredKey,
}

/// Keys, and between whom they are. A clone is the same ring: what is added or removed holds from the
/// next handshake on, also on listeners that run.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    entries: Arc<RwLock<Vec<Entry>>>,
}

impl KeyRing {
    /// A ring without keys, on which every handshake fails.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key for any host and any subsystem, the discovery subsystem included.
    #[must_use]
    pub fn key(self, key: ConfiguredKey) -> Self {
        self.add(None, None, key);
        self
    }

    /// Adds a key between this host and this subsystem; `None` stands for any.
    pub fn add(&self, host: Option<&str>, subsystem: Option<&str>, key: ConfiguredKey) {
        let entry = Entry { host: host.map(Into::into), subsystem: subsystem.map(Into::into), key };
        self.entries.write().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    /// Removes a key wherever it stands; whether it was there.
    pub fn remove(&self, key: &ConfiguredKey) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.len();
        entries.retain(|entry| entry.key != *key);
        entries.len() < before
    }

    /// Every PSK that this identity can mean: of both versions, by both derivations. Several keys may share
    /// a version-0 identity.
    pub fn lookup(&self, identity: &[u8]) -> Vec<TlsPsk> {
        let Ok(identity) = std::str::from_utf8(identity) else { return Vec::new() };
        let Some(names) = PskNames::parse(identity) else { return Vec::new() };
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let keys: Vec<_> = self
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|entry| is(&entry.host, &names.host) && is(&entry.subsystem, &names.subsystem))
            .map(|entry| entry.key.clone())
            .collect();
        // Names that cannot be derived from are nobody's.
        let mut psks = candidates(&keys, &names.host, &names.subsystem, Policy::ALL).unwrap_or_default();
        psks.retain(|psk| psk.identity() == identity);
        psks
    }
}

/// For how long a generated key is kept that no connection uses, as in the kernel.
const GENERATED_LIFE: Duration = Duration::from_secs(3600);
/// The most generated keys at once; the one that was not used for longest gives way.
const MAX_GENERATED: usize = 1024;

/// The keys that authentication left behind (secure channel concatenation), each with when it was used last.
#[derive(Debug, Default)]
pub(crate) struct GeneratedKeys {
    keys: Mutex<Vec<(Instant, TlsPsk)>>,
}

impl GeneratedKeys {
    pub(crate) fn add(&self, psk: TlsPsk, now: Instant) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|(used, _)| now.saturating_duration_since(*used) < GENERATED_LIFE);
        if keys.len() >= MAX_GENERATED {
            let oldest = keys.iter().enumerate().min_by_key(|(_, (used, _))| *used).map(|(at, _)| at);
            oldest.map(|at| keys.swap_remove(at));
        }
        keys.push((now, psk));
    }

    pub(crate) fn lookup(&self, identity: &[u8], now: Instant) -> Vec<TlsPsk> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|(used, _)| now.saturating_duration_since(*used) < GENERATED_LIFE);
        let found = keys.iter_mut().filter(|(_, psk)| psk.identity().as_bytes() == identity);
        found
            .map(|(used, psk)| {
                *used = now;
                psk.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ktls::crypto::Hash;
    use nvme_tcp::psk::KeyHash;

    use super::*;

    fn key(fill: u8) -> ConfiguredKey {
        ConfiguredKey::new(KeyHash::Sha256, &[fill; 32]).unwrap()
    }

    #[test]
    fn an_identity_finds_every_key_that_it_can_mean() {
        let ring = KeyRing::new().key(key(1)).key(key(2));
        ring.add(Some("nqn.other"), None, key(3));
        let ours = candidates(&[key(1)], "nqn.host", "nqn.sub", Policy::ALL).unwrap();
        for psk in &ours {
            let found = ring.lookup(psk.identity().as_bytes());
            assert!(found.contains(psk), "{}", psk.identity());
            // Version 0 has no digest: both keys, both derivations.
            let expected = if psk.identity().starts_with("NVMe0") { 4 } else { 1 };
            assert_eq!(found.len(), expected, "{}", psk.identity());
        }
        assert!(ring.remove(&key(1)) && !ring.remove(&key(1)));
        assert!(ring.lookup(ours[0].identity().as_bytes()).is_empty());
    }

    #[test]
    fn generated_keys_last_as_long_as_they_are_used() {
        let psk = |fill: u8| {
            let generated = nvme_tcp::psk::generated::psk(Hash::Sha256, &[fill; 32], &[1; 32], &[2; 32]);
            nvme_tcp::psk::generated::derive(Hash::Sha256, &generated, "nqn.host", "nqn.sub").unwrap()
        };
        let (keys, start, half) = (GeneratedKeys::default(), Instant::now(), GENERATED_LIFE / 2);
        keys.add(psk(1), start);
        keys.add(psk(2), start);
        let find = |fill, at| keys.lookup(psk(fill).identity().as_bytes(), at);
        assert_eq!(find(1, start + half), [psk(1)]);
        assert_eq!(find(1, start + half * 2), [psk(1)]);
        assert!(find(2, start + half * 2).is_empty());
        assert!(find(3, start).is_empty());
        for _ in 0..MAX_GENERATED {
            keys.add(psk(4), start + half * 3);
        }
        assert!(find(1, start + half * 3).is_empty());
    }

    #[test]
    fn what_is_no_identity_finds_nothing() {
        let ring = KeyRing::new().key(key(1));
        for wrong in ["", "NVMe0R01", "NVMe0R01 a", "Client_identity", "NVMe1R01 a b c d", "XVMe0R01 a b"] {
            assert!(ring.lookup(wrong.as_bytes()).is_empty(), "{wrong}");
        }
        assert!(ring.lookup(&[0xff, 0xfe]).is_empty());
    }
}
