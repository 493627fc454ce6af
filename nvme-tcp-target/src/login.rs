//! Authentication on one queue: DH-HMAC-CHAP transactions, and what the queue may carry meanwhile.

use nvme_tcp::auth::{AuthError, Authentication, Controller, Entropy, Progress, SecureChannel};
use nvme_tcp::psk::TlsPsk;
use nvme_tcp::spec::command::fabrics::{AUTHREQ_ASCR, AUTHREQ_ATR, AuthenticationFields};
use nvme_tcp::spec::completion::Status;

/// The most room that a host may give for a message, in bytes; no message is nearly as long.
pub(crate) const MAX_MESSAGE: u32 = 65536;

/// How a queue stands with authentication.
#[derive(Debug)]
pub(crate) struct Login {
    /// `None` where the host has no secret.
    settings: Option<Authentication>,
    host_nqn: String,
    subsystem_nqn: String,
    channel: SecureChannel,
    /// Whether the queue is open for other commands.
    open: bool,
    transaction: Option<Controller>,
}

/// What an authentication command led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The transaction goes on.
    Pending,
    /// The host proved who it is; where it was to leave a TLS PSK, this is it.
    Passed(Option<TlsPsk>),
    /// The transaction failed, and so the queue is over once the command is answered.
    Failed(AuthError),
}

impl Login {
    /// `proven` says that the connection itself shows who the host is: its TLS key came from authentication.
    pub(crate) fn new(
        settings: Option<Authentication>,
        host_nqn: &str,
        subsystem_nqn: &str,
        channel: SecureChannel,
        proven: bool,
    ) -> Self {
        Self {
            open: (settings.is_none() || proven) && channel == SecureChannel::None,
            settings,
            host_nqn: host_nqn.to_owned(),
            subsystem_nqn: subsystem_nqn.to_owned(),
            channel,
            transaction: None,
        }
    }

    /// AUTHREQ in DW0 of Connect's completion.
    pub(crate) fn required(&self) -> u32 {
        match (self.open, self.channel) {
            (true, _) => 0,
            (false, SecureChannel::None) => AUTHREQ_ATR,
            (false, SecureChannel::NewTlsPsk) => AUTHREQ_ATR | AUTHREQ_ASCR,
        }
    }

    /// Whether commands besides authentication may come: never on a connection that is there to agree on a TLS PSK.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Authentication Send of `message`.
    pub(crate) fn send(&mut self, fields: AuthenticationFields, message: &[u8]) -> Result<Outcome, Status> {
        let settings = self.settings.as_ref().ok_or(Status::INVALID_OPCODE)?;
        if !fields.is_authentication() || fields.len as usize != message.len() {
            return Err(Status::INVALID_FIELD);
        }
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => {
                let entropy = Entropy::gather().map_err(|_| Status::INTERNAL_ERROR)?;
                let (host, subsystem) = (&*self.host_nqn, &*self.subsystem_nqn);
                none.insert(Controller::new(settings.clone(), host, subsystem, self.channel, entropy))
            }
        };
        transaction.received(message);
        Ok(self.outcome())
    }

    /// Authentication Receive: the message, filled up to the room for it, and what it led to.
    pub(crate) fn receive(
        &mut self,
        fields: AuthenticationFields,
        room: u32,
    ) -> Result<(Vec<u8>, Outcome), Status> {
        let due = self.transaction.as_mut().ok_or(match self.settings {
            Some(_) => Status::COMMAND_SEQUENCE_ERROR,
            None => Status::INVALID_OPCODE,
        })?;
        if !fields.is_authentication() || fields.len != room || room > MAX_MESSAGE {
            return Err(Status::INVALID_FIELD);
        }
        let mut message = due.give();
        if message.len() > room as usize {
            return Err(Status::INVALID_FIELD);
        }
        message.resize(room as usize, 0);
        Ok((message, self.outcome()))
    }

    fn outcome(&mut self) -> Outcome {
        let progress = self.transaction.as_ref().map_or(Progress::Pending, Controller::progress);
        match progress {
            Progress::Pending => Outcome::Pending,
            Progress::Failed(error) => Outcome::Failed(error),
            Progress::Done(agreed) => {
                let psk = agreed.tls_psk.clone();
                self.open = self.channel == SecureChannel::None;
                self.transaction = None;
                Outcome::Passed(psk)
            }
        }
    }
}
