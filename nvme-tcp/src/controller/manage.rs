//! Namespaces that come, and the controllers that they are attached to; and Abort (Base, sections 5.1.1, 5.1.20 and
//! 5.1.21).

use std::time::Duration;

use zerocopy::IntoBytes;

use super::{Controller, admin, admin_value, admin_within};
use crate::association::check;
use crate::driver::shared::Buffer;
use crate::error::{Error, Result};
use crate::spec::command::admin as spec;
use crate::spec::command::maintenance;
use crate::spec::identify::{CSI_NVM, ControllerList, IdentifyNamespace, MAX_CONTROLLERS};

/// What a namespace to create is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewNamespace {
    /// NSZE: its size in blocks.
    pub blocks: u64,
    /// NCAP: how many of them are allocated; fewer than `blocks` only where the controller provisions thinly.
    pub capacity: u64,
    /// LBA format, 0 to 63.
    pub format: u8,
    /// NMIC: whether several controllers may be attached to it.
    pub shared: bool,
    /// ANAGRPID; 0 for the controller's choice.
    pub ana_group: u32,
}

impl Controller {
    /// Creates a namespace of the NVM command set, and gives back its NSID. It is not attached to any controller.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::NewNamespace;
    ///
    /// let new = NewNamespace { blocks: 1 << 20, capacity: 1 << 20, ..NewNamespace::default() };
    /// let nsid = controller.create_namespace(&new, std::time::Duration::from_secs(60))?;
    /// controller.attach_namespace(nsid, &[controller.info().traits.cntlid])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The LBA format is above 63, the command failed, or the association is lost.
    pub fn create_namespace(&self, new: &NewNamespace, timeout: Duration) -> Result<u32> {
        let NewNamespace { blocks, capacity, format, shared, ana_group } = *new;
        if format > 63 {
            return Err(Error::invalid(format!("LBA format {format}, expected 0 to 63")));
        }
        let mut data = IdentifyNamespace::zeroed();
        data.nsze.set(blocks);
        data.ncap.set(capacity);
        data.flbas = format & 0xf | (format >> 4) << 5;
        data.nmic = shared.into();
        data.anagrpid.set(ana_group);
        let sqe = maintenance::create_namespace(CSI_NVM);
        let buffer = Buffer::Write(data.as_bytes());
        let (cqe, fault) = admin_within(&self.generations, timeout, sqe, buffer)?;
        check("Namespace Management", &cqe, fault)?;
        Ok(cqe.dw0())
    }

    /// Attaches a namespace to controllers of the subsystem.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // To every controller there is: the namespace was created as `shared`.
    /// controller.attach_namespace(2, &controller.controllers(None)?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There are no controllers or more than 2,047, the command failed, or the association is lost.
    pub fn attach_namespace(&self, nsid: u32, controllers: &[u16]) -> Result<()> {
        self.change_attachment(nsid, controllers, true)
    }

    /// Detaches a namespace from controllers of the subsystem.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// controller.detach_namespace(2, &[controller.info().traits.cntlid])?;
    /// // The subsystem keeps it, and what is in it.
    /// assert!(!controller.namespaces()?.contains(&2) && controller.allocated_namespaces()?.contains(&2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`attach_namespace`](Self::attach_namespace).
    pub fn detach_namespace(&self, nsid: u32, controllers: &[u16]) -> Result<()> {
        self.change_attachment(nsid, controllers, false)
    }

    fn change_attachment(&self, nsid: u32, controllers: &[u16], attach: bool) -> Result<()> {
        let list = ControllerList::of(controllers).filter(|_| !controllers.is_empty());
        let list = list.ok_or_else(|| {
            let count = controllers.len();
            Error::invalid(format!("{count} controllers, expected 1 to {MAX_CONTROLLERS}"))
        })?;
        let sqe = maintenance::attach_namespace(nsid, attach);
        admin(&self.generations, "Namespace Attachment", sqe, Buffer::Write(list.as_bytes())).map(drop)
    }

    /// Asks the controller to abort command `cid` of queue `qid` of the present association: whether it did.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // Command 00A3h of I/O queue 1, as a trace of the PDUs shows it.
    /// if !controller.abort(1, 0x00a3)? {
    ///     println!("it is done already, or too far to be stopped");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn abort(&self, qid: u16, cid: u16) -> Result<bool> {
        // Bit 0 of DW0 says that it did not.
        admin_value(&self.generations, "Abort", spec::abort(qid, cid)).map(|result| result & 1 == 0)
    }
}
