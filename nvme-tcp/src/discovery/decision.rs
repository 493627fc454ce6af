//! TREQ and SECTYPE turned into what to do: an entry came over the network, and may come from anybody, so it can
//! keep a connection from being made, and never make it less secure than it was to be.

use super::{Entry, TlsNeed};
use crate::error::Result;
use crate::nqn;
use crate::options::{Options, Security};

/// SECTYPE: TLS 1.2.
const SECTYPE_TLS12: u8 = 1;

/// How to connect to an entry's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// In plain, as the caller's options say.
    Plain,
    /// With TLS, as the caller's options say.
    Tls {
        /// Whether the entry says that the listener has it. Targets in the field forget to say so: it is tried all
        /// the same, and nothing else is.
        advertised: bool,
    },
    /// With the TLS key that authentication makes, as the caller's options say.
    Concat,
    /// Not at all.
    Refused(Refusal),
}

/// Why there is no connecting to an entry's listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The listener insists on TLS, and the caller has no key for it.
    #[error("the listener requires TLS, and no key is given")]
    TlsRequired,
    /// The listener takes nothing in plain, not even the authentication that a key comes from.
    #[error("the listener requires TLS from the first byte, and concatenation begins in plain")]
    ConcatNotTaken,
    /// The listener's TLS is 1.2, which NVMe/TCP no longer has.
    #[error("the listener has only TLS 1.2")]
    OldTls,
    /// The entry's name cannot be one.
    #[error("the entry names no subsystem: {0}")]
    Name(#[from] nqn::NqnError),
}

impl Entry {
    /// How to connect to this entry's listener with what the caller's options have:
    ///
    /// | options | entry: no TLS | possible | required |
    /// |---|---|---|---|
    /// | plain | plain | plain | refused |
    /// | TLS | TLS, not advertised | TLS | TLS |
    /// | concatenation | concatenation | concatenation | refused |
    ///
    /// A listener that has only TLS 1.2 is refused where TLS is to be used.
    ///
    /// ```
    /// use nvme_tcp::Security;
    /// use nvme_tcp::discovery::{Decision, Entry, Refusal};
    /// use nvme_tcp::spec::discovery_log::{DiscoveryLogEntry, TREQ_REQUIRED};
    ///
    /// let mut raw = DiscoveryLogEntry::zeroed();
    /// raw.subnqn[..29].copy_from_slice(b"nqn.2024-01.io.example:images");
    /// (raw.sectype, raw.treq) = (2, TREQ_REQUIRED);
    /// // The entry may keep a connection from being made, and never weakens it.
    /// let entry = Entry::read(&raw);
    /// assert_eq!(entry.decide(&Security::Plain), Decision::Refused(Refusal::TlsRequired));
    /// assert_eq!(entry.decide(&Security::Concat), Decision::Refused(Refusal::ConcatNotTaken));
    /// ```
    pub fn decide(&self, security: &Security) -> Decision {
        if let Err(error) = nqn::validate(&self.subsystem_nqn) {
            return Decision::Refused(error.into());
        }
        let old = self.security_type == SECTYPE_TLS12;
        match (security, self.tls) {
            (Security::Plain, TlsNeed::Required) => Decision::Refused(Refusal::TlsRequired),
            (Security::Plain, _) => Decision::Plain,
            (_, TlsNeed::Required | TlsNeed::Possible) if old => Decision::Refused(Refusal::OldTls),
            (Security::Tls { .. } | Security::TlsFrom { .. }, need) => {
                Decision::Tls { advertised: need != TlsNeed::Off }
            }
            (Security::Concat, TlsNeed::Required) => Decision::Refused(Refusal::ConcatNotTaken),
            (Security::Concat, _) => Decision::Concat,
        }
    }

    /// The options to connect to this entry: those of `base` with the entry's address and subsystem, and with the
    /// same security.
    ///
    /// ```no_run
    /// # fn example(entry: &nvme_tcp::discovery::Entry, base: &nvme_tcp::Options) -> nvme_tcp::Result<()> {
    /// // Keys, queues and time-outs are those of `base`; what was found says only where.
    /// let controller = entry.options(base)?.connect()?;
    /// println!("{}: {:?}", entry.address, controller.namespaces()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`decide`](Self::decide) refuses it.
    pub fn options(&self, base: &Options) -> Result<Options> {
        if let Decision::Refused(refusal) = self.decide(&base.security) {
            return Err(refusal.into());
        }
        let (address, subsystem_nqn) = (self.address.clone(), self.subsystem_nqn.clone());
        Ok(Options { address, subsystem_nqn, ..base.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::EntryKind;
    use super::*;
    use crate::psk::{ConfiguredKey, KeyHash, Policy};

    fn entry(tls: TlsNeed, security_type: u8) -> Entry {
        Entry {
            kind: EntryKind::Subsystem,
            subsystem_nqn: "nqn.2024-01.io.example:a".to_owned(),
            address: "127.0.0.1:4420".to_owned(),
            port_id: 1,
            tls,
            security_type,
            controller_id: None,
            admin_queue_size: 32,
            flags: 0,
        }
    }

    #[test]
    fn no_entry_makes_a_connection_less_secure() {
        let key = ConfiguredKey::generate(KeyHash::Sha256).unwrap();
        let tls = Security::Tls { keys: [key].into(), policy: Policy::ALL };
        let needs = [TlsNeed::Off, TlsNeed::Possible, TlsNeed::Required];
        for security_type in 0..=u8::MAX {
            for need in needs {
                let entry = entry(need, security_type);
                assert!(matches!(
                    entry.decide(&tls),
                    Decision::Tls { .. } | Decision::Refused(Refusal::OldTls)
                ));
                assert!(matches!(entry.decide(&Security::Concat), Decision::Concat | Decision::Refused(_)));
            }
        }
        let decide = |security: &Security| needs.map(|need| entry(need, 2).decide(security));
        let with_tls = |advertised| Decision::Tls { advertised };
        assert_eq!(decide(&tls), [with_tls(false), with_tls(true), with_tls(true)]);
        let refused = Decision::Refused(Refusal::TlsRequired);
        assert_eq!(decide(&Security::Plain), [Decision::Plain, Decision::Plain, refused]);
        let refused = Decision::Refused(Refusal::ConcatNotTaken);
        assert_eq!(decide(&Security::Concat), [Decision::Concat, Decision::Concat, refused]);
        assert_eq!(entry(TlsNeed::Possible, 1).decide(&tls), Decision::Refused(Refusal::OldTls));
    }

    #[test]
    fn an_entry_without_a_name_is_refused() {
        let entry = Entry { subsystem_nqn: "a b".to_owned(), ..entry(TlsNeed::Off, 0) };
        assert!(matches!(entry.decide(&Security::Plain), Decision::Refused(Refusal::Name(_))));
    }
}
