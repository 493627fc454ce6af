//! What can be attached to a report: the PDUs of a connection that went wrong, and nothing that is secret.

use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
use nvme_tcp::spec::pdu::PduType;
use nvme_tcp::trace::Dump;
use nvme_tcp_target::{Fault, FaultPlan, Field, Namespace};
use system_tests::{faulty, image, key};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_dump_tells_every_pdu_and_no_secret() {
    let faults = FaultPlan::new();
    let served = faulty(Namespace::ram(4 << 20), Some(key()), &faults);
    let dump = Dump::new(100_000);
    let secret = DhchapSecret::generate(SecretHash::Sha256).unwrap();
    let options = served.options().authentication(Authentication::new(secret.clone())).digests(true, true);
    let controller = options.dump(&dump).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let data = image(77, 1 << 20);
    namespace.write_at(&data, 0).unwrap();
    let mut back = vec![0; 1 << 20];
    namespace.read_at(&mut back, 0).unwrap();
    assert!(back == data);
    // What the controller does wrong is in it, and what this host says to that.
    faults.io(PduType::C2hData, 1, Fault::Flip(Field::CommandId, 0x0fff));
    namespace.read_at(&mut back, 0).unwrap_err();
    controller.shutdown();

    let text = dump.to_string();
    for expected in [
        "> ICReq ",
        "< ICResp ",
        " opcode 7f fctype 01",
        " opcode 06 ",
        " opcode 01 nsid 1",
        "< R2T ",
        "> H2CData ",
        " opcode 02 nsid 1",
        "< C2HData ",
        "< CapsuleResp ",
        " status 0000",
        "> H2CTermReq ",
    ] {
        assert!(text.contains(expected), "no {expected:?} in it");
    }
    let count = |kind: PduType| dump.events().iter().filter(|(_, event)| event.kind() == Some(kind)).count();
    assert_eq!((count(PduType::IcReq), count(PduType::IcResp)), (2, 2));
    assert_eq!(count(PduType::H2cTermReq), 1);

    // Not as it is, nor in hexadecimal digits: any eight bytes of data, and any of the keys.
    let lower = text.to_lowercase();
    let configured = served.key.as_ref().unwrap();
    let secrets =
        [configured.psk().expose(), secret.key().expose(), &data[..4096], &data[(1 << 20) - 4096..]];
    for bytes in secrets {
        for window in bytes.windows(8) {
            assert!(!lower.contains(&hex(window)));
            assert!(!text.as_bytes().windows(8).any(|part| part == window));
        }
    }
    for name in [configured.to_text().as_str(), secret.to_text().as_str(), "nqn."] {
        assert!(!text.contains(name));
    }
    // Nothing but these characters can be in it.
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
}

#[test]
fn a_dump_keeps_no_more_than_it_was_told() {
    let served = faulty(Namespace::ram(1 << 20), None, &FaultPlan::new());
    let dump = Dump::new(16);
    let controller = served.options().dump(&dump).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    for _ in 0..50 {
        namespace.read_at(&mut [0; 512], 0).unwrap();
    }
    assert_eq!(dump.events().len(), 16);
    assert_eq!(dump.to_string().lines().count(), 17);
}
