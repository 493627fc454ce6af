//! The finite field Diffie-Hellman groups of RFC 7919.
//!
//! ```
//! use nvme_tcp::auth::{DhGroup, DhKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Of random bytes, but for an example.
//! let [one, other] = [[1; 64], [2; 64]].map(|random| DhKey::new(DhGroup::Ffdhe2048, &random));
//! assert_eq!(one.agree(&other.public())?, other.agree(&one.public())?);
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, OnceLock};

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use zeroize::{Zeroize, Zeroizing};

use super::groups;

/// How long a private exponent is, in bytes: twice the strength of the largest group and more (RFC 7919,
/// section 5.2, asks for at least 400 bits there).
pub const EXPONENT_LEN: usize = 64;

/// A Diffie-Hellman group by the name that DH-HMAC-CHAP has for it (NVMe Base, figure "DH-HMAC-CHAP
/// Diffie-Hellman group identifiers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DhGroup {
    /// No Diffie-Hellman at all: whoever knows the secret can read back everything derived from it.
    Null = 0,
    /// ffdhe2048.
    Ffdhe2048 = 1,
    /// ffdhe3072.
    Ffdhe3072 = 2,
    /// ffdhe4096.
    Ffdhe4096 = 3,
    /// ffdhe6144.
    Ffdhe6144 = 4,
    /// ffdhe8192.
    Ffdhe8192 = 5,
}

impl DhGroup {
    /// Every group there is, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Null, Self::Ffdhe2048, Self::Ffdhe3072, Self::Ffdhe4096, Self::Ffdhe6144, Self::Ffdhe8192];

    /// Its number on the wire.
    ///
    /// ```
    /// use nvme_tcp::auth::DhGroup;
    ///
    /// // As AUTH_Negotiate lists what the host allows.
    /// assert_eq!([DhGroup::Ffdhe3072, DhGroup::Null].map(DhGroup::id), [2, 0]);
    /// ```
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The group with this number on the wire, if there is one.
    ///
    /// ```
    /// use nvme_tcp::auth::DhGroup;
    ///
    /// assert_eq!(DhGroup::from_id(5), Some(DhGroup::Ffdhe8192));
    /// assert_eq!(DhGroup::from_id(6), None);
    /// ```
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.id() == id)
    }

    /// The length of its prime, and so of a public value, in bytes; 0 for [`DhGroup::Null`].
    ///
    /// ```
    /// use nvme_tcp::auth::DhGroup;
    ///
    /// assert_eq!(DhGroup::ALL.map(DhGroup::public_len), [0, 256, 384, 512, 768, 1024]);
    /// ```
    pub fn public_len(self) -> usize {
        self.prime().map_or(0, |hex| hex.len() / 2)
    }

    /// Its prime in hexadecimal.
    fn prime(self) -> Option<&'static str> {
        match self {
            Self::Null => None,
            Self::Ffdhe2048 => Some(groups::FFDHE2048),
            Self::Ffdhe3072 => Some(groups::FFDHE3072),
            Self::Ffdhe4096 => Some(groups::FFDHE4096),
            Self::Ffdhe6144 => Some(groups::FFDHE6144),
            Self::Ffdhe8192 => Some(groups::FFDHE8192),
        }
    }

    /// What arithmetic modulo the prime needs, made once for each group.
    fn field(self) -> Option<Arc<BoxedMontyParams>> {
        static FIELDS: [OnceLock<Option<Arc<BoxedMontyParams>>>; 6] = [const { OnceLock::new() }; 6];
        let hex = self.prime()?;
        let make = || {
            let prime: Option<_> = BoxedUint::from_be_hex(hex, hex.len() as u32 * 4).into();
            let prime: Option<_> = Odd::new(prime?).into();
            // The prime is no secret.
            Some(Arc::new(BoxedMontyParams::new_vartime(prime?)))
        };
        FIELDS.get(usize::from(self.id()))?.get_or_init(make).clone()
    }
}

/// Why a peer's public value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DhError {
    /// It is empty, longer than the prime, or there where no group was agreed on.
    #[error("is {found} bytes long, expected {expected}")]
    Length {
        /// The length of the group's prime in bytes.
        expected: usize,
        /// The value's length in bytes.
        found: usize,
    },
    /// It is 0, 1, p - 1 or more: the secret would be known to everyone (RFC 7919, section 5.1).
    #[error("is not between 1 and p - 1")]
    Range,
}

/// One end's half of a key agreement, used once.
pub struct DhKey {
    group: DhGroup,
    field: Option<Arc<BoxedMontyParams>>,
    exponent: BoxedUint,
}

impl DhKey {
    /// A key from random bytes, which no other key is made from.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhGroup, DhKey, EXPONENT_LEN};
    ///
    /// let mut random = [0; EXPONENT_LEN];
    /// ktls::crypto::random(&mut random)?;
    /// let key = DhKey::new(DhGroup::Ffdhe2048, &random);
    /// assert_eq!(format!("{key:?}"), "DhKey(Ffdhe2048)");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(group: DhGroup, random: &[u8; EXPONENT_LEN]) -> Self {
        let bits = EXPONENT_LEN as u32 * 8;
        let mut exponent = BoxedUint::zero_with_precision(bits);
        if let Ok(drawn) = BoxedUint::from_be_slice(random, bits) {
            exponent = drawn;
        }
        Self { group, field: group.field(), exponent }
    }

    /// What the peer gets: 2^x modulo p, as long as the prime; empty for [`DhGroup::Null`].
    ///
    /// ```
    /// use nvme_tcp::auth::{DhGroup, DhKey};
    ///
    /// let public = |group| DhKey::new(group, &[1; 64]).public();
    /// assert_eq!(public(DhGroup::Ffdhe2048).len(), DhGroup::Ffdhe2048.public_len());
    /// assert!(public(DhGroup::Null).is_empty());
    /// ```
    pub fn public(&self) -> Vec<u8> {
        self.field.as_ref().map_or_else(Vec::new, |field| {
            let two = BoxedUint::from(2_u8).widen(field.bits_precision());
            self.power(two, field).to_vec()
        })
    }

    /// The secret with `peer`'s public value, as long as the prime; empty for [`DhGroup::Null`].
    ///
    /// A value without its leading zeros is taken as well: SPDK sends those.
    ///
    /// ```
    /// use nvme_tcp::auth::{DhError, DhGroup, DhKey};
    ///
    /// let key = DhKey::new(DhGroup::Ffdhe2048, &[1; 64]);
    /// // With 1 the secret would be 1 whatever the exponent: such a peer is refused.
    /// assert_eq!(key.agree(&[1]).err(), Some(DhError::Range));
    /// assert_eq!(key.agree(&[]).err(), Some(DhError::Length { expected: 256, found: 0 }));
    /// ```
    ///
    /// # Errors
    /// The value is none of the group's.
    pub fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, DhError> {
        let expected = self.group.public_len();
        let length = DhError::Length { expected, found: peer.len() };
        let Some(field) = &self.field else {
            return if peer.is_empty() { Ok(Zeroizing::default()) } else { Err(length) };
        };
        if peer.is_empty() {
            return Err(length);
        }
        let peer = BoxedUint::from_be_slice(peer, field.bits_precision()).map_err(|_| length)?;
        let one = BoxedUint::one_with_precision(field.bits_precision());
        let last = field.modulus().as_ref().wrapping_sub(&one);
        if peer <= one || peer >= last {
            return Err(DhError::Range);
        }
        Ok(self.power(peer, field))
    }

    /// `base` to the power of the exponent, in constant time.
    fn power(&self, base: BoxedUint, field: &Arc<BoxedMontyParams>) -> Zeroizing<Vec<u8>> {
        let base = BoxedMontyForm::new_with_arc(base, field.clone());
        let mut power = base.pow_bounded_exp(&self.exponent, EXPONENT_LEN as u32 * 8);
        let mut value = power.retrieve();
        let mut bytes = value.to_be_bytes();
        let kept = Zeroizing::new(bytes.to_vec());
        power.zeroize();
        value.zeroize();
        bytes.zeroize();
        kept
    }
}

impl std::fmt::Debug for DhKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DhKey({:?})", self.group)
    }
}

impl Drop for DhKey {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(base: &BoxedUint, exponent: &BoxedUint, field: &Arc<BoxedMontyParams>) -> BoxedUint {
        BoxedMontyForm::new_with_arc(base.clone(), field.clone()).pow(exponent).retrieve()
    }

    #[test]
    fn the_primes_are_those_of_rfc_7919() {
        // The last 128 bits before the trailing ones, as the RFC prints them.
        let tails = [
            "886B423861285C97",
            "25E41D2B66C62E37",
            "C68A007E5E655F6A",
            "A40E329CD0E40E65",
            "D68C8BB7C5C6424C",
        ];
        let groups = DhGroup::ALL.into_iter().filter(|group| *group != DhGroup::Null);
        for ((group, bits), tail) in groups.zip([2048, 3072, 4096, 6144, 8192]).zip(tails) {
            let prime = group.prime().unwrap();
            assert_eq!((prime.len() * 4, group.public_len() * 8), (bits, bits));
            assert!(prime.starts_with("FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1"), "{group:?}");
            assert_eq!(&prime[prime.len() - 32..], format!("{tail}FFFFFFFFFFFFFFFF"), "{group:?}");
        }
    }

    /// Fermat's test of p and of q = (p - 1) / 2, and 2 generates the subgroup of order q. The two largest
    /// have the same digits of e and tails that were checked above.
    #[test]
    fn the_primes_are_safe_and_2_generates_the_large_subgroup() {
        for group in [DhGroup::Ffdhe2048, DhGroup::Ffdhe3072] {
            let field = group.field().unwrap();
            let one = BoxedUint::one_with_precision(field.bits_precision());
            let (two, three) = (one.wrapping_add(&one), one.wrapping_add(&one).wrapping_add(&one));
            let p_less_one = field.modulus().as_ref().wrapping_sub(&one);
            let q = p_less_one.shr(1);
            assert_eq!(power(&three, &p_less_one, &field), one, "{group:?}");
            assert_eq!(power(&two, &q, &field), one, "{group:?}");
            let q_field = Arc::new(BoxedMontyParams::new_vartime(Odd::new(q.clone()).unwrap()));
            assert_eq!(power(&three, &q.wrapping_sub(&one), &q_field), one, "{group:?}");
        }
    }

    #[test]
    fn both_ends_agree_in_every_group() {
        for group in DhGroup::ALL {
            let (a, b) = (DhKey::new(group, &[0x5a; 64]), DhKey::new(group, &[0xc3; 64]));
            assert_eq!(a.public().len(), group.public_len());
            let secret = a.agree(&b.public()).unwrap();
            assert_eq!(secret.len(), group.public_len());
            assert_eq!(*secret, *b.agree(&a.public()).unwrap(), "{group:?}");
        }
    }

    #[test]
    fn a_small_power_is_what_it_is_by_hand() {
        // x = 10: 2^10 = 1024.
        let mut random = [0; 64];
        random[63] = 10;
        let key = DhKey::new(DhGroup::Ffdhe2048, &random);
        let mut expected = vec![0; 256];
        expected[254] = 4;
        assert_eq!(key.public(), expected);
        // (2^3)^10 = 2^30, from a value without its leading zeros.
        let mut secret = vec![0; 256];
        secret[252] = 0x40;
        assert_eq!(*key.agree(&[8]).unwrap(), secret);
    }

    #[test]
    fn values_that_give_the_secret_away_are_refused() {
        let key = DhKey::new(DhGroup::Ffdhe2048, &[0x5a; 64]);
        let prime: Vec<u8> = {
            let field = DhGroup::Ffdhe2048.field().unwrap();
            field.modulus().as_ref().to_be_bytes().to_vec()
        };
        let mut before = prime.clone();
        before[255] -= 1;
        for value in [vec![0; 256], vec![0], vec![1], before.clone(), prime, vec![0xff; 256]] {
            assert_eq!(key.agree(&value), Err(DhError::Range));
        }
        before[255] -= 1;
        assert!(key.agree(&before).is_ok() && key.agree(&[2]).is_ok());
        let length = |found| Err(DhError::Length { expected: 256, found });
        assert_eq!((key.agree(&[]), key.agree(&[9; 257])), (length(0), length(257)));
        let null = DhKey::new(DhGroup::Null, &[1; 64]);
        assert_eq!(null.agree(&[2]), Err(DhError::Length { expected: 0, found: 1 }));
        assert!(null.agree(&[]).unwrap().is_empty());
    }
}
