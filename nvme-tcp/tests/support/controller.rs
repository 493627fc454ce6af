//! A controller on loopback sockets, good enough to be brought up and to serve a namespace in memory. A test
//! scripts it by a hook that sees each command first.
// Each test binary uses its own part of this.
#![allow(dead_code)]

mod link;

use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nvme_tcp::host::{HostIdentity, HostSource};
use nvme_tcp::proto::{Frame, Framer, Pdu, Sender};
use nvme_tcp::spec::command::fabrics::{self, ConnectFields};
use nvme_tcp::spec::command::{Sqe, admin, nvm};
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::identify::{self, IdentifyController, IdentifyNamespace, LbaFormat};
use nvme_tcp::spec::pdu::{Flags, IcReq, Layout, alignment_from_pda};
use nvme_tcp::spec::property::{self, Capabilities};
use nvme_tcp::spec::sgl;
use nvme_tcp::{Controller, Options};
use zerocopy::IntoBytes;

pub(crate) use link::Link;
use link::serve;

/// No wait in a test lasts longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
pub(crate) const BLOCK: u32 = 512;
const SUBSYSTEM: &str = "nqn.2024-01.io.example:tests";

/// What the hook makes of a command.
pub(crate) enum Reply {
    /// Serve it as a right controller does.
    Serve,
    /// Not at all: the hook has done what is to be done.
    Nothing,
    /// Close the connection.
    Close,
}

pub(crate) type Hook = dyn Fn(&mut Link, &Sqe) -> Reply + Send + Sync;

/// What kind of controller it is.
pub(crate) struct Script {
    pub(crate) hook: Box<Hook>,
    /// IOCCSZ in 16 bytes.
    pub(crate) ioccsz: u32,
    pub(crate) metadata: u16,
    /// CSTS once CC.EN is set.
    pub(crate) status: u32,
    pub(crate) maxh2cdata: u32,
    /// SO_RCVBUF of its connections in bytes, as the kernel rounds it.
    pub(crate) receive_buffer: Option<usize>,
    pub(crate) blocks: u64,
    /// MAXCMD.
    pub(crate) max_commands: u16,
    /// What else it says of itself, and of its namespace.
    pub(crate) controller: fn(&mut IdentifyController),
    pub(crate) namespace: fn(&mut IdentifyNamespace),
    /// MDTS, by CNTLID.
    pub(crate) mdts: fn(u16) -> u8,
    /// OAES.
    pub(crate) events: u32,
    /// AERL.
    pub(crate) event_limit: u8,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            hook: Box::new(|_, _| Reply::Serve),
            ioccsz: (64 + 4096) / 16,
            metadata: 0,
            status: property::CSTS_READY,
            maxh2cdata: 16_384,
            receive_buffer: None,
            blocks: 16_384,
            max_commands: 0,
            controller: |_| {},
            namespace: |_| {},
            mdts: |_| 5,
            events: 0,
            event_limit: 0,
        }
    }
}

/// Something that happened at the controller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) cntlid: u16,
    pub(crate) qid: u16,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Command(Sqe),
    /// The host terminated the connection: FES, FEI.
    Terminated(u16, u32),
    Closed,
}

struct Shared {
    script: Script,
    disk: Mutex<Vec<u8>>,
    journal: Mutex<Vec<Entry>>,
    noted: Condvar,
    stop: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    next_cntlid: AtomicU16,
    /// CC by CNTLID.
    configurations: Mutex<HashMap<u16, u32>>,
}

/// The controller. Dropping it closes its connections and waits for its threads.
pub(crate) struct Target {
    pub(crate) address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Target {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Some(bytes) = script.receive_buffer {
            nix::sys::socket::setsockopt(&listener, nix::sys::socket::sockopt::RcvBuf, &bytes).unwrap();
        }
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            disk: Mutex::new(vec![0; (script.blocks * u64::from(BLOCK)) as usize]),
            script,
            journal: Mutex::default(),
            noted: Condvar::new(),
            stop: AtomicBool::new(false),
            streams: Mutex::default(),
            next_cntlid: AtomicU16::new(1),
            configurations: Mutex::default(),
        });
        let acceptor = Some(thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        }));
        Self { address, shared, acceptor }
    }

    pub(crate) fn options(&self) -> Options {
        options(&self.address).timeout(LIMIT).keep_alive(Duration::ZERO)
    }

    pub(crate) fn connect(&self) -> Controller {
        self.options().connect().unwrap()
    }

    /// What stands on the disk.
    pub(crate) fn disk(&self) -> Vec<u8> {
        self.shared.disk.lock().unwrap().clone()
    }

    pub(crate) fn journal(&self) -> Vec<Entry> {
        self.shared.journal.lock().unwrap().clone()
    }

    /// The commands of this opcode that came on the admin queue, or on I/O queues.
    pub(crate) fn sent(&self, io: bool, opcode: u8) -> Vec<Sqe> {
        let command = |entry: Entry| match entry.what {
            What::Command(sqe) if (entry.qid > 0) == io && sqe.opcode == opcode => Some(sqe),
            _ => None,
        };
        self.journal().into_iter().filter_map(command).collect()
    }

    /// Ends every connection there is; new ones are taken.
    pub(crate) fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Waits until `found` finds in the journal what it looks for.
    pub(crate) fn wait_for<T>(&self, what: &str, found: impl Fn(&[Entry]) -> Option<T>) -> T {
        let until = Instant::now() + LIMIT;
        let mut journal = self.shared.journal.lock().unwrap();
        loop {
            if let Some(found) = found(&journal) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not happen");
            journal = self.shared.noted.wait_timeout(journal, left).unwrap().0;
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which ends the connections.
        drop(TcpStream::connect(&self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let result = acceptor.join();
            assert!(result.is_ok() || thread::panicking(), "the controller panicked");
        }
    }
}

pub(crate) fn options(address: &str) -> Options {
    let host = HostIdentity {
        nqn: "nqn.2024-01.io.example:host".to_owned(),
        id: [7; 16],
        source: HostSource::Given,
    };
    Options::new(address, SUBSYSTEM, host)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut links = Vec::new();
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
        let shared = shared.clone();
        links.push(thread::spawn(move || serve(stream, shared)));
    }
    for stream in shared.streams.lock().unwrap().iter() {
        drop(stream.shutdown(Shutdown::Both));
    }
    for link in links {
        link.join().unwrap();
    }
}
