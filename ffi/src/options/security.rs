//! TLS, keys and authentication.

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use ktls::Layer;
use nvme_tcp::auth::{Authentication, DhchapSecret};
use nvme_tcp::psk::{IdentityVersion, Policy};
use nvme_tcp::{KeySource, Security};

use super::{assign, nvme_tcp_options, set};
use crate::call::{Outcome, get};
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

impl nvme_tcp_options {
    pub(super) fn security(&self) -> Outcome<Security> {
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

    pub(super) fn authentication(&self) -> Outcome<Option<Authentication>> {
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
