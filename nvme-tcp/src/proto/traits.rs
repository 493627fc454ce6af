//! What a host asks of an association, what the controller turned out to be, and why it did not come up.

use std::time::Duration;

use super::connection::ADMIN_IN_CAPSULE;
use crate::auth::AuthError;
use crate::spec::command::fabrics::InvalidParameter;
use crate::spec::completion::Status;

/// What the host asks of an association.
#[derive(Clone, Debug)]
pub struct Settings {
    /// HOSTNQN.
    pub host_nqn: String,
    /// HOSTID.
    pub host_id: [u8; 16],
    /// SUBNQN.
    pub subsystem_nqn: String,
    /// KATO: the keep-alive timeout.
    pub keep_alive: Duration,
    /// Entries in the admin queue.
    pub admin_entries: u32,
    /// I/O queues wanted; none for a discovery controller.
    pub io_queues: u16,
    /// Entries wanted in each I/O queue.
    pub io_entries: u32,
    /// Whether the controller is to maintain SQHD.
    pub sq_flow_control: bool,
}

/// What the controller turned out to be, as far as queues and transfers need it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ControllerTraits {
    /// CNTLID.
    pub cntlid: u16,
    /// VS: major in 31:16, minor in 15:8.
    pub version: u32,
    /// CNTRLTYPE: whether it is a discovery controller.
    pub discovery: bool,
    /// SUBNQN as the controller gives it.
    pub subsystem_nqn: String,
    /// SN.
    pub serial_number: String,
    /// MN.
    pub model_number: String,
    /// FR.
    pub firmware_revision: String,
    /// MDTS in bytes; `None` for no limit.
    pub max_transfer: Option<u64>,
    /// Data that goes along with an I/O command in its capsule, in bytes.
    pub in_capsule: u32,
    /// I/O queues granted.
    pub io_queues: u16,
    /// Entries in each I/O queue, what was wanted and MQES allows.
    pub io_entries: u32,
    /// Whether SQ flow control is on: the controller maintains SQHD. One that cannot do without has it on whatever was
    /// asked for.
    pub sq_flow_control: bool,
    /// ONCS: optional NVM commands.
    pub optional_commands: u16,
    /// VWC: a volatile write cache is present, so that a flush means something.
    pub volatile_write_cache: bool,
    /// CTRATT.TBKAS: any command counts as a keep-alive.
    pub traffic_based_keep_alive: bool,
    /// KAS is not zero: there is a keep-alive.
    pub keep_alive: bool,
    /// KAS: the controller rounds KATO up to a multiple of this.
    pub keep_alive_step: Duration,
    /// The highest namespace ID.
    pub max_namespace: u32,
    /// Asynchronous Event Requests that it takes at once: AERL + 1.
    pub event_requests: usize,
    /// Feature 0Bh: the optional asynchronous events that are switched on.
    pub events: u32,
    /// CQT: how long the controller may still work on commands after it noticed that the host is gone.
    pub quiesce_time: Duration,
    /// CRDT1 to CRDT3: how long to wait before a retry that a status asks for by its CRD; all zero where the
    /// controller has none.
    pub retry_delays: [Duration; 3],
}

impl ControllerTraits {
    pub(super) fn unknown(settings: &Settings) -> Self {
        Self {
            cntlid: 0,
            version: 0,
            discovery: false,
            subsystem_nqn: String::new(),
            serial_number: String::new(),
            model_number: String::new(),
            firmware_revision: String::new(),
            max_transfer: None,
            in_capsule: ADMIN_IN_CAPSULE,
            io_queues: 0,
            io_entries: settings.io_entries,
            sq_flow_control: true,
            optional_commands: 0,
            volatile_write_cache: false,
            traffic_based_keep_alive: false,
            keep_alive: false,
            keep_alive_step: Duration::ZERO,
            max_namespace: 0,
            event_requests: 0,
            events: 0,
            quiesce_time: Duration::ZERO,
            retry_delays: [Duration::ZERO; 3],
        }
    }

    /// After which time without a command the controller gives up a host that asked for this KATO: as much, rounded
    /// up to a multiple of [`keep_alive_step`](Self::keep_alive_step); zero where there is no keep-alive.
    pub fn keep_alive_timeout(&self, asked: Duration) -> Duration {
        if !self.keep_alive {
            return Duration::ZERO;
        }
        let step = self.keep_alive_step.as_millis().max(1);
        let steps = asked.as_millis().div_ceil(step);
        Duration::from_millis(steps.saturating_mul(step).try_into().unwrap_or(u64::MAX))
    }
}

/// Why a controller did not come up.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BringUpError {
    /// Connect was refused.
    #[error("Connect was refused: {status}{}", parameter.map(|p| format!(", {} is wrong", p.name())).unwrap_or_default())]
    Refused {
        /// What the controller said.
        status: Status,
        /// Which parameter it did not like.
        parameter: Option<InvalidParameter>,
    },
    /// The controller wants authentication, which this connection was not told how to give.
    #[error("the controller requires DH-HMAC-CHAP authentication")]
    AuthenticationRequired,
    /// The controller wants the secure channel that authentication makes, which this connection was not told to
    /// make.
    #[error("the controller requires secure channel concatenation")]
    SecureChannelRequired,
    /// Authentication failed.
    #[error("DH-HMAC-CHAP failed: {0}")]
    Authentication(#[from] AuthError),
    /// Another command failed.
    #[error("{command} failed: {status}")]
    Failed {
        /// Which command.
        command: &'static str,
        /// What the controller said.
        status: Status,
    },
    /// CSTS.CFS was set.
    #[error("the controller reports a fatal error (CSTS.CFS)")]
    Fatal,
    /// CSTS.RDY did not change in time.
    #[error("the controller did not become {wanted} within {} ms", limit.as_millis())]
    NotReady {
        /// "ready" or "disabled".
        wanted: &'static str,
        /// CAP.TO.
        limit: Duration,
    },
    /// The controller is something this host cannot use.
    #[error("the controller's {field} is {got}, expected {expected}")]
    Unusable {
        /// Which field of which structure.
        field: &'static str,
        /// What it holds.
        got: u64,
        /// What it would have to hold.
        expected: &'static str,
    },
}

impl BringUpError {
    /// Whether the controller took its admin queue's Connect and then, asked for another queue, did not know itself any
    /// more: its keep-alive ran out meanwhile, or it was reset. However final the status, another attempt gets another
    /// controller.
    pub(crate) fn is_of_expired_controller(&self) -> bool {
        matches!(self, Self::Refused { parameter: Some(InvalidParameter::CNTLID), .. })
    }
}
