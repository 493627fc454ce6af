//! Fused commands: a Compare, and the Write that comes right behind it on the same queue (Base, section 3.4.2).
//!
//! Which commands belong together follows from the order of their capsules; when they are carried out, from when the data
//! of both is there.

use std::collections::BTreeMap;

use nvme_tcp::spec::command::nvm::{self, COMPARE};
use nvme_tcp::spec::command::{FUSE_FIRST as FIRST, FUSE_SECOND as SECOND, Sqe};
use nvme_tcp::spec::completion::Status;

/// FUSE in a command's flags.
pub(super) const FUSE: u8 = FIRST | SECOND;

/// A command, named by its slot, that is to be answered with this status.
pub(super) type Refused = (u16, Status);

#[derive(Debug)]
struct Member {
    sqe: Sqe,
    partner: Option<u16>,
    /// Whether all of its data is there.
    complete: bool,
    /// What it is answered with once its data is there: no sooner, for the host may be asked for that data already.
    fate: Option<Status>,
}

/// What is due once a fused command's data is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Its partner is awaited.
    Nothing,
    /// It is answered.
    Refuse(Status),
    /// Both are carried out: slot and command of the first and of the second.
    Execute([(u16, Sqe); 2]),
}

/// The fused commands of one queue.
#[derive(Debug, Default)]
pub(super) struct Fused {
    members: BTreeMap<u16, Member>,
    /// The last command that came, if it is the first of two.
    open: Option<u16>,
}

impl Fused {
    /// A command came. An earlier one may be refused for that, and this one itself.
    pub(super) fn arrived(&mut self, slot: u16, sqe: &Sqe) -> (Option<Refused>, Result<(), Status>) {
        let open = self.open.take();
        let kind = (sqe.flags & FUSE, sqe.opcode);
        let mut member = Member { sqe: *sqe, partner: None, complete: false, fate: None };
        if let (Some(first), (SECOND, nvm::WRITE)) = (open, kind) {
            if let Some(held) = self.members.get_mut(&first) {
                held.partner = Some(slot);
            }
            member.partner = Some(first);
            self.members.insert(slot, member);
            return (None, Ok(()));
        }
        let alone = open.and_then(|first| self.doom(first, Status::MISSING_FUSED));
        let taken = match kind {
            (0, _) => Ok(()),
            (FIRST, COMPARE) => {
                self.open = Some(slot);
                self.members.insert(slot, member);
                Ok(())
            }
            (SECOND, nvm::WRITE) => Err(Status::MISSING_FUSED),
            _ => Err(Status::INVALID_FIELD),
        };
        (alone, taken)
    }

    /// Whether the command in this slot is one of two.
    pub(super) fn contains(&self, slot: u16) -> bool {
        self.members.contains_key(&slot)
    }

    /// The data of a fused command is there.
    pub(super) fn complete(&mut self, slot: u16) -> Due {
        let Some(member) = self.members.get_mut(&slot) else { return Due::Nothing };
        member.complete = true;
        if let Some(status) = member.fate {
            self.members.remove(&slot);
            return Due::Refuse(status);
        }
        let Some(partner) = member.partner else { return Due::Nothing };
        let ready = self.members.get(&partner).is_some_and(|partner| partner.complete);
        if !ready {
            return Due::Nothing;
        }
        match (self.members.remove(&slot), self.members.remove(&partner)) {
            (Some(one), Some(other)) if one.sqe.flags & FUSE == FIRST => {
                Due::Execute([(slot, one.sqe), (partner, other.sqe)])
            }
            (Some(one), Some(other)) => Due::Execute([(partner, other.sqe), (slot, one.sqe)]),
            _ => Due::Nothing,
        }
    }

    /// The command in this slot is over already; its partner may be refused for that.
    pub(super) fn over(&mut self, slot: u16) -> Option<Refused> {
        let member = self.members.remove(&slot)?;
        self.open = self.open.filter(|open| *open != slot);
        self.doom(member.partner?, Status::FAILED_FUSED)
    }

    /// A command is not to be carried out; it is refused now if its data is there.
    fn doom(&mut self, slot: u16, status: Status) -> Option<Refused> {
        let member = self.members.get_mut(&slot)?;
        member.fate = Some(status);
        member.partner = None;
        member.complete.then(|| {
            self.members.remove(&slot);
            (slot, status)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Sqe {
        Sqe { flags: FIRST, ..Sqe::new(COMPARE, 1) }
    }

    fn second() -> Sqe {
        Sqe { flags: SECOND, ..nvm::write(1, 0, 1) }
    }

    const GOOD: (Option<Refused>, Result<(), Status>) = (None, Ok(()));

    #[test]
    fn two_are_carried_out_once_both_are_there_in_whatever_order() {
        for order in [[1, 2], [2, 1]] {
            let mut fused = Fused::default();
            assert_eq!(fused.arrived(1, &first()), GOOD);
            assert_eq!(fused.arrived(2, &second()), GOOD);
            assert_eq!(fused.arrived(3, &nvm::flush(1)), GOOD);
            assert_eq!(fused.complete(order[0]), Due::Nothing);
            assert_eq!(fused.complete(order[1]), Due::Execute([(1, first()), (2, second())]));
            assert!(!fused.contains(1) && !fused.contains(2));
        }
    }

    #[test]
    fn one_without_the_other_is_refused() {
        let mut fused = Fused::default();
        assert_eq!(fused.arrived(1, &second()), (None, Err(Status::MISSING_FUSED)));
        assert_eq!(fused.arrived(2, &first()), GOOD);
        // Its data is still to come.
        assert_eq!(fused.arrived(3, &nvm::flush(1)), GOOD);
        assert_eq!(fused.complete(2), Due::Refuse(Status::MISSING_FUSED));
        assert_eq!(fused.arrived(4, &first()), GOOD);
        assert_eq!(fused.complete(4), Due::Nothing);
        assert_eq!(fused.arrived(5, &first()), (Some((4, Status::MISSING_FUSED)), Ok(())));
    }

    #[test]
    fn one_that_fails_before_takes_the_other_along() {
        let mut fused = Fused::default();
        assert_eq!(fused.arrived(1, &first()), GOOD);
        assert_eq!(fused.arrived(2, &second()), GOOD);
        assert_eq!(fused.complete(2), Due::Nothing);
        assert_eq!(fused.over(1), Some((2, Status::FAILED_FUSED)));
        assert_eq!(fused.arrived(1, &first()), GOOD);
        assert_eq!(fused.arrived(2, &second()), GOOD);
        assert_eq!(fused.over(2), None);
        assert_eq!(fused.complete(1), Due::Refuse(Status::FAILED_FUSED));
        assert_eq!(fused.over(1), None);
    }

    #[test]
    fn other_commands_are_not_fused() {
        let mut fused = Fused::default();
        for (flags, opcode) in [(FIRST, nvm::WRITE), (SECOND, COMPARE), (FUSE, COMPARE), (FIRST, nvm::READ)] {
            let sqe = Sqe { flags, ..Sqe::new(opcode, 1) };
            assert_eq!(fused.arrived(1, &sqe), (None, Err(Status::INVALID_FIELD)));
        }
    }
}
