//! What a network card could do for TLS, by ethtool netlink (Documentation/networking/ethtool-netlink.rst,
//! Linux 5.7): as any user, and for any device, loopback too.

use std::io;

use thiserror::Error;

use super::{attributes, find, refusal, u16_at};
use crate::event::Flow;
use crate::sys::netlink::ask_generic;

/// The length of `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS: usize = 20;
/// `GENL_ID_CTRL`, `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_NAME` and `CTRL_ATTR_FAMILY_ID` of linux/genetlink.h.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// Of linux/ethtool_netlink.h, as those below.
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_HW: u16 = 2;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_NOMASK: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BIT_VALUE: u16 = 3;
/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

/// Whether a card seals or opens records itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offload {
    /// It can: its driver has the feature, and lets it be switched.
    pub supported: bool,
    /// It is switched on.
    pub active: bool,
}

/// The TLS features of a network card (`tls-hw-tx-offload` and `tls-hw-rx-offload` of `ethtool -k`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DeviceTls {
    /// For what is sent.
    pub send: Offload,
    /// For what is received.
    pub receive: Offload,
}

/// Why a card could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceTlsError {
    /// A device's name is 1 to 15 bytes without a slash, a space or a zero.
    #[error("{0:?} is no name of a network device")]
    Name(String),
    /// The kernel has no such device, or no ethtool netlink (Linux 5.7), or does not answer.
    #[error("ethtool: {0}")]
    Io(#[from] io::Error),
    /// The answer is not what its documentation says.
    #[error("ethtool's answer cannot be read: {0}")]
    Malformed(&'static str),
}

impl DeviceTls {
    /// Asks the kernel about `device`, such as "eth0", in this network namespace.
    ///
    /// # Errors
    /// [`DeviceTlsError`].
    pub fn ask(device: &str) -> Result<Self, DeviceTlsError> {
        check_name(device)?;
        let mut answer = vec![0; 64 * 1024];
        let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        let len = ask_generic(&request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name), &mut answer)?;
        let family = parse_family(answer.get(..len).unwrap_or_default())?;
        let name = attribute(ETHTOOL_A_HEADER_DEV_NAME, &[device.as_bytes(), &[0]].concat());
        let header = attribute(NESTED | ETHTOOL_A_FEATURES_HEADER, &name);
        let len = ask_generic(&request(family, ETHTOOL_MSG_FEATURES_GET, &header), &mut answer)?;
        Self::parse(answer.get(..len).unwrap_or_default())
    }

    /// Takes apart the answer to `ETHTOOL_MSG_FEATURES_GET`, from its `struct nlmsghdr` on.
    ///
    /// # Errors
    /// [`DeviceTlsError::Io`] where the answer is a refusal, [`DeviceTlsError::Malformed`].
    pub fn parse(answer: &[u8]) -> Result<Self, DeviceTlsError> {
        let list = content(answer)?;
        let [can, is] = [
            (ETHTOOL_A_FEATURES_HW, "no set of what the device can"),
            (ETHTOOL_A_FEATURES_ACTIVE, "no set of what is on"),
        ]
        .map(|(kind, missing)| find(list, kind).ok_or(DeviceTlsError::Malformed(missing)));
        let (can, is) = (can?, is?);
        let offload = |name| Offload { supported: bit(can, name), active: bit(is, name) };
        Ok(Self { send: offload("tls-hw-tx-offload"), receive: offload("tls-hw-rx-offload") })
    }

    /// One sentence for each direction, with the mend where there is one.
    pub fn explain(&self, device: &str) -> Vec<String> {
        let sentence = |direction: Flow, offload: Offload, feature: &str| match offload {
            Offload { active: true, .. } => format!(
                "{device} takes keys to {direction}, for AES-GCM of TLS 1.2; TLS 1.3 stays with the processor."
            ),
            Offload { supported: true, .. } => format!(
                "{device} could {direction} for AES-GCM of TLS 1.2, and it is off: ethtool -K {device} {feature} on."
            ),
            _ => format!("{device} takes no keys to {direction}: the processor does it."),
        };
        vec![
            sentence(Flow::Send, self.send, "tls-hw-tx-offload"),
            sentence(Flow::Receive, self.receive, "tls-hw-rx-offload"),
        ]
    }
}

/// Refuses what is no name of a device.
pub(super) fn check_name(device: &str) -> Result<(), DeviceTlsError> {
    let fits = (1..=15).contains(&device.len());
    if !fits || device.bytes().any(|byte| matches!(byte, 0 | b'/' | b' ')) {
        return Err(DeviceTlsError::Name(device.to_owned()));
    }
    Ok(())
}

/// Takes the number of the family out of the answer to `CTRL_CMD_GETFAMILY`.
fn parse_family(answer: &[u8]) -> Result<u16, DeviceTlsError> {
    let id = find(content(answer)?, CTRL_ATTR_FAMILY_ID).and_then(|value| u16_at(value, 0));
    id.ok_or(DeviceTlsError::Malformed("no number of the family"))
}

/// The attributes of an answer of generic netlink.
fn content(answer: &[u8]) -> Result<&[u8], DeviceTlsError> {
    const SHORT: DeviceTlsError = DeviceTlsError::Malformed("it is shorter than its headers");
    if let Some(error) = refusal(answer).ok_or(SHORT)? {
        return Err(error.into());
    }
    answer.get(HEADERS..).ok_or(SHORT)
}

/// Whether the bit `name` is in a bitset with names (Documentation/networking/ethtool-netlink.rst, "Bit sets"). Where
/// there is a mask, every bit stands in the list, and a flag says whether it is set.
fn bit(set: &[u8], name: &str) -> bool {
    let no_mask = find(set, ETHTOOL_A_BITSET_NOMASK).is_some();
    let Some(bits) = find(set, ETHTOOL_A_BITSET_BITS) else { return false };
    attributes(bits).filter(|&(kind, _)| kind == ETHTOOL_A_BITSET_BITS_BIT).any(|(_, bit)| {
        let named = find(bit, ETHTOOL_A_BITSET_BIT_NAME).and_then(|value| value.strip_suffix(b"\0"));
        named == Some(name.as_bytes()) && (no_mask || find(bit, ETHTOOL_A_BITSET_BIT_VALUE).is_some())
    })
}

/// `struct nlmsghdr`, `struct genlmsghdr` and attributes.
fn request(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let len = (HEADERS + attributes.len()) as u32;
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&family.to_ne_bytes());
    bytes.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]); // nlmsg_seq, nlmsg_pid
    bytes.extend_from_slice(&[command, 1, 0, 0]);
    bytes.extend_from_slice(attributes);
    bytes
}

/// A short attribute.
pub(super) fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let len = 4 + content.len();
    let mut bytes = [(len as u16).to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(content);
    bytes.resize(len.next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bitset(no_mask: bool, bits: &[(&str, bool)]) -> Vec<u8> {
        let list: Vec<u8> = bits
            .iter()
            .flat_map(|(name, set)| {
                let name = attribute(ETHTOOL_A_BITSET_BIT_NAME, &[name.as_bytes(), &[0]].concat());
                let value = if *set { attribute(ETHTOOL_A_BITSET_BIT_VALUE, &[]) } else { Vec::new() };
                attribute(NESTED | ETHTOOL_A_BITSET_BITS_BIT, &[name, value].concat())
            })
            .collect();
        let no_mask = if no_mask { attribute(ETHTOOL_A_BITSET_NOMASK, &[]) } else { Vec::new() };
        [no_mask, attribute(NESTED | ETHTOOL_A_BITSET_BITS, &list)].concat()
    }

    fn answer(can: &[u8], is: &[u8]) -> Vec<u8> {
        let can = attribute(NESTED | ETHTOOL_A_FEATURES_HW, can);
        let is = attribute(NESTED | ETHTOOL_A_FEATURES_ACTIVE, is);
        request(30, ETHTOOL_MSG_FEATURES_GET, &[can, is].concat())
    }

    #[test]
    fn an_answer_is_taken_apart() {
        let can =
            bitset(false, &[("rx-gro", true), ("tls-hw-tx-offload", true), ("tls-hw-rx-offload", false)]);
        let is = bitset(true, &[("tls-hw-tx-offload", false), ("rx-gro", false)]);
        let whole = answer(&can, &is);
        let found = DeviceTls::parse(&whole).unwrap();
        assert_eq!(found.send, Offload { supported: true, active: true });
        assert_eq!(found.receive, Offload::default());
        for len in 0..HEADERS {
            assert!(DeviceTls::parse(&whole[..len]).is_err(), "{len}");
        }
        let said = DeviceTls { send: Offload { supported: true, active: false }, ..found }.explain("eth7");
        assert!(said[0].contains("ethtool -K eth7 tls-hw-tx-offload on"), "{said:?}");
        assert!(said[1].contains("the processor"), "{said:?}");
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn loopback_takes_no_keys_or_it_is_said_why_not() {
        match DeviceTls::ask("lo") {
            Ok(found) => assert!(!found.send.active && !found.receive.active),
            Err(error @ DeviceTlsError::Io(_)) => assert!(error.to_string().starts_with("ethtool: ")),
            Err(error) => panic!("{error}"),
        }
        assert!(matches!(DeviceTls::ask("no-such-dev"), Err(DeviceTlsError::Io(_))));
        for wrong in ["", "a/b", "sixteen-bytes-xx", "a b", "a\0"] {
            assert!(matches!(DeviceTls::ask(wrong), Err(DeviceTlsError::Name(_))), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = DeviceTls::parse(&bytes);
            let _ = parse_family(&bytes);
            let mut answered = answer(&bytes, &bytes);
            let _ = DeviceTls::parse(&answered);
            answered.truncate(bytes.len());
            let _ = DeviceTls::parse(&answered);
        }

        #[test]
        fn each_bit_is_found(can_tx: bool, can_rx: bool, is_tx: bool, is_rx: bool) {
            let can = bitset(false, &[("tls-hw-rx-offload", can_rx), ("tls-hw-tx-offload", can_tx)]);
            let on = [("tls-hw-tx-offload", is_tx), ("tls-hw-rx-offload", is_rx)];
            let on: Vec<_> = on.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, false)).collect();
            let found = DeviceTls::parse(&answer(&can, &bitset(true, &on))).unwrap();
            prop_assert_eq!(found.send, Offload { supported: can_tx, active: is_tx });
            prop_assert_eq!(found.receive, Offload { supported: can_rx, active: is_rx });
        }
    }
}
