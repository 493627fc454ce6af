//! The messages of authentication (NVMe Base, 8.3.4.5): the common ones, and those of DH-HMAC-CHAP.

use ktls::crypto::Hash;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codes::DHCHAP;
pub use super::codes::{Kind, Reason, SecureChannel, hash_from_id, hash_id};
use super::dh::DhGroup;
use super::error::AuthError;

/// What every message begins with, 6 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// AUTH_TYPE.
    pub auth_type: u8,
    /// AUTH_ID.
    pub auth_id: u8,
    reserved: [u8; 2],
    /// T_ID: the transaction, by the host's number.
    pub t_id: U16,
}

impl Header {
    fn new(kind: Kind, t_id: u16) -> Self {
        let (auth_type, auth_id) = kind.codes();
        Self { auth_type, auth_id, reserved: [0; 2], t_id: t_id.into() }
    }

    /// Which message it begins.
    ///
    /// ```
    /// use nvme_tcp::auth::message::{self, Header, Kind};
    /// use zerocopy::FromBytes;
    ///
    /// let bytes = message::success2(7);
    /// let (header, _) = Header::ref_from_prefix(&bytes).expect("6 bytes");
    /// assert_eq!((header.kind(), header.t_id.get()), (Kind::Success2, 7));
    /// ```
    pub fn kind(&self) -> Kind {
        Kind::from_codes(self.auth_type, self.auth_id)
    }
}

/// What AUTH_Negotiate has before its descriptors, 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NegotiateHeader {
    header: Header,
    sc_c: u8,
    napd: u8,
}

/// One protocol that the host offers, 64 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Descriptor {
    auth_id: u8,
    reserved: u8,
    halen: u8,
    dhlen: u8,
    hashes: [u8; 30],
    groups: [u8; 30],
}

const _: () = assert!(size_of::<Descriptor>() == 64);

/// DH-HMAC-CHAP_Challenge and DH-HMAC-CHAP_Reply before their values, 16 bytes: the one has two identifiers
/// where the other has CVALID.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ValuesHeader {
    header: Header,
    hl: u8,
    reserved: u8,
    hash_or_cvalid: u8,
    group: u8,
    dhvlen: U16,
    sequence: U32,
}

/// DH-HMAC-CHAP_Success1 before its value, and DH-HMAC-CHAP_Success2, 16 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SuccessHeader {
    header: Header,
    hl: u8,
    reserved_7: u8,
    rvalid: u8,
    reserved_9: [u8; 7],
}

const _: () = assert!(size_of::<ValuesHeader>() == 16 && size_of::<SuccessHeader>() == 16);

/// AUTH_Failure1 and AUTH_Failure2, 8 bytes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FailureMessage {
    header: Header,
    /// RC: 1, authentication failure.
    reason: u8,
    /// RCE.
    explanation: u8,
}

/// AUTH_Negotiate, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiate {
    /// SC_C, as it came.
    pub secure_channel: u8,
    /// The hashes that the host offers for DH-HMAC-CHAP, by their numbers; `None` where it does not offer that
    /// protocol.
    pub hashes: Option<Vec<u8>>,
    /// The groups it offers, by their numbers.
    pub groups: Vec<u8>,
}

/// DH-HMAC-CHAP_Challenge, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// HashID.
    pub hash: u8,
    /// DHgID.
    pub group: u8,
    /// S1.
    pub sequence: u32,
    /// C1, of the length HL.
    pub value: &'a [u8],
    /// The controller's public value.
    pub dh_value: &'a [u8],
}

/// DH-HMAC-CHAP_Reply, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// R1, of the length HL.
    pub response: &'a [u8],
    /// C2 where CVALID says that there is one.
    pub challenge: Option<&'a [u8]>,
    /// S2.
    pub sequence: u32,
    /// The host's public value.
    pub dh_value: &'a [u8],
}

/// A message that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// AUTH_Negotiate.
    Negotiate(Negotiate),
    /// DH-HMAC-CHAP_Challenge.
    Challenge(Challenge<'a>),
    /// DH-HMAC-CHAP_Reply.
    Reply(Reply<'a>),
    /// DH-HMAC-CHAP_Success1, with R2 where RVALID says that there is one.
    Success1(Option<&'a [u8]>),
    /// DH-HMAC-CHAP_Success2.
    Success2,
    /// AUTH_Failure2.
    Failure2(Reason),
    /// AUTH_Failure1.
    Failure1(Reason),
}

/// Takes a message apart; what follows it, as in a buffer that is larger, does not count. Its kind, its T_ID,
/// and then what is in it.
///
/// ```
/// use nvme_tcp::auth::AuthError;
/// use nvme_tcp::auth::message::{self, Kind, Message};
///
/// // As it comes, in a buffer that is longer.
/// let mut buffer = message::success2(7);
/// buffer.resize(4096, 0);
/// assert_eq!(message::parse(&buffer), Ok((Kind::Success2, 7, Message::Success2)));
/// assert_eq!(message::parse(&buffer[..4]), Err(AuthError::Truncated { field: "header", len: 4 }));
/// ```
///
/// # Errors
/// It ends too early, or is none of those there are.
pub fn parse(bytes: &[u8]) -> Result<(Kind, u16, Message<'_>), AuthError> {
    let short = |field: &'static str| AuthError::Truncated { field, len: bytes.len() };
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| short("header"))?;
    let kind = header.kind();
    let message = match kind {
        Kind::Negotiate => Message::Negotiate(parse_negotiate(bytes)?),
        Kind::Challenge | Kind::Reply => {
            let (fixed, values) = ValuesHeader::ref_from_prefix(bytes).map_err(|_| short("fixed part"))?;
            let (hl, dhvlen) = (usize::from(fixed.hl), usize::from(fixed.dhvlen.get()));
            let (first, rest) = values.split_at_checked(hl).ok_or(short("C1 or R1"))?;
            let (sequence, code) = (fixed.sequence.get(), fixed.hash_or_cvalid);
            if kind == Kind::Challenge {
                let dh_value = rest.get(..dhvlen).ok_or(short("DH value"))?;
                Message::Challenge(Challenge {
                    hash: code,
                    group: fixed.group,
                    sequence,
                    value: first,
                    dh_value,
                })
            } else {
                // There is room for C2 in any case.
                let (second, rest) = rest.split_at_checked(hl).ok_or(short("C2"))?;
                let dh_value = rest.get(..dhvlen).ok_or(short("DH value"))?;
                let challenge = (code != 0).then_some(second);
                Message::Reply(Reply { response: first, challenge, sequence, dh_value })
            }
        }
        Kind::Success1 => {
            let (fixed, values) = SuccessHeader::ref_from_prefix(bytes).map_err(|_| short("fixed part"))?;
            let response = values.get(..usize::from(fixed.hl));
            match fixed.rvalid {
                0 => Message::Success1(None),
                _ => Message::Success1(Some(response.ok_or(short("R2"))?)),
            }
        }
        Kind::Success2 => {
            SuccessHeader::ref_from_prefix(bytes).map_err(|_| short("fixed part"))?;
            Message::Success2
        }
        Kind::Failure1 | Kind::Failure2 => {
            let (failure, _) = FailureMessage::ref_from_prefix(bytes).map_err(|_| short("reason code"))?;
            let reason = Reason::from_code(failure.explanation);
            if kind == Kind::Failure1 { Message::Failure1(reason) } else { Message::Failure2(reason) }
        }
        Kind::Other { .. } => return Err(AuthError::Message { expected: None, found: kind }),
    };
    Ok((kind, header.t_id.get(), message))
}

fn parse_negotiate(bytes: &[u8]) -> Result<Negotiate, AuthError> {
    let short = |field: &'static str| AuthError::Truncated { field, len: bytes.len() };
    let (fixed, mut rest) = NegotiateHeader::ref_from_prefix(bytes).map_err(|_| short("fixed part"))?;
    let mut negotiate = Negotiate { secure_channel: fixed.sc_c, hashes: None, groups: Vec::new() };
    for _ in 0..fixed.napd {
        let (descriptor, after) = Descriptor::ref_from_prefix(rest).map_err(|_| short("descriptor"))?;
        rest = after;
        if descriptor.auth_id != DHCHAP || negotiate.hashes.is_some() {
            continue;
        }
        let list = |field, ids: &[u8], len: u8| {
            let wrong = AuthError::ListLength { field, max: ids.len(), found: len.into() };
            ids.get(..len.into()).map(<[u8]>::to_vec).ok_or(wrong)
        };
        negotiate.hashes = Some(list("HALEN", &descriptor.hashes, descriptor.halen)?);
        negotiate.groups = list("DHLEN", &descriptor.groups, descriptor.dhlen)?;
    }
    Ok(negotiate)
}

/// AUTH_Negotiate that offers DH-HMAC-CHAP with these hashes and groups, each list with the preferred first.
///
/// ```
/// use ktls::crypto::Hash;
/// use nvme_tcp::auth::{DhGroup, SecureChannel, message};
///
/// let groups = [DhGroup::Ffdhe2048, DhGroup::Null];
/// let bytes = message::negotiate(7, SecureChannel::None, &[Hash::Sha256, Hash::Sha384], &groups);
/// let message::Message::Negotiate(offer) = message::parse(&bytes)?.2 else { panic!("another message") };
/// assert_eq!((offer.hashes, offer.groups), (Some(vec![1, 2]), vec![1, 0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn negotiate(t_id: u16, channel: SecureChannel, hashes: &[Hash], groups: &[DhGroup]) -> Vec<u8> {
    let header = Header::new(Kind::Negotiate, t_id);
    let fixed = NegotiateHeader { header, sc_c: channel as u8, napd: 1 };
    let mut descriptor = Descriptor { auth_id: DHCHAP, ..Descriptor::new_zeroed() };
    let hash_ids = hashes.iter().filter_map(|hash| hash_id(*hash));
    for (id, place) in hash_ids.zip(&mut descriptor.hashes) {
        *place = id;
        descriptor.halen += 1;
    }
    for (group, place) in groups.iter().zip(&mut descriptor.groups) {
        *place = group.id();
        descriptor.dhlen += 1;
    }
    [fixed.as_bytes(), descriptor.as_bytes()].concat()
}

/// DH-HMAC-CHAP_Challenge.
///
/// ```
/// use nvme_tcp::auth::message::{self, Challenge, Message};
///
/// // SHA-256, and no Diffie-Hellman: there is no public value then.
/// let challenge = Challenge { hash: 1, group: 0, sequence: 9, value: &[7; 32], dh_value: &[] };
/// let bytes = message::challenge(7, &challenge);
/// assert_eq!(message::parse(&bytes)?.2, Message::Challenge(challenge));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn challenge(t_id: u16, challenge: &Challenge<'_>) -> Vec<u8> {
    let fixed = ValuesHeader {
        header: Header::new(Kind::Challenge, t_id),
        hl: challenge.value.len() as u8,
        reserved: 0,
        hash_or_cvalid: challenge.hash,
        group: challenge.group,
        dhvlen: (challenge.dh_value.len() as u16).into(),
        sequence: challenge.sequence.into(),
    };
    [fixed.as_bytes(), challenge.value, challenge.dh_value].concat()
}

/// DH-HMAC-CHAP_Reply.
///
/// ```
/// use nvme_tcp::auth::message::{self, Message, Reply};
///
/// // One way: neither a challenge of the host's nor a sequence number.
/// let reply = Reply { response: &[7; 32], challenge: None, sequence: 0, dh_value: &[] };
/// let bytes = message::reply(7, &reply);
/// assert_eq!(message::parse(&bytes)?.2, Message::Reply(reply));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn reply(t_id: u16, reply: &Reply<'_>) -> Vec<u8> {
    let fixed = ValuesHeader {
        header: Header::new(Kind::Reply, t_id),
        hl: reply.response.len() as u8,
        reserved: 0,
        hash_or_cvalid: reply.challenge.is_some().into(),
        group: 0,
        dhvlen: (reply.dh_value.len() as u16).into(),
        sequence: reply.sequence.into(),
    };
    let none = vec![0; reply.response.len()];
    [fixed.as_bytes(), reply.response, reply.challenge.unwrap_or(&none), reply.dh_value].concat()
}

/// DH-HMAC-CHAP_Success1, with R2 where the host asked for it; `hl` is the hash's length in bytes.
///
/// ```
/// use nvme_tcp::auth::message::{self, Message};
///
/// // HL stands there even without R2.
/// assert_eq!(message::parse(&message::success1(7, 32, None))?.2, Message::Success1(None));
/// assert_eq!(message::parse(&message::success1(7, 32, Some(&[9; 32])))?.2, Message::Success1(Some(&[9; 32])));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn success1(t_id: u16, hl: usize, response: Option<&[u8]>) -> Vec<u8> {
    let fixed = SuccessHeader {
        header: Header::new(Kind::Success1, t_id),
        hl: hl as u8,
        reserved_7: 0,
        rvalid: response.is_some().into(),
        reserved_9: [0; 7],
    };
    let none = vec![0; hl];
    [fixed.as_bytes(), response.unwrap_or(&none)].concat()
}

/// DH-HMAC-CHAP_Success2.
///
/// ```
/// use nvme_tcp::auth::message::{self, Kind};
///
/// // The host's last word where both ends authenticated themselves.
/// let bytes = message::success2(7);
/// assert!(message::parse(&bytes).is_ok_and(|(kind, t_id, _)| (kind, t_id) == (Kind::Success2, 7)));
/// ```
pub fn success2(t_id: u16) -> Vec<u8> {
    let header = Header::new(Kind::Success2, t_id);
    SuccessHeader { header, ..SuccessHeader::new_zeroed() }.as_bytes().to_vec()
}

/// AUTH_Failure1 ([`Kind::Failure1`]) or AUTH_Failure2.
///
/// ```
/// use nvme_tcp::auth::message::{self, Kind, Message, Reason};
///
/// // The controller's; a host sends Failure2.
/// let bytes = message::failure(Kind::Failure1, 7, Reason::HashUnusable);
/// assert_eq!(message::parse(&bytes)?.2, Message::Failure1(Reason::HashUnusable));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn failure(kind: Kind, t_id: u16, reason: Reason) -> Vec<u8> {
    let header = Header::new(kind, t_id);
    FailureMessage { header, reason: 1, explanation: reason.code() }.as_bytes().to_vec()
}

#[cfg(test)]
mod tests;
