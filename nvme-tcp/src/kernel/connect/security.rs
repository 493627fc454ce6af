//! Authentication and TLS of the kernel's connections.

use super::Connect;
use crate::auth::DhchapSecret;
use crate::error::Result;
use crate::psk::{ConfiguredKey, Derivation, IdentityVersion, TlsPsk, chosen, derive};

impl Connect {
    /// Authenticates with this secret; with the second, the controller has to as well.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// let connect = connect.authentication(&DhchapSecret::generate(SecretHash::Sha256)?, None);
    /// assert!(!format!("{connect:?}").contains("DHHC-1:"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn authentication(mut self, host: &DhchapSecret, controller: Option<&DhchapSecret>) -> Self {
        self.secrets = vec![("dhchap_secret", host.to_text())];
        self.secrets.extend(controller.map(|secret| ("dhchap_ctrl_secret", secret.to_text())));
        self
    }

    /// TLS by a key that authentication agrees on.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// use nvme_tcp::auth::{DhchapSecret, SecretHash};
    ///
    /// // It is authentication that gives the key.
    /// let connect = connect.authentication(&DhchapSecret::generate(SecretHash::Sha256)?, None).concatenation();
    /// assert!(connect.tls_psk().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn concatenation(self) -> Self {
        self.flag("concat", true)
    }

    /// TLS by this configured key, under a version-1 identity that is computed here. [`Kernel::connect`] puts the
    /// key into the keyring `.nvme`.
    ///
    /// [`Kernel::connect`]: crate::kernel::Kernel::connect
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// let key = nvme_tcp::psk::ConfiguredKey::generate(nvme_tcp::psk::KeyHash::Sha256)?;
    /// // The serial number is that of the key in `.nvme`.
    /// assert!(connect.tls(&key)?.text(Some(77))?.ends_with(",tls,tls_key=77"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A name that cannot stand in an identity.
    pub fn tls(self, key: &ConfiguredKey) -> Result<Self> {
        self.tls_as(key, IdentityVersion::V1, Derivation::Rfc8446)
    }

    /// As [`tls`](Self::tls), for targets that know other identities.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// use nvme_tcp::psk::{ConfiguredKey, Derivation, IdentityVersion, KeyHash};
    ///
    /// // For an SPDK target.
    /// let connect =
    ///     connect.tls_as(&ConfiguredKey::generate(KeyHash::Sha256)?, IdentityVersion::V0, Derivation::Rfc8446)?;
    /// assert!(connect.tls_psk().is_some_and(|psk| psk.identity().starts_with("NVMe0R01 ")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`tls`](Self::tls); a version-0 identity too long to be derived from.
    pub fn tls_as(
        mut self,
        key: &ConfiguredKey,
        version: IdentityVersion,
        derivation: Derivation,
    ) -> Result<Self> {
        self.psk = Some(derive(key, &self.host_nqn, &self.subsystem_nqn, version, derivation)?);
        Ok(self.flag("tls", true))
    }

    /// TLS by this TLS PSK, derived elsewhere.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// let identity = "NVMe0R01 nqn.2024-01.io.example:host nqn.2024-01.io.example:images";
    /// let connect = connect.tls_with(nvme_tcp::psk::TlsPsk::new(identity, &[7; 32])?);
    /// assert!(connect.tls_psk().is_some_and(|psk| psk.identity() == identity));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls_with(mut self, psk: TlsPsk) -> Self {
        self.psk = Some(psk);
        self.flag("tls", true)
    }

    /// The best of these that are for this host and subsystem.
    pub(in crate::kernel) fn first_of(
        &self,
        psks: Vec<TlsPsk>,
        allows: impl Fn(IdentityVersion) -> bool,
    ) -> Option<TlsPsk> {
        chosen(psks, &self.host_nqn, &self.subsystem_nqn, allows).into_iter().next()
    }

    /// TLS by whatever key of this host and subsystem the keyring `.nvme` has.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// // For a key that `nvme gen-tls-key --insert` put there.
    /// assert!(connect.tls_from_keyring().text(None)?.ends_with(",tls"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls_from_keyring(self) -> Self {
        self.flag("tls", true)
    }

    /// The TLS PSK that has to be in the keyring, with its identity.
    ///
    /// ```
    /// # let host = nvme_tcp::host::HostIdentity::choose(Some("nqn.2024-01.io.example:host"), Some([7; 16]))?;
    /// # let connect = nvme_tcp::kernel::Connect::tcp("10.0.0.5", "nqn.2024-01.io.example:images", &host);
    /// assert!(connect.tls_from_keyring().tls_psk().is_none(), "which one it is, the kernel chooses");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tls_psk(&self) -> Option<&TlsPsk> {
        self.psk.as_ref()
    }
}
