//! A `Namespace` in every way that a connection can be set up: plain and TLS, digests, alignment, R2Ts.

use std::thread;

use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::{ErrorKind, NamespaceRefusal, Options};
use nvme_tcp_target::{Config, Namespace};
use system_tests::{DEADLINE, embedded, image, key, scaled};

const SIZE: u64 = 4 << 20;

/// What the namespace should hold, changed along with it.
struct Mirror {
    namespace: nvme_tcp::Namespace,
    held: Vec<u8>,
}

impl Mirror {
    fn write(&mut self, offset: u64, data: &[u8]) {
        self.namespace.write_at(data, offset).unwrap();
        self.held[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn check(&self, offset: u64, len: u64) {
        let mut data = vec![0xee; len as usize];
        self.namespace.read_at(&mut data, offset).unwrap();
        assert!(data == self.held[offset as usize..][..data.len()], "{len} bytes at {offset}");
    }
}

/// Reads and writes of all sizes, then zeros, on one setting.
fn exercise(
    key: Option<ConfiguredKey>,
    block: u32,
    config: impl FnOnce(&mut Config),
    host: impl FnOnce(Options) -> Options,
) {
    let served = embedded(Namespace::ram(SIZE).block_size(block), key, config);
    let controller = host(served.options()).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    assert_eq!((namespace.size(), namespace.block_size()), (SIZE, block));
    let mut mirror = Mirror { namespace, held: vec![0; SIZE as usize] };
    let block = u64::from(block);
    // One block, in a capsule and more than that, an odd number of blocks, more than MDTS.
    for (seed, (offset, blocks)) in [(0, 1), (3, 3), (17, 33), (100, 257), (1, 511)].into_iter().enumerate() {
        mirror.write(offset * block, &image(seed as u64, blocks * block));
        mirror.check(offset * block, blocks * block);
        mirror.check(0, (offset + blocks + 1) * block);
    }
    mirror.namespace.flush().unwrap();
    mirror.namespace.write_zeroes(5 * block, 21 * block).unwrap();
    mirror.held[5 * block as usize..][..21 * block as usize].fill(0);
    mirror.check(0, 64 * block);
    // This target's deallocated blocks read as zeros.
    mirror.namespace.deallocate(40 * block, 8 * block).unwrap();
    mirror.held[40 * block as usize..][..8 * block as usize].fill(0);
    mirror.check(0, 640 * block);
    mirror.check(SIZE - block, block);
    controller.shutdown();
    let did = served.target.statistics();
    assert_eq!((did.failed_commands, did.digest_errors, did.violations), (0, 0, 0));
}

/// Each with and without TLS.
fn both(exercise: impl Fn(Option<ConfiguredKey>)) {
    exercise(None);
    exercise(Some(key()));
}

#[test]
fn every_digest_gives_the_same() {
    both(|key| {
        for (header, data) in [(false, false), (true, false), (false, true), (true, true)] {
            exercise(key.clone(), 512, |_| {}, |options| options.digests(header, data));
        }
    });
}

#[test]
fn a_declined_digest_is_done_without_where_that_is_allowed() {
    let decline = |config: &mut Config| {
        (config.connection.header_digest, config.connection.data_digest) = (false, false);
    };
    exercise(None, 512, decline, |options| options.digests(true, true).digests_optional(true));
    let served = embedded(Namespace::ram(SIZE), None, decline);
    let error = served.options().digests(true, true).connect().unwrap_err();
    assert!(error.to_string().contains("digest"), "{error}");
}

#[test]
fn every_alignment_gives_the_same() {
    both(|key| {
        for (cpda, hpda) in [(0, 1), (1, 0), (7, 3), (31, 31)] {
            exercise(
                key.clone(),
                512,
                |config| config.connection.cpda = cpda,
                |options| options.hpda(hpda).digests(cpda == 31, hpda == 31),
            );
        }
    });
}

#[test]
fn every_way_to_ask_for_data_gives_the_same() {
    both(|key| {
        // R2Ts at once, bytes of each, bytes of each H2CData PDU, and of each C2HData PDU.
        for (max_r2ts, r2t_len, maxh2cdata, maxc2hdata) in [
            (1, 4096, 4096, 4096),
            (3, 8192, 4096, 1024),
            (16, 12_288, 1 << 17, 20_480),
            (2, 1 << 20, 1 << 16, 1 << 20),
        ] {
            exercise(
                key.clone(),
                512,
                |config| {
                    config.connection.max_r2ts = max_r2ts;
                    config.connection.r2t_len = r2t_len;
                    config.connection.maxh2cdata = maxh2cdata;
                    config.connection.maxc2hdata = maxc2hdata;
                },
                |options| options.maxr2t(15).digests(true, true),
            );
        }
    });
}

#[test]
fn every_limit_of_the_controller_gives_the_same() {
    both(|key| {
        // The entries that the controller allows, and those that are asked for.
        for (in_capsule, max_transfer, entries, queue_size, block, flow_control) in [
            (0, 8192, 128, 2, 512, true),
            (512, 1 << 14, 32, 3, 512, false),
            (8192, 1 << 16, 32, 64, 4096, false),
            (16, 1 << 20, 1024, 1024, 4096, true),
            (512, 8192, 4096, 4096, 512, false),
        ] {
            exercise(
                key.clone(),
                block,
                |config| {
                    config.connection.in_capsule = in_capsule;
                    config.max_transfer = max_transfer;
                    config.queue_entries = entries;
                },
                |options| options.queue_size(queue_size).sq_flow_control(flow_control),
            );
        }
    });
}

#[test]
fn sq_flow_control_is_off_where_that_is_asked_for_and_queues_are_as_deep_as_both_ends_allow() {
    for (wanted, allowed, flow_control) in [(4096, 4096, true), (4096, 4096, false), (4096, 1000, false)] {
        let namespace = Namespace::ram(SIZE);
        let served = embedded(namespace, None, |config| config.queue_entries = allowed);
        let options = served.options().queue_size(wanted).sq_flow_control(flow_control).owned_queues(1);
        let controller = options.connect().unwrap();
        let traits = controller.info().traits;
        assert_eq!((traits.sq_flow_control, traits.io_entries), (flow_control, allowed));
        // One less than there are entries, whatever SQHD says.
        assert_eq!(controller.queue().unwrap().room(), allowed as usize - 1);
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue().unwrap();
        let mut count = 0;
        while queue.room() > 0 {
            queue.submit_read(&namespace, vec![1; 512], count % (SIZE / 512) * 512, count).unwrap();
            count += 1;
        }
        let mut completions = Vec::new();
        while completions.len() < count as usize {
            assert!(queue.poll(&mut completions, DEADLINE).unwrap() > 0);
        }
        assert!(completions.iter().all(|completion| completion.result.is_ok()));
    }
}

#[test]
fn what_is_not_whole_blocks_or_outside_is_refused_unsent() {
    let served = embedded(Namespace::ram(SIZE), None, |_| {});
    let controller = served.options().connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    let before = served.target.statistics().commands;
    let mut data = vec![0; 512];
    for (len, offset) in [(511, 0), (512, 1)] {
        let error = namespace.write_at(&data[..len], offset).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unaligned { .. }), "{error}");
    }
    for offset in [SIZE, u64::MAX - 511] {
        let error = namespace.read_at(&mut data, offset).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfRange { .. }), "{error}");
    }
    assert_eq!(served.target.statistics().commands, before);
    let error = controller.namespace(2).unwrap_err();
    let missing = NamespaceRefusal::Missing;
    assert!(matches!(error.kind(), ErrorKind::Namespace { refusal, .. } if *refusal == missing), "{error}");
}

#[test]
fn threads_share_one_namespace() {
    both(|key| {
        let served = embedded(Namespace::ram(16 << 20), key, |_| {});
        // Fewer queues than threads: some share one.
        let controller = served.options().io_queues(3).queue_size(8).connect().unwrap();
        let namespace = &controller.namespace(1).unwrap();
        let rounds = scaled(40, 8);
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let base = number * (2 << 20);
                    for round in 0..rounds {
                        let blocks = 1 + (round * 7 + number * 13) % 200;
                        let data = image(number << 32 | round, blocks * 512);
                        let offset = base + round * 512;
                        namespace.write_at(&data, offset).unwrap();
                        let mut back = vec![0; data.len()];
                        namespace.read_at(&mut back, offset).unwrap();
                        assert!(back == data, "thread {number}, round {round}");
                    }
                });
            }
        });
        namespace.flush().unwrap();
        controller.shutdown();
        assert_eq!(served.target.statistics().failed_commands, 0);
    });
}
