//! Writes and reads pieces of many sizes, at multiples of their size and beside them:
//! `pieces ADDRESS:PORT SUBSYSTEM-NQN BLOCK-SIZE DIGESTS [KEY-FILE]`. The first namespace has 64 MiB.

use nvme_tcp::Options;
use nvme_tcp::psk::ConfiguredKey;
use system_tests::{DEADLINE, host, image};

const SIZES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 516 << 10, 1 << 20, 8 << 20];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, nqn, block, digests, key) = match &arguments[..] {
        [address, nqn, block, digests] => (address, nqn, block, digests, None),
        [address, nqn, block, digests, key] => (address, nqn, block, digests, Some(key)),
        _ => panic!("usage: pieces ADDRESS:PORT SUBSYSTEM-NQN BLOCK-SIZE DIGESTS [KEY-FILE]"),
    };
    let block: u32 = block.parse().expect("a block size");
    let digests = digests == "true";
    // An emulated guest on a busy machine may stand still for half a minute.
    let options = Options::new(address, nqn, host()).keep_alive(2 * DEADLINE).timeout(2 * DEADLINE);
    let mut options = options.digests(digests, digests);
    if let Some(key) = key {
        options = options.tls(ConfiguredKey::from_file(key).unwrap());
    }
    let controller = options.connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    assert_eq!((namespace.block_size(), namespace.size()), (block, 64 << 20));
    let bytes = image(u64::from(block), 8 << 20);
    let mut back = vec![0; bytes.len()];
    for size in SIZES {
        for at in [0, 8 << 20, (16 << 20) + u64::from(block), (40 << 20) - u64::from(block)] {
            namespace.write_at(&bytes[..size], at).unwrap();
            namespace.read_at(&mut back[..size], at).unwrap();
            assert!(back[..size] == bytes[..size], "{size} bytes at {at}");
        }
    }
    namespace.flush().unwrap();
    // Half a block, and half a block further on.
    let half = block as usize / 2;
    assert!(namespace.write_at(&bytes[..half], 0).is_err());
    assert!(namespace.read_at(&mut back[..block as usize], half as u64).is_err());
    namespace.write_zeroes(0, 64 << 10).unwrap();
    namespace.read_at(&mut back[..64 << 10], 0).unwrap();
    assert!(back[..64 << 10].iter().all(|byte| *byte == 0));
    namespace.deallocate(1 << 20, 1 << 20).unwrap();
    let sealed = match controller.info().tls.map(|tls| tls.info) {
        None => "plain".to_owned(),
        Some(info) => format!("sealed by {:?} and {:?}", info.send.by, info.receive.by).to_lowercase(),
    };
    controller.shutdown();
    println!("{} sizes, {sealed}", SIZES.len());
}
