//! What `/dev/nvme-fabrics` is told: the options of `opt_tokens` in drivers/nvme/host/fabrics.c.

mod security;

use std::fmt::{self, Write};
use std::time::Duration;

use zeroize::Zeroizing;

use super::keyring;
use crate::error::{Error, Result};
use crate::host::{HostIdentity, format_uuid};
use crate::nqn;
use crate::psk::TlsPsk;

/// Where the kernel connects to, and how. What is not set is the kernel's to choose.
///
/// ```
/// use nvme_tcp::{host::HostIdentity, kernel::Connect};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
/// let connect = Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host).io_queues(4);
/// // What is written to /dev/nvme-fabrics.
/// assert!(connect.text(None)?.contains("traddr=10.0.0.5"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connect {
    subsystem_nqn: String,
    host_nqn: String,
    address: String,
    /// Everything but the secrets, in the order of the calls.
    options: Vec<(&'static str, Option<String>)>,
    secrets: Vec<(&'static str, Zeroizing<String>)>,
    psk: Option<TlsPsk>,
}

// Written by hand: the secrets are nobody's to see.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("options", &self.options)
            .field("secrets", &self.secrets.iter().map(|(name, _)| *name).collect::<Vec<_>>())
            .field("tls_identity", &self.psk.as_ref().map(TlsPsk::identity))
            .finish()
    }
}

impl Connect {
    /// The subsystem `subsystem_nqn` at this IP address (with `%scope` where it is a link-local one), port 4420.
    ///
    /// ```
    /// use nvme_tcp::{host::HostIdentity, kernel::Connect};
    ///
    /// let host = HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// let connect = Connect::tcp("fe80::1%eth0", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.text(None)?.contains("traddr=fe80::1%eth0,trsvcid=4420,"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tcp(address: impl Into<String>, subsystem_nqn: impl Into<String>, host: &HostIdentity) -> Self {
        let (address, subsystem_nqn) = (address.into(), subsystem_nqn.into());
        let base = Self {
            subsystem_nqn: subsystem_nqn.clone(),
            host_nqn: host.nqn.clone(),
            address: address.clone(),
            options: Vec::new(),
            secrets: Vec::new(),
            psk: None,
        };
        base.set("nqn", subsystem_nqn)
            .set("transport", "tcp")
            .set("traddr", address)
            .set("trsvcid", 4420)
            .set("hostnqn", &host.nqn)
            .set("hostid", format_uuid(&host.id))
    }

    /// TRSVCID: the port. 4420 by default.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.port(8009).text(None)?.contains("trsvcid=8009"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.set("trsvcid", port)
    }

    /// The local address to connect from.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.host_address("10.1.0.9").text(None)?.ends_with(",host_traddr=10.1.0.9"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn host_address(self, address: impl fmt::Display) -> Self {
        self.set("host_traddr", address)
    }

    /// The network interface to connect through.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // A comma would begin another option.
    /// assert!(connect.host_interface("eth1,tls").text(None).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn host_interface(self, interface: impl fmt::Display) -> Self {
        self.set("host_iface", interface)
    }

    /// I/O queues; as many as there are processors by default.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.io_queues(4).text(None)?.ends_with(",nr_io_queues=4"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn io_queues(self, queues: u32) -> Self {
        self.set("nr_io_queues", queues)
    }

    /// More I/O queues, for writes only.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // Reads have the other four for themselves.
    /// assert!(connect.io_queues(4).write_queues(2).text(None)?.ends_with(",nr_io_queues=4,nr_write_queues=2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn write_queues(self, queues: u32) -> Self {
        self.set("nr_write_queues", queues)
    }

    /// More I/O queues, for polled I/O.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // For I/O that asks for it: RWF_HIPRI, or io_uring with IORING_SETUP_IOPOLL.
    /// assert!(connect.poll_queues(1).text(None)?.ends_with(",nr_poll_queues=1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn poll_queues(self, queues: u32) -> Self {
        self.set("nr_poll_queues", queues)
    }

    /// Entries in each I/O queue, 16 to 1,024.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.queue_size(256).text(None)?.ends_with(",queue_size=256"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn queue_size(self, entries: u32) -> Self {
        self.set("queue_size", entries)
    }

    /// KATO, in whole seconds; the next whole one is taken.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// let limit = std::time::Duration::from_millis(4500);
    /// assert!(connect.keep_alive(limit).text(None)?.ends_with(",keep_alive_tmo=5"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn keep_alive(self, limit: Duration) -> Self {
        self.set("keep_alive_tmo", seconds(limit))
    }

    /// How long after a lost connection the next attempt comes, in whole seconds.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// let delay = std::time::Duration::from_secs(2);
    /// assert!(connect.reconnect_delay(delay).text(None)?.ends_with(",reconnect_delay=2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reconnect_delay(self, delay: Duration) -> Self {
        self.set("reconnect_delay", seconds(delay))
    }

    /// After how long without a connection the controller is removed; `None` for never.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.controller_loss_timeout(None).text(None)?.ends_with(",ctrl_loss_tmo=-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn controller_loss_timeout(self, limit: Option<Duration>) -> Self {
        self.or_never("ctrl_loss_tmo", limit)
    }

    /// After how long without a connection commands fail; `None` for never.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // Another path is tried after 5 s, while this one goes on reconnecting.
    /// let limit = Some(std::time::Duration::from_secs(5));
    /// assert!(connect.fast_fail_timeout(limit).text(None)?.ends_with(",fast_io_fail_tmo=5"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fast_fail_timeout(self, limit: Option<Duration>) -> Self {
        self.or_never("fast_io_fail_tmo", limit)
    }

    /// The type of service of its packets (`IP_TOS`).
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // DSCP AF11 in bits 7:2.
    /// assert!(connect.type_of_service(10 << 2).text(None)?.ends_with(",tos=40"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn type_of_service(self, tos: u8) -> Self {
        self.set("tos", tos)
    }

    /// CRC-32C over headers and over data.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.digests(true, false).text(None)?.ends_with(",hdr_digest"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn digests(self, header: bool, data: bool) -> Self {
        self.flag("hdr_digest", header).flag("data_digest", data)
    }

    /// Allows several connections to one target.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.duplicate().text(None)?.ends_with(",duplicate_connect"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn duplicate(self) -> Self {
        self.flag("duplicate_connect", true)
    }

    /// Turns submission queue flow control off.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.without_sq_flow_control().text(None)?.ends_with(",disable_sqflow"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn without_sq_flow_control(self) -> Self {
        self.flag("disable_sqflow", true)
    }

    /// Connects to a discovery controller that has a name of its own.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // The well-known name needs it not.
    /// assert!(connect.port(8009).discovery().text(None)?.ends_with(",discovery"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn discovery(self) -> Self {
        self.flag("discovery", true)
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What is written to `/dev/nvme-fabrics`, where the TLS key has this serial number in the keyring. Secrets of
    /// authentication are in it.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // As `nvme connect` writes it.
    /// assert!(connect.text(None)?.starts_with("nqn=nqn.2024-01.io.example:images,transport=tcp,"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A value has a comma or a line end, which would begin another option; a name is none.
    pub fn text(&self, tls_key: Option<i32>) -> Result<Zeroizing<String>> {
        for name in [&self.subsystem_nqn, &self.host_nqn] {
            nqn::validate(name).map_err(|e| Error::invalid(e.to_string()))?;
        }
        let serial = tls_key.map(|serial| ("tls_key", Some(serial.to_string())));
        let mut text = Zeroizing::new(String::with_capacity(keyring::PAGE));
        let plain = self.options.iter().chain(&serial).map(|(name, value)| (*name, value.as_deref()));
        let secret = self.secrets.iter().map(|(name, value)| (*name, Some(value.as_str())));
        for (name, value) in plain.chain(secret) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            let Some(value) = value else { continue };
            if value.is_empty() || value.contains([',', '\n', '\0']) {
                return Err(Error::invalid(format!(
                    "{name} is empty or has a comma or a line end, which /dev/nvme-fabrics cannot be told"
                )));
            }
            write!(text, "={value}").map_err(|e| Error::invalid(e.to_string()))?;
        }
        Ok(text)
    }

    fn set(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.options.retain(|(other, _)| *other != name);
        self.options.push((name, Some(value.to_string())));
        self
    }

    fn flag(mut self, name: &'static str, on: bool) -> Self {
        self.options.retain(|(other, _)| *other != name);
        self.options.extend(on.then_some((name, None)));
        self
    }

    fn or_never(self, name: &'static str, limit: Option<Duration>) -> Self {
        match limit {
            Some(limit) => self.set(name, seconds(limit)),
            None => self.set(name, -1),
        }
    }
}

/// Whole seconds, rounded up; the kernel counts them in an int.
fn seconds(limit: Duration) -> u64 {
    let whole = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    whole.min(i32::MAX as u64)
}

#[cfg(test)]
mod tests;
