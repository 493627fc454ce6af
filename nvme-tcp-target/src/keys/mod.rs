//! The pre-shared keys of a TLS listener.

mod derived;
mod generated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ktls::crypto::Hash;
use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, Policy, TlsPsk, candidates};

use derived::Derived;
pub(crate) use generated::GeneratedKeys;

/// Whom a PSK identity names: host and subsystem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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

/// What an identity says of its key besides the digest: all keys of which this holds are derived together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    version: IdentityVersion,
    hash: Hash,
    names: PskNames,
}

impl Kind {
    /// That of an identity of a configured key.
    fn parse(identity: &str) -> Option<Self> {
        let names = PskNames::parse(identity)?;
        let (version, hash) = match identity.get(..8)? {
            "NVMe0R01" => (IdentityVersion::V0, Hash::Sha256),
            "NVMe0R02" => (IdentityVersion::V0, Hash::Sha384),
            "NVMe1R01" => (IdentityVersion::V1, Hash::Sha256),
            "NVMe1R02" => (IdentityVersion::V1, Hash::Sha384),
            _ => return None,
        };
        let words = if version == IdentityVersion::V0 { 3 } else { 4 };
        (identity.split(' ').count() == words).then_some(Self { version, hash, names })
    }
}

/// Between whom a key is: host and subsystem, `None` for any.
type Place = (Option<String>, Option<String>);

#[derive(Debug, Default)]
struct Ring {
    keys: HashMap<Place, Vec<ConfiguredKey>>,
    /// How often it was changed.
    generation: u64,
}

impl Ring {
    /// The keys that an identity of this kind can mean.
    fn keys_for(&self, kind: &Kind) -> Vec<ConfiguredKey> {
        let (host, subsystem) = (Some(&kind.names.host), Some(&kind.names.subsystem));
        let places = [(host, subsystem), (host, None), (None, subsystem), (None, None)];
        let keys = places
            .into_iter()
            .filter_map(|(host, subsystem)| self.keys.get(&(host.cloned(), subsystem.cloned())));
        keys.flatten().filter(|key| key.psk_hash() == kind.hash).cloned().collect()
    }
}

#[derive(Debug, Default)]
struct Shared {
    ring: RwLock<Ring>,
    derived: Mutex<Derived>,
    /// Held while keys are derived, which whoever reaches the listener can ask for: that takes one core at most, and
    /// no turn away from hosts whose keys are derived already.
    deriving: Mutex<()>,
}

/// Keys, and between whom they are. A clone is the same ring: what is added or removed holds from the
/// next handshake on, also on listeners that run.
///
/// A key between a host and a subsystem costs nothing until an identity names both. One for any host is derived for each
/// name that a ClientHello holds; what was derived is kept, within bounds, and longest for hosts that had the key.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    shared: Arc<Shared>,
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
        let place = (host.map(Into::into), subsystem.map(Into::into));
        self.change(|keys| keys.entry(place).or_default().push(key));
    }

    /// Removes a key wherever it stands; whether it was there.
    pub fn remove(&self, key: &ConfiguredKey) -> bool {
        self.change(|keys| {
            let count = |keys: &HashMap<Place, Vec<_>>| keys.values().map(Vec::len).sum::<usize>();
            let before = count(keys);
            keys.values_mut().for_each(|keys| keys.retain(|held| held != key));
            keys.retain(|_, keys| !keys.is_empty());
            count(keys) < before
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Place, Vec<ConfiguredKey>>) -> T) -> T {
        let mut ring = self.shared.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.generation += 1;
        let changed = change(&mut ring.keys);
        self.derived().clear(ring.generation);
        changed
    }

    fn derived(&self) -> MutexGuard<'_, Derived> {
        self.shared.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every PSK that this identity can mean, by both derivations. Several keys may share a version-0 identity.
    pub fn lookup(&self, identity: &[u8]) -> Vec<TlsPsk> {
        let Ok(identity) = std::str::from_utf8(identity) else { return Vec::new() };
        let Some(kind) = Kind::parse(identity) else { return Vec::new() };
        if let Some(found) = self.derived().find(&kind, identity) {
            return found;
        }
        let _one_at_a_time = self.shared.deriving.lock().unwrap_or_else(PoisonError::into_inner);
        // Who was first may have derived them.
        if let Some(found) = self.derived().find(&kind, identity) {
            return found;
        }
        let (keys, generation) = {
            let ring = self.shared.ring.read().unwrap_or_else(PoisonError::into_inner);
            (ring.keys_for(&kind), ring.generation)
        };
        if keys.is_empty() {
            return Vec::new();
        }
        let policy = Policy::ALL.only_version(kind.version);
        // Names that cannot be derived from are nobody's.
        let Ok(psks) = candidates(&keys, &kind.names.host, &kind.names.subsystem, policy) else {
            return Vec::new();
        };
        let found = psks.iter().filter(|psk| psk.identity() == identity).cloned().collect();
        self.derived().keep(kind, psks, generation);
        found
    }

    /// A handshake with this identity succeeded: what was derived for its names is kept longer.
    pub(crate) fn proven(&self, identity: &str) {
        if let Some(kind) = Kind::parse(identity) {
            self.derived().prove(&kind);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn what_is_no_identity_finds_nothing() {
        let ring = KeyRing::new().key(key(1));
        for wrong in ["", "NVMe0R01", "NVMe0R01 a", "Client_identity", "NVMe1R01 a b c d", "XVMe0R01 a b"] {
            assert!(ring.lookup(wrong.as_bytes()).is_empty(), "{wrong}");
        }
        assert!(ring.lookup(&[0xff, 0xfe]).is_empty());
    }

    fn identity(fill: u8, host: &str) -> String {
        candidates(&[key(fill)], host, "nqn.sub", Policy::ALL).unwrap()[0].identity().to_owned()
    }

    #[test]
    fn only_what_an_identity_names_is_derived_and_only_once() {
        let ring = KeyRing::new();
        let many = |at: u16| {
            let mut bytes = [1; 32];
            bytes[..2].copy_from_slice(&at.to_le_bytes());
            ConfiguredKey::new(KeyHash::Sha256, &bytes).unwrap()
        };
        for at in 0..1000 {
            ring.add(Some(&format!("nqn.host{at}")), None, many(at));
        }
        let psk = candidates(&[many(7)], "nqn.host7", "nqn.sub", Policy::ALL).unwrap().swap_remove(0);
        let identity = psk.identity().to_owned();
        assert_eq!(ring.lookup(identity.as_bytes()), [psk]);
        // One key, of one version, by both derivations; and nothing for others.
        assert_eq!(ring.derived().derived, 2);
        for other in [
            identity.replace("NVMe1R01", "NVMe1R02"),
            identity.replace("NVMe1R01", "NVMe1G01"),
            identity.replace("host7", "host"),
        ] {
            assert!(ring.lookup(other.as_bytes()).is_empty(), "{other}");
        }
        assert_eq!(ring.lookup(identity.as_bytes()).len(), 1);
        assert_eq!(ring.derived().derived, 2);
        // A key that comes or goes is known at once.
        ring.add(None, None, key(9));
        assert_eq!(ring.lookup(identity.as_bytes()).len(), 1);
        assert_eq!(ring.derived().derived, 2 + 4);
    }

    #[test]
    fn invented_names_push_out_no_host_that_had_its_key_and_take_bounded_memory() {
        let ring = KeyRing::new();
        for fill in 0..=255 {
            ring.add(None, None, key(fill));
        }
        let known = identity(1, "nqn.known");
        assert_eq!(ring.lookup(known.as_bytes()).len(), 1);
        ring.proven(&known);
        for at in 0..40 {
            assert!(ring.lookup(format!("NVMe1R01 nqn.invented{at} nqn.sub x").as_bytes()).is_empty());
        }
        assert!((1 << 13..=1 << 14).contains(&ring.derived().kept()), "{}", ring.derived().kept());
        let before = ring.derived().derived;
        assert_eq!(ring.lookup(known.as_bytes()).len(), 1);
        assert_eq!(ring.derived().derived, before);
    }
}
