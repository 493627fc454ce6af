use super::*;
use crate::auth::{DhchapSecret, SecretHash};
use crate::psk::{ConfiguredKey, KeyHash};

const HOST: &str = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555";
const SUBSYSTEM: &str = "nqn.2024-01.lab.test:tls";

fn connect(address: &str) -> Connect {
    let host = HostIdentity::choose(Some(HOST), Some([0x11; 16])).unwrap();
    Connect::tcp(address, SUBSYSTEM, &host)
}

const BASE: &str = "nqn=nqn.2024-01.lab.test:tls,transport=tcp,traddr=10.0.2.2,trsvcid=4420,\
    hostnqn=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555,\
    hostid=11111111-1111-1111-1111-111111111111";

#[test]
fn every_option_is_a_token_of_the_kernel() {
    assert_eq!(*connect("10.0.2.2").text(None).unwrap(), BASE);
    let all = connect("10.0.2.2")
        .host_address("10.0.2.15")
        .host_interface("eth0")
        .io_queues(4)
        .write_queues(2)
        .poll_queues(1)
        .queue_size(256)
        .keep_alive(Duration::from_millis(4500))
        .reconnect_delay(Duration::from_secs(2))
        .controller_loss_timeout(None)
        .fast_fail_timeout(Some(Duration::from_secs(30)))
        .type_of_service(8)
        .digests(true, true)
        .duplicate()
        .without_sq_flow_control()
        .discovery()
        .concatenation()
        .tls_from_keyring();
    let expected = ",host_traddr=10.0.2.15,host_iface=eth0,nr_io_queues=4,nr_write_queues=2,nr_poll_queues=1,\
        queue_size=256,keep_alive_tmo=5,reconnect_delay=2,ctrl_loss_tmo=-1,fast_io_fail_tmo=30,tos=8,hdr_digest,\
        data_digest,duplicate_connect,disable_sqflow,discovery,concat,tls,tls_key=1234";
    assert_eq!(*all.text(Some(1234)).unwrap(), format!("{BASE}{expected}"));
    // The last word on an option counts, and it stands there once.
    let changed = connect("fe80::1%eth0").port(1).port(8009).digests(true, false).digests(false, false);
    let text = changed.text(None).unwrap();
    assert!(text.contains("traddr=fe80::1%eth0,") && text.ends_with(",trsvcid=8009"), "{}", *text);
    assert!(!text.contains("digest"));
}

#[test]
fn no_value_smuggles_another_option_in() {
    for wrong in ["10.0.0.1,dhchap_secret=x", "10.0.0.1\n", ""] {
        connect(wrong).text(None).unwrap_err();
    }
    connect("10.0.0.1").host_interface("eth0,tls").text(None).unwrap_err();
}

#[test]
fn secrets_are_in_the_text_and_nowhere_else() {
    let secret = DhchapSecret::generate(SecretHash::Sha256).unwrap();
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let connect = connect("10.0.2.2").authentication(&secret, Some(&secret)).tls(&key).unwrap();
    let text = connect.text(None).unwrap();
    let secret = secret.to_text();
    let end = format!(",tls,dhchap_secret={0},dhchap_ctrl_secret={0}", *secret);
    assert!(text.ends_with(&end));
    let shown = format!("{connect:?}");
    assert!(!shown.contains(secret.as_str()) && shown.contains("dhchap_secret"), "{shown}");
}

#[test]
fn the_key_s_identity_is_that_of_nvme_cli() {
    // `nvme check-tls-key --identity=1` of nvme-cli 2.16.
    let key = "NVMeTLSkey-1:01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:".parse().unwrap();
    let connect = connect("10.0.2.2").tls(&key).unwrap();
    let psk = connect.tls_psk().unwrap();
    let identity = format!("NVMe1R01 {HOST} {SUBSYSTEM} M11haOfrpikP5x/+oxJGfNxn2rFtcRmgYg3Klk3oeZc=");
    assert_eq!(psk.identity(), identity);
}
