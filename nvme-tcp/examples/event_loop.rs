//! Reads a namespace with an event loop of one's own: one thread, poll(2), a queue and the controller's events.
//! `cargo run --example event_loop -- 10.0.0.5:4420 nqn.2024-01.io.example:images 1`

use std::env;
use std::error::Error;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nvme_tcp::Options;
use nvme_tcp::host::HostIdentity;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [address, nqn, nsid] = &words[..] else {
        return Err("usage: event_loop ADDRESS:PORT SUBSYSTEM-NQN NAMESPACE".into());
    };
    let controller = Options::new(address, nqn, HostIdentity::load()?).owned_queues(1).connect()?;
    let namespace = controller.namespace(nsid.parse()?)?;
    let events = controller.events()?;
    let mut queue = controller.queue()?;
    let piece = namespace.max_transfer().min(1 << 17);
    let mut next = 0;
    let mut free: Vec<Vec<u8>> = Vec::new();
    let mut done = Vec::new();
    let mut sum = 0_u64;
    while next < namespace.size() || queue.outstanding() > 0 {
        while queue.room() > 0 && next < namespace.size() {
            let len = (namespace.size() - next).min(piece as u64) as usize;
            // The memory is lent to the command, and comes back with its completion.
            let mut buffer = free.pop().unwrap_or_default();
            buffer.resize(len, 0);
            queue.submit_read(&namespace, buffer, next, next).map_err(|rejected| rejected.error)?;
            next += len as u64;
        }
        queue.poll(&mut done, Duration::ZERO)?;
        for completion in done.drain(..) {
            completion.result?;
            let buffer = completion.buffer.unwrap_or_default();
            sum = buffer.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)));
            free.push(buffer);
        }
        while let Ok(event) = events.try_recv() {
            eprintln!("{event:?}");
        }
        if queue.outstanding() == 0 {
            continue;
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::POLLIN, queue.wants().read);
        wanted.set(PollFlags::POLLOUT, queue.wants().write);
        // Asked for again each time: a new connection has another descriptor.
        let mut fds = [PollFd::new(queue.as_fd(), wanted), PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        let left = queue.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| PollTimeout::try_from(left).ok());
        poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE))?;
    }
    println!("{} bytes, sum {sum}", namespace.size());
    Ok(())
}
