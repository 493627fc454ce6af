//! A controller: generations of associations behind one handle.

use std::sync::Arc;
use std::thread::JoinHandle;

use zerocopy::FromBytes;

use crate::auth::Agreed;
use crate::connector::TlsFacts;
use crate::driver::shared::Buffer;
use crate::error::{Error, ErrorKind, NamespaceRefusal, Result};
use crate::generations::Generations;
use crate::housekeeping;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::proto::{ControllerTraits, Negotiated};
use crate::queue::Queue;
use crate::spec::command::{Sqe, admin};
use crate::spec::completion::Status;
use crate::spec::identify::{self, IDENTIFY_LEN};

/// A connected controller. It may be shared between threads; one thread of its own sends keep-alives and
/// replaces the association when a key's record budget runs low. Dropping it shuts the controller down.
#[derive(Debug)]
pub struct Controller {
    generations: Arc<Generations>,
    housekeeper: Option<JoinHandle<()>>,
}

/// What a controller and the connections to it turned out to be, as of its present association.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ControllerInfo {
    /// What the controller says of itself.
    pub traits: ControllerTraits,
    /// What ICReq and ICResp agreed.
    pub negotiated: Negotiated,
    /// What TLS is, on a connection that has it.
    pub tls: Option<TlsFacts>,
    /// What DH-HMAC-CHAP came to on the admin queue, if there was any.
    pub authentication: Option<Agreed>,
    /// How many associations there were before this one.
    pub generation: u64,
}

impl Controller {
    fn connect(options: Options) -> Result<Self> {
        let generations = Arc::new(Generations::begin(options)?);
        let housekeeper = Some(housekeeping::start(generations.clone())?);
        Ok(Self { generations, housekeeper })
    }

    /// What the controller and the connections to it turned out to be.
    pub fn info(&self) -> ControllerInfo {
        let association = self.generations.current();
        ControllerInfo {
            traits: association.traits.clone(),
            negotiated: association.negotiated,
            tls: association.tls.clone(),
            authentication: association.agreed(),
            generation: association.generation,
        }
    }

    /// The IDs of the namespaces that this host may use, in ascending order.
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn namespaces(&self) -> Result<Vec<u32>> {
        let mut found: Vec<u32> = Vec::new();
        loop {
            let after = found.last().copied().unwrap_or(0);
            let page = self.identify(identify::CNS_ACTIVE_NAMESPACES, after)?;
            let ids =
                page.chunks_exact(4).filter_map(|id| id.first_chunk()).map(|id| u32::from_le_bytes(*id));
            let before = found.len();
            // A list ends with a zero; what does not ascend would go round for ever.
            found.extend(ids.take_while(|id| *id != 0).filter(|id| *id > after));
            if found.len() - before < IDENTIFY_LEN / 4 {
                return Ok(found);
            }
        }
    }

    /// A namespace, to read and write.
    ///
    /// # Errors
    /// There is none of this ID, or it has metadata or protection information, which would be misread.
    pub fn namespace(&self, nsid: u32) -> Result<Namespace> {
        let data = self.identify(identify::CNS_NAMESPACE, nsid).map_err(|error| match error.status() {
            Some(status) if status.is(Status::INVALID_NAMESPACE) => {
                ErrorKind::Namespace { nsid, refusal: NamespaceRefusal::Missing }.into()
            }
            _ => error,
        })?;
        let identify = identify::IdentifyNamespace::ref_from_bytes(&data)
            .map_err(|_| Error::invalid("an Identify structure has another length"))?;
        Namespace::new(self.generations.clone(), nsid, identify)
    }

    /// An Identify data structure: `cns` for `nsid`.
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn identify(&self, cns: u8, nsid: u32) -> Result<Vec<u8>> {
        let mut data = vec![0; IDENTIFY_LEN];
        self.admin_read("Identify", admin::identify(cns, nsid), &mut data)?;
        Ok(data)
    }

    /// `buffer.len()` bytes (a multiple of 4) of log page `lid` from `offset` on.
    ///
    /// # Errors
    /// The command failed, or the association is lost.
    pub fn get_log_page(&self, lid: u8, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let len = u32::try_from(buffer.len()).ok().filter(|len| *len > 0 && len % 4 == 0);
        let len = len.ok_or_else(|| Error::invalid("a log page is read in multiples of 4 bytes"))?;
        self.admin_read("Get Log Page", admin::get_log_page(lid, 0, offset, len), buffer)
    }

    fn admin_read(&self, name: &'static str, sqe: Sqe, buffer: &mut [u8]) -> Result<()> {
        self.generations.current().admin(name, sqe, Buffer::Read(buffer)).map(drop)
    }

    /// A queue of its own for one thread, on one of the I/O queues that
    /// [`Options::owned_queues`] reserved.
    ///
    /// # Errors
    /// All of them are in use, or the connection failed.
    pub fn queue(&self) -> Result<Queue> {
        Queue::open(self.generations.clone())
    }

    /// Brings up a new association with new keys, sends new commands there and shuts the old one down when
    /// its last command is done. A dead association is replaced in the same way.
    ///
    /// # Errors
    /// The new one did not come up; the old one is still used.
    pub fn reconnect(&self) -> Result<()> {
        self.generations.replace()?;
        self.generations.ring(|calls| calls.look = true);
        Ok(())
    }

    /// Authenticates both ends of the admin queue once more by DH-HMAC-CHAP, with the secrets that
    /// [`Options::authentication`] gave. It works while the queues are in use.
    ///
    /// # Errors
    /// There is no secret, or authentication failed: then the association is over, and every command on it fails.
    pub fn reauthenticate(&self) -> Result<()> {
        self.generations.current().authenticate_again(&self.generations.connector)
    }

    /// Whether the controller is there, as far as is known: its keep-alives are answered, and no queue that
    /// is shared is lost. It asks nobody and waits for nothing, so whoever waits for something else can look
    /// from time to time.
    ///
    /// # Errors
    /// Why its association was lost.
    pub fn check(&self) -> Result<()> {
        self.generations.current().death().map_or(Ok(()), Err)
    }

    /// Shuts the controller down in good order and closes every connection.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.generations.ring(|calls| calls.stop = true);
        if let Some(housekeeper) = self.housekeeper.take() {
            // It does not panic; if it did, the connections are closed all the same.
            drop(housekeeper.join());
        }
        for association in self.generations.associations() {
            association.shut_down();
        }
    }
}

impl Options {
    /// Connects: brings up a controller with its I/O queues.
    ///
    /// # Errors
    /// Wrong options; no connection; TLS failed with every identity; the controller refused this host or
    /// subsystem, or did not come up.
    pub fn connect(self) -> Result<Controller> {
        self.check()?;
        Controller::connect(self)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if self.housekeeper.is_some() {
            self.end();
        }
    }
}
