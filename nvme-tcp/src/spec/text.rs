//! ASCII fields of fixed length: NUL-terminated or space-padded, and never to be believed.

/// The text of a field up to its first NUL, without trailing spaces. Bytes that are no printable ASCII
/// come out as `?`, so the result can be printed wherever it came from.
pub fn from_field(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
    let text: String = field.iter().take(end).map(printable).collect();
    text.trim_end().to_owned()
}

/// `text` in a field of `N` bytes filled up with `pad`; `None` where it does not fit.
pub fn to_field<const N: usize>(text: &str, pad: u8) -> Option<[u8; N]> {
    let mut field = [pad; N];
    field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_end_at_nul_or_padding() {
        assert_eq!(from_field(b"abc\0def"), "abc");
        assert_eq!(from_field(b"abc   "), "abc");
        assert_eq!(from_field(b"a\x1b[31mb"), "a?[31mb");
        assert_eq!(to_field::<5>("abc", b' '), Some(*b"abc  "));
        assert_eq!(to_field::<2>("abc", 0), None);
    }
}
