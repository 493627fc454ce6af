//! One association: an admin queue, the I/O queues that belong to it, and what the controller is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use crate::auth::{Agreed, AuthError, Host, SecureChannel};
use crate::connector::{Connector, Opened, TlsFacts};
use crate::driver::shared::{Buffer, Request, SharedQueue};
use crate::driver::transport::TransportError;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Security;
use crate::proto::{
    AdminCommand, BringUp, BringUpError, ControllerTraits, DataFault, Exchange, MAX_EVENT_REQUESTS,
    Negotiated, Step, authenticates, refused,
};
use crate::spec::command::{Sqe, fabrics};
use crate::spec::completion::{Cqe, Status};

/// A generation of a controller. It is whole or gone: losing the admin queue, or an I/O queue that callers share,
/// ends all of it, and what comes next is another association. Only a queue that one thread owned may be closed
/// alone; its ID can then be connected anew, for another owner, and the ID that was given back first is taken
/// first, since the controller may still be busy with the end of the connection before.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) generation: u64,
    /// Just before its Connect: the controller's keep-alive timer starts there.
    pub(crate) connected: Instant,
    pub(crate) traits: ControllerTraits,
    pub(crate) negotiated: Negotiated,
    pub(crate) tls: Option<TlsFacts>,
    /// Where all of its connections lead to.
    peer: SocketAddr,
    pub(crate) admin: SharedQueue,
    pub(crate) io: Vec<SharedQueue>,
    /// What the admin queue's authentication came to, the last time.
    agreed: Mutex<Option<Agreed>>,
    /// Queue IDs that the controller grants and nobody uses, the one that has rested longest first.
    free_qids: Mutex<VecDeque<u16>>,
    /// When it was found lost.
    lost_at: OnceLock<Instant>,
    /// How many queues with one owner have commands outstanding, or are just taking one.
    pub(crate) busy_lanes: AtomicUsize,
}

/// Slots of the admin queue that callers leave to the housekeeper: event requests, and one each for a keep-alive, a
/// log page and a shutdown.
const HOUSEKEEPING_SLOTS: usize = MAX_EVENT_REQUESTS + 3;

impl Association {
    /// Brings up a new one: admin queue, controller, I/O queues.
    pub(crate) fn establish(connector: &Connector, generation: u64) -> Result<Self> {
        let settings = connector.settings();
        let timeout = connector.options().timeout;
        let (concatenated, to) = match connector.options().security {
            Security::Concat => concatenate(connector)?,
            Security::Plain | Security::Tls { .. } | Security::TlsFrom { .. } => (None, None),
        };
        let psk = concatenated.as_ref().and_then(|agreed| agreed.tls_psk.as_ref());
        let opened = connector.open(settings.admin_entries, psk, to)?;
        let (negotiated, tls, peer) = (opened.negotiated, opened.tls, opened.peer);
        let depth = settings.admin_entries - 1;
        let admin = SharedQueue::new(opened.engine, opened.intake, depth, timeout);
        admin.reserve(HOUSEKEEPING_SLOTS);
        let mut setup = BringUp::new(settings);
        if let Some(host) = connector.authenticator(SecureChannel::None)? {
            let voluntary = host.is_mutual() && concatenated.is_none();
            setup = setup.authenticating(host, voluntary);
        }
        let connected = Instant::now();
        bring_up(&admin, &mut setup)?;
        // Of two, the one that the TLS PSK came from is kept: its queues are opened with it.
        let agreed = concatenated.or(setup.take_agreed());
        let traits = setup.into_traits();
        let mut association = Self {
            generation,
            connected,
            negotiated,
            tls,
            peer,
            admin,
            io: Vec::new(),
            agreed: Mutex::new(agreed),
            free_qids: Mutex::new((1..=traits.io_queues).collect()),
            lost_at: OnceLock::new(),
            busy_lanes: AtomicUsize::new(0),
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
        let mut again = true;
        loop {
            let qid = self.free_qids().pop_front();
            let qid = qid.ok_or_else(|| {
                let queues = self.traits.io_queues;
                Error::invalid(format!("all {queues} I/O queues of the controller are in use"))
            })?;
            let result = self.connect_io_queue(connector, qid);
            if result.is_err() {
                self.give_back(qid);
            }
            // Connect on a queue that the controller still believes connected (Fabrics, section 3.3): once more,
            // with the ID that is next.
            let in_use = |error: &Error| error.status().is_some_and(|s| s.is(Status::COMMAND_SEQUENCE_ERROR));
            match result {
                Err(error) if again && in_use(&error) => again = false,
                result => return result.map(|opened| (opened, qid)),
            }
        }
    }

    fn free_qids(&self) -> MutexGuard<'_, VecDeque<u16>> {
        self.free_qids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect_io_queue(&self, connector: &Connector, qid: u16) -> Result<Opened> {
        let psk = self.agreed().and_then(|agreed| agreed.tls_psk);
        let opened = connector.open(self.traits.io_entries, psk.as_ref(), Some(self.peer))?;
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
        let mut dw0 = 0;
        queue.execute([Request { sqe: connect.sqe, buffer }], |cqe, _| match cqe.status().is_success() {
            true => {
                dw0 = cqe.dw0();
                Ok(())
            }
            false => Err(refused(cqe).into()),
        })?;
        let host = connector.authenticator(SecureChannel::None)?;
        // A generated key has proven already who is there.
        let voluntary = psk.is_none() && host.as_ref().is_some_and(Host::is_mutual);
        if authenticates(dw0, host.as_ref().map(Host::channel), voluntary)? {
            if let Some(host) = host {
                authenticate(&queue, host)?;
            }
        }
        let (mut engine, intake) = queue.into_parts()?;
        engine.connection_mut().set_in_capsule_limit(self.traits.in_capsule);
        Ok(Opened { engine, intake, negotiated: opened.negotiated, tls: opened.tls, peer: opened.peer })
    }

    /// What authentication came to, if there was any.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.agreed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Authenticates on the admin queue once more. An association whose ends do not know each other any more is
    /// over.
    pub(crate) fn authenticate_again(&self, connector: &Connector) -> Result<()> {
        let host = connector.authenticator(SecureChannel::None)?;
        let mut host = host.ok_or_else(|| Error::invalid("there is no DH-HMAC-CHAP secret"))?;
        let before = self.agreed();
        if let Some(before) = &before {
            host = host.after(before);
        }
        let agreed = authenticate(&self.admin, host).inspect_err(|error| self.close(error))?;
        // What the I/O queues are opened with stays.
        let tls_psk = before.and_then(|before| before.tls_psk);
        let agreed = Agreed { tls_psk, ..agreed };
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed);
        Ok(())
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
        self.free_qids().push_back(qid);
    }

    /// Fails everything that is outstanding on it.
    pub(crate) fn close(&self, error: &Error) {
        self.lost_at();
        for queue in self.io.iter().chain([&self.admin]) {
            queue.close(error.clone());
        }
    }

    /// Whether no caller's command is outstanding on any queue.
    pub(crate) fn is_idle(&self) -> bool {
        self.busy_lanes.load(Ordering::SeqCst) == 0
            && self.io.iter().chain([&self.admin]).all(SharedQueue::is_idle)
    }

    /// When it was found lost: now, if nobody found so before.
    pub(crate) fn lost_at(&self) -> Instant {
        *self.lost_at.get_or_init(Instant::now)
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

/// Agrees on a TLS PSK over a plain admin connection of its own, which is closed again; and where that led to.
fn concatenate(connector: &Connector) -> Result<(Option<Agreed>, Option<SocketAddr>)> {
    let settings = connector.settings();
    let opened = connector.open_to_authenticate(settings.admin_entries)?;
    let (depth, timeout, peer) = (settings.admin_entries - 1, connector.options().timeout, opened.peer);
    let admin = SharedQueue::new(opened.engine, opened.intake, depth, timeout);
    let host = connector.authenticator(SecureChannel::NewTlsPsk)?;
    let host = host.ok_or(BringUpError::AuthenticationRequired)?;
    let mut setup = BringUp::new(settings).authenticating(host, true);
    let result = bring_up(&admin, &mut setup);
    admin.close(ErrorKind::ShutDown.into());
    result.map(|()| (setup.take_agreed(), Some(peer)))
}

/// Runs one authentication transaction on `queue`.
fn authenticate(queue: &SharedQueue, host: Host) -> Result<Agreed> {
    let mut exchange = Exchange::new(host);
    while let Some(command) = exchange.command()? {
        let answer = step(queue, &command).map_err(|error| exchange.verdict().map_or(error, Error::from));
        let (cqe, data) = answer?;
        exchange.completed(&cqe, &data)?;
    }
    Ok(exchange.into_agreed().ok_or(BringUpError::Authentication(AuthError::NothingDue))?)
}

/// Runs one command of a bring-up: its completion, whatever its status, and its data.
fn step(queue: &SharedQueue, command: &AdminCommand) -> Result<(Cqe, Vec<u8>)> {
    let AdminCommand { sqe, write, read } = command;
    let mut data = vec![0; *read as usize];
    let buffer = match (write.is_empty(), read) {
        (false, _) => Buffer::Write(write),
        (true, 0) => Buffer::None,
        (true, _) => Buffer::Read(&mut data),
    };
    let mut answer = Cqe::default();
    let mut fault = None;
    let executed = queue.execute([Request { sqe: *sqe, buffer }], |cqe, found| {
        (answer, fault) = (*cqe, found);
        Ok(())
    });
    let is = |kind| sqe.opcode == fabrics::OPCODE && fabrics::kind(sqe) == kind;
    // A message may be shorter than the room for it.
    let message = is(fabrics::AUTHENTICATION_RECEIVE);
    executed.map_err(|error| match error.kind() {
        // A target that has enough of a host may not say so.
        ErrorKind::Lost(TransportError::Closed) if message || is(fabrics::AUTHENTICATION_SEND) => {
            BringUpError::Authentication(AuthError::Closed).into()
        }
        _ => error,
    })?;
    match fault {
        Some(DataFault::Short { .. }) if message => Ok((answer, data)),
        Some(fault) if message => Err(ErrorKind::Data { command: "Authentication Receive", fault }.into()),
        Some(fault) => Err(ErrorKind::Data { command: "Identify Controller", fault }.into()),
        None => Ok((answer, data)),
    }
}

fn bring_up(admin: &SharedQueue, bring_up: &mut BringUp) -> Result<()> {
    loop {
        match bring_up.next(Instant::now())? {
            Step::Ready => return Ok(()),
            // CSTS has no event to wait for.
            Step::Wait(until) => thread::sleep(until.saturating_duration_since(Instant::now())),
            Step::Admin(command) => {
                let answer = step(admin, &command);
                let (cqe, data) = answer.map_err(|error| bring_up.verdict().map_or(error, Error::from))?;
                bring_up.completed(&cqe, &data, Instant::now())?;
            }
        }
    }
}
