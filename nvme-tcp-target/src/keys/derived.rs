//! Derived PSKs, kept for the next handshake.

use std::collections::HashMap;

use nvme_tcp::psk::TlsPsk;

use super::Kind;

/// The most PSKs that are kept: about 10 MB.
const MAX_KEPT: usize = 1 << 14;

/// What was derived for one kind of identity.
#[derive(Debug)]
struct Entry {
    by_identity: HashMap<String, Vec<TlsPsk>>,
    count: usize,
    /// Whether a host had one of the keys. What anybody may make us derive pushes none of these out.
    proven: bool,
    /// When it was used last, counted in uses.
    used: u64,
}

/// What was derived from the keys of a ring, while they are what they are.
#[derive(Debug, Default)]
pub(super) struct Derived {
    entries: HashMap<Kind, Entry>,
    count: usize,
    uses: u64,
    /// Which state of the ring this is of.
    generation: u64,
    /// How many PSKs were derived, ever.
    #[cfg(test)]
    pub(super) derived: usize,
}

impl Derived {
    /// The PSKs of this identity; `None` where those of its kind are not derived yet.
    pub(super) fn find(&mut self, kind: &Kind, identity: &str) -> Option<Vec<TlsPsk>> {
        let entry = self.entries.get_mut(kind)?;
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.by_identity.get(identity).cloned().unwrap_or_default())
    }

    /// Keeps what was derived for `kind` from the ring's state `generation`.
    pub(super) fn keep(&mut self, kind: Kind, psks: Vec<TlsPsk>, generation: u64) {
        #[cfg(test)]
        {
            self.derived += psks.len();
        }
        let count = psks.len();
        if generation != self.generation || count > MAX_KEPT {
            return;
        }
        while self.count + count > MAX_KEPT {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| (entry.proven, entry.used));
            let Some(oldest) = oldest.map(|(kind, _)| kind.clone()) else { break };
            self.count -= self.entries.remove(&oldest).map_or(0, |entry| entry.count);
        }
        let mut by_identity: HashMap<_, Vec<_>> = HashMap::new();
        for psk in psks {
            by_identity.entry(psk.identity().to_owned()).or_default().push(psk);
        }
        self.uses += 1;
        self.count += count;
        self.entries.insert(kind, Entry { by_identity, count, proven: false, used: self.uses });
    }

    pub(super) fn prove(&mut self, kind: &Kind) {
        if let Some(entry) = self.entries.get_mut(kind) {
            entry.proven = true;
        }
    }

    /// The ring was changed, and is now in state `generation`.
    pub(super) fn clear(&mut self, generation: u64) {
        self.entries.clear();
        self.count = 0;
        self.generation = generation;
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.count
    }
}
