//! Commands that destroy data, and the consent that they want (Base, sections 5.1.10 and 5.1.22).

use std::time::Duration;

use super::{Controller, admin_within};
use crate::association::check;
use crate::driver::shared::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::command::Sqe;
use crate::spec::command::admin::ALL_NAMESPACES;
use crate::spec::command::maintenance::{self, SanitizeAction, SanitizeOptions, SecureErase};
use crate::spec::identify::{FNA_ERASE_ALL, FNA_FORMAT_ALL, OACS_FORMAT};

/// That data may be destroyed, and whose: it names the subsystem, and is good for one command.
///
/// It is made of what the caller believes to be connected to, and compared with what is, before anything is sent.
///
/// ```no_run
/// use std::time::Duration;
/// use nvme_tcp::spec::command::maintenance::SecureErase;
/// use nvme_tcp::{EraseConsent, FormatOptions};
///
/// # fn format(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
/// let consent = EraseConsent::for_namespace("nqn.2024-01.io.example:images", 3);
/// let timeout = Duration::from_secs(600);
/// let options = FormatOptions { nsid: Some(3), format: 0, erase: SecureErase::UserData, timeout };
/// controller.format(consent, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EraseConsent {
    subsystem_nqn: String,
    /// `None` for everything that the subsystem has.
    nsid: Option<u32>,
}

impl EraseConsent {
    /// Everything in namespace `nsid` of subsystem `subsystem_nqn` may be destroyed.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // What the operator typed, not what `controller` says of itself: the two are compared.
    /// let consent = nvme_tcp::EraseConsent::for_namespace("nqn.2024-01.io.example:images", 3);
    /// controller.delete_namespace(consent, 3, std::time::Duration::from_secs(60))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_namespace(subsystem_nqn: impl Into<String>, nsid: u32) -> Self {
        Self { subsystem_nqn: subsystem_nqn.into(), nsid: Some(nsid) }
    }

    /// Everything in every namespace of subsystem `subsystem_nqn` may be destroyed, whoever uses it.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::maintenance::SecureErase;
    /// use nvme_tcp::{EraseConsent, FormatOptions};
    ///
    /// // Every namespace of a shelf that is taken down, at once.
    /// let consent = EraseConsent::for_whole_subsystem("nqn.2024-01.io.example:images");
    /// let timeout = std::time::Duration::from_secs(600);
    /// let erase = SecureErase::Cryptographic;
    /// controller.format(consent, &FormatOptions { nsid: None, format: 0, erase, timeout })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn for_whole_subsystem(subsystem_nqn: impl Into<String>) -> Self {
        Self { subsystem_nqn: subsystem_nqn.into(), nsid: None }
    }

    /// Whether it covers what is about to be destroyed at `subsystem_nqn`: one namespace, or all of them.
    fn covers(&self, subsystem_nqn: &str, wanted: Option<u32>) -> Result<()> {
        if self.subsystem_nqn != subsystem_nqn {
            let consented = &self.subsystem_nqn;
            let what = format!("consent is for subsystem {consented}, and this is {subsystem_nqn}");
            return Err(Error::invalid(what));
        }
        match (self.nsid, wanted) {
            (None, _) => Ok(()),
            (Some(nsid), Some(wanted)) if nsid == wanted => Ok(()),
            (Some(nsid), Some(wanted)) => Err(Error::invalid(format!(
                "consent is for namespace {nsid}, and this is namespace {wanted}"
            ))),
            (Some(nsid), None) => Err(Error::invalid(format!(
                "consent is for namespace {nsid}, and this destroys every namespace of the subsystem"
            ))),
        }
    }
}

/// A Format NVM. It is without metadata and protection information, which this library does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatOptions {
    /// The namespace; `None` for all of them.
    pub nsid: Option<u32>,
    /// LBAF: which of the namespace's formats, 0 to 63.
    pub format: u8,
    /// SES: what to erase besides.
    pub erase: SecureErase,
    /// How long it may take; erasing takes long.
    pub timeout: Duration,
}

impl Controller {
    /// Formats a namespace, or all of them, and by that destroys what is in it.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::maintenance::SecureErase;
    /// use nvme_tcp::{EraseConsent, FormatOptions};
    ///
    /// let consent = EraseConsent::for_namespace("nqn.2024-01.io.example:images", 3);
    /// let (erase, timeout) = (SecureErase::None, std::time::Duration::from_secs(600));
    /// controller.format(consent, &FormatOptions { nsid: Some(3), format: 1, erase, timeout })?;
    /// // A `Namespace` from before counts in the old blocks: open it anew.
    /// println!("blocks of {} bytes", controller.namespace(3)?.block_size());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `consent` is for something else; for one namespace it is not enough where the controller formats all at once
    /// (FNA). The format has metadata, the command failed, or the association is lost.
    pub fn format(&self, consent: EraseConsent, options: &FormatOptions) -> Result<()> {
        let FormatOptions { nsid, format, erase, timeout } = *options;
        let nsid = nsid.filter(|nsid| *nsid != ALL_NAMESPACES);
        let identify = self.identify_controller()?;
        let all = FNA_FORMAT_ALL | if erase == SecureErase::None { 0 } else { FNA_ERASE_ALL };
        let wanted = if identify.fna & all == 0 { nsid } else { None };
        consent.covers(&self.subsystem_nqn(), wanted)?;
        if identify.oacs.get() & OACS_FORMAT == 0 {
            return Err(ErrorKind::Unsupported("Format NVM").into());
        }
        if format > 63 {
            return Err(Error::invalid(format!("LBA format {format}, expected 0 to 63")));
        }
        if let Some(nsid) = nsid {
            let namespace = self.identify_namespace(nsid)?;
            let raw = namespace.lbaf.get(usize::from(format)).map_or(0, |raw| raw.get());
            if raw as u16 != 0 || raw >> 16 & 0xff == 0 {
                let what = "is none of the namespace's, or has metadata, which could not be used afterwards";
                return Err(Error::invalid(format!("LBA format {format} {what}")));
            }
        }
        let sqe = maintenance::format(nsid.unwrap_or(ALL_NAMESPACES), format, erase);
        self.destroy("Format NVM", sqe, timeout)
    }

    /// Starts to sanitize the subsystem: to erase all that ever was in any of its namespaces. It goes on by itself,
    /// and [`sanitize_log`](Self::sanitize_log) tells how far it is.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::EraseConsent;
    /// use nvme_tcp::spec::command::maintenance::{SanitizeAction, SanitizeOptions};
    ///
    /// let consent = EraseConsent::for_whole_subsystem("nqn.2024-01.io.example:images");
    /// let timeout = std::time::Duration::from_secs(60);
    /// controller.sanitize(consent, SanitizeAction::CryptoErase, SanitizeOptions::default(), timeout)?;
    /// println!("{:?}", controller.sanitize_log()?.state());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `consent` is not for the whole of this subsystem, the options make no sense, the command failed, or the
    /// association is lost.
    pub fn sanitize(
        &self,
        consent: EraseConsent,
        action: SanitizeAction,
        options: SanitizeOptions,
        timeout: Duration,
    ) -> Result<()> {
        consent.covers(&self.subsystem_nqn(), None)?;
        if !(1..=16).contains(&options.passes) {
            return Err(Error::invalid(format!("{} passes, expected 1 to 16", options.passes)));
        }
        self.destroy("Sanitize", maintenance::sanitize(action, options), timeout)
    }

    /// Deletes a namespace, and by that destroys what is in it.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let consent = nvme_tcp::EraseConsent::for_namespace("nqn.2024-01.io.example:images", 3);
    /// // Only where no other controller, and so no other host, has it attached.
    /// if controller.controllers(Some(3))? == [controller.info().traits.cntlid] {
    ///     controller.delete_namespace(consent, 3, std::time::Duration::from_secs(60))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `consent` is for something else, the command failed, or the association is lost.
    pub fn delete_namespace(&self, consent: EraseConsent, nsid: u32, timeout: Duration) -> Result<()> {
        consent.covers(&self.subsystem_nqn(), Some(nsid).filter(|nsid| *nsid != ALL_NAMESPACES))?;
        self.destroy("Namespace Management", maintenance::delete_namespace(nsid), timeout)
    }

    fn destroy(&self, name: &'static str, sqe: Sqe, timeout: Duration) -> Result<()> {
        let (cqe, fault) = admin_within(&self.generations, timeout, sqe, Buffer::None)?;
        check(name, &cqe, fault)
    }

    /// The NQN that the controller gives itself, or where it gives none, the one that was connected to.
    fn subsystem_nqn(&self) -> String {
        let own = self.generations.current().traits.subsystem_nqn.clone();
        if own.is_empty() { self.generations.connector.options().subsystem_nqn.clone() } else { own }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_for_what_it_names_and_nothing_more() {
        let covers = |consent: EraseConsent, nqn, wanted| consent.covers(nqn, wanted).is_ok();
        let one = || EraseConsent::for_namespace("nqn.a", 1);
        let all = || EraseConsent::for_whole_subsystem("nqn.a");
        assert!(
            covers(one(), "nqn.a", Some(1))
                && covers(all(), "nqn.a", Some(1))
                && covers(all(), "nqn.a", None)
        );
        assert!(!covers(one(), "nqn.a", Some(2)) && !covers(one(), "nqn.a", None));
        assert!(!covers(one(), "nqn.b", Some(1)) && !covers(all(), "nqn.b", None));
    }
}
