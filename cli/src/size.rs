//! Sizes on the command line and in tables.

use thiserror::Error;

/// The suffixes, each 1,024 times the one before; the first is 1,024 bytes.
const SUFFIXES: [char; 5] = ['K', 'M', 'G', 'T', 'P'];

/// What is wrong with the text of a size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// It does not begin with a digit.
    #[error("expected a whole number of bytes, as 4096, 64K, 256M or 4GiB")]
    Number,
    /// A suffix of two meanings.
    #[error("{0} could be a power of 1000 or of 1024: write {1} for 1024")]
    Ambiguous(String, String),
    /// No known suffix.
    #[error("unknown suffix {0:?}: expected B, or K, M, G, T, P (powers of 1024, also as KiB and so on)")]
    Suffix(String),
    /// More than 64 bits.
    #[error("more than 2^64 - 1 bytes")]
    TooLarge,
}

/// A number of bytes: plain, or with K, M, G, T or P for powers of 1,024, in either case, also written
/// as Ki and KiB.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if digits.is_empty() {
        return Err(SizeError::Number);
    }
    let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
    let upper = suffix.to_ascii_uppercase();
    let mut rest = upper.chars();
    let shift = match rest.next() {
        None | Some('B') => 0,
        Some(letter) => match SUFFIXES.iter().position(|known| *known == letter) {
            Some(at) => 10 * (at as u32 + 1),
            None => return Err(SizeError::Suffix(suffix.to_owned())),
        },
    };
    match (rest.as_str(), shift) {
        ("", _) => {}
        ("I" | "IB", 1..) => {}
        ("B", 1..) => return Err(SizeError::Ambiguous(suffix.to_owned(), upper[..1].to_owned())),
        _ => return Err(SizeError::Suffix(suffix.to_owned())),
    }
    number.checked_mul(1 << shift).ok_or(SizeError::TooLarge)
}

/// A size for people: whole where it is a whole number of the largest unit that fits, else with two
/// decimals.
pub fn human(bytes: u64) -> String {
    let Some(shift) = (1..=SUFFIXES.len()).rev().map(|at| 10 * at).find(|shift| bytes >> shift != 0) else {
        return format!("{bytes} B");
    };
    let letter = SUFFIXES[shift / 10 - 1];
    let unit = 1_u64 << shift;
    if bytes & (unit - 1) == 0 {
        format!("{} {letter}iB", bytes >> shift)
    } else {
        format!("{:.2} {letter}iB", bytes as f64 / unit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix() {
        let known = [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("4k", 4096),
            ("4K", 4096),
            ("4Ki", 4096),
            ("4KiB", 4096),
            ("256M", 256 << 20),
            ("3GiB", 3 << 30),
            ("2t", 2 << 40),
            ("1P", 1 << 50),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in known {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn every_error() {
        for text in ["", "K", "-1", "+1", " 1", ".5G"] {
            assert_eq!(parse(text), Err(SizeError::Number), "{text}");
        }
        for text in ["1.5G", "4Kx", "4KiBB", "4KBi", "1 G", "4Bi", "4BiB", "4BB", "1e3", "1\u{e9}"] {
            assert!(matches!(parse(text), Err(SizeError::Suffix(_))), "{text}");
        }
        assert_eq!(parse("4kB"), Err(SizeError::Ambiguous("kB".to_owned(), "K".to_owned())));
        for text in ["18446744073709551616", "16384P", "17179869184G"] {
            assert_eq!(parse(text), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sizes_for_people() {
        let known = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (256 << 20, "256 MiB"),
            ((4 << 30) + 1, "4.00 GiB"),
            (u64::MAX, "16384.00 PiB"),
        ];
        for (bytes, text) in known {
            assert_eq!(human(bytes), text);
        }
    }
}
