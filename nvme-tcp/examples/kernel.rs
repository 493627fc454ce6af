//! Connects with the kernel's own initiator, lists, passes commands through by ioctl and by io_uring, and disconnects:
//! `kernel <address> <port> <subsystem NQN> [<key file>]`. Wants root and the module nvme-tcp; with a key, tlshd.

use std::time::Duration;

use nvme_tcp::host::HostIdentity;
use nvme_tcp::kernel::{Connect, Device, Kernel, Namespace, Ring, RingData};
use nvme_tcp::psk::ConfiguredKey;
use nvme_tcp::{Error, RawCommand, RawData};

/// Commands that are outstanding at a time.
const DEPTH: u32 = 8;
const USAGE: &str = "usage: kernel <address> <port> <subsystem NQN> [<key file>]";

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        if let Some(hint) = error.downcast_ref::<Error>().and_then(Error::hint) {
            eprintln!("hint: {hint}");
        }
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, port, nqn, key) = match &arguments[..] {
        [address, port, nqn] => (address, port, nqn, None),
        [address, port, nqn, key] => (address, port, nqn, Some(key)),
        _ => return Err(USAGE.into()),
    };
    let kernel = Kernel::new();
    let mut connect = Connect::tcp(address, nqn, &HostIdentity::load()?).port(port.parse()?).io_queues(1);
    if let Some(key) = key {
        connect = connect.tls(&ConfiguredKey::from_file(key)?)?;
    }
    let made = kernel.connect(&connect)?;
    println!("connected {} cntlid {}", made.name(), made.cntlid);
    let result = use_it(&kernel, &made);
    kernel.disconnect(&made.name())?;
    println!("disconnected {}", made.name());
    result
}

fn use_it(kernel: &Kernel, made: &nvme_tcp::kernel::Connected) -> Result<(), Box<dyn std::error::Error>> {
    // By passthrough: Identify Controller, and in it SN and MN.
    let device = Device::open(format!("/dev/{}", made.name()))?;
    let mut data = [0; 4096];
    let identify = RawCommand { cdw10: [1, 0, 0, 0, 0, 0], ..RawCommand::new(0x06, 0) };
    let done = device.admin(&identify, RawData::Read(&mut data))?;
    println!("identify {}: model {}", done.status, String::from_utf8_lossy(&data[24..64]).trim());
    let namespace = kernel.wait_for_namespace(made, 1, Duration::from_secs(10))?;
    for subsystem in kernel.subsystems()? {
        println!("{} {} {:?}", subsystem.name, subsystem.nqn, subsystem.io_policy);
        for controller in &subsystem.controllers {
            println!("  {} {} {}", controller.name, controller.state, controller.address);
        }
        for block in &subsystem.namespaces {
            println!("  {} nsid {} {} bytes", block.name, block.nsid, block.size);
        }
    }
    // What stands there is put back.
    let block = namespace.block_size() as usize;
    let mut before = vec![0; block];
    namespace.read_at(&mut before, 0)?;
    let pattern: Vec<u8> = (0..block).map(|at| at as u8).collect();
    namespace.write_at(&pattern, 0)?;
    namespace.flush()?;
    // Through the driver, past the page cache: Read of block 0.
    let mut back = vec![0; block];
    let read = RawCommand::new(0x02, namespace.id());
    let done = namespace.device().io(&read, RawData::Read(&mut back))?;
    let same = done.status.is_success() && back == pattern && by_io_uring(&namespace)? == pattern;
    namespace.write_at(&before, 0)?;
    namespace.flush()?;
    if !same {
        return Err(format!("what was written does not come back ({})", done.status).into());
    }
    println!("wrote and read {block} bytes of namespace {}", namespace.id());
    Ok(())
}

/// The first block, by one of several Read commands at a time.
fn by_io_uring(namespace: &Namespace) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut ring = Ring::new(namespace.generic()?, DEPTH)?;
    for block in 0..DEPTH {
        let read = RawCommand { cdw10: [block, 0, 0, 0, 0, 0], ..RawCommand::new(0x02, namespace.id()) };
        ring.io(&read, RingData::Read(vec![0; namespace.block_size() as usize]))?;
    }
    let (mut first, mut count) = (Vec::new(), 0);
    while let Some(done) = ring.wait()? {
        let status = done.result?.status;
        if !status.is_success() {
            return Err(format!("command {} by io_uring: {status}", done.number).into());
        }
        count += 1;
        if done.number == 0 {
            first = done.data;
        }
    }
    println!("io_uring: {count} commands at a time");
    Ok(first)
}
