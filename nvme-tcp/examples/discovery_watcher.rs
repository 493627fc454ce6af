//! Prints what a discovery controller offers, each time that it changes:
//! `cargo run --example discovery_watcher -- 10.0.0.5:8009`

use std::env;
use std::error::Error;
use std::time::Duration;

use nvme_tcp::events::{AsyncEvent, Event};
use nvme_tcp::host::HostIdentity;
use nvme_tcp::{Options, Recovery, nqn};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: discovery_watcher ADDRESS:PORT")?;
    let controller = Options::new(address, nqn::DISCOVERY_NQN, HostIdentity::load()?)
        .io_queues(0)
        .keep_alive(Duration::from_secs(30))
        .recovery(Recovery::default().controller_loss_timeout(None))
        .connect()?;
    // Before the first look, so that no change is missed.
    let events = controller.events()?;
    loop {
        for entry in controller.discovery_log()? {
            println!("{entry:?}");
        }
        loop {
            match events.recv() {
                None => return Ok(()),
                // What happened without an association, nobody told of.
                Some(
                    Event::Reported(AsyncEvent::DiscoveryLogChanged)
                    | Event::AssociationUp { .. }
                    | Event::Missed(_),
                ) => break,
                Some(event) => eprintln!("{event:?}"),
            }
        }
        println!("--");
    }
}
