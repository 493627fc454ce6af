//! What a network card's driver counts of TLS: `ethtool -S`.
//!
//! Drivers name and number their counters as they like, and ethtool netlink does not carry them: it has the
//! standard groups (ETHTOOL_MSG_STATS_GET), none of which is about TLS. So this asks by the older ioctl, as any user.

use std::collections::HashSet;

use super::device::{DeviceTlsError, check_name};
use crate::sys::ethtool::{self, Answer};

/// Of linux/ethtool.h, as those below.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETH_SS_STATS: u32 = 1;
/// `ETH_GSTRING_LEN`
const NAME: usize = 32;
/// The length of `struct ethtool_gstrings` without its names.
const NAMES_HEAD: usize = 12;
/// The length of `struct ethtool_stats` without its values, and of `struct ethtool_sset_info` up to its mask.
const HEAD: usize = 8;
/// More counters than any driver has: those of a card with a thousand queues are some ten thousand.
const MOST: usize = 1 << 18;

/// A driver's own counters, by name, in its order: those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounters {
    counters: Vec<(String, u64)>,
}

impl DeviceCounters {
    /// Those of TLS (`tx_tls_encrypted_packets`, `rx0_tls_err` and the like) of `device`, such as "eth0", in this network
    /// namespace. None where the driver counts nothing.
    ///
    /// # Errors
    /// [`DeviceTlsError`].
    pub fn ask(device: &str) -> Result<Self, DeviceTlsError> {
        Self::ask_for(device, is_tls)
    }

    /// Those whose names are `wanted`.
    ///
    /// # Errors
    /// [`DeviceTlsError`].
    pub fn ask_for(device: &str, wanted: impl Fn(&str) -> bool) -> Result<Self, DeviceTlsError> {
        check_name(device)?;
        let count = match count(device) {
            // The driver has no counters.
            Err(DeviceTlsError::Io(error)) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => 0,
            other => other?,
        };
        if count == 0 {
            return Ok(Self::default());
        }
        let head = [ETHTOOL_GSTRINGS, ETH_SS_STATS, count as u32].map(u32::to_ne_bytes).concat();
        let names = answer(device, &head, NAMES_HEAD + count * NAME)?;
        let head = [ETHTOOL_GSTATS, count as u32].map(u32::to_ne_bytes).concat();
        let values = answer(device, &head, HEAD + count * 8)?;
        Self::parse(names.bytes(), values.bytes(), wanted)
    }

    /// Takes apart the answers to `ETHTOOL_GSTRINGS` and `ETHTOOL_GSTATS`, each from its command on, and keeps the
    /// counters that are `wanted`; of a name that a driver gives twice, the first. What follows the lists does not count.
    ///
    /// # Errors
    /// [`DeviceTlsError::Malformed`]: too short, two lengths (a card that was set up anew meanwhile), or absurd.
    pub fn parse(names: &[u8], values: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Self, DeviceTlsError> {
        use DeviceTlsError::Malformed;
        let named = u32_at(names, 8).ok_or(Malformed("the list of names has no length"))?;
        let valued = u32_at(values, 4).ok_or(Malformed("the list of counters has no length"))?;
        if named != valued {
            return Err(Malformed("there are not as many names as counters"));
        }
        let count = bounded(named)?;
        let names = names.get(NAMES_HEAD..).and_then(|list| list.get(..count * NAME));
        let values = values.get(HEAD..).and_then(|list| list.get(..count * 8));
        let names = names.ok_or(Malformed("fewer names than announced"))?.chunks_exact(NAME);
        let values = values.ok_or(Malformed("fewer counters than announced"))?.chunks_exact(8);
        let mut known = HashSet::new();
        let counters = names.zip(values).filter_map(|(name, value)| {
            // A name of full length has no zero behind it.
            let name = name.split(|&byte| byte == 0).next()?;
            let name = String::from_utf8_lossy(name).trim().to_owned();
            let value = u64::from_ne_bytes(value.try_into().ok()?);
            (wanted(&name) && known.insert(name.clone())).then_some((name, value))
        });
        Ok(Self { counters: counters.collect() })
    }

    /// The counter `name`, if the driver has it.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter().find(|&(known, _)| known == name).map(|(_, value)| value)
    }

    /// All of them, in the driver's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// One sentence for each thing that the card did not do and should have, as far as it counts that
    /// (Documentation/networking/tls-offload.rst, "Statistics").
    pub fn explain(&self, device: &str) -> Vec<String> {
        const MEANINGS: [(&str, &str); 6] = [
            (
                "tx_tls_ooo",
                "packets came to the card out of order, so that it had to be told where in the record",
            ),
            (
                "tx_tls_skip_no_sync_data",
                "packets went out as they were, for a record that was sealed already",
            ),
            ("tx_tls_drop_no_sync_data", "packets were dropped: the record that they belong to was gone"),
            ("tx_tls_drop_bypass_req", "packets were dropped: the processor should have sealed them"),
            (
                "rx_tls_resync_res_skip",
                "times the card could not find the next record by what the kernel told it",
            ),
            ("rx_tls_err", "packets were not opened, or not as they should be"),
        ];
        // Some drivers count for each queue: rx0_tls_err is of rx_tls_err.
        let total = |wanted: &str| {
            let same = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).eq(wanted.chars());
            let all = self.get(wanted);
            all.unwrap_or_else(|| {
                self.iter().filter(|&(name, _)| same(name)).fold(0, |sum, (_, n)| sum.wrapping_add(n))
            })
        };
        let found = MEANINGS.iter().map(|&(name, meaning)| (name, total(name), meaning));
        found
            .filter(|&(_, count, _)| count > 0)
            .map(|(name, count, meaning)| format!("{device}: {count} {meaning} ({name})."))
            .collect()
    }
}

fn is_tls(name: &str) -> bool {
    name.split('_').any(|word| word == "tls")
}

/// How many counters the driver has.
fn count(device: &str) -> Result<usize, DeviceTlsError> {
    // struct ethtool_sset_info: command, reserved, a mask of which lists; then the length of each that there is.
    let mask = 1_u64 << ETH_SS_STATS;
    let head = [&ETHTOOL_GSSET_INFO.to_ne_bytes()[..], &[0; 4], &mask.to_ne_bytes()].concat();
    let answer = answer(device, &head, HEAD + 8 + 4)?;
    let answer = answer.bytes();
    let found = answer.get(HEAD..HEAD + 8).is_some_and(|bytes| bytes == mask.to_ne_bytes());
    if !found {
        return Ok(0);
    }
    bounded(u32_at(answer, HEAD + 8).ok_or(DeviceTlsError::Malformed("no number of counters"))?)
}

fn bounded(count: u32) -> Result<usize, DeviceTlsError> {
    let count = usize::try_from(count).ok().filter(|&count| count <= MOST);
    count.ok_or(DeviceTlsError::Malformed("more counters than any card has"))
}

fn answer(device: &str, head: &[u8], len: usize) -> Result<Answer, DeviceTlsError> {
    let mut answer = Answer::new(len)?;
    answer.bytes_mut().iter_mut().zip(head).for_each(|(place, &byte)| *place = byte);
    ethtool::ask(device, &mut answer)?;
    Ok(answer)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a driver would answer.
    fn answers(counters: &[(&str, u64)]) -> (Vec<u8>, Vec<u8>) {
        let count = counters.len() as u32;
        let mut names = [ETHTOOL_GSTRINGS, ETH_SS_STATS, count].map(u32::to_ne_bytes).concat();
        let mut values = [ETHTOOL_GSTATS, count].map(u32::to_ne_bytes).concat();
        for (name, value) in counters {
            let mut field = [0; NAME];
            field[..name.len()].copy_from_slice(name.as_bytes());
            names.extend_from_slice(&field);
            values.extend_from_slice(&value.to_ne_bytes());
        }
        (names, values)
    }

    const MLX5: [(&str, u64); 7] = [
        ("rx_packets", 5_000_000),
        ("tx_tls_encrypted_packets", 4_000_000),
        ("tx_tls_ooo", 17),
        ("rx0_tls_err", 2),
        ("rx1_tls_err", 3),
        ("a_name_of_all_the_32_bytes_there", u64::MAX),
        ("tx_tlsomething", 1),
    ];

    #[test]
    fn the_counters_of_tls_are_taken_out() {
        let (names, values) = answers(&MLX5);
        let found = DeviceCounters::parse(&names, &values, is_tls).unwrap();
        let expected = [
            ("tx_tls_encrypted_packets", 4_000_000),
            ("tx_tls_ooo", 17),
            ("rx0_tls_err", 2),
            ("rx1_tls_err", 3),
        ];
        assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        assert_eq!(found.get("tx_tls_ooo"), Some(17));
        let all = DeviceCounters::parse(&names, &values, |_| true).unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), MLX5);
        let said = found.explain("eth7");
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("eth7: 17 packets came") && said[1].starts_with("eth7: 5 packets were"));
        assert!(DeviceCounters::default().explain("eth7").is_empty());
        let (names, values) = answers(&[("rx_tls_err", 1), ("rx_tls_err", 2)]);
        let once = DeviceCounters::parse(&names, &values, is_tls).unwrap();
        assert_eq!(once.iter().collect::<Vec<_>>(), [("rx_tls_err", 1)]);
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let (names, values) = answers(&MLX5[..5]);
        for len in 0..names.len() {
            assert!(DeviceCounters::parse(&names[..len], &values, is_tls).is_err(), "{len}");
        }
        for len in 0..values.len() {
            assert!(DeviceCounters::parse(&names, &values[..len], is_tls).is_err(), "{len}");
        }
        let (_, one_more) = answers(&MLX5[..6]);
        assert!(DeviceCounters::parse(&names, &one_more, is_tls).is_err());
        let absurd = [0, 0, u32::MAX].map(u32::to_ne_bytes).concat();
        let error = DeviceCounters::parse(&absurd, &absurd[4..], is_tls).unwrap_err();
        assert!(error.to_string().contains("more counters than any card has"), "{error}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn loopback_counts_no_tls() {
        assert_eq!(DeviceCounters::ask("lo").unwrap(), DeviceCounters::default());
        assert!(matches!(DeviceCounters::ask("no-such-dev"), Err(DeviceTlsError::Io(_))));
        assert!(matches!(DeviceCounters::ask("a/b"), Err(DeviceTlsError::Name(_))));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(names in proptest::collection::vec(any::<u8>(), 0..300),
                                  values in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = DeviceCounters::parse(&names, &values, |_| true);
        }
    }
}
