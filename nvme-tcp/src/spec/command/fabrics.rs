//! Fabrics commands: opcode 7Fh, the kind in FCTYPE (Base, section 6).

use zerocopy::little_endian::U16;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Sqe;
use crate::spec::text;

/// OPC of every fabrics command.
pub const OPCODE: u8 = 0x7f;
/// FCTYPE: Property Set.
pub const PROPERTY_SET: u8 = 0x00;
/// FCTYPE: Connect.
pub const CONNECT: u8 = 0x01;
/// FCTYPE: Property Get.
pub const PROPERTY_GET: u8 = 0x04;
/// FCTYPE: Authentication Send.
pub const AUTHENTICATION_SEND: u8 = 0x05;
/// FCTYPE: Authentication Receive.
pub const AUTHENTICATION_RECEIVE: u8 = 0x06;

/// SECP of the authentication commands: assigned to NVMe.
pub const SECP_NVME: u8 = 0xe9;
/// SPSP0 and SPSP1 of the authentication commands.
pub const SPSP_AUTHENTICATION: u8 = 0x01;
/// DW0 of Connect's completion, AUTHREQ.ATR: an authentication transaction is required.
pub const AUTHREQ_ATR: u32 = 1 << 17;
/// DW0 of Connect's completion, AUTHREQ.ASCR: authentication and a secure channel made from it are required.
pub const AUTHREQ_ASCR: u32 = 1 << 18;

/// CNTLID in Connect: the controller picks one.
pub const CNTLID_DYNAMIC: u16 = 0xffff;
/// The length of [`ConnectData`] in bytes.
pub const CONNECT_DATA_LEN: usize = 1024;
/// CATTR: disable SQ flow control.
pub const CATTR_DISABLE_SQFC: u8 = 1 << 2;

/// The data of a Connect command.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectData {
    /// HOSTID.
    pub hostid: [u8; 16],
    /// CNTLID: [`CNTLID_DYNAMIC`] on the admin queue, the one assigned on an I/O queue.
    pub cntlid: U16,
    reserved_18: [u8; 238],
    /// SUBNQN, filled up with NUL.
    pub subnqn: [u8; 256],
    /// HOSTNQN, filled up with NUL.
    pub hostnqn: [u8; 256],
    reserved_768: [u8; 256],
}

const _: () = assert!(size_of::<ConnectData>() == CONNECT_DATA_LEN);

impl ConnectData {
    /// `None` where an NQN does not fit its field.
    pub fn new(hostid: [u8; 16], cntlid: u16, subnqn: &str, hostnqn: &str) -> Option<Self> {
        Some(Self {
            hostid,
            cntlid: cntlid.into(),
            subnqn: text::to_field(subnqn, 0)?,
            hostnqn: text::to_field(hostnqn, 0)?,
            ..Self::new_zeroed()
        })
    }
}

/// FCTYPE of a fabrics command.
pub fn kind(sqe: &Sqe) -> u8 {
    sqe.nsid.get() as u8
}

fn fabrics(kind: u8) -> Sqe {
    Sqe::new(OPCODE, kind.into())
}

/// Connect: `entries` is the queue's size (2 to 65,536), `kato` in ms and zero on an I/O queue.
pub fn connect(qid: u16, entries: u32, attributes: u8, kato: u32) -> Sqe {
    let sqsize = entries.saturating_sub(1) & 0xffff;
    fabrics(CONNECT).cdw(10, u32::from(qid) << 16).cdw(11, sqsize | u32::from(attributes) << 16).cdw(12, kato)
}

/// What a Connect command asks for, read back by a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectFields {
    /// RECFMT: 0.
    pub recfmt: u16,
    /// QID.
    pub qid: u16,
    /// SQSIZE, 0-based.
    pub sqsize: u16,
    /// CATTR.
    pub attributes: u8,
    /// KATO in ms.
    pub kato: u32,
}

impl ConnectFields {
    /// Takes a Connect command apart.
    pub fn read(sqe: &Sqe) -> Self {
        Self {
            recfmt: sqe.get_cdw(10) as u16,
            qid: (sqe.get_cdw(10) >> 16) as u16,
            sqsize: sqe.get_cdw(11) as u16,
            attributes: (sqe.get_cdw(11) >> 16) as u8,
            kato: sqe.get_cdw(12),
        }
    }
}

/// Property Get of 4 or 8 bytes.
pub fn property_get(offset: u32, eight_bytes: bool) -> Sqe {
    fabrics(PROPERTY_GET).cdw(10, eight_bytes.into()).cdw(11, offset)
}

/// Property Set of 4 bytes.
pub fn property_set(offset: u32, value: u32) -> Sqe {
    fabrics(PROPERTY_SET).cdw(11, offset).cdw(12, value)
}

/// Authentication Send of a message of `len` bytes.
pub fn authentication_send(len: u32) -> Sqe {
    authentication(AUTHENTICATION_SEND, len)
}

/// Authentication Receive of a message of up to `len` bytes.
pub fn authentication_receive(len: u32) -> Sqe {
    authentication(AUTHENTICATION_RECEIVE, len)
}

fn authentication(kind: u8, len: u32) -> Sqe {
    let protocol = u32::from_le_bytes([0, SPSP_AUTHENTICATION, SPSP_AUTHENTICATION, SECP_NVME]);
    fabrics(kind).cdw(10, protocol).cdw(11, len)
}

/// What an authentication command says of itself, read back by a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthenticationFields {
    /// SPSP0.
    pub spsp0: u8,
    /// SPSP1.
    pub spsp1: u8,
    /// SECP.
    pub secp: u8,
    /// TL or AL: the message's length, or the room for one, in bytes.
    pub len: u32,
}

impl AuthenticationFields {
    /// Takes an authentication command apart.
    pub fn read(sqe: &Sqe) -> Self {
        let [_, spsp0, spsp1, secp] = sqe.get_cdw(10).to_le_bytes();
        Self { spsp0, spsp1, secp, len: sqe.get_cdw(11) }
    }

    /// Whether it is for in-band authentication.
    pub fn is_authentication(self) -> bool {
        (self.spsp0, self.spsp1, self.secp) == (SPSP_AUTHENTICATION, SPSP_AUTHENTICATION, SECP_NVME)
    }
}

/// DW0 of a Connect that failed with "invalid parameters": which one it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidParameter {
    /// IPO: the parameter's offset in bytes.
    pub offset: u16,
    /// IATTR: whether the offset is in the data, and not in the SQE.
    pub in_data: bool,
}

impl InvalidParameter {
    /// Reads DW0.
    pub fn read(dw0: u32) -> Self {
        Self { offset: dw0 as u16, in_data: dw0 & 1 << 16 != 0 }
    }

    /// Writes DW0.
    pub fn to_dw0(self) -> u32 {
        u32::from(self.offset) | u32::from(self.in_data) << 16
    }

    /// CNTLID in the data.
    pub const CNTLID: Self = Self { offset: 16, in_data: true };
    /// SUBNQN in the data.
    pub const SUBNQN: Self = Self { offset: 256, in_data: true };
    /// HOSTNQN in the data.
    pub const HOSTNQN: Self = Self { offset: 512, in_data: true };
    /// QID in the SQE.
    pub const QID: Self = Self { offset: 42, in_data: false };
    /// SQSIZE in the SQE.
    pub const SQSIZE: Self = Self { offset: 44, in_data: false };

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::CNTLID => "CNTLID",
            Self::SUBNQN => "SUBNQN",
            Self::HOSTNQN => "HOSTNQN",
            Self::QID => "QID",
            Self::SQSIZE => "SQSIZE",
            _ => "a parameter",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_has_its_fields_where_the_specification_has_them() {
        let sqe = connect(3, 128, CATTR_DISABLE_SQFC, 15_000);
        let bytes = sqe.as_bytes();
        assert_eq!((bytes[0], bytes[1], bytes[4]), (0x7f, 0x40, 0x01));
        assert_eq!(bytes[42..44], [3, 0]);
        assert_eq!(bytes[44..46], [127, 0]);
        assert_eq!(bytes[46], 4);
        assert_eq!(bytes[48..52], 15_000_u32.to_le_bytes());
        let fields = ConnectFields::read(&sqe);
        assert_eq!((fields.qid, fields.sqsize, fields.attributes, fields.kato), (3, 127, 4, 15_000));
    }

    #[test]
    fn properties_have_their_fields_where_the_specification_has_them() {
        let get = property_get(0x1c, true);
        assert_eq!((get.as_bytes()[40], get.as_bytes()[44]), (1, 0x1c));
        let set = property_set(0x14, 0x0046_0001);
        assert_eq!(set.as_bytes()[48..52], 0x0046_0001_u32.to_le_bytes());
    }

    #[test]
    fn authentication_has_its_fields_where_the_specification_has_them() {
        let send = authentication_send(0x1234);
        assert_eq!((send.as_bytes()[0], send.as_bytes()[4]), (0x7f, 0x05));
        assert_eq!(send.as_bytes()[40..48], [0, 1, 1, 0xe9, 0x34, 0x12, 0, 0]);
        let receive = authentication_receive(4096);
        assert_eq!(receive.as_bytes()[4], 0x06);
        let fields = AuthenticationFields::read(&receive);
        assert!(fields.is_authentication() && fields.len == 4096);
    }

    #[test]
    fn an_nqn_that_is_too_long_is_no_connect_data() {
        assert!(ConnectData::new([0; 16], 1, &"n".repeat(256), "h").is_some());
        assert!(ConnectData::new([0; 16], 1, &"n".repeat(257), "h").is_none());
    }
}
