//! Where connections lead, where from, through which interface, with which priority and congestion control.

use std::net::IpAddr;

use super::Options;

/// How packets find their way, where that is not left to the routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    local: Option<IpAddr>,
    interface: Option<String>,
    type_of_service: Option<u8>,
    priority: Option<u8>,
    congestion_control: Option<String>,
}

impl Route {
    /// The address to connect from.
    pub(crate) fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// The interface to connect through.
    pub(crate) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// `IP_TOS`.
    pub(crate) fn type_of_service(&self) -> Option<u8> {
        self.type_of_service
    }

    /// `SO_PRIORITY`.
    pub(crate) fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// `TCP_CONGESTION`.
    pub(crate) fn congestion_control(&self) -> Option<&str> {
        self.congestion_control.as_deref()
    }
}

impl Options {
    /// Another address of the same controller's subsystem, tried where those before it take no connection: at first,
    /// and whenever an association is brought up again. All connections of one association lead to one of them; for
    /// several at once there is [`multipath`](crate::multipath).
    ///
    /// ```no_run
    /// # fn main() -> nvme_tcp::Result<()> {
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// let controller = nvme_tcp::Options::new("10.0.0.5:4420", "nqn.2024-01.io.example:images", host)
    ///     .alternative_address("10.0.1.5:4420")
    ///     .recovery(nvme_tcp::Recovery::default())
    ///     .connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn alternative_address(mut self, address: impl Into<String>) -> Self {
        self.alternatives.push(address.into());
        self
    }

    /// Connects from this local address (the kernel's `host_traddr`).
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// // Of the target's own family, and an address of this machine: the storage network's, for example.
    /// let error = options.host_address("::1".parse().unwrap()).connect().unwrap_err();
    /// assert!(error.to_string().contains("127.0.0.1 cannot be reached from ::1"));
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn host_address(mut self, address: IpAddr) -> Self {
        self.route.local = Some(address);
        self
    }

    /// Connects through this network interface, whatever the routing table says (the kernel's `host_iface`,
    /// `SO_BINDTODEVICE`). Kernels older than 5.7 want CAP_NET_RAW for it.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// // Such as "ens1f0"; there is none of this name.
    /// let error = options.host_interface("storage-7").connect().unwrap_err();
    /// assert!(matches!(error.kind(), nvme_tcp::ErrorKind::Route { .. }));
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn host_interface(mut self, name: impl Into<String>) -> Self {
        self.route.interface = Some(name.into());
        self
    }

    /// The type of service of every packet (`IP_TOS`), the traffic class with IPv6: DSCP in the upper six bits. The
    /// lower two are the kernel's own, for ECN.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // DSCP 26 (AF31), which the switches have a queue without loss for.
    /// let controller = options.type_of_service(26 << 2).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn type_of_service(mut self, tos: u8) -> Self {
        self.route.type_of_service = Some(tos);
        self
    }

    /// The priority of packets in this machine's own queues (`SO_PRIORITY`), which may become a VLAN's. Above 6 it
    /// wants CAP_NET_ADMIN.
    ///
    /// ```no_run
    /// # fn example(options: nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // `ip link set ens1f0.7 type vlan egress-qos-map 3:3` makes a VLAN's priority of it.
    /// let controller = options.host_interface("ens1f0.7").socket_priority(3).connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn socket_priority(mut self, priority: u8) -> Self {
        self.route.priority = Some(priority);
        self
    }

    /// How TCP reacts to the network (`TCP_CONGESTION`), by the kernel's name for it, on the connections of these options
    /// alone: such as "dctcp" in a storage network whose switches mark packets, or "cubic" where the system's own is
    /// "bbr", whose pacing is meant for long ways and holds large writes back on a short one. It is for what this end
    /// sends; the embedded target's listeners have the same. Without CAP_NET_ADMIN only those that
    /// `/proc/sys/net/ipv4/tcp_allowed_congestion_control` lists may be chosen.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::load()?;
    /// # let options = nvme_tcp::Options::new("127.0.0.1:1", "nqn.2024-01.io.example:images", host);
    /// // What the kernel does not have is told before anything is sent.
    /// let error = options.congestion_control("vegas-9").connect().unwrap_err();
    /// assert!(matches!(error.kind(), nvme_tcp::ErrorKind::Route { .. }));
    /// # Ok::<(), nvme_tcp::Error>(())
    /// ```
    #[must_use]
    pub fn congestion_control(mut self, name: impl Into<String>) -> Self {
        self.route.congestion_control = Some(name.into());
        self
    }
}
