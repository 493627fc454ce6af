//! Targets in this process, for what the tool's `serve` cannot be asked to do.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nvme_tcp::Options;
use nvme_tcp::host::HostIdentity;
use nvme_tcp::psk::{ConfiguredKey, KeyHash};
use nvme_tcp_target::{
    Backend, Config, FaultPlan, KeyRing, Listener, Namespace, Subsystem, Target, TargetBuilder,
};

use crate::{HOST_NQN, SUBSYSTEM_NQN, uri};

/// A new 32-byte key.
///
/// # Panics
/// The system gives no random bytes.
pub fn key() -> ConfiguredKey {
    ConfiguredKey::generate(KeyHash::Sha256).expect("random bytes")
}

/// [`HOST_NQN`], with an ID of its own.
///
/// # Panics
/// It is no host's name.
pub fn host() -> HostIdentity {
    HostIdentity::choose(Some(HOST_NQN), Some([7; 16])).expect("a host's name")
}

/// A target in this process that serves one namespace, number 1 of [`SUBSYSTEM_NQN`].
#[derive(Debug)]
pub struct Embedded {
    /// The target.
    pub target: Target,
    /// The key, where it requires TLS.
    pub key: Option<ConfiguredKey>,
}

/// Starts one; with a key, TLS is required.
///
/// # Panics
/// It does not start.
pub fn embedded(
    namespace: Namespace,
    key: Option<ConfiguredKey>,
    change: impl FnOnce(&mut Config),
) -> Embedded {
    start(namespace, key, |builder| builder.config(change))
}

/// Starts one that breaks the protocol as the plan says.
///
/// # Panics
/// It does not start.
pub fn faulty(namespace: Namespace, key: Option<ConfiguredKey>, faults: &FaultPlan) -> Embedded {
    start(namespace, key, |builder| builder.faults(faults.clone()))
}

fn start(
    namespace: Namespace,
    key: Option<ConfiguredKey>,
    change: impl FnOnce(TargetBuilder) -> TargetBuilder,
) -> Embedded {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = match &key {
        None => Listener::plain(any),
        Some(key) => Listener::tls(any, KeyRing::new().key(key.clone())),
    };
    let subsystem = Subsystem::new(SUBSYSTEM_NQN).namespace(1, namespace);
    let target = change(Target::builder().subsystem(subsystem).listen(listener)).start();
    Embedded { target: target.expect("a target starts"), key }
}

impl Embedded {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.target.local_addrs()[0]
    }

    /// Where its namespace is.
    pub fn uri(&self) -> String {
        uri(self.address(), 1)
    }

    /// How this library connects to it.
    pub fn options(&self) -> Options {
        options(self.address(), self.key.as_ref())
    }
}

/// How this library connects to [`SUBSYSTEM_NQN`] at `address`.
pub fn options(address: SocketAddr, key: Option<&ConfiguredKey>) -> Options {
    let options = Options::new(address.to_string(), SUBSYSTEM_NQN, host());
    match key {
        None => options,
        Some(key) => options.tls(key.clone()),
    }
}

/// What happened to a [`Gauged`] namespace.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Bytes that were written and were as they should be.
    pub written: AtomicU64,
    /// Writes with other bytes than those that should come.
    pub wrong: AtomicU64,
    /// Bytes that were read.
    pub read: AtomicU64,
    /// How many bytes had been written when it was last flushed.
    pub flushed: AtomicU64,
    /// Writes from this many bytes on find no room; 0 for no end of room.
    pub full_from: AtomicU64,
}

/// A namespace of any size that takes no memory: all zeros. It counts, and compares what is written.
#[derive(Debug)]
pub struct Gauged {
    /// Its size in bytes.
    pub size: u64,
    /// What happened so far.
    pub gauge: Arc<Gauge>,
}

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

impl Backend for Gauged {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, data: &mut [u8], _: u64) -> io::Result<()> {
        data.fill(0);
        self.gauge.read.fetch_add(data.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let full_from = self.gauge.full_from.load(Ordering::SeqCst);
        if full_from > 0 && offset + data.len() as u64 > full_from {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let right = data.chunks(ZEROS.len()).all(|piece| piece == &ZEROS[..piece.len()]);
        let counter = if right { &self.gauge.written } else { &self.gauge.wrong };
        counter.fetch_add(data.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let written = self.gauge.written.load(Ordering::SeqCst);
        self.gauge.flushed.store(written, Ordering::SeqCst);
        Ok(())
    }

    fn write_zeroes(&self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}
