//! The keys that secure channel concatenation leaves behind.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nvme_tcp::psk::TlsPsk;

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

    use super::*;

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
}
