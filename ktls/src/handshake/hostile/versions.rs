//! Versions that are not TLS 1.3's, and ages of a key that has none.

use super::super::message::extension_type as ext;
use super::insider::bound;
use super::*;

fn hello() -> Hello {
    Hello::parse(&first_message(&new_client().take_output()))
}

/// What a server says to a hello with its right binder.
fn server_says(hello: &Hello) -> Result<(), Error> {
    answer(&mut new_server(), &bound(hello))
}

#[test]
fn legacy_version_says_nothing_beside_supported_versions() {
    let says = |version: u16| {
        let mut hello = hello();
        hello.head[..2].copy_from_slice(&version.to_be_bytes());
        server_says(&hello)
    };
    for version in [0x0301, 0x0302, 0x0303, 0x0304, 0x0305, 0x03ff, 0x0400, 0x7f1c, 0xfeff, 0xffff] {
        assert_eq!(says(version), Ok(()), "{version:#06x}");
    }
    // But for SSL 3.0 (RFC 8446, appendix D.5).
    for version in [0x0300, 0x0200, 0x0002, 0] {
        assert_eq!(alert(says(version)), Alert::PROTOCOL_VERSION, "{version:#06x}");
    }
}

#[test]
fn a_servers_legacy_version_is_that_of_tls_1_2() {
    for (version, expected) in [
        (0x0300, Alert::PROTOCOL_VERSION),
        (0x0301, Alert::ILLEGAL_PARAMETER),
        (0x0302, Alert::ILLEGAL_PARAMETER),
        (0x0304, Alert::ILLEGAL_PARAMETER),
        (0xffff, Alert::ILLEGAL_PARAMETER),
    ] {
        let mut client = new_client();
        let mut server = new_server();
        server.read_record(&mut client.take_output()).unwrap();
        let mut hello = Hello::parse(&first_message(&server.take_output()));
        hello.head[..2].copy_from_slice(&u16::to_be_bytes(version));
        assert_eq!(alert(answer(&mut client, &hello.build())), expected, "{version:#06x}");
    }
}

#[test]
fn unknown_versions_are_passed_over() {
    let says = |versions: &[u16]| {
        let mut data = vec![2 * versions.len() as u8];
        versions.iter().for_each(|version| put_u16(&mut data, *version));
        server_says(&hello().with(ext::SUPPORTED_VERSIONS, &data))
    };
    let grease = (0..16_u16).map(|n| 0x0a0a + n * 0x1010);
    let drafts = 0x7f0e..=0x7f1c;
    let others = [0x0000, 0x0300, 0x0301, 0x0302, 0x0303, 0x0305, 0x03ff, 0x0400, 0xfefc, 0xffff];
    let unknown: Vec<u16> = grease.chain(drafts).chain(others).collect();
    assert_eq!(alert(says(&unknown)), Alert::PROTOCOL_VERSION);
    for at in [0, 1, unknown.len()] {
        let mut with_ours = unknown.clone();
        with_ours.insert(at, 0x0304);
        assert_eq!(says(&with_ours), Ok(()), "{at}");
    }
    for version in unknown {
        assert_eq!(alert(says(&[version])), Alert::PROTOCOL_VERSION, "{version:#06x}");
        assert_eq!(says(&[version, 0x0304]), Ok(()), "{version:#06x}");
    }
    // As many as the list can hold.
    let mut most = vec![0x0a0a; 126];
    most.push(0x0304);
    assert_eq!(says(&most), Ok(()));
    let says = |data: &[u8]| alert(server_says(&hello().with(ext::SUPPORTED_VERSIONS, data)));
    for malformed in [&[0][..], &[1, 3], &[3, 0x0a, 0x0a, 3], &[4, 3, 4], &[2, 3, 4, 3], &[2, 3]] {
        assert_eq!(says(malformed), Alert::DECODE_ERROR, "{malformed:?}");
    }
}

#[test]
fn the_age_of_an_external_key_says_nothing() {
    for age in [0, 1, 0x7fff_ffff, 0xdead_beef, u32::MAX] {
        let mut hello = hello();
        let (_, psks) = hello.extensions.last_mut().unwrap();
        // Behind the length of the list, that of the identity, and the identity.
        let at = 2 + 2 + psk().identity().len();
        psks[at..at + 4].copy_from_slice(&u32::to_be_bytes(age));
        assert_eq!(server_says(&hello), Ok(()), "{age:#x}");
    }
}
