//! A driver's own counters, on a device that has some: a pair of virtual ones, in a network of the test's own.

mod socket_support;

use std::process::Command;

use ktls::observe::{DeviceCounters, DeviceTls, Metrics};
use socket_support::process::{in_own_network, skip};

#[test]
fn a_driver_s_counters_are_read_by_name() {
    const TEST: &str = "a_driver_s_counters_are_read_by_name";
    if !in_own_network(TEST) {
        return;
    }
    let made =
        Command::new("ip").args(["link", "add", "first", "type", "veth", "peer", "name", "second"]).output();
    if !made.unwrap().status.success() {
        return skip(TEST, "this kernel has no veth (modprobe veth)");
    }
    // drivers/net/veth.c: the other end's number comes first, then counters of each queue.
    let all = DeviceCounters::ask_for("first", |_| true).unwrap();
    let index = std::fs::read_to_string("/sys/class/net/second/ifindex");
    let index = index.ok().and_then(|text| text.trim().parse().ok());
    let peer = all.get("peer_ifindex");
    assert!(peer.is_some_and(|peer| index.is_none_or(|index: u64| index == peer)), "{all:?}");
    assert!(all.iter().count() > 1 && all.iter().all(|(name, _)| !name.is_empty()), "{all:?}");
    // It counts no TLS, and takes no keys.
    let tls = DeviceCounters::ask("first").unwrap();
    assert_eq!(tls, DeviceCounters::default());
    assert!(tls.explain("first").is_empty());
    assert!(!DeviceTls::ask("first").unwrap().send.supported);
    let mut metrics = Metrics::new();
    metrics.device_counters("first", &all);
    let line = format!("ktls_device_total{{device=\"first\",counter=\"peer_ifindex\"}} {}\n", peer.unwrap());
    assert!(metrics.to_string().contains(&line), "{metrics}");
}
