//! PSK derivation against known answers: libnvme's and the kernel's own test values, and keys that
//! nvme-cli 2.16 made.

use ktls::crypto::Hash;
use nvme_tcp::nqn::NqnError;
use nvme_tcp::psk::{
    ConfiguredKey, Derivation, IdentityVersion, KeyHash, Origin, Policy, PskError, candidates, derive,
    generated, retained,
};
use serde_json::Value;

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555";
const SUBSYSTEM: &str = "nqn.2024-01.lab.test:tls";

fn vectors(section: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let section = all[section].as_array().unwrap().clone();
    assert!(!section.is_empty());
    section
}

fn text<'a>(vector: &'a Value, field: &str) -> &'a str {
    vector[field].as_str().unwrap_or_else(|| panic!("no {field}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(vector: &Value, field: &str) -> Vec<u8> {
    let digits: Vec<char> = text(vector, field).chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap()).collect()
}

#[test]
fn key_texts_hold_their_keys() {
    for vector in vectors("tls_psk") {
        let key: ConfiguredKey = text(&vector, "interchange").parse().unwrap();
        assert_eq!(u64::from(key.hash().id()), vector["hash"].as_u64().unwrap());
        assert_eq!(hex(key.psk().expose()), text(&vector, "configured"));
        assert_eq!(*key.to_text(), text(&vector, "interchange"));
    }
}

#[test]
fn both_versions_of_the_rfcs_derivation() {
    for vector in vectors("tls_psk") {
        let key: ConfiguredKey = text(&vector, "interchange").parse().unwrap();
        let (host, subsystem) = (text(&vector, "hostnqn"), text(&vector, "subnqn"));
        let kept = retained(&key, host, Derivation::Rfc8446).unwrap();
        assert_eq!(hex(kept.expose()), text(&vector, "retained"));
        for (version, suffix) in [(IdentityVersion::V0, "v0"), (IdentityVersion::V1, "v1")] {
            let psk = derive(&key, host, subsystem, version, Derivation::Rfc8446).unwrap();
            assert_eq!(psk.identity(), text(&vector, &format!("identity_{suffix}")));
            assert_eq!(hex(psk.secret().expose()), text(&vector, &format!("tls_psk_{suffix}")));
            assert_eq!(
                (psk.hash(), psk.version(), psk.origin()),
                (key.psk_hash(), version, Origin::Retained)
            );
        }
    }
}

#[test]
fn both_versions_of_the_older_derivation() {
    for vector in vectors("tls_psk") {
        let key: ConfiguredKey = text(&vector, "interchange").parse().unwrap();
        let (host, subsystem, compat) =
            (text(&vector, "hostnqn"), text(&vector, "subnqn"), &vector["compat"]);
        let kept = retained(&key, host, Derivation::Compat).unwrap();
        assert_eq!(hex(kept.expose()), text(compat, "retained"));
        let v0 = derive(&key, host, subsystem, IdentityVersion::V0, Derivation::Compat).unwrap();
        assert_eq!(v0.identity(), text(&vector, "identity_v0"));
        assert_eq!(hex(v0.secret().expose()), text(compat, "tls_psk_v0"));
        let v1 = derive(&key, host, subsystem, IdentityVersion::V1, Derivation::Compat).unwrap();
        let id = vector["hash"].as_u64().unwrap();
        assert_eq!(v1.identity(), format!("NVMe1R{id:02} {host} {subsystem} {}", text(compat, "digest")));
        assert_eq!(hex(v1.secret().expose()), text(compat, "tls_psk_v1"));
    }
}

#[test]
fn keys_that_nvme_cli_made() {
    let key: ConfiguredKey =
        "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:".parse().unwrap();
    assert_eq!(key.psk().expose(), (0..32).collect::<Vec<u8>>());
    let known = [
        (
            IdentityVersion::V0,
            format!("NVMe0R01 {HOST} {SUBSYSTEM}"),
            "c55564f706759cb16d622a9f141afd719aa7714b32cd44ebd5f6bf17df5f891d",
        ),
        (
            IdentityVersion::V1,
            format!("NVMe1R01 {HOST} {SUBSYSTEM} M11haOfrpikP5x/+oxJGfNxn2rFtcRmgYg3Klk3oeZc="),
            "9c2cbb5048b79199055b887cdb56260d4b47a4ddce0e459c0c4a40baa87d41d2",
        ),
    ];
    for (version, identity, secret) in known {
        let psk = derive(&key, HOST, SUBSYSTEM, version, Derivation::Rfc8446).unwrap();
        assert_eq!((psk.identity(), hex(psk.secret().expose()).as_str()), (identity.as_str(), secret));
    }
}

#[test]
fn generated_psks() {
    for vector in vectors("generated") {
        assert_eq!(vector["hash"], 1);
        let hash = Hash::Sha256;
        let psk = generated::psk(
            hash,
            &unhex(&vector, "session_key"),
            &unhex(&vector, "c1"),
            &unhex(&vector, "c2"),
        );
        assert_eq!(hex(psk.expose()), text(&vector, "generated_psk"));
        let tls = generated::derive(hash, &psk, text(&vector, "hostnqn"), text(&vector, "subnqn")).unwrap();
        assert_eq!(tls.identity(), text(&vector, "identity"));
        assert!(tls.identity().ends_with(text(&vector, "digest")));
        assert_eq!(hex(tls.secret().expose()), text(&vector, "tls_psk"));
        assert_eq!((tls.origin(), tls.version()), (Origin::Generated, IdentityVersion::V1));
    }
    let psk = generated::psk(Hash::Sha512, b"k", b"1", b"2");
    let refused = generated::derive(Hash::Sha512, &psk, HOST, SUBSYSTEM);
    assert_eq!(refused, Err(PskError::Hash(Hash::Sha512)));
}

#[test]
fn a_key_without_a_hash_is_its_own_retained_psk() {
    for (len, id) in [(32, "01"), (48, "02")] {
        let key = ConfiguredKey::new(KeyHash::None, &vec![0x5a; len]).unwrap();
        for derivation in [Derivation::Rfc8446, Derivation::Compat] {
            assert_eq!(retained(&key, HOST, derivation).unwrap(), *key.psk());
        }
        let psk = derive(&key, HOST, SUBSYSTEM, IdentityVersion::V0, Derivation::Rfc8446).unwrap();
        assert_eq!(psk.identity(), format!("NVMe0R{id} {HOST} {SUBSYSTEM}"));
        assert_eq!(psk.secret().len(), len);
    }
}

#[test]
fn candidates_stand_in_their_order() {
    use Derivation::{Compat, Rfc8446};
    use IdentityVersion::{V0, V1};
    let short = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let long = ConfiguredKey::generate(KeyHash::Sha384).unwrap();
    let keys = [short.clone(), long.clone()];
    let order = |policy| -> Vec<_> {
        let psks = candidates(&keys, HOST, SUBSYSTEM, policy).unwrap();
        for psk in &psks {
            let key = if psk.hash() == Hash::Sha384 { &long } else { &short };
            assert_eq!(*psk, derive(key, HOST, SUBSYSTEM, psk.version(), psk.derivation()).unwrap());
        }
        psks.iter().map(|psk| (psk.derivation(), psk.version(), psk.hash())).collect()
    };
    let (s256, s384) = (Hash::Sha256, Hash::Sha384);
    let rfc = [(Rfc8446, V1, s384), (Rfc8446, V1, s256), (Rfc8446, V0, s384), (Rfc8446, V0, s256)];
    let compat = [(Compat, V1, s384), (Compat, V1, s256), (Compat, V0, s384), (Compat, V0, s256)];
    assert_eq!(order(Policy::default()), [rfc, compat].concat());
    assert_eq!(order(Policy::ALL.only_derivation(Rfc8446)), rfc);
    assert_eq!(order(Policy::ALL.only_version(V0)), [&rfc[2..], &compat[2..]].concat());
    assert_eq!(order(Policy::ALL.only_version(V1).only_derivation(Compat)), compat[..2]);
    assert_eq!(candidates(&[], HOST, SUBSYSTEM, Policy::ALL), Ok(vec![]));
}

#[test]
fn keys_of_one_hash_stay_in_the_callers_order() {
    let keys = [1, 2, 3].map(|fill| ConfiguredKey::new(KeyHash::Sha256, &[fill; 32]).unwrap());
    let policy = Policy::ALL.only_version(IdentityVersion::V0).only_derivation(Derivation::Rfc8446);
    let psks = candidates(&keys, HOST, SUBSYSTEM, policy).unwrap();
    for (key, psk) in keys.iter().zip(&psks) {
        let expected = derive(key, HOST, SUBSYSTEM, IdentityVersion::V0, Derivation::Rfc8446).unwrap();
        assert_eq!(*psk, expected);
        assert_eq!(psk.identity(), psks[0].identity());
    }
}

#[test]
fn long_names_have_no_version_0_identity_but_the_older_derivation_has() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    // "NVMe0R01", two spaces and the two names: 255 bytes are the limit.
    let (host, subsystem) = ("h".repeat(122), "s".repeat(123));
    let v0 = |host: &str, derivation| derive(&key, host, &subsystem, IdentityVersion::V0, derivation);
    assert_eq!(v0(&host, Derivation::Rfc8446).unwrap().identity().len(), 255);
    let longer = format!("{host}h");
    let error = v0(&longer, Derivation::Rfc8446).unwrap_err();
    assert_eq!(error, PskError::IdentityTooLong { len: 256 });
    assert!(error.hint().unwrap().contains("version-1"));
    assert_eq!(v0(&longer, Derivation::Compat).unwrap().identity().len(), 256);

    let rfc = Policy::ALL.only_derivation(Derivation::Rfc8446);
    let keys = [key];
    let psks = candidates(&keys, &longer, &subsystem, rfc).unwrap();
    assert_eq!(psks.iter().map(|psk| psk.version()).collect::<Vec<_>>(), [IdentityVersion::V1]);
    assert_eq!(candidates(&keys, &longer, &subsystem, rfc.only_version(IdentityVersion::V0)), Err(error));
}

#[test]
fn names_that_cannot_stand_in_an_identity() {
    let keys = [ConfiguredKey::generate(KeyHash::Sha256).unwrap()];
    assert_eq!(candidates(&keys, "", SUBSYSTEM, Policy::ALL), Err(PskError::HostNqn(NqnError::Empty)));
    let space = NqnError::Character { at: 1, found: ' ' };
    assert_eq!(candidates(&keys, "a b", SUBSYSTEM, Policy::ALL), Err(PskError::HostNqn(space)));
    assert_eq!(candidates(&keys, HOST, "a b", Policy::ALL), Err(PskError::SubsystemNqn(space)));
    assert_eq!(retained(&keys[0], "a b", Derivation::Rfc8446), Err(PskError::HostNqn(space)));
}

#[test]
fn no_key_is_printed() {
    let key = ConfiguredKey::new(KeyHash::Sha256, &[0x5a; 32]).unwrap();
    let psk = derive(&key, HOST, SUBSYSTEM, IdentityVersion::V1, Derivation::Rfc8446).unwrap();
    let printed = format!("{psk:?}");
    assert!(printed.contains("Secret(32 bytes)"), "{printed}");
    let list = format!("{:?}", psk.secret().expose());
    assert!(!printed.contains(&list) && !printed.contains(&hex(psk.secret().expose())), "{printed}");
}
