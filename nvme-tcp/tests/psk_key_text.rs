//! Key text and key files: what is taken, and the name of every error.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nvme_tcp::psk::{ConfiguredKey, KeyFileError, KeyHash, KeyTextError};
use proptest::prelude::*;

const TEXT: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";
/// The key part of `TEXT`.
const ENCODED: &str = "VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ";

/// The error of a text; neither it nor its hint may hold anything of the key.
fn error(text: &str) -> KeyTextError {
    let error = text.parse::<ConfiguredKey>().unwrap_err();
    for said in [error.to_string(), error.hint(), format!("{error:?}")] {
        for window in ENCODED.as_bytes().windows(6) {
            assert!(!said.contains(std::str::from_utf8(window).unwrap()), "{said}");
        }
    }
    error
}

#[test]
fn another_text_is_told_by_its_prefix() {
    for text in ["", "hello", ENCODED, "nvmetlskey-1:01::", &TEXT[1..]] {
        assert_eq!(error(text), KeyTextError::Prefix, "{text}");
    }
}

#[test]
fn an_authentication_secret_is_no_tls_key() {
    assert_eq!(error(&format!("DHHC-1:01:{ENCODED}:")), KeyTextError::AuthenticationSecret);
}

#[test]
fn a_line_of_tls_keys_is_no_configured_key() {
    assert_eq!(error(&format!("NVMe1R01 host subsystem digest {TEXT}")), KeyTextError::DerivedKey);
}

#[test]
fn the_version_is_one() {
    let text = TEXT.replace("-1:", "-2:");
    assert_eq!(error(&text), KeyTextError::Version { found: "\"2\"".to_owned() });
    // A key that slipped into the field is not shown.
    let found = format!("of {} bytes", ENCODED.len());
    assert_eq!(error(&format!("NVMeTLSkey-{ENCODED}:")), KeyTextError::Version { found });
}

#[test]
fn the_hash_is_one_of_three() {
    for (field, found) in [("03", "\"03\""), ("1", "\"1\""), ("", "\"\""), ("001", "of 3 bytes")] {
        let text = TEXT.replace(":01:", &format!(":{field}:"));
        assert_eq!(error(&text), KeyTextError::Hash { found: found.to_owned() });
    }
}

#[test]
fn the_hash_goes_with_the_length() {
    let text = TEXT.replace(":01:", ":02:");
    assert_eq!(error(&text), KeyTextError::HashLength { hash: 2, expected: 48, found: 32 });
}

#[test]
fn a_key_without_a_hash_is_taken() {
    let key: ConfiguredKey = TEXT.replace(":01:", ":00:").parse().unwrap();
    assert_eq!((key.hash(), key.psk().len()), (KeyHash::None, 32));
}

#[test]
fn every_beginning_is_cut_short() {
    for end in 0..TEXT.len() {
        let expected = match end {
            0..11 => KeyTextError::Prefix,
            11..13 => KeyTextError::Truncated { field: "version" },
            13..16 => KeyTextError::Truncated { field: "hash" },
            _ => KeyTextError::Truncated { field: "key" },
        };
        assert_eq!(error(&TEXT[..end]), expected, "{end}");
    }
}

#[test]
fn nothing_follows() {
    assert_eq!(error(&format!("{TEXT}\n")), KeyTextError::Trailing { len: 1 });
    assert_eq!(error(&format!("{TEXT}{TEXT}")), KeyTextError::Trailing { len: TEXT.len() });
}

#[test]
fn the_key_is_base64() {
    assert_eq!(error(&TEXT.replace("VRLb", "VR*b")), KeyTextError::Base64 { at: Some(2) });
    assert_eq!(error(&TEXT.replace("VRLb", "VR b")), KeyTextError::Base64 { at: Some(2) });
    // A character lost at its end.
    assert_eq!(error(&TEXT.replace("LrZ:", "Lr:")), KeyTextError::Base64 { at: None });
    // URL-safe Base64 is another alphabet.
    assert_eq!(error(&TEXT.replace('/', "_")), KeyTextError::Base64 { at: ENCODED.find('/') });
}

#[test]
fn the_key_has_one_of_two_lengths() {
    for (encoded, found) in [("", 0), ("AAAA", 0), ("AAAAAA==", 0), ("AAAAAAA=", 1)] {
        let text = format!("NVMeTLSkey-1:00:{encoded}:");
        assert_eq!(error(&text), KeyTextError::Length { found }, "{encoded}");
    }
    // Four characters, three bytes, too many.
    assert_eq!(error(&TEXT.replace("VRLb", "VRLbVRLb")), KeyTextError::Length { found: 35 });
}

#[test]
fn the_crc_is_the_keys() {
    // The CRC-32 in the text is 0xd9baf45f, in little-endian order.
    let text = TEXT.replace("LrZ:", "Lra:");
    assert_eq!(error(&text), KeyTextError::Crc { expected: 0xd9ba_f45f, found: 0xdaba_f45f });
    assert!(matches!(error(&TEXT.replace("VRLb", "VRLc")), KeyTextError::Crc { found: 0xd9ba_f45f, .. }));
}

#[test]
fn a_file_holds_what_was_written_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key: ConfiguredKey = TEXT.parse().unwrap();
    key.write_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{TEXT}\n"));
    assert_eq!(ConfiguredKey::from_file(&path).unwrap(), key);
}

#[test]
fn a_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "precious").unwrap();
    let error = ConfiguredKey::generate(KeyHash::Sha256).unwrap().write_file(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, TEXT).unwrap();
    for mode in [0o640, 0o604, 0o644, 0o620, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = ConfiguredKey::from_file(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Permissions { mode: found, .. } if found == mode), "{error}");
        assert!(error.hint().unwrap().contains(&format!("chmod 600 {}", path.display())));
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        ConfiguredKey::from_file(&path).unwrap();
    }
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let error = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = ConfiguredKey::from_file(&path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        error
    };
    assert!(matches!(error(b"\xff\xfe"), KeyFileError::NotText { .. }));
    assert!(matches!(error(&[b' '; 1025]), KeyFileError::NotText { .. }));
    assert!(matches!(error(&[b' '; 1024]), KeyFileError::Text { source: KeyTextError::Prefix, .. }));
    assert!(matches!(error(b""), KeyFileError::Text { source: KeyTextError::Prefix, .. }));
    fs::remove_file(&path).unwrap();
    let error = ConfiguredKey::from_file(&path).unwrap_err();
    assert!(matches!(error, KeyFileError::Io { action: "read", .. }), "{error}");
}

fn any_key() -> impl Strategy<Value = ConfiguredKey> {
    let psk = |len| prop::collection::vec(any::<u8>(), len);
    prop_oneof![
        psk(32).prop_map(|psk| ConfiguredKey::new(KeyHash::Sha256, &psk).unwrap()),
        psk(48).prop_map(|psk| ConfiguredKey::new(KeyHash::Sha384, &psk).unwrap()),
        psk(32).prop_map(|psk| ConfiguredKey::new(KeyHash::None, &psk).unwrap()),
        psk(48).prop_map(|psk| ConfiguredKey::new(KeyHash::None, &psk).unwrap()),
    ]
}

proptest! {
    #[test]
    fn text_and_key_are_one(key in any_key()) {
        prop_assert_eq!(key.to_text().parse::<ConfiguredKey>(), Ok(key));
    }

    #[test]
    fn no_character_of_the_key_can_change_unseen(
        key in any_key(), at in any::<prop::sample::Index>(), other in prop::char::range('\x01', '~'),
    ) {
        let text = key.to_text();
        let start = "NVMeTLSkey-1:hh:".len();
        let at = start + at.index(text.len() - 1 - start);
        prop_assume!(!text[at..].starts_with(other));
        let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        prop_assert!(changed.parse::<ConfiguredKey>().is_err(), "{}", changed);
    }

    #[test]
    fn any_text_is_taken_or_refused(text in "(NVMeTLSkey-)?[0-9]{0,2}:?0?[0-3]?:?[A-Za-z0-9+/=:]{0,80}") {
        if let Ok(key) = text.parse::<ConfiguredKey>() {
            prop_assert_eq!(&*key.to_text(), &text);
        }
    }
}
