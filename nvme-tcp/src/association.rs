//! One association: an admin queue, the I/O queues that belong to it, and what the controller is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::connector::{Connector, Opened, TlsFacts};
use crate::driver::shared::{Buffer, Request, SharedQueue};
use crate::error::{Error, ErrorKind, Result};
use crate::proto::{AdminCommand, BringUp, ControllerTraits, DataFault, Negotiated, Step, refused};
use crate::spec::command::{Sqe, fabrics};
use crate::spec::completion::Cqe;
use crate::spec::property;

/// A generation of a controller. It is whole or gone: losing the admin queue ends all of it, and no queue of
/// it is ever connected twice.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) generation: u64,
    pub(crate) traits: ControllerTraits,
    pub(crate) negotiated: Negotiated,
    pub(crate) tls: Option<TlsFacts>,
    pub(crate) admin: SharedQueue,
    pub(crate) io: Vec<SharedQueue>,
    /// Queue IDs that the controller grants and nobody uses.
    free_qids: Mutex<Vec<u16>>,
}

/// How long a controller may take to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);
/// How often CSTS is read meanwhile.
const SHUTDOWN_POLL: Duration = Duration::from_millis(10);

impl Association {
    /// Brings up a new one: admin queue, controller, I/O queues.
    pub(crate) fn establish(connector: &Connector, generation: u64) -> Result<Self> {
        let settings = connector.settings();
        let timeout = connector.options().timeout;
        let opened = connector.open(settings.admin_entries)?;
        let (negotiated, tls) = (opened.negotiated, opened.tls);
        let depth = settings.admin_entries - 1;
        let admin = SharedQueue::new(opened.engine, opened.intake, depth, timeout);
        let traits = bring_up(&admin, BringUp::new(settings))?;
        let mut association = Self {
            generation,
            negotiated,
            tls,
            admin,
            io: Vec::new(),
            free_qids: Mutex::new((1..=traits.io_queues).rev().collect()),
            traits,
        };
        let options = connector.options();
        let granted = association.traits.io_queues;
        // At least one is shared, even where the controller grants no more than were to be owned.
        let shared = granted.saturating_sub(options.owned_queues).max(granted.min(1)).min(options.io_queues);
        for _ in 0..shared {
            let (opened, _) = association.open_io_queue(connector)?;
            let depth = association.traits.io_entries - 1;
            association.io.push(SharedQueue::new(opened.engine, opened.intake, depth, timeout));
        }
        Ok(association)
    }

    /// Connects one more I/O queue, and says which ID it got.
    pub(crate) fn open_io_queue(&self, connector: &Connector) -> Result<(Opened, u16)> {
        let qid = self.free_qids().pop();
        let qid = qid.ok_or_else(|| {
            Error::invalid(format!("all {} I/O queues of the controller are in use", self.traits.io_queues))
        })?;
        let result = self.connect_io_queue(connector, qid);
        if result.is_err() {
            self.give_back(qid);
        }
        result.map(|opened| (opened, qid))
    }

    fn free_qids(&self) -> MutexGuard<'_, Vec<u16>> {
        self.free_qids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect_io_queue(&self, connector: &Connector, qid: u16) -> Result<Opened> {
        let opened = connector.open(self.traits.io_entries)?;
        let settings = connector.settings();
        let connect = BringUp::connect(&settings, qid, self.traits.io_entries, self.traits.cntlid)
            .ok_or_else(|| Error::invalid("an NQN is longer than Connect can hold"))?;
        // The queue is nobody else's yet, so a shared one of one command serves for Connect.
        let queue = SharedQueue::new(
            opened.engine,
            opened.intake,
            self.traits.io_entries - 1,
            connector.options().timeout,
        );
        let buffer = Buffer::Write(&connect.write);
        queue.execute([Request { sqe: connect.sqe, buffer }], |cqe, _| match cqe.status().is_success() {
            true => Ok(()),
            false => Err(refused(cqe).into()),
        })?;
        let (mut engine, intake) = queue.into_parts()?;
        engine.connection_mut().set_in_capsule_limit(self.traits.in_capsule);
        Ok(Opened { engine, intake, negotiated: opened.negotiated, tls: opened.tls })
    }

    /// Runs one admin command; `name` is for errors.
    pub(crate) fn admin(&self, name: &'static str, sqe: Sqe, buffer: Buffer<'_>) -> Result<Cqe> {
        run(&self.admin, name, sqe, buffer)
    }

    /// Whether a command has completed on any queue since this was last asked.
    pub(crate) fn take_traffic(&self) -> bool {
        // Every queue is asked, since each forgets.
        self.io.iter().chain([&self.admin]).map(SharedQueue::take_traffic).fold(false, |a, b| a | b)
    }

    /// Why a queue of it died, if one did.
    pub(crate) fn death(&self) -> Option<Error> {
        self.admin.death().or_else(|| self.io.iter().find_map(SharedQueue::death))
    }

    /// Queue `qid` is closed: its ID may be used again.
    pub(crate) fn give_back(&self, qid: u16) {
        self.free_qids().push(qid);
    }

    /// Fails everything that is outstanding on it.
    pub(crate) fn close(&self, error: &Error) {
        for queue in self.io.iter().chain([&self.admin]) {
            queue.close(error.clone());
        }
    }

    /// Shuts the controller down in good order (Base, section 3.6.1), then closes every connection.
    pub(crate) fn shut_down(&self) {
        if self.death().is_none() {
            // The connections end now whatever the controller says of it.
            drop(self.shut_down_controller());
        }
        self.close(&ErrorKind::ShutDown.into());
    }

    fn shut_down_controller(&self) -> Result<()> {
        let cc = self.admin("Property Get (CC)", fabrics::property_get(property::CC, false), Buffer::None)?;
        let wanted = cc.dw0() & !property::CC_SHUTDOWN_MASK | property::CC_SHUTDOWN_NORMAL;
        self.admin("Property Set (CC)", fabrics::property_set(property::CC, wanted), Buffer::None)?;
        let limit = Instant::now() + SHUTDOWN_LIMIT;
        loop {
            let get = fabrics::property_get(property::CSTS, false);
            let csts = self.admin("Property Get (CSTS)", get, Buffer::None)?.dw0();
            let done = csts & property::CSTS_SHUTDOWN_MASK == property::CSTS_SHUTDOWN_COMPLETE;
            if done || Instant::now() >= limit {
                return Ok(());
            }
            // CSTS has no event to wait for.
            thread::sleep(SHUTDOWN_POLL);
        }
    }
}

/// Runs one command on `queue`; an unsuccessful status becomes an error.
pub(crate) fn run(queue: &SharedQueue, name: &'static str, sqe: Sqe, buffer: Buffer<'_>) -> Result<Cqe> {
    let mut answer = Cqe::default();
    queue.execute([Request { sqe, buffer }], |cqe, fault| {
        answer = *cqe;
        check(name, cqe, fault)
    })?;
    Ok(answer)
}

/// Turns a completion into an error unless it is a success.
pub(crate) fn check(name: &'static str, cqe: &Cqe, fault: Option<DataFault>) -> Result<()> {
    let status = cqe.status();
    if !status.is_success() {
        return Err(ErrorKind::Status { command: name, status }.into());
    }
    fault.map_or(Ok(()), |fault| Err(ErrorKind::Data { command: name, fault }.into()))
}

fn bring_up(admin: &SharedQueue, mut bring_up: BringUp) -> Result<ControllerTraits> {
    loop {
        match bring_up.next(Instant::now())? {
            Step::Ready => return Ok(bring_up.into_traits()),
            // CSTS has no event to wait for.
            Step::Wait(until) => thread::sleep(until.saturating_duration_since(Instant::now())),
            Step::Admin(AdminCommand { sqe, write, read }) => {
                let mut data = vec![0; read as usize];
                let buffer = match (write.is_empty(), read) {
                    (false, _) => Buffer::Write(&write),
                    (true, 0) => Buffer::None,
                    (true, _) => Buffer::Read(&mut data),
                };
                let mut answer = Cqe::default();
                let mut short = None;
                admin.execute([Request { sqe, buffer }], |cqe, fault| {
                    (answer, short) = (*cqe, fault);
                    Ok(())
                })?;
                if let Some(fault) = short {
                    return Err(ErrorKind::Data { command: "Identify Controller", fault }.into());
                }
                bring_up.completed(&answer, &data, Instant::now())?;
            }
        }
    }
}
