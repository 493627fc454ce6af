//! Firmware: an image goes over in pieces, and is then committed to a slot (Base, sections 5.1.8 and 5.1.9).

use std::time::Duration;

use super::{Controller, admin, admin_within, max_admin_transfer};
use crate::association::check;
use crate::driver::shared::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::command::maintenance::{self, CommitAction};
use crate::spec::completion::Status;
use crate::spec::identify::OACS_FIRMWARE;

/// A Firmware Commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwareCommit {
    /// FS: the slot, 1 to 7; 0 for the controller's choice.
    pub slot: u8,
    /// CA: what to do.
    pub action: CommitAction,
    /// BPID: which boot partition, for the two actions that are about one.
    pub boot_partition: bool,
    /// How long it may take; it takes longer than other commands.
    pub timeout: Duration,
}

/// When committed firmware runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// As was asked for: at once, at the next reset, or not at all.
    AsAsked,
    /// After a reset of the controller.
    ControllerReset,
    /// After a reset of the NVM subsystem.
    SubsystemReset,
    /// After a conventional reset, as of the power.
    ConventionalReset,
    /// At once it would take longer than MTFA allows: commit again, to be activated at a reset.
    TakesTooLong,
}

/// The unit of FWUG in bytes.
const FWUG_UNIT: usize = 4096;

/// How long a piece of an image is: as much as a command moves, in whole units of `fwug`; `None` where the
/// controller wants a unit that no command can move.
fn piece_len(fwug: u8, max_transfer: usize) -> Option<usize> {
    let unit = match fwug {
        // No restriction but that of dwords.
        0xff => 4,
        // No information: the unit that every controller takes.
        0 => FWUG_UNIT,
        n => usize::from(n) * FWUG_UNIT,
    };
    Some(max_transfer / unit * unit).filter(|len| *len > 0)
}

impl Controller {
    /// Hands an image over, in pieces of FWUG and MDTS one after the other. It is not used before it is
    /// [committed](Self::firmware_commit).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use nvme_tcp::spec::command::maintenance::CommitAction;
    /// use nvme_tcp::FirmwareCommit;
    ///
    /// # fn update(controller: &nvme_tcp::Controller, image: &[u8]) -> nvme_tcp::Result<()> {
    /// controller.firmware_download(image)?;
    /// let action = CommitAction::ReplaceAndActivateAtReset;
    /// let timeout = Duration::from_secs(120);
    /// let commit = FirmwareCommit { slot: 2, action, boot_partition: false, timeout };
    /// println!("{:?}", controller.firmware_commit(&commit)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The image is empty or no multiple of 4 bytes; the controller takes no firmware (as most targets of a network
    /// do not), or wants larger pieces than a command moves; a command failed; the association is lost.
    pub fn firmware_download(&self, image: &[u8]) -> Result<()> {
        if image.is_empty() || image.len() % 4 != 0 || u32::try_from(image.len()).is_err() {
            let len = image.len();
            return Err(Error::invalid(format!("a firmware image of {len} bytes, expected a multiple of 4")));
        }
        let identify = self.identify_controller()?;
        if identify.oacs.get() & OACS_FIRMWARE == 0 {
            return Err(ErrorKind::Unsupported("firmware commands").into());
        }
        let most = max_admin_transfer(&self.generations);
        let step = piece_len(identify.fwug, most).ok_or_else(|| {
            let unit = usize::from(identify.fwug) * FWUG_UNIT;
            Error::invalid(format!("firmware goes over in units of {unit} bytes, and a command moves {most}"))
        })?;
        let mut offset = 0;
        for piece in image.chunks(step) {
            let sqe = maintenance::firmware_download(offset, piece.len() as u32);
            admin(&self.generations, "Firmware Image Download", sqe, Buffer::Write(piece))?;
            offset += piece.len() as u32;
        }
        Ok(())
    }

    /// Commits the image that was handed over, or activates what is in a slot.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::maintenance::CommitAction;
    /// use nvme_tcp::{Activation, FirmwareCommit};
    ///
    /// // Back to what slot 1 holds: no image goes over.
    /// let (action, timeout) = (CommitAction::ActivateAtReset, std::time::Duration::from_secs(120));
    /// let commit = FirmwareCommit { slot: 1, action, boot_partition: false, timeout };
    /// if controller.firmware_commit(&commit)? == Activation::SubsystemReset {
    ///     println!("it runs once the whole subsystem was reset");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The slot is above 7, the command failed, or the association is lost.
    pub fn firmware_commit(&self, commit: &FirmwareCommit) -> Result<Activation> {
        let FirmwareCommit { slot, action, boot_partition, timeout } = *commit;
        if slot > 7 {
            return Err(Error::invalid(format!("firmware slot {slot}, expected 0 to 7")));
        }
        let sqe = maintenance::firmware_commit(slot, action, boot_partition);
        let (cqe, fault) = admin_within(&self.generations, timeout, sqe, Buffer::None)?;
        let status = cqe.status();
        let told = [
            (Status::FIRMWARE_NEEDS_CONTROLLER_RESET, Activation::ControllerReset),
            (Status::FIRMWARE_NEEDS_SUBSYSTEM_RESET, Activation::SubsystemReset),
            (Status::FIRMWARE_NEEDS_CONVENTIONAL_RESET, Activation::ConventionalReset),
            (Status::FIRMWARE_EXCEEDS_MAXIMUM_TIME, Activation::TakesTooLong),
        ];
        // These statuses are no failures.
        match told.into_iter().find(|(known, _)| status.is(*known)) {
            Some((_, activation)) => Ok(activation),
            None => check("Firmware Commit", &cqe, fault).map(|()| Activation::AsAsked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_units_and_fit_into_a_command() {
        assert_eq!(piece_len(0xff, 131_072), Some(131_072));
        assert_eq!(piece_len(0, 131_072), Some(131_072));
        assert_eq!(piece_len(3, 131_072), Some(122_880));
        assert_eq!(piece_len(33, 131_072), None);
    }
}
