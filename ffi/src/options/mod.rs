//! How to connect, and to what.

mod queues;
mod security;

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::time::Duration;

use ktls::Layer;
use nvme_tcp::auth::DhchapSecret;
use nvme_tcp::host::{HostIdentity, parse_uuid};
use nvme_tcp::nqn::{self, DISCOVERY_NQN};
use nvme_tcp::psk::{ConfiguredKey, Policy};
use nvme_tcp::uri::{Address, TargetUri};
use nvme_tcp::{KeyringKey, Options};

use crate::call::{Born, Outcome, call, free, get_mut, handle, place};
use crate::error::Failure;
use crate::text::text;

pub use queues::*;
pub use security::*;

/// How to connect, and to what: made once, used for any number of connections.
#[derive(Debug)]
pub struct nvme_tcp_options {
    born: Born,
    address: Option<String>,
    subsystem_nqn: Option<String>,
    host_nqn: Option<String>,
    host_id: Option<[u8; 16]>,
    keys: Vec<ConfiguredKey>,
    keyring: Option<KeyringKey>,
    tls: Option<c_int>,
    policy: Policy,
    secret: Option<DhchapSecret>,
    controller_secret: Option<DhchapSecret>,
    layer: Layer,
    change: Change,
}

/// What is set over the library's defaults.
#[derive(Debug, Default)]
struct Change {
    io_queues: Option<u16>,
    owned_queues: Option<u16>,
    queue_size: Option<u32>,
    digests: Option<(bool, bool)>,
    keep_alive: Option<Duration>,
    timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    busy_poll: Duration,
    private_memory: bool,
    io_uring: bool,
    congestion_control: Option<String>,
}

handle!(nvme_tcp_options, "options object");

impl nvme_tcp_options {
    /// What a connection to the subsystem is made with.
    pub(crate) fn to_options(&self) -> Outcome<Options> {
        let nqn = self.subsystem_nqn.as_deref().ok_or_else(|| {
            Failure::here(libc::EINVAL, "no subsystem NQN is set")
                .hint("nvme_tcp_options_set_subsysnqn(), or a URI")
        })?;
        self.to_options_for(nqn)
    }

    /// The same for the discovery controller at the address.
    pub(crate) fn to_discovery_options(&self) -> Outcome<Options> {
        self.to_options_for(DISCOVERY_NQN)
    }

    fn to_options_for(&self, subsystem_nqn: &str) -> Outcome<Options> {
        let address = self.address.as_deref().ok_or_else(|| {
            Failure::here(libc::EINVAL, "no address is set").hint("nvme_tcp_options_set_address(), or a URI")
        })?;
        let host = match (&self.host_nqn, self.host_id) {
            (None, None) => HostIdentity::load(),
            (nqn, id) => HostIdentity::choose(nqn.as_deref(), id),
        };
        let host = host.map_err(nvme_tcp::Error::from)?;
        let mut options = Options::new(address, subsystem_nqn, host)
            .security(self.security()?)
            .tls_options(ktls::Options::new().layer(self.layer));
        if let Some(authentication) = self.authentication()? {
            options = options.authentication(authentication);
        }
        let change = &self.change;
        options = options.busy_poll(change.busy_poll).io_uring(change.io_uring);
        options = options.private_memory(change.private_memory);
        if let Some(queues) = change.io_queues {
            options = options.io_queues(queues);
        }
        if let Some(queues) = change.owned_queues {
            options = options.owned_queues(queues);
        }
        if let Some(size) = change.queue_size {
            options = options.queue_size(size);
        }
        if let Some((header, data)) = change.digests {
            options = options.digests(header, data);
        }
        if let Some(time) = change.keep_alive {
            options = options.keep_alive(time);
        }
        if let Some(time) = change.timeout {
            options = options.timeout(time);
        }
        if let Some(time) = change.connect_timeout {
            options = options.connect_timeout(time);
        }
        if let Some(name) = &change.congestion_control {
            options = options.congestion_control(name);
        }
        Ok(options)
    }
}

/// Changes an options object.
fn set(
    options: Option<&mut nvme_tcp_options>,
    change: impl FnOnce(&mut nvme_tcp_options) -> Outcome<()>,
) -> c_int {
    call(|| change(get_mut(options)?))
}

fn assign<T>(place: &mut T, value: T) -> Outcome<()> {
    *place = value;
    Ok(())
}

/// Makes an options object: plain NVMe/TCP as this host (/etc/nvme/hostnqn and hostid, else made from
/// /etc/machine-id) with one I/O queue of 128 entries, commands that may take 30 s, and keep-alives of 10 s.
///
/// Errors: -EINVAL. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_new(out: Option<&mut MaybeUninit<*mut nvme_tcp_options>>) -> c_int {
    call(|| {
        let out = place(out)?;
        out.give(nvme_tcp_options {
            born: Born::here(),
            address: None,
            subsystem_nqn: None,
            host_nqn: None,
            host_id: None,
            keys: Vec::new(),
            keyring: None,
            tls: None,
            policy: Policy::ALL,
            secret: None,
            controller_secret: None,
            layer: Layer::Auto,
            change: Change::default(),
        });
        Ok(())
    })
}

/// Frees an options object, and wipes the keys in it. What was connected with it stays.
///
/// Threads: no other call on it may run or follow.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_free(options: Option<Box<nvme_tcp_options>>) {
    free(options);
}

/// Sets where the target listens: "host", "host:port", "[v6]:port". The port is 4420 by default.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_address(
    options: Option<&mut nvme_tcp_options>,
    address: *const c_char,
) -> c_int {
    set(options, |options| {
        // SAFETY: the caller gives a C string.
        let address: Result<Address, _> = unsafe { text(address, "the address") }?.parse();
        let address = address.map_err(|error| Failure::here(libc::EINVAL, error.to_string()))?;
        options.address = Some(address.to_string());
        Ok(())
    })
}

/// Sets address and subsystem from "nvme+tcp://HOST[:PORT][/SUBNQN[/NSID]]". Where the URI names a namespace,
/// its ID is put to nsid, else 0 is; nsid may be NULL.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_uri(
    options: Option<&mut nvme_tcp_options>,
    uri: *const c_char,
    nsid: Option<&mut MaybeUninit<u32>>,
) -> c_int {
    set(options, |options| {
        // SAFETY: the caller gives a C string.
        let uri: Result<TargetUri, _> = unsafe { text(uri, "the URI") }?.parse();
        let uri = uri.map_err(|error| Failure::here(libc::EINVAL, error.to_string()))?;
        options.address = Some(uri.address.to_string());
        options.subsystem_nqn = uri.subsystem_nqn.or_else(|| options.subsystem_nqn.take());
        if let Some(nsid) = nsid {
            nsid.write(uri.namespace_id.unwrap_or(0));
        }
        Ok(())
    })
}

/// Sets the NQN of the subsystem to connect to. Discovery needs none.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_subsysnqn(
    options: Option<&mut nvme_tcp_options>,
    nqn: *const c_char,
) -> c_int {
    set(options, |options| {
        // SAFETY: the caller gives a C string.
        assign(&mut options.subsystem_nqn, Some(unsafe { name(nqn, "the subsystem NQN") }?))
    })
}

/// Sets the NQN of this host, in place of the system's. Its ID is then made from it, unless that is set too.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_hostnqn(
    options: Option<&mut nvme_tcp_options>,
    nqn: *const c_char,
) -> c_int {
    // SAFETY: the caller gives a C string.
    set(options, |options| assign(&mut options.host_nqn, Some(unsafe { name(nqn, "the host NQN") }?)))
}

/// Sets the ID of this host, a UUID in its text form.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_hostid(
    options: Option<&mut nvme_tcp_options>,
    uuid: *const c_char,
) -> c_int {
    set(options, |options| {
        // SAFETY: the caller gives a C string.
        let id = parse_uuid(unsafe { text(uuid, "the host ID") }?);
        options.host_id = Some(id.ok_or_else(|| Failure::here(libc::EINVAL, "the host ID is no UUID"))?);
        Ok(())
    })
}

/// # Safety
/// A C string, or NULL.
unsafe fn name(nqn: *const c_char, what: &str) -> Outcome<String> {
    // SAFETY: this function's contract.
    let nqn = unsafe { text(nqn, what) }?;
    nqn::validate(nqn).map_err(|error| Failure::here(libc::EINVAL, format!("{what}: {error}")))?;
    Ok(nqn.to_owned())
}
