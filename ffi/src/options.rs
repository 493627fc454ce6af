//! How to connect, and to what.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use ktls::Layer;
use nvme_tcp::auth::{Authentication, DhchapSecret};
use nvme_tcp::host::{HostIdentity, parse_uuid};
use nvme_tcp::nqn::{self, DISCOVERY_NQN};
use nvme_tcp::psk::{ConfiguredKey, IdentityVersion, Policy};
use nvme_tcp::uri::{Address, TargetUri};
use nvme_tcp::{KeySource, KeyringKey, Options, Security};

use crate::call::{Born, Outcome, call, free, get, get_mut, handle, place};
use crate::error::Failure;
use crate::key::{keyring, nvme_tcp_key};
use crate::text::text;

/// TLS is off.
pub const NVME_TCP_TLS_OFF: c_int = 0;
/// TLS 1.3 by pre-shared key is required on every connection. Nothing falls back from it.
pub const NVME_TCP_TLS_REQUIRED: c_int = 1;
/// TLS 1.3 with a key that DH-HMAC-CHAP agrees on (secure channel concatenation).
pub const NVME_TCP_TLS_CONCAT: c_int = 2;

/// Records are sealed by the kernel where it can, else by this process, each direction by itself.
pub const NVME_TCP_LAYER_AUTO: c_int = 0;
/// Records are sealed by this process.
pub const NVME_TCP_LAYER_PROCESS: c_int = 1;
/// Records are sealed by the kernel, or the connection fails with -EOPNOTSUPP.
pub const NVME_TCP_LAYER_KERNEL: c_int = 2;

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
        Ok(options)
    }

    fn security(&self) -> Outcome<Security> {
        let policy = self.policy;
        let keys = || match &self.keyring {
            Some(key) => Security::TlsFrom { source: KeySource::keyring(key.clone()), policy },
            None => Security::Tls { keys: Arc::from(self.keys.as_slice()), policy },
        };
        match (self.tls, self.keys.is_empty() && self.keyring.is_none()) {
            _ if self.keyring.is_some() && !self.keys.is_empty() => Err(Failure::here(
                libc::EINVAL,
                "TLS keys are given, and a key of the kernel's: one or the other",
            )),
            (None | Some(NVME_TCP_TLS_OFF), true) => Ok(Security::Plain),
            (None | Some(NVME_TCP_TLS_REQUIRED), false) => Ok(keys()),
            (Some(NVME_TCP_TLS_CONCAT), true) => Ok(Security::Concat),
            (Some(NVME_TCP_TLS_REQUIRED), true) => {
                Err(Failure::here(libc::EINVAL, "TLS is required and no key is given"))
            }
            _ => Err(Failure::here(libc::EINVAL, "a TLS key is given, and a TLS mode that takes none")),
        }
    }

    fn authentication(&self) -> Outcome<Option<Authentication>> {
        match (&self.secret, &self.controller_secret) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Failure::here(
                libc::EINVAL,
                "a controller's DH-HMAC-CHAP secret is given, and none of this host",
            )),
            (Some(secret), other) => {
                let authentication = Authentication::new(secret.clone());
                Ok(Some(match other {
                    Some(other) => authentication.controller_secret(other.clone()),
                    None => authentication,
                }))
            }
        }
    }
}

/// The layer with this number.
pub(crate) fn layer(number: c_int) -> Outcome<Layer> {
    match number {
        NVME_TCP_LAYER_AUTO => Ok(Layer::Auto),
        NVME_TCP_LAYER_PROCESS => Ok(Layer::Process),
        NVME_TCP_LAYER_KERNEL => Ok(Layer::Kernel),
        other => Err(Failure::here(libc::EINVAL, format!("the layer is {other}, expected 0 to 2"))),
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

/// Adds a pre-shared key, a copy of this one. TLS is then required, unless another mode is set; of several
/// keys the first is tried first.
///
/// Errors: -EINVAL. Threads: no other call on the options at the same time; any on the key.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_add_key(
    options: Option<&mut nvme_tcp_options>,
    key: Option<&nvme_tcp_key>,
) -> c_int {
    set(options, |options| {
        options.keys.push(get(key)?.key().clone());
        Ok(())
    })
}

/// Has the pre-shared keys read from the kernel's key retention service each time that an association is brought
/// up, so that they can change while the controller is used: all texts, one a line, of the key that
/// nvme_tcp_key_load_keyring() names. TLS is then required, unless another mode is set.
///
/// Errors: -EINVAL; whether there is such a key is found by the connecting call. Threads: no other call on the same
/// object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_keyring(
    options: Option<&mut nvme_tcp_options>,
    description: *const c_char,
) -> c_int {
    // SAFETY: the caller gives a C string.
    set(options, |options| assign(&mut options.keyring, Some(unsafe { keyring(description) }?)))
}

/// Sets whether the connections are TLS: one of NVME_TCP_TLS_*.
///
/// Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_tls(options: Option<&mut nvme_tcp_options>, mode: c_int) -> c_int {
    set(options, |options| match mode {
        NVME_TCP_TLS_OFF | NVME_TCP_TLS_REQUIRED | NVME_TCP_TLS_CONCAT => {
            assign(&mut options.tls, Some(mode))
        }
        other => Err(Failure::here(libc::EINVAL, format!("the TLS mode is {other}, expected 0 to 2"))),
    })
}

/// Sets who seals and opens TLS records: one of NVME_TCP_LAYER_*.
///
/// Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_layer(options: Option<&mut nvme_tcp_options>, layer: c_int) -> c_int {
    set(options, |options| assign(&mut options.layer, self::layer(layer)?))
}

/// Sets which PSK identities may be tried: 0 or 1 for that version only, -1 for both, which is the default.
///
/// Errors: -EINVAL for another number. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_identity_version(
    options: Option<&mut nvme_tcp_options>,
    version: c_int,
) -> c_int {
    set(options, |options| {
        options.policy = match version {
            -1 => Policy::ALL,
            version => Policy::ALL.only_version(identity_version(version)?),
        };
        Ok(())
    })
}

/// The version of a PSK identity with this number.
pub(crate) fn identity_version(number: c_int) -> Outcome<IdentityVersion> {
    match number {
        0 => Ok(IdentityVersion::V0),
        1 => Ok(IdentityVersion::V1),
        other => {
            Err(Failure::here(libc::EINVAL, format!("the identity's version is {other}, expected 0 or 1")))
        }
    }
}

/// Sets the DH-HMAC-CHAP secret of this host, "DHHC-1:...". It is used where the controller asks for it.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_dhchap_secret(
    options: Option<&mut nvme_tcp_options>,
    secret: *const c_char,
) -> c_int {
    // SAFETY: the caller gives a C string.
    set(options, |options| assign(&mut options.secret, Some(unsafe { self::secret(secret) }?)))
}

/// Sets the DH-HMAC-CHAP secret of the controller: it must then show that it has it.
///
/// Errors: -EINVAL for what is none. Threads: no other call on the same object at the same time.
///
/// # Safety
/// A C string, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvme_tcp_options_set_dhchap_ctrl_secret(
    options: Option<&mut nvme_tcp_options>,
    secret: *const c_char,
) -> c_int {
    // SAFETY: the caller gives a C string.
    set(options, |options| assign(&mut options.controller_secret, Some(unsafe { self::secret(secret) }?)))
}

/// # Safety
/// A C string, or NULL.
unsafe fn secret(from: *const c_char) -> Outcome<DhchapSecret> {
    // SAFETY: this function's contract.
    let secret: Result<DhchapSecret, _> = unsafe { text(from, "the DH-HMAC-CHAP secret") }?.parse();
    secret.map_err(|error| Failure::here(libc::EINVAL, error.to_string()).hint(error.hint()))
}

/// Sets how many I/O queues, each a connection, the synchronous calls share: 1 by default, 0 for none. The
/// controller may grant fewer.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_io_queues(
    options: Option<&mut nvme_tcp_options>,
    queues: u16,
) -> c_int {
    set(options, |options| assign(&mut options.change.io_queues, Some(queues)))
}

/// Sets how many I/O queues are kept for nvme_tcp_queue_open(): none by default.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_owned_queues(
    options: Option<&mut nvme_tcp_options>,
    queues: u16,
) -> c_int {
    set(options, |options| assign(&mut options.change.owned_queues, Some(queues)))
}

/// Sets the entries of each I/O queue, 2 to 4096; one less can be outstanding. The controller may grant
/// fewer.
///
/// Errors: -EINVAL; another number is refused by the connecting call. Threads: no other call on the same
/// object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_queue_size(
    options: Option<&mut nvme_tcp_options>,
    entries: u32,
) -> c_int {
    set(options, |options| assign(&mut options.change.queue_size, Some(entries)))
}

/// Asks for CRC-32C over headers and over data. A controller that declines is not connected to.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_digests(
    options: Option<&mut nvme_tcp_options>,
    header: bool,
    data: bool,
) -> c_int {
    set(options, |options| assign(&mut options.change.digests, Some((header, data))))
}

/// Sets the keep-alive timeout (KATO) in milliseconds, 0 for none.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_keep_alive(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.keep_alive, Some(Duration::from_millis(milliseconds.into())))
    })
}

/// Sets how long a command may take, in milliseconds. After that its connection is given up.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_timeout(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.timeout, Some(Duration::from_millis(milliseconds.into())))
    })
}

/// Sets how long a connection may take to come up, handshake included, in milliseconds: 10000 by default.
///
/// Errors: -EINVAL. Threads: no other call on the same object at the same time.
#[unsafe(no_mangle)]
pub extern "C" fn nvme_tcp_options_set_connect_timeout(
    options: Option<&mut nvme_tcp_options>,
    milliseconds: u32,
) -> c_int {
    set(options, |options| {
        assign(&mut options.change.connect_timeout, Some(Duration::from_millis(milliseconds.into())))
    })
}
