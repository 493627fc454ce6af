//! LID 02h, SMART / Health Information, and LID 03h, Firmware Slot Information (Base, sections 5.1.12.1.3 and
//! 5.1.12.1.4).

use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::spec::text;

/// LID 02h: SMART / Health Information.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SmartLog {
    /// Critical warning: spare low in bit 0, temperature in 1, reliability degraded in 2, read only in 3.
    pub critical_warning: u8,
    /// Composite temperature in kelvins.
    pub temperature: U16,
    /// Available spare in percent.
    pub available_spare: u8,
    /// The spare below which a warning is due, in percent.
    pub available_spare_threshold: u8,
    /// Percentage used.
    pub percentage_used: u8,
    /// Critical warnings of the endurance groups, all of them together.
    pub endurance_group_warning: u8,
    reserved_7: [u8; 25],
    /// Data read, in units of 1,000 times 512 bytes.
    pub data_units_read: [u8; 16],
    /// Data written, in units of 1,000 times 512 bytes.
    pub data_units_written: [u8; 16],
    /// Read commands.
    pub host_reads: [u8; 16],
    /// Write commands.
    pub host_writes: [u8; 16],
    /// How long the controller was busy, in minutes.
    pub busy_time: U128,
    /// Power cycles.
    pub power_cycles: U128,
    /// Hours of power on.
    pub power_on_hours: U128,
    /// Losses of power without a shutdown.
    pub unsafe_shutdowns: U128,
    /// Unrecovered errors of the media or of data integrity.
    pub media_errors: U128,
    /// Error Information entries over the controller's life.
    pub error_entries: U128,
    /// Minutes above WCTEMP.
    pub warning_temperature_time: U32,
    /// Minutes above CCTEMP.
    pub critical_temperature_time: U32,
    /// Temperature sensors 1 to 8 in kelvins; 0 for none.
    pub temperature_sensors: [U16; 8],
    /// How often thermal management went to lower power states, for each of its two temperatures.
    pub thermal_transitions: [U32; 2],
    /// Seconds in them.
    pub thermal_time: [U32; 2],
    reserved_232: [u8; 280],
}

/// LID 03h: Firmware Slot Information.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FirmwareSlotLog {
    /// AFI: the active slot in bits 2:0, the next one in 6:4.
    pub afi: u8,
    reserved_1: [u8; 7],
    /// The revision in each of the seven slots, ASCII; zero for none.
    pub revisions: [[u8; 8]; 7],
    reserved_64: [u8; 448],
}

impl SmartLog {
    /// All zero.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }

    /// Data read and written in bytes, as far as the counters tell: they count 512,000 bytes at a time.
    pub fn bytes_moved(&self) -> (u128, u128) {
        let bytes = |units| u128::from_le_bytes(units).saturating_mul(512_000);
        (bytes(self.data_units_read), bytes(self.data_units_written))
    }
}

impl FirmwareSlotLog {
    /// All zero.
    pub fn zeroed() -> Self {
        Self::new_zeroed()
    }

    /// The slot whose firmware runs, from 1.
    pub fn active_slot(&self) -> u8 {
        self.afi & 0b111
    }

    /// The slot whose firmware runs after the next reset, where it is another one.
    pub fn next_slot(&self) -> Option<u8> {
        Some(self.afi >> 4 & 0b111).filter(|slot| *slot != 0)
    }

    /// The revision in `slot`, 1 to 7; `None` where it is empty.
    pub fn revision(&self, slot: u8) -> Option<String> {
        let revision = self.revisions.get(usize::from(slot).checked_sub(1)?)?;
        (*revision != [0; 8]).then(|| text::from_field(revision))
    }
}

const _: () = {
    assert!(size_of::<SmartLog>() == 512);
    assert!(size_of::<FirmwareSlotLog>() == 512);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_from_one() {
        let mut log = FirmwareSlotLog::zeroed();
        log.afi = 0x21;
        log.revisions[1] = *b"2.1     ";
        assert_eq!((log.active_slot(), log.next_slot()), (1, Some(2)));
        assert_eq!((log.revision(2).as_deref(), log.revision(1)), (Some("2.1"), None));
        assert_eq!((log.revision(0), log.revision(8)), (None, None));
    }

    #[test]
    fn a_data_unit_is_a_thousand_times_512_bytes() {
        let mut log = SmartLog::zeroed();
        log.data_units_read[0] = 2;
        log.data_units_written = [0xff; 16];
        assert_eq!(log.bytes_moved(), (1_024_000, u128::MAX));
    }
}
