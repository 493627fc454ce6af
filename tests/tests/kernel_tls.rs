//! The kernel's own count of the connections whose records it seals. One test alone in its process, and
//! nothing beside it: the counters are those of the whole network namespace.

use ktls::observe::TlsStat;
use ktls::probe;
use nvme_tcp_target::Namespace;
use system_tests::{KeyFile, Server, Tool, embedded, in_lab, key, scaled, skip};

/// The connections of a copy's association: the admin queue, the I/O queue that every controller has, and
/// four queues with a thread each.
const COPY: u64 = 1 + 1 + 4;

/// How TlsTxSw and TlsRxSw grow while `act` runs.
fn grown(act: impl FnOnce()) -> [u64; 2] {
    let read = || ["TlsTxSw", "TlsRxSw"].map(|name| TlsStat::read().unwrap().get(name).unwrap());
    let before = read();
    act();
    let after = read();
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn the_kernel_seals_both_directions_of_each_connection_end() {
    let name = "the_kernel_seals_both_directions_of_each_connection_end";
    if let Some(why) = probe().missing {
        assert!(!in_lab(), "no kernel TLS in the lab: {why}");
        return skip(name, &why.to_string());
    }

    // This library and its target in one process, which has probed already: the target's own count of
    // connections, two ends each.
    let served = embedded(Namespace::ram(1 << 20), Some(key()), |_| {});
    let both_ends = grown(|| {
        let controller = served.options().io_queues(2).owned_queues(1).connect().unwrap();
        let queue = controller.queue().unwrap();
        controller.reconnect().unwrap();
        drop(queue);
        controller.shutdown();
    });
    let connections = served.target.statistics().connections;
    // Admin and two I/O queues twice, and the owned queue.
    assert_eq!(connections, 7);
    assert_eq!(both_ends, [2 * connections; 2]);
    drop(served);

    // What a process's probe adds, once.
    let probed = grown(|| drop(ktls::Probe::run()));
    let bytes = scaled(8 << 20, 2 << 20);

    // Target and initiator in one process; an association to write, one to read, one to compare.
    let size = bytes.to_string();
    let demo = grown(|| {
        let report = Tool::new(["demo", "--size", &size, "--json"]).run().succeeded().json();
        assert_eq!((&report["tls"]["tx"], &report["tls"]["rx"]), (&"kernel".into(), &"kernel".into()));
    });
    assert_eq!(demo, probed.map(|probed| 2 * 3 * COPY + probed));

    // In two processes, each with a probe of its own; an association to write, one to compare.
    let file = KeyFile::generate("sha384");
    let copy = grown(|| {
        let server = Server::tls(["ram:8M"], &file);
        let copy = Tool::new(["copy", "-", &server.uri(1), "--verify", "--json"]).args(file.flags());
        let report = copy.input(vec![1; bytes as usize]).run().succeeded().json();
        assert_eq!((&report["tls"]["tx"], &report["tls"]["rx"]), (&"kernel".into(), &"kernel".into()));
    });
    assert_eq!(copy, probed.map(|probed| 2 * 2 * COPY + 2 * probed));
}
