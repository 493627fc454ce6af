//! Identify: the controller, its namespaces, and who else there is.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Controller, admin_read};
use crate::error::Result;
use crate::spec::command::admin::{self, IdentifyFields};
use crate::spec::identify::{
    self, IDENTIFY_LEN, IdentifyController, IdentifyIndependentNamespace, IdentifyNamespace,
    IdentifyNvmController, IdentifyNvmNamespace, MAX_CONTROLLERS, UuidEntry, descriptor,
};
use crate::spec::malformed::{self, Malformed};

/// What tells a namespace from every other, from its identification descriptors (CNS 03h).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NamespaceIds {
    /// EUI64.
    pub eui64: Option<[u8; 8]>,
    /// NGUID.
    pub nguid: Option<[u8; 16]>,
    /// UUID.
    pub uuid: Option<[u8; 16]>,
    /// CSI: its command set, 0 for the NVM command set.
    pub command_set: Option<u8>,
}

impl NamespaceIds {
    /// Reads a list of descriptors; those of unknown types or of wrong lengths are passed over.
    ///
    /// ```
    /// use nvme_tcp::NamespaceIds;
    ///
    /// // An EUI64: type 1, 8 bytes. A zero ends the list.
    /// let list = [1, 8, 0, 0, 0x00, 0x25, 0x38, 0xb1, 0x11, 0x00, 0x00, 0x01, 0, 0, 0, 0];
    /// let ids = NamespaceIds::read(&list);
    /// assert_eq!(ids.eui64, Some([0x00, 0x25, 0x38, 0xb1, 0x11, 0x00, 0x00, 0x01]));
    /// assert_eq!(ids.uuid, None);
    /// ```
    pub fn read(bytes: &[u8]) -> Self {
        let mut ids = Self::default();
        for (kind, id) in descriptor::iter(bytes) {
            match kind {
                descriptor::EUI64 => ids.eui64 = id.try_into().ok(),
                descriptor::NGUID => ids.nguid = id.try_into().ok(),
                descriptor::UUID => ids.uuid = id.try_into().ok(),
                descriptor::CSI => ids.command_set = id.first().copied().filter(|_| id.len() == 1),
                _ => {}
            }
        }
        ids
    }
}

impl Controller {
    /// An Identify data structure: `cns` for `nsid`.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // CNS 04h, the NVM sets: how many there are, then 128 bytes for each.
    /// let sets = controller.identify(0x04, 0)?;
    /// println!("{} NVM sets", sets[0]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify(&self, cns: u8, nsid: u32) -> Result<Vec<u8>> {
        self.identify_fields(IdentifyFields { cns, nsid, ..IdentifyFields::default() })
    }

    /// Any Identify data structure, 4,096 bytes as they come.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// use nvme_tcp::spec::command::admin::IdentifyFields;
    ///
    /// // CNS 1Ch, the command sets; CNTID FFFFh is this controller. Bit 2 of the first is for zones.
    /// let fields = IdentifyFields { cns: 0x1c, cntid: 0xffff, ..IdentifyFields::default() };
    /// println!("zoned namespaces: {}", controller.identify_fields(fields)?[0] & 1 << 2 != 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_fields(&self, fields: IdentifyFields) -> Result<Vec<u8>> {
        let mut data = vec![0; IDENTIFY_LEN];
        admin_read(&self.generations, "Identify", fields.to_sqe(), &mut data)?;
        Ok(data)
    }

    fn identify_as<T: FromBytes + KnownLayout + Immutable>(
        &self,
        name: &'static str,
        fields: IdentifyFields,
    ) -> Result<Box<T>> {
        Ok(malformed::read(name, &self.identify_fields(fields)?)?.0)
    }

    /// CNS 01h: the controller.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let identify = controller.identify_controller()?;
    /// println!("CNTLID {}, at most {} namespaces", identify.cntlid, identify.nn);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_controller(&self) -> Result<Box<IdentifyController>> {
        self.identify_as("Identify Controller", of(identify::CNS_CONTROLLER, 0))
    }

    /// CNS 00h: a namespace. One that is not attached comes out as zeros.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let namespace = controller.identify_namespace(1)?;
    /// println!("{} of {} blocks are in use", namespace.nuse, namespace.nsze);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_namespace(&self, nsid: u32) -> Result<Box<IdentifyNamespace>> {
        self.identify_as("Identify Namespace", of(identify::CNS_NAMESPACE, nsid))
    }

    /// CNS 11h: a namespace of the subsystem, whether it is attached to this controller or not.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for nsid in controller.allocated_namespaces()? {
    ///     println!("{nsid}: {} blocks", controller.identify_allocated_namespace(nsid)?.nsze);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_allocated_namespace(&self, nsid: u32) -> Result<Box<IdentifyNamespace>> {
        self.identify_as("Identify Namespace", of(identify::CNS_ALLOCATED_NAMESPACE, nsid))
    }

    /// CNS 08h: a namespace, as far as it is the same for each command set.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let namespace = controller.identify_independent_namespace(1)?;
    /// println!("ready: {}, ANA group {}", namespace.nstat & 1 != 0, namespace.anagrpid);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_independent_namespace(&self, nsid: u32) -> Result<Box<IdentifyIndependentNamespace>> {
        self.identify_as("Identify Namespace", of(identify::CNS_INDEPENDENT_NAMESPACE, nsid))
    }

    /// CNS 05h, CSI 0: what the NVM command set adds to a namespace.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let preferred = controller.identify_nvm_namespace(1)?;
    /// println!("reads are best a multiple of {} blocks (0: of any)", preferred.nprg);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_nvm_namespace(&self, nsid: u32) -> Result<Box<IdentifyNvmNamespace>> {
        self.identify_as("Identify Namespace", of(identify::CNS_COMMAND_SET_NAMESPACE, nsid))
    }

    /// CNS 06h, CSI 0: what the NVM command set adds to the controller.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// // This library splits what is longer into several commands.
    /// let limits = controller.identify_nvm_controller()?;
    /// println!("{} blocks in one range to deallocate (0: no limit)", limits.dmrsl);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify_nvm_controller(&self) -> Result<Box<IdentifyNvmController>> {
        self.identify_as("Identify Controller", of(identify::CNS_COMMAND_SET_CONTROLLER, 0))
    }

    /// CNS 03h: what tells a namespace from every other.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// println!("{:?}", controller.namespace_ids(1)?.uuid);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn namespace_ids(&self, nsid: u32) -> Result<NamespaceIds> {
        Ok(NamespaceIds::read(&self.identify(identify::CNS_DESCRIPTORS, nsid)?))
    }

    /// The IDs of the namespaces that this host may use, in ascending order.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for nsid in controller.namespaces()? {
    ///     println!("{nsid}: {} bytes", controller.namespace(nsid)?.size());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost; the list does not ascend, or holds more than 65,536 IDs
    /// ([`ErrorKind::Malformed`](crate::ErrorKind::Malformed)).
    pub fn namespaces(&self) -> Result<Vec<u32>> {
        self.namespace_list(of(identify::CNS_ACTIVE_NAMESPACES, 0))
    }

    /// CNS 07h: those of them that belong to command set `csi`, in ascending order.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// println!("zoned (CSI 2): {:?}", controller.namespaces_of(2)?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`namespaces`](Self::namespaces).
    pub fn namespaces_of(&self, csi: u8) -> Result<Vec<u32>> {
        let fields = of(identify::CNS_COMMAND_SET_ACTIVE_NAMESPACES, 0);
        self.namespace_list(IdentifyFields { csi, ..fields })
    }

    /// CNS 10h: the namespaces of the subsystem, attached to this controller or not, in ascending order.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let attached = controller.namespaces()?;
    /// for nsid in controller.allocated_namespaces()?.iter().filter(|nsid| !attached.contains(nsid)) {
    ///     println!("{nsid} is there, but not attached to this controller");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`namespaces`](Self::namespaces).
    pub fn allocated_namespaces(&self) -> Result<Vec<u32>> {
        self.namespace_list(of(identify::CNS_ALLOCATED_NAMESPACES, 0))
    }

    fn namespace_list(&self, fields: IdentifyFields) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        loop {
            let nsid = found.last().copied().unwrap_or(0);
            // No namespace has an ID above this, and such a command would be refused.
            if nsid >= admin::ALL_NAMESPACES - 1 {
                return Ok(found);
            }
            let page = self.identify_fields(IdentifyFields { nsid, ..fields })?;
            if !append_namespaces(&mut found, &page)? {
                return Ok(found);
            }
        }
    }

    /// The controllers of the subsystem (CNS 13h), or those that namespace `nsid` is attached to (CNS 12h), in
    /// ascending order.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// let own = controller.info().traits.cntlid;
    /// let others = controller.controllers(Some(1))?.into_iter().filter(|id| *id != own);
    /// println!("{} more controllers have namespace 1: other paths, or other hosts", others.count());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, its list is malformed, or the association is lost.
    pub fn controllers(&self, nsid: Option<u32>) -> Result<Vec<u16>> {
        let cns =
            if nsid.is_some() { identify::CNS_NAMESPACE_CONTROLLERS } else { identify::CNS_CONTROLLERS };
        let mut found: Vec<u16> = Vec::new();
        loop {
            // The list begins with CNTID itself.
            let cntid = found.last().map_or(Some(0), |last| last.checked_add(1));
            let Some(cntid) = cntid else { return Ok(found) };
            let fields = IdentifyFields { cntid, ..of(cns, nsid.unwrap_or(0)) };
            let page = identify::controllers(&self.identify_fields(fields)?)?;
            let count = page.len();
            // What does not ascend would go round for ever.
            let before = found.len();
            for id in page {
                if found.last().is_none_or(|last| id > *last) {
                    found.push(id);
                }
            }
            if count < MAX_CONTROLLERS || found.len() == before {
                return Ok(found);
            }
        }
    }

    /// CNS 17h: the UUIDs that UUID indexes stand for, from index 1 on.
    ///
    /// ```no_run
    /// # fn example(controller: &nvme_tcp::Controller) -> nvme_tcp::Result<()> {
    /// for (index, entry) in (1..).zip(controller.uuids()?) {
    ///     println!("UUID index {index}: {}", nvme_tcp::host::format_uuid(&entry.uuid));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn uuids(&self) -> Result<Vec<UuidEntry>> {
        Ok(identify::uuids(&self.identify(identify::CNS_UUIDS, 0)?))
    }
}

/// The most namespace IDs that are taken from a controller.
const MAX_LISTED: usize = 1 << 16;

/// Adds a page of a namespace list; whether there may be another.
fn append_namespaces(found: &mut Vec<u32>, page: &[u8]) -> Result<bool> {
    let malformed = |got: u32, expected| {
        Err(Malformed { structure: "a namespace list", field: "NSID", got: got.into(), expected }.into())
    };
    let ids = page.chunks_exact(4).filter_map(|id| id.first_chunk()).map(|id| u32::from_le_bytes(*id));
    for id in ids {
        if id == 0 {
            return Ok(false);
        }
        // What does not ascend would go round for ever.
        if found.last().is_some_and(|last| id <= *last) {
            return malformed(id, "IDs that ascend");
        }
        if found.len() == MAX_LISTED {
            return malformed(id, "at most 65,536 of them");
        }
        found.push(id);
    }
    Ok(true)
}

fn of(cns: u8, nsid: u32) -> IdentifyFields {
    IdentifyFields { cns, nsid, csi: identify::CSI_NVM, ..IdentifyFields::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn identifiers_of_wrong_lengths_are_passed_over() {
        let mut list = vec![1, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 0, 0, 9, 9, 9, 4, 1, 0, 0, 2];
        list.extend([200, 2, 0, 0, 7, 7, 0, 0, 0, 0]);
        let ids = NamespaceIds::read(&list);
        assert_eq!(ids.eui64, Some([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((ids.nguid, ids.uuid, ids.command_set), (None, None, Some(2)));
    }

    fn page(ids: impl IntoIterator<Item = u32>) -> Vec<u8> {
        ids.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn namespace_ids_ascend_and_end() {
        let mut found = Vec::new();
        assert!(append_namespaces(&mut found, &page(1..=1024)).unwrap(), "a full page has another behind it");
        assert!(!append_namespaces(&mut found, &page([2000, 0, 3000])).unwrap());
        assert_eq!((found.len(), found.last()), (1025, Some(&2000)));
        for wrong in [2000, 7] {
            let error = append_namespaces(&mut found, &page([wrong, 0])).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Malformed(Malformed { got, .. }) if *got == wrong.into())
            );
        }
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let mut found = Vec::new();
        let error = (0..=64).map(|n| append_namespaces(&mut found, &page(n * 1024 + 1..=(n + 1) * 1024)));
        let error = error.collect::<Result<Vec<_>>>().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Malformed(Malformed { got: 65_537, .. })), "{error}");
    }
}
