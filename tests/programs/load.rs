//! A load to count the system calls and the instructions of:
//! `load ADDRESS:PORT SUBSYSTEM-NQN HOW COUNT SIZE DEPTH [KEY-FILE]`, where `HOW` is `read` or `write`, by a queue of
//! one thread with `DEPTH` in flight, or `threads`: that many read from one namespace, with as many queues.

use std::time::Duration;

use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::{Controller, Namespace, Options, Queue};
use system_tests::{DEADLINE, host};

struct Load {
    count: u64,
    size: u64,
    depth: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (words, key) = arguments.split_at(arguments.len().min(6));
    let [address, nqn, how, numbers @ ..] = words else {
        panic!("usage: load ADDRESS:PORT SUBSYSTEM-NQN HOW COUNT SIZE DEPTH [KEY-FILE]");
    };
    let [count, size, depth] = [0, 1, 2].map(|i| numbers[i].parse::<u64>().expect("a number"));
    let load = Load { count, size, depth };
    let mut options = Options::new(address, nqn, host()).timeout(DEADLINE).keep_alive(Duration::ZERO);
    if let Some(key) = key.first() {
        options = options.tls(ConfiguredKey::from_file(key).unwrap());
    }
    let queues = if how == "threads" { depth as u16 } else { 1 };
    let controller = options.io_queues(queues).owned_queues(1).connect().unwrap();
    let namespace = controller.namespace(1).unwrap();
    match how.as_str() {
        "threads" => by_threads(&namespace, &load),
        _ => by_a_queue(&controller, &namespace, &load, how == "write"),
    }
    controller.shutdown();
}

fn offset(namespace: &Namespace, size: u64, number: u64) -> u64 {
    number * size % (namespace.size() / size * size)
}

fn by_threads(namespace: &Namespace, load: &Load) {
    std::thread::scope(|scope| {
        for thread in 0..load.depth {
            scope.spawn(move || {
                let mut buffer = vec![0; load.size as usize];
                for number in 0..load.count {
                    namespace.read_at(&mut buffer, offset(namespace, load.size, thread + number)).unwrap();
                }
            });
        }
    });
}

fn by_a_queue(controller: &Controller, namespace: &Namespace, load: &Load, writes: bool) {
    let mut queue = controller.queue().unwrap();
    let mut begun = 0;
    let mut begin = |queue: &mut Queue, buffer: Vec<u8>| {
        let at = offset(namespace, load.size, begun);
        begun += 1;
        match writes {
            true => queue.submit_write(namespace, buffer, at, 0).unwrap(),
            false => queue.submit_read(namespace, buffer, at, 0).unwrap(),
        }
        begun
    };
    let mut last = 0;
    for _ in 0..load.depth.min(load.count) {
        last = begin(&mut queue, vec![0; load.size as usize]);
    }
    let mut done = Vec::new();
    let mut left = load.count;
    while left > 0 {
        queue.poll(&mut done, DEADLINE).unwrap();
        for completion in done.drain(..) {
            completion.result.unwrap();
            left -= 1;
            if last < load.count {
                last = begin(&mut queue, completion.buffer.unwrap());
            }
        }
    }
}
