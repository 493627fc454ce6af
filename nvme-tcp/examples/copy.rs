//! Copies a file into a namespace, over TLS where a key is given:
//! `cargo run --example copy -- 10.0.0.5:4420 nqn.2024-01.io.example:images 1 image.bin [image.key]`

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Read;

use nvme_tcp::host::HostIdentity;
use nvme_tcp::{KeySource, Options, Recovery};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let (address, nqn, nsid, path, key) = match &words[..] {
        [address, nqn, nsid, path] => (address, nqn, nsid, path, None),
        [address, nqn, nsid, path, key] => (address, nqn, nsid, path, Some(key)),
        _ => return Err("usage: copy ADDRESS:PORT SUBSYSTEM-NQN NAMESPACE FILE [KEY-FILE]".into()),
    };
    let mut options = Options::new(address, nqn, HostIdentity::load()?).recovery(Recovery::default());
    if let Some(key) = key {
        // Another key may take its place in the file while the copy runs.
        options = options.tls_from(KeySource::file(key));
    }
    let controller = options.connect()?;
    let namespace = controller.namespace(nsid.parse()?)?;
    let block = namespace.block_size() as usize;
    let mut file = File::open(path)?;
    let mut piece = vec![0; (8 << 20) / block * block];
    let mut offset = 0;
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match file.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            break;
        }
        // The last block is filled up with zeros.
        let whole = filled.next_multiple_of(block);
        piece[filled..whole].fill(0);
        namespace.write_at(&piece[..whole], offset)?;
        offset += whole as u64;
    }
    namespace.flush()?;
    println!("{offset} bytes");
    controller.shutdown();
    Ok(())
}
