//! Bringing a controller up: the admin commands in their order, from Connect to Number of Queues.

use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::authentication::{Exchange, authenticates};
use super::traits::{BringUpError, ControllerTraits, Settings};
use crate::auth::{Agreed, Host};
use crate::spec::async_event::EVENTS_KNOWN;
use crate::spec::command::fabrics::{self, ConnectData, InvalidParameter};
use crate::spec::command::{Sqe, admin};
use crate::spec::completion::{Cqe, Status};
use crate::spec::identify::{self, IDENTIFY_LEN, IdentifyController};
use crate::spec::property::{self, Capabilities};
use crate::spec::text;

/// One admin command with its data.
#[derive(Clone, Debug)]
pub struct AdminCommand {
    /// The entry; CID and SGL are the connection's to fill in.
    pub sqe: Sqe,
    /// Data to send along.
    pub write: Vec<u8>,
    /// How much data is wanted back, in bytes.
    pub read: u32,
}

impl AdminCommand {
    fn bare(sqe: Sqe) -> Self {
        Self { sqe, write: Vec::new(), read: 0 }
    }
}

/// What to do next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send this on the admin queue and tell [`BringUp::completed`].
    Admin(AdminCommand),
    /// Ask again at this time.
    Wait(Instant),
    /// The controller is up; its I/O queues can be connected.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connect,
    Authenticate,
    Cap,
    Version,
    ReadyTimeouts,
    ReadCc,
    Disable,
    WaitDisabled { until: Instant },
    Enable,
    WaitReady { until: Instant },
    Identify,
    Events,
    Behavior,
    Queues,
    Ready,
}

/// Brings one controller up (Base, section 3.5.2), without I/O:
///
/// ```text
/// Connect > [authentication] > CAP > VS > [CRTO] > CC --EN=0------------------> enable > RDY=1 > Identify > [events] > [CRD] > [queues] > Ready
///                                                    \-EN=1-> disable > RDY=0 -^
/// ```
///
/// [`next`](Self::next) says what to do; the answer to each command goes to [`completed`](Self::completed).
#[derive(Debug)]
pub struct BringUp {
    settings: Settings,
    state: State,
    cap: Capabilities,
    /// CRTO.CRWMT, zero where the controller does not say.
    crwmt: u16,
    cc: u32,
    oaes: u32,
    poll_at: Option<Instant>,
    traits: ControllerTraits,
    /// What authentication will be done with.
    host: Option<Host>,
    /// Whether it is done even where the controller does not ask for it.
    voluntary: bool,
    exchange: Option<Exchange>,
    agreed: Option<Agreed>,
}

/// How often CSTS is read while the controller gets ready.
const READY_POLL: Duration = Duration::from_millis(10);
/// The longest that CAP.TO and CRTO are believed.
const MAX_READY_TIMEOUT: Duration = Duration::from_secs(600);
/// FID: Host Behavior Support.
const FEATURE_HOST_BEHAVIOR: u8 = 0x16;
/// The length of its data in bytes.
const HOST_BEHAVIOR_LEN: usize = 512;
/// SQHD without SQ flow control.
const SQHD_UNUSED: u16 = 0xffff;
/// The unit of KAS.
const KAS_UNIT: Duration = Duration::from_millis(100);
/// The unit of CRDT1 to CRDT3.
const CRDT_UNIT: Duration = Duration::from_millis(100);
/// The fewest entries of a queue (Base, section 3.3.3.1).
const MIN_ENTRIES: u32 = 2;

impl BringUp {
    /// Begins before Connect, on an admin queue whose ICReq and ICResp are exchanged.
    pub fn new(settings: Settings) -> Self {
        Self {
            traits: ControllerTraits::unknown(&settings),
            settings,
            state: State::Connect,
            cap: Capabilities(0),
            crwmt: 0,
            cc: 0,
            oaes: 0,
            poll_at: None,
            host: None,
            voluntary: false,
            exchange: None,
            agreed: None,
        }
    }

    /// Authenticates after Connect where the controller requires it, and where it does not if `voluntary`.
    ///
    /// Where `host` asks for a TLS PSK this is all that is done: [`Step::Ready`] follows, and nothing else ever
    /// goes over this connection.
    #[must_use]
    pub fn authenticating(self, host: Host, voluntary: bool) -> Self {
        Self { host: Some(host), voluntary, ..self }
    }

    /// What authentication came to, if there was one; whole once [`Step::Ready`] was given.
    pub fn take_agreed(&mut self) -> Option<Agreed> {
        self.agreed.take()
    }

    /// What the controller turned out to be; whole once [`Step::Ready`] was given.
    pub fn into_traits(self) -> ControllerTraits {
        self.traits
    }

    /// The Connect command of the admin queue (`qid` 0) or an I/O queue, with its data.
    pub fn connect(settings: &Settings, qid: u16, entries: u32, cntlid: u16) -> Option<AdminCommand> {
        let kato = if qid == 0 { settings.keep_alive.as_millis().min(u32::MAX.into()) as u32 } else { 0 };
        let data = ConnectData::new(settings.host_id, cntlid, &settings.subsystem_nqn, &settings.host_nqn)?;
        let attributes = if settings.sq_flow_control { 0 } else { fabrics::CATTR_DISABLE_SQFC };
        let sqe = fabrics::connect(qid, entries, attributes, kato);
        Some(AdminCommand { sqe, write: data.as_bytes().to_vec(), read: 0 })
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Result<Step, BringUpError> {
        let sqe = match self.state {
            State::Connect => {
                let settings = &self.settings;
                let connect = Self::connect(settings, 0, settings.admin_entries, fabrics::CNTLID_DYNAMIC);
                return connect.map(Step::Admin).ok_or(BringUpError::Unusable {
                    field: "NQN's length in bytes",
                    got: settings.subsystem_nqn.len().max(settings.host_nqn.len()) as u64,
                    expected: "at most 223",
                });
            }
            State::Authenticate => match self.authenticate()? {
                Some(command) => return Ok(Step::Admin(command)),
                None => return self.next(now),
            },
            State::Cap => fabrics::property_get(property::CAP, true),
            State::Version => fabrics::property_get(property::VS, false),
            State::ReadyTimeouts => fabrics::property_get(property::CRTO, false),
            State::ReadCc => fabrics::property_get(property::CC, false),
            State::Disable => fabrics::property_set(property::CC, self.cc & !property::CC_ENABLE),
            State::Enable => {
                fabrics::property_set(property::CC, property::CC_FOR_FABRICS | property::CC_ENABLE)
            }
            State::WaitDisabled { until } | State::WaitReady { until } => {
                if let Some(at) = self.poll_at.filter(|at| now < *at) {
                    return Ok(Step::Wait(at));
                }
                if now >= until && self.poll_at.is_some() {
                    let ready = matches!(self.state, State::WaitReady { .. });
                    let wanted = if ready { "ready" } else { "disabled" };
                    return Err(BringUpError::NotReady { wanted, limit: self.ready_timeout() });
                }
                fabrics::property_get(property::CSTS, false)
            }
            State::Identify => {
                let sqe = admin::identify(identify::CNS_CONTROLLER, 0);
                return Ok(Step::Admin(AdminCommand { sqe, write: Vec::new(), read: IDENTIFY_LEN as u32 }));
            }
            State::Events => admin::set_features(admin::FEATURE_ASYNC_EVENTS, self.wanted_events()),
            State::Behavior => {
                let sqe = admin::set_features(FEATURE_HOST_BEHAVIOR, 0);
                let mut write = vec![0; HOST_BEHAVIOR_LEN];
                // ACRE, byte 0.
                write[0] = 1;
                return Ok(Step::Admin(AdminCommand { sqe, write, read: 0 }));
            }
            State::Queues => admin::set_number_of_queues(self.settings.io_queues),
            State::Ready => return Ok(Step::Ready),
        };
        Ok(Step::Admin(AdminCommand::bare(sqe)))
    }

    /// The command that [`next`](Self::next) gave is done.
    pub fn completed(&mut self, cqe: &Cqe, data: &[u8], now: Instant) -> Result<(), BringUpError> {
        if let (State::Authenticate, Some(exchange)) = (self.state, &mut self.exchange) {
            return exchange.completed(cqe, data);
        }
        let optional = matches!(self.state, State::ReadyTimeouts | State::Events | State::Behavior);
        if !cqe.status().is_success() && !optional {
            return Err(self.failed(cqe));
        }
        let dw0 = cqe.dw0();
        self.state = match self.state {
            State::Connect => {
                self.traits.cntlid = dw0 as u16;
                self.traits.sq_flow_control = cqe.sqhd.get() != SQHD_UNUSED;
                let channel = self.host.as_ref().map(Host::channel);
                if authenticates(dw0, channel, self.voluntary)? {
                    self.exchange = self.host.take().map(Exchange::new);
                    State::Authenticate
                } else {
                    State::Cap
                }
            }
            State::Authenticate => State::Authenticate,
            State::Cap => {
                self.cap = Capabilities(cqe.result.get());
                if self.cap.max_queue_entries() < MIN_ENTRIES {
                    return Err(BringUpError::Unusable { field: "CAP.MQES", got: 0, expected: "at least 1" });
                }
                self.traits.io_entries = self.settings.io_entries.min(self.cap.max_queue_entries());
                State::Version
            }
            State::Version => {
                self.traits.version = dw0;
                if self.cap.has_ready_timeouts() { State::ReadyTimeouts } else { State::ReadCc }
            }
            State::ReadyTimeouts => {
                self.crwmt = if cqe.status().is_success() { dw0 as u16 } else { 0 };
                State::ReadCc
            }
            State::ReadCc => {
                self.cc = dw0;
                if dw0 & property::CC_ENABLE != 0 { State::Disable } else { State::Enable }
            }
            State::Disable => State::WaitDisabled { until: self.start_waiting(now) },
            State::Enable => State::WaitReady { until: self.start_waiting(now) },
            State::WaitDisabled { .. } if dw0 & property::CSTS_READY == 0 => State::Enable,
            State::WaitReady { .. } if dw0 & property::CSTS_FATAL != 0 => return Err(BringUpError::Fatal),
            State::WaitReady { .. } if dw0 & property::CSTS_READY != 0 => State::Identify,
            State::WaitDisabled { .. } | State::WaitReady { .. } => {
                self.poll_at = Some(now + READY_POLL);
                self.state
            }
            State::Identify => {
                self.identified(data)?;
                if self.wanted_events() != 0 { State::Events } else { self.after_events() }
            }
            State::Events => {
                // A controller that takes none of them is used without.
                self.traits.events = if cqe.status().is_success() { self.wanted_events() } else { 0 };
                self.after_events()
            }
            State::Behavior => {
                if !cqe.status().is_success() {
                    self.traits.retry_delays = [Duration::ZERO; 3];
                }
                self.queues_or_ready()
            }
            State::Queues => {
                let granted = admin::granted_queues(dw0).min(self.settings.io_queues.into());
                self.traits.io_queues = granted as u16;
                State::Ready
            }
            State::Ready => State::Ready,
        };
        Ok(())
    }

    /// What this end found wrong in authentication, if it did: see [`Exchange::verdict`].
    pub fn verdict(&self) -> Option<BringUpError> {
        self.exchange.as_ref().and_then(Exchange::verdict)
    }

    /// The next command of authentication; `None` once it is done.
    fn authenticate(&mut self) -> Result<Option<AdminCommand>, BringUpError> {
        let Some(mut exchange) = self.exchange.take() else { return Ok(None) };
        if let Some(command) = exchange.command()? {
            self.exchange = Some(exchange);
            return Ok(Some(command));
        }
        self.agreed = exchange.into_agreed();
        let is_over = self.agreed.as_ref().is_some_and(|agreed| agreed.tls_psk.is_some());
        self.state = if is_over { State::Ready } else { State::Cap };
        Ok(None)
    }

    fn failed(&self, cqe: &Cqe) -> BringUpError {
        let status = cqe.status();
        let command = match self.state {
            State::Connect => return refused(cqe),
            State::Identify => "Identify Controller",
            State::Queues => "Set Features (Number of Queues)",
            State::Disable | State::Enable => "Property Set (CC)",
            _ => "Property Get",
        };
        BringUpError::Failed { command, status }
    }

    /// The optional events that the controller has and this library knows.
    fn wanted_events(&self) -> u32 {
        self.oaes & EVENTS_KNOWN
    }

    /// CRD in a status means something only to a host that said that it honours it.
    fn after_events(&self) -> State {
        let has_delays = self.traits.retry_delays.iter().any(|delay| !delay.is_zero());
        if has_delays { State::Behavior } else { self.queues_or_ready() }
    }

    fn queues_or_ready(&self) -> State {
        if self.traits.discovery || self.settings.io_queues == 0 { State::Ready } else { State::Queues }
    }

    fn ready_timeout(&self) -> Duration {
        // A controller that says zero is given one unit all the same. CC.CRIME stays zero: CRIMT does not count.
        let units = u32::from(self.cap.ready_timeout()).max(self.crwmt.into()).max(1);
        (Duration::from_millis(500) * units).min(MAX_READY_TIMEOUT)
    }

    fn start_waiting(&mut self, now: Instant) -> Instant {
        self.poll_at = None;
        now + self.ready_timeout()
    }

    fn identified(&mut self, data: &[u8]) -> Result<(), BringUpError> {
        let unusable = |field, got: u64, expected| BringUpError::Unusable { field, got, expected };
        let identify = IdentifyController::ref_from_bytes(data)
            .map_err(|_| unusable("Identify length", data.len() as u64, "4096"))?;
        let discovery = identify.cntrltype == identify::CONTROLLER_DISCOVERY;
        if identify.icdoff.get() != 0 {
            return Err(unusable("ICDOFF", identify.icdoff.get().into(), "0"));
        }
        if !discovery && self.settings.io_queues > 0 {
            if identify.ioccsz.get() < 4 {
                return Err(unusable("IOCCSZ", identify.ioccsz.get().into(), "at least 4"));
            }
            let sgls = identify.sgls.get();
            if sgls & 0b11 == 0 {
                return Err(unusable("SGLS", sgls.into(), "SGL support in bits 1:0"));
            }
        }
        let maxcmd = u32::from(identify.maxcmd.get());
        if maxcmd > 0 {
            // A queue of so many entries holds one command less: the smallest there is holds one.
            self.traits.io_entries = self.traits.io_entries.min(maxcmd.max(MIN_ENTRIES));
        }
        let traits = &mut self.traits;
        traits.discovery = discovery;
        traits.subsystem_nqn = text::from_field(&identify.subnqn);
        traits.serial_number = text::from_field(&identify.serial_number);
        traits.model_number = text::from_field(&identify.model_number);
        traits.firmware_revision = text::from_field(&identify.firmware_revision);
        traits.max_transfer = identify.max_transfer(self.cap.min_page_size());
        traits.in_capsule = identify.ioccsz.get().saturating_mul(16).saturating_sub(64);
        traits.optional_commands = identify.oncs.get();
        traits.volatile_write_cache = identify.vwc & identify::VWC_PRESENT != 0;
        traits.traffic_based_keep_alive = identify.ctratt.get() & identify::CTRATT_TBKAS != 0;
        traits.keep_alive = identify.kas.get() != 0;
        traits.keep_alive_step = KAS_UNIT * u32::from(identify.kas.get());
        traits.max_namespace = identify.nn.get();
        traits.event_requests = usize::from(identify.aerl) + 1;
        traits.quiesce_time = Duration::from_millis(identify.cqt.get().into());
        traits.retry_delays = identify.crdt.map(|units| CRDT_UNIT * u32::from(units.get()));
        self.oaes = identify.oaes.get();
        Ok(())
    }
}

/// What a Connect that failed says about itself.
pub(crate) fn refused(cqe: &Cqe) -> BringUpError {
    let status = cqe.status();
    let parameter = status.is(Status::CONNECT_INVALID_PARAMETERS).then(|| InvalidParameter::read(cqe.dw0()));
    BringUpError::Refused { status, parameter }
}
