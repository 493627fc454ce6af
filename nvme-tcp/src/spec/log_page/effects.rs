//! LID 00h, Supported Log Pages, and LID 05h, Commands Supported and Effects (Base, sections 5.1.12.1.1 and
//! 5.1.12.1.6).

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// LID 00h: each log page by its LID.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SupportedLogsLog {
    /// LSUPP in bit 0, IOS in bit 1, what the log page says of itself in 31:16.
    pub pages: [U32; 256],
}

/// LID 05h: what each command does, by its opcode.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CommandEffectsLog {
    /// ACS: admin commands.
    pub admin: [U32; 256],
    /// IOCS: I/O commands.
    pub io: [U32; 256],
    reserved_2048: [u8; 2048],
}

/// One log page that a controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedLog {
    /// LID.
    pub lid: u8,
    /// IOS: offsets may be counted in entries.
    pub index_offset: bool,
    /// LIDSP: what the page says of itself.
    pub specific: u16,
}

/// What a command does besides what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEffects(pub u32);

impl SupportedLogsLog {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// The log pages that there are.
    pub fn supported(&self) -> Vec<SupportedLog> {
        let pages = (0..=u8::MAX).zip(&self.pages).map(|(lid, page)| (lid, page.get()));
        let pages = pages.filter(|(_, page)| page & 1 != 0);
        pages
            .map(|(lid, page)| SupportedLog {
                lid,
                index_offset: page & 1 << 1 != 0,
                specific: (page >> 16) as u16,
            })
            .collect()
    }
}

impl CommandEffectsLog {
    /// All zero.
    pub fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// What admin command `opcode` does; `None` where there is no such command.
    pub fn admin_command(&self, opcode: u8) -> Option<CommandEffects> {
        CommandEffects::of(&self.admin, opcode)
    }

    /// What I/O command `opcode` does; `None` where there is no such command.
    pub fn io_command(&self, opcode: u8) -> Option<CommandEffects> {
        CommandEffects::of(&self.io, opcode)
    }
}

impl CommandEffects {
    fn of(commands: &[U32; 256], opcode: u8) -> Option<Self> {
        let effects = commands.get(usize::from(opcode)).map_or(0, |effects| effects.get());
        // CSUPP.
        (effects & 1 != 0).then_some(Self(effects))
    }

    /// LBCC: it may change the content of blocks.
    pub fn changes_blocks(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// NCC: it may change what a namespace can do.
    pub fn changes_namespace(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// NIC: it may change which namespaces there are.
    pub fn changes_inventory(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// CCC: it may change what the controller can do.
    pub fn changes_controller(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// CSE: 0 for no rule, 1 where no other command may go to the same namespace meanwhile, 2 where none may to
    /// any namespace.
    pub fn exclusion(self) -> u8 {
        (self.0 >> 16) as u8 & 0b111
    }
}

const _: () = {
    assert!(size_of::<SupportedLogsLog>() == 1024);
    assert!(size_of::<CommandEffectsLog>() == 4096);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_supported_is_listed() {
        let mut log = SupportedLogsLog::zeroed();
        log.pages[2].set(1);
        log.pages[3].set(2);
        log.pages[0xff].set(0x0007_0003);
        let page = |lid, index_offset, specific| SupportedLog { lid, index_offset, specific };
        assert_eq!(log.supported(), [page(2, false, 0), page(0xff, true, 7)]);
    }

    #[test]
    fn effects_are_a_bit_each() {
        let mut log = CommandEffectsLog::zeroed();
        log.admin[0x80].set(1 | 1 << 1 | 2 << 16);
        log.io[1].set(1 << 4 | 1 << 3);
        let format = log.admin_command(0x80).unwrap();
        assert!(format.changes_blocks() && !format.changes_namespace() && !format.changes_inventory());
        assert_eq!((format.exclusion(), log.io_command(1)), (2, None));
    }
}
