//! The initiator's commands on this target, as far as it knows them: two implementations of one standard.

use std::net::SocketAddr;
use std::time::Duration;

use nvme_tcp::discovery::{Decision, Discovery, Entry};
use nvme_tcp::host::{HostIdentity, HostSource};
use nvme_tcp::psk::{ConfiguredKey, KeyHash, Policy};
use nvme_tcp::spec::command::nvm::{self, IoFlags};
use nvme_tcp::spec::command::{Sqe, admin};
use nvme_tcp::spec::completion::Status;
use nvme_tcp::{ByteRange, Controller, Options, RawCommand, RawData, Security};
use nvme_tcp_target::{KeyRing, Listener, Namespace, Subsystem, Target, TargetBuilder};

const SUBSYSTEM: &str = "nqn.2024-01.test:images";
const SIZE: u64 = 16 << 20;

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn host() -> HostIdentity {
    HostIdentity { nqn: "nqn.2024-01.test:host".to_owned(), id: [7; 16], source: HostSource::Given }
}

fn builder() -> TargetBuilder {
    let subsystem =
        Subsystem::new(SUBSYSTEM).namespace(1, Namespace::ram(SIZE)).namespace(5, Namespace::ram(SIZE));
    Target::builder().subsystem(subsystem)
}

fn options(target: &Target) -> Options {
    Options::new(target.local_addrs()[0].to_string(), SUBSYSTEM, host())
}

fn connect() -> (Target, Controller) {
    let target = builder().listen(Listener::plain(loopback())).start().unwrap();
    let controller = options(&target).connect().unwrap();
    (target, controller)
}

#[test]
fn identify_in_its_forms() {
    let (_target, controller) = connect();
    assert_eq!(controller.namespaces().unwrap(), [1, 5]);
    let ids = [1, 5].map(|nsid| controller.namespace_ids(nsid).unwrap());
    assert!(ids[0].uuid.is_some() && ids[0].uuid != ids[1].uuid);
    let namespace = controller.identify_namespace(5).unwrap();
    assert_eq!(namespace.nsze.get() << namespace.format().data_shift, SIZE);
    assert_eq!(controller.identify_independent_namespace(1).unwrap().nstat & 1, 1);
    assert_eq!(controller.identify_nvm_controller().unwrap().dmrsl.get(), 0);
    assert_eq!(controller.identify_nvm_namespace(1).unwrap().lbstm.get(), 0);
    let identify = controller.identify_controller().unwrap();
    assert_eq!(identify.cntlid.get(), controller.info().traits.cntlid);
    let missing = controller.namespace_ids(9).unwrap_err();
    assert!(missing.status().unwrap().is(Status::INVALID_NAMESPACE), "{missing}");
}

#[test]
fn logs_and_features() {
    let (_target, controller) = connect();
    let namespace = controller.namespace(1).unwrap();
    namespace.write_with(&[1; 4096], 0, IoFlags::FORCE_UNIT_ACCESS).unwrap();
    let smart = controller.smart_log(None).unwrap();
    assert!(smart.temperature.get() > 0 && smart.bytes_moved().1 >= 4096);
    let firmware = controller.firmware_slots().unwrap();
    assert!(firmware.revision(firmware.active_slot()).is_some());
    assert_eq!(controller.changed_namespaces().unwrap(), Some(vec![]));
    assert!(controller.error_log(8).unwrap().is_empty());
    assert_eq!(controller.number_of_queues().unwrap().submission, 1);
    assert!(controller.write_cache().unwrap());
    let kato = controller.keep_alive_timeout().unwrap().unwrap();
    assert!(controller.set_keep_alive_timeout(kato / 2).is_err());
    controller.set_keep_alive_timeout(kato * 2).unwrap();
    assert_eq!(controller.keep_alive_timeout().unwrap(), Some(kato * 2));
}

#[test]
fn ranges_are_deallocated_and_zeroed_where_they_are_said_to_be() {
    let (_target, controller) = connect();
    let namespace = controller.namespace(1).unwrap();
    let block = u64::from(namespace.block_size());
    namespace.write_at(&vec![9; 16 * block as usize], 0).unwrap();
    let range = |at, count| ByteRange { offset: at * block, len: count * block };
    namespace.deallocate_ranges(&[range(1, 2), range(8, 1)]).unwrap();
    namespace.write_zeroes_with(12 * block, block, IoFlags::DEALLOCATE).unwrap();
    let mut data = vec![0; 16 * block as usize];
    namespace.read_with(&mut data, 0, IoFlags::FORCE_UNIT_ACCESS).unwrap();
    let zeros: Vec<_> = data
        .chunks(block as usize)
        .enumerate()
        .filter(|(_, b)| b.iter().all(|b| *b == 0))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(zeros, [1, 2, 8, 12]);
}

#[test]
fn passthrough_is_the_same_as_the_typed_call() {
    let (_target, controller) = connect();
    let raw = |sqe: Sqe| RawCommand {
        cdw10: sqe.cdw.map(|cdw| cdw.get()),
        timeout: Some(Duration::from_secs(20)),
        ..RawCommand::new(sqe.opcode, sqe.nsid.get())
    };
    let mut data = vec![0; 4096];
    let command = raw(admin::identify(1, 0));
    let done = controller.admin_passthrough(&command, RawData::Read(&mut data)).unwrap();
    assert!(done.status.is_success() && done.received == 4096);
    assert_eq!(data, controller.identify(1, 0).unwrap());
    let block = controller.namespace(1).unwrap().block_size();
    let data = vec![3; block as usize];
    let done = controller.io_passthrough(&raw(nvm::write(1, 7, 1)), RawData::Write(&data)).unwrap();
    assert!(done.status.is_success(), "{:?}", done.status);
    let mut back = vec![0; block as usize];
    controller.namespace(1).unwrap().read_at(&mut back, 7 * u64::from(block)).unwrap();
    assert_eq!(back, data);
    let done = controller.io_passthrough(&raw(nvm::flush(77)), RawData::None).unwrap();
    assert!(done.status.is(Status::INVALID_NAMESPACE), "{:?}", done.status);
}

#[test]
fn with_a_key_everything_found_is_connected_to_with_tls_or_not_at_all() {
    let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
    let ring = KeyRing::new().key(key.clone());
    let target = builder()
        .listen(Listener::tls(loopback(), ring))
        .listen(Listener::plain(loopback()))
        .start()
        .unwrap();
    let options = options(&target).tls(key.clone());
    let found = Discovery::new(options.clone()).run().unwrap();
    let is_plain = |entry: &Entry| entry.address == target.local_addrs()[1].to_string();
    assert_eq!(found.subsystems().count(), 2);
    let security = Security::Tls { keys: [key].into(), policy: Policy::ALL };
    for entry in found.subsystems() {
        let advertised = !is_plain(entry);
        assert_eq!(entry.decide(&security), Decision::Tls { advertised });
    }
    for connected in found.connect_all(&options) {
        match (is_plain(&connected.entry), connected.controller) {
            (true, controller) => drop(controller.expect_err("a plain listener was taken for a TLS one")),
            (false, controller) => assert!(controller.unwrap().info().tls.is_some()),
        }
    }
    // Without a key the listener that requires TLS is left alone.
    let plain = Options::new(target.local_addrs()[1].to_string(), SUBSYSTEM, host());
    let connected = Discovery::new(plain.clone()).run().unwrap().connect_all(&plain);
    let up: Vec<_> = connected.iter().map(|connected| connected.controller.is_ok()).collect();
    assert_eq!(up.iter().filter(|up| **up).count(), 1, "{connected:?}");
}
