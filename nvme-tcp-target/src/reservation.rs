//! Reservations on a namespace (Base, section 8.1.22): who registered, who holds it, and whom that shuts out.

use std::collections::BTreeMap;

use nvme_tcp::spec::completion::Status;

/// HOSTID.
pub(crate) type HostId = [u8; 16];

/// RESCAP: all six types, and IEKEY as since NVMe 1.3; nothing persists through a power loss.
pub(crate) const RESCAP: u8 = 0b1111_1110;
/// The most hosts that may be registered with one namespace.
const MAX_REGISTRANTS: usize = 1024;
/// The length of a report's header for extended entries, and of such an entry, in bytes.
const REPORT_PART_LEN: usize = 64;
/// CDW10 of Register, Acquire and Release: IEKEY.
const IGNORE_KEY: u32 = 1 << 3;
/// CNTLID in a report, of a controller that comes and goes with its association.
const CNTLID_DYNAMIC: u16 = 0xffff;

/// The type of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    WriteExclusive = 1,
    ExclusiveAccess = 2,
    WriteExclusiveRegistrantsOnly = 3,
    ExclusiveAccessRegistrantsOnly = 4,
    WriteExclusiveAllRegistrants = 5,
    ExclusiveAccessAllRegistrants = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// RTYPE in bits 15:8 of CDW10.
    fn read(cdw10: u32) -> Result<Self, Status> {
        let number = (cdw10 >> 8) as u8;
        Self::ALL.into_iter().find(|kind| *kind as u8 == number).ok_or(Status::INVALID_FIELD)
    }

    /// Whether every registrant holds it.
    fn is_for_all(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }
}

/// What a command does to a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Read, Compare, Verify, and the source of a Copy.
    Read,
    /// Write, Write Zeroes, Write Uncorrectable, Dataset Management, Flush, and the destination of a Copy.
    Write,
}

/// The reservation that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    kind: Kind,
    /// Who acquired it; one registrant of all where the type is for all of them.
    holder: HostId,
}

/// The registrants of one namespace, and its reservation.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    /// GEN.
    generation: u32,
    keys: BTreeMap<HostId, u64>,
    held: Option<Held>,
}

impl Reservations {
    /// Whether `host` may use the namespace like that (Base, "Command Behavior in the Presence of a Reservation").
    pub(crate) fn check(&self, host: &HostId, access: Use) -> Result<(), Status> {
        let Some(held) = self.held else { return Ok(()) };
        let registered = self.keys.contains_key(host);
        let allowed = match held.kind {
            _ if self.is_holder(host) => true,
            Kind::WriteExclusive => access == Use::Read,
            Kind::ExclusiveAccess => false,
            Kind::WriteExclusiveRegistrantsOnly | Kind::WriteExclusiveAllRegistrants => {
                access == Use::Read || registered
            }
            Kind::ExclusiveAccessRegistrantsOnly | Kind::ExclusiveAccessAllRegistrants => registered,
        };
        if allowed { Ok(()) } else { Err(Status::RESERVATION_CONFLICT) }
    }

    fn is_holder(&self, host: &HostId) -> bool {
        self.held.is_some_and(|held| match held.kind.is_for_all() {
            true => self.keys.contains_key(host),
            false => held.holder == *host,
        })
    }

    /// Reservation Register, with CRKEY and NRKEY.
    pub(crate) fn register(&mut self, host: &HostId, cdw10: u32, keys: [u64; 2]) -> Result<(), Status> {
        let [current, new] = keys;
        // CPTPL: no change, or not through a power loss.
        if !matches!(cdw10 >> 30, 0b00 | 0b10) {
            return Err(Status::INVALID_FIELD);
        }
        let held = self.keys.get(host).copied();
        let named = held.filter(|key| cdw10 & IGNORE_KEY != 0 || *key == current);
        match cdw10 & 0b111 {
            0 if held.is_some_and(|key| key != new) => return Err(Status::RESERVATION_CONFLICT),
            0 if held.is_none() && self.keys.len() >= MAX_REGISTRANTS => return Err(Status::INTERNAL_ERROR),
            0 => drop(self.keys.insert(*host, new)),
            1 => {
                named.ok_or(Status::RESERVATION_CONFLICT)?;
                self.unregister(host);
            }
            2 => {
                named.ok_or(Status::RESERVATION_CONFLICT)?;
                self.keys.insert(*host, new);
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// Takes a registration away, and with it what it held.
    fn unregister(&mut self, host: &HostId) {
        self.keys.remove(host);
        let Some(held) = self.held else { return };
        if held.kind.is_for_all() {
            // One for all goes with the last of them.
            self.held = self.keys.keys().next().map(|next| Held { holder: *next, ..held });
        } else if held.holder == *host {
            self.held = None;
        }
    }

    /// Whether `host` is registered with this key, as Acquire and Release demand. They know no IEKEY.
    fn registered(&self, host: &HostId, cdw10: u32, key: u64) -> Result<(), Status> {
        if cdw10 & IGNORE_KEY != 0 {
            return Err(Status::INVALID_FIELD);
        }
        self.keys.get(host).filter(|held| **held == key).map(drop).ok_or(Status::RESERVATION_CONFLICT)
    }

    /// Reservation Acquire, with CRKEY and PRKEY. No command of another host runs meanwhile, so that there is nothing
    /// for Preempt and Abort to abort.
    pub(crate) fn acquire(&mut self, host: &HostId, cdw10: u32, keys: [u64; 2]) -> Result<(), Status> {
        let [current, preempted] = keys;
        let kind = Kind::read(cdw10)?;
        self.registered(host, cdw10, current)?;
        match cdw10 & 0b111 {
            0 => match self.held {
                None => self.held = Some(Held { kind, holder: *host }),
                Some(held) if held.kind == kind && self.is_holder(host) => {}
                Some(_) => return Err(Status::RESERVATION_CONFLICT),
            },
            1 | 2 => {
                self.preempt(host, kind, preempted)?;
                self.generation = self.generation.wrapping_add(1);
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(())
    }

    fn preempt(&mut self, host: &HostId, kind: Kind, key: u64) -> Result<(), Status> {
        let holder_key = self.held.and_then(|held| self.keys.get(&held.holder).copied());
        let takes = self.held.is_some_and(|held| match held.kind.is_for_all() {
            true => key == 0,
            false => holder_key == Some(key),
        });
        let all = takes && self.held.is_some_and(|held| held.kind.is_for_all());
        if !all && !self.keys.values().any(|held| *held == key) {
            return Err(Status::RESERVATION_CONFLICT);
        }
        let gone = self.keys.iter().filter(|(id, held)| *id != host && (all || **held == key));
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        if takes {
            self.held = Some(Held { kind, holder: *host });
        }
        gone.iter().for_each(|id| self.unregister(id));
        Ok(())
    }

    /// Reservation Release, with CRKEY.
    pub(crate) fn release(&mut self, host: &HostId, cdw10: u32, key: u64) -> Result<(), Status> {
        let action = cdw10 & 0b111;
        if action > 1 {
            return Err(Status::INVALID_FIELD);
        }
        self.registered(host, cdw10, key)?;
        if action == 1 {
            self.keys.clear();
            self.held = None;
            self.generation = self.generation.wrapping_add(1);
        } else if let Some(held) = self.held.filter(|_| self.is_holder(host)) {
            if Kind::read(cdw10) != Ok(held.kind) {
                return Err(Status::INVALID_FIELD);
            }
            self.held = None;
        }
        Ok(())
    }

    /// Reservation Report with extended entries.
    pub(crate) fn report(&self) -> Vec<u8> {
        let mut report = vec![0; REPORT_PART_LEN];
        let mut put = |at: usize, bytes: &[u8]| {
            report.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
        };
        put(0, &self.generation.to_le_bytes());
        put(4, &[self.held.map_or(0, |held| held.kind as u8)]);
        put(5, &(self.keys.len() as u16).to_le_bytes());
        for (host, key) in &self.keys {
            report.extend(CNTLID_DYNAMIC.to_le_bytes());
            report.push(self.is_holder(host).into());
            report.extend([0; 5]);
            report.extend(key.to_le_bytes());
            report.extend(host);
            report.extend([0; 32]);
        }
        report
    }
}

#[cfg(test)]
#[path = "reservation_tests.rs"]
mod tests;
