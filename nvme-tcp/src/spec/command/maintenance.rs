//! Admin commands that change what a subsystem is: firmware, format, sanitize, namespaces (Base, sections 5.1.8,
//! 5.1.9, 5.1.10, 5.1.20, 5.1.21 and 5.1.22).

use super::Sqe;

/// OPC: Namespace Management.
pub const NAMESPACE_MANAGEMENT: u8 = 0x0d;
/// OPC: Firmware Commit.
pub const FIRMWARE_COMMIT: u8 = 0x10;
/// OPC: Firmware Image Download.
pub const FIRMWARE_DOWNLOAD: u8 = 0x11;
/// OPC: Namespace Attachment.
pub const NAMESPACE_ATTACHMENT: u8 = 0x15;
/// OPC: Format NVM.
pub const FORMAT: u8 = 0x80;
/// OPC: Sanitize.
pub const SANITIZE: u8 = 0x84;

/// CA: what Firmware Commit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CommitAction {
    /// The image goes to the slot, and is not activated.
    Replace = 0,
    /// It goes to the slot, and runs after the next reset.
    ReplaceAndActivateAtReset = 1,
    /// What is in the slot runs after the next reset.
    ActivateAtReset = 2,
    /// The image goes to the slot, and runs at once.
    ReplaceAndActivate = 3,
    /// The image goes to the boot partition.
    ReplaceBootPartition = 6,
    /// The boot partition becomes the active one.
    ActivateBootPartition = 7,
}

/// SES: what Format NVM erases besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum SecureErase {
    /// Nothing.
    #[default]
    None = 0,
    /// All user data.
    UserData = 1,
    /// The key of the media.
    Cryptographic = 2,
}

/// SANACT: what Sanitize does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SanitizeAction {
    /// Leaves the state that a failed sanitize left behind.
    ExitFailureMode = 1,
    /// Erases the media block by block.
    BlockErase = 2,
    /// Overwrites the media.
    Overwrite = 3,
    /// Changes the key of the media.
    CryptoErase = 4,
}

/// Firmware Image Download of `len` bytes (a multiple of 4, not zero) that belong at `offset` (a multiple of 4).
pub fn firmware_download(offset: u32, len: u32) -> Sqe {
    Sqe::new(FIRMWARE_DOWNLOAD, 0).cdw(10, (len / 4).saturating_sub(1)).cdw(11, offset / 4)
}

/// Firmware Commit to `slot`, 1 to 7, or 0 for the controller's choice; `boot_partition` is BPID.
pub fn firmware_commit(slot: u8, action: CommitAction, boot_partition: bool) -> Sqe {
    let partition = u32::from(boot_partition) << 31;
    Sqe::new(FIRMWARE_COMMIT, 0).cdw(10, u32::from(slot & 0b111) | (action as u32) << 3 | partition)
}

/// Format NVM with LBA format `format` (0 to 63), without metadata and protection information.
pub fn format(nsid: u32, format: u8, erase: SecureErase) -> Sqe {
    let (low, high) = (u32::from(format & 0xf), u32::from(format >> 4 & 0b11));
    Sqe::new(FORMAT, nsid).cdw(10, low | (erase as u32) << 9 | high << 12)
}

/// Sanitize. `passes` (1 to 16) and `pattern` are for an overwrite.
pub fn sanitize(action: SanitizeAction, options: SanitizeOptions) -> Sqe {
    let SanitizeOptions { unrestricted_exit, passes, invert, no_deallocate, pattern } = options;
    let cdw10 = action as u32
        | u32::from(unrestricted_exit) << 3
        | u32::from(passes & 0xf) << 4
        | u32::from(invert) << 8
        | u32::from(no_deallocate) << 9;
    Sqe::new(SANITIZE, 0).cdw(10, cdw10).cdw(11, pattern)
}

/// How Sanitize goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SanitizeOptions {
    /// AUSE: a failure may be left without another successful sanitize.
    pub unrestricted_exit: bool,
    /// OWPASS: how often an overwrite goes over the media, 1 to 16.
    pub passes: u8,
    /// OIPBP: the pattern is inverted between the passes.
    pub invert: bool,
    /// NODAS: blocks are not deallocated afterwards.
    pub no_deallocate: bool,
    /// OVRPAT: what an overwrite writes.
    pub pattern: u32,
}

impl Default for SanitizeOptions {
    fn default() -> Self {
        Self { unrestricted_exit: false, passes: 1, invert: false, no_deallocate: false, pattern: 0 }
    }
}

/// Namespace Management: create one for command set `csi`. The data is an
/// [`IdentifyNamespace`](crate::spec::identify::IdentifyNamespace) with what the host may choose; DW0 of the
/// completion is the NSID.
pub fn create_namespace(csi: u8) -> Sqe {
    Sqe::new(NAMESPACE_MANAGEMENT, 0).cdw(11, u32::from(csi) << 24)
}

/// Namespace Management: delete.
pub fn delete_namespace(nsid: u32) -> Sqe {
    Sqe::new(NAMESPACE_MANAGEMENT, nsid).cdw(10, 1)
}

/// Namespace Attachment, or with `attach` off the opposite. The data is a
/// [`ControllerList`](crate::spec::identify::ControllerList).
pub fn attach_namespace(nsid: u32, attach: bool) -> Sqe {
    Sqe::new(NAMESPACE_ATTACHMENT, nsid).cdw(10, u32::from(!attach))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_place() {
        let sqe = firmware_download(8192, 4096);
        assert_eq!((sqe.get_cdw(10), sqe.get_cdw(11)), (1023, 2048));
        let sqe = firmware_commit(2, CommitAction::ReplaceAndActivate, true);
        assert_eq!(sqe.get_cdw(10), 0x8000_001a);
        assert_eq!(format(1, 0x13, SecureErase::Cryptographic).get_cdw(10), 0x1403);
        let options =
            SanitizeOptions { passes: 16, invert: true, pattern: 0xdead_beef, ..Default::default() };
        let sqe = sanitize(SanitizeAction::Overwrite, options);
        // Sixteen passes are written as zero.
        assert_eq!((sqe.get_cdw(10), sqe.get_cdw(11)), (0x103, 0xdead_beef));
        assert_eq!((attach_namespace(1, true).get_cdw(10), attach_namespace(1, false).get_cdw(10)), (0, 1));
        assert_eq!((create_namespace(2).get_cdw(11), delete_namespace(3).get_cdw(10)), (0x0200_0000, 1));
    }
}
