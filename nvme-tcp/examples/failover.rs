//! Reads a namespace over and over by two paths, and says how they are: pull a cable, and look on.
//! `cargo run --example failover -- nqn.2024-01.io.example:images 1 10.0.0.5:4420 10.0.1.5:4420`

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use nvme_tcp::host::HostIdentity;
use nvme_tcp::multipath::{MultipathOptions, PathPolicy, Subsystem};
use nvme_tcp::{Options, Recovery};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [nqn, nsid, portals @ ..] = &words[..] else {
        return Err("usage: failover SUBSYSTEM-NQN NAMESPACE ADDRESS:PORT...".into());
    };
    let (host, nsid) = (HostIdentity::load()?, nsid.parse()?);
    // A write of unknown fate waits for about twice the keep-alive timeout before another path repeats it.
    let paths = portals.iter().map(|portal| {
        let recovery =
            Recovery::default().reconnect_delay(Duration::from_millis(100), Duration::from_secs(2));
        Options::new(portal, nqn, host.clone()).keep_alive(Duration::from_secs(2)).recovery(recovery)
    });
    let subsystem = Subsystem::connect(paths, MultipathOptions::default().policy(PathPolicy::QueueDepth))?;
    let namespace = subsystem.namespace(nsid)?;
    let mut buffer = vec![0; namespace.max_transfer()];
    let (mut bytes, mut since) = (0, Instant::now());
    loop {
        let offset = bytes % namespace.size();
        let len = buffer.len().min((namespace.size() - offset) as usize);
        namespace.read_at(&mut buffer[..len], offset)?;
        bytes += len as u64;
        if since.elapsed() >= Duration::from_secs(1) {
            since = Instant::now();
            println!("{bytes} bytes");
            for path in subsystem.paths(nsid) {
                let state = path.error.map_or("up".to_owned(), |error| error.to_string());
                println!("  {}: {:?}, {state}", path.address, path.ana);
            }
        }
    }
}
