//! The tool's memory stays the same however long the image is. Alone in its process: the kernel tells the
//! peak of all children together.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::sys::resource::{UsageWho, getrusage};
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp_target::Namespace;
use system_tests::{Gauge, Gauged, KeyFile, Tool, embedded, scaled};

/// The most memory that any child of this process had, in KiB (getrusage(2)). It counts from before the
/// child became another program, so this process stays small as well.
fn peak() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
}

#[test]
fn four_gib_each_way_over_tls_stay_below_128_mib() {
    let len = scaled(4 << 30, 64 << 20);
    let file = KeyFile::generate("sha256");
    let key = ConfiguredKey::from_file(file.path()).unwrap();
    let gauge = Arc::new(Gauge::default());
    let served = embedded(Namespace::backend(Gauged { size: len, gauge: gauge.clone() }), Some(key), |_| {});
    let sparse = file.folder().join("sparse");
    File::create(&sparse).unwrap().set_len(len).unwrap();

    let copy =
        Tool::new(["copy", sparse.to_str().unwrap(), &served.uri(), "--json"]).args(file.flags()).run();
    assert_eq!(copy.succeeded().json()["bytes"], len);
    assert_eq!((gauge.written.load(Ordering::SeqCst), gauge.wrong.load(Ordering::SeqCst)), (len, 0));
    let after_in = peak();

    let copy = Tool::new(["copy", &served.uri(), "/dev/null", "--json"]).args(file.flags()).run();
    assert_eq!(copy.succeeded().json()["bytes"], len);
    assert_eq!(gauge.read.load(Ordering::SeqCst), len);
    let after_both = peak();

    eprintln!("peak: {after_in} KiB after copying in, {after_both} KiB after copying out");
    assert!(after_in > 1024, "this kernel does not count: {after_in} KiB");
    assert!(after_both < 128 << 10, "{after_both} KiB");
}
