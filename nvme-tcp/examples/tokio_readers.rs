//! Reads many namespaces of a subsystem at once, on one thread, and prints a checksum of each:
//! `tokio_readers <host:port> <subsystem NQN> [<key file>]`.

use nvme_tcp::host::HostIdentity;
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::spec::digest::crc32c_append;
use nvme_tcp::tokio::{Controller, Namespace};
use nvme_tcp::{Options, Result};
use tokio::task::JoinSet;

/// Reads of one namespace that are in flight at once, and their size in bytes.
const DEPTH: usize = 8;
const PIECE: u64 = 256 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, nqn, key) = match &arguments[..] {
        [address, nqn] => (address, nqn, None),
        [address, nqn, key] => (address, nqn, Some(key)),
        _ => {
            eprintln!("usage: tokio_readers <host:port> <subsystem NQN> [<key file>]");
            std::process::exit(2);
        }
    };
    // One thread serves all of them: nothing here waits but tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if let Err(error) = runtime.block_on(read_all(address, nqn, key)) {
        eprintln!("{error}");
        if let Some(hint) = error.hint() {
            eprintln!("hint: {hint}");
        }
        std::process::exit(1);
    }
}

async fn read_all(address: &str, nqn: &str, key: Option<&String>) -> Result<()> {
    let mut options = Options::new(address, nqn, HostIdentity::load()?).io_queues(2);
    if let Some(key) = key {
        options = options.tls(ConfiguredKey::from_file(key)?);
    }
    let controller = Controller::connect(options).await?;
    let mut readers = JoinSet::new();
    for nsid in controller.with(nvme_tcp::Controller::namespaces).await? {
        let namespace = controller.namespace(nsid).await?;
        readers.spawn(async move { (nsid, namespace.size(), checksum(namespace).await) });
    }
    while let Some(Ok((nsid, size, checksum))) = readers.join_next().await {
        println!("namespace {nsid}: {size} bytes, CRC-32C {:08x}", checksum?);
    }
    controller.shutdown().await;
    Ok(())
}

/// Of the whole namespace, which is read some pieces ahead.
async fn checksum(namespace: Namespace) -> Result<u32> {
    let size = namespace.size();
    let read = |offset: u64| {
        let (namespace, len) = (namespace.clone(), PIECE.min(size - offset));
        tokio::spawn(async move { namespace.read_at(vec![0; len as usize], offset).await })
    };
    let mut offsets = (0..size).step_by(PIECE as usize);
    let mut ahead: std::collections::VecDeque<_> = offsets.by_ref().take(DEPTH).map(read).collect();
    let mut crc = 0;
    while let Some(next) = ahead.pop_front() {
        let (result, data) = next.await.expect("a reader does not panic");
        result?;
        crc = crc32c_append(crc, &data);
        ahead.extend(offsets.next().map(read));
    }
    Ok(crc)
}
