//! Authentication as commands: a transaction's messages by Authentication Send and Authentication Receive.

use super::association::AdminCommand;
use super::traits::BringUpError;
use crate::auth::{Action, Agreed, Host, SecureChannel};
use crate::spec::command::fabrics;
use crate::spec::completion::Cqe;

/// The room for a message that is received, in bytes: as much as every other host gives.
const RECEIVE_LEN: u32 = 4096;

/// One transaction on one queue, without I/O.
///
/// [`command`](Self::command) says which command to send; its answer goes to [`completed`](Self::completed).
#[derive(Debug)]
pub struct Exchange {
    host: Host,
    receiving: bool,
    agreed: Option<Agreed>,
}

impl Exchange {
    /// Begins with this end's first message.
    pub fn new(host: Host) -> Self {
        Self { host, receiving: false, agreed: None }
    }

    /// The next command; `None` once both ends are who they say they are.
    ///
    /// # Errors
    /// The transaction failed.
    pub fn command(&mut self) -> Result<Option<AdminCommand>, BringUpError> {
        Ok(match self.host.action()? {
            Action::Send(message) => {
                self.receiving = false;
                let sqe = fabrics::authentication_send(message.len() as u32);
                Some(AdminCommand { sqe, write: message, read: 0 })
            }
            Action::Receive => {
                self.receiving = true;
                let sqe = fabrics::authentication_receive(RECEIVE_LEN);
                Some(AdminCommand { sqe, write: Vec::new(), read: RECEIVE_LEN })
            }
            Action::Done(agreed) => {
                self.agreed = Some(*agreed);
                None
            }
        })
    }

    /// The command that [`command`](Self::command) gave is done.
    ///
    /// # Errors
    /// The command failed.
    pub fn completed(&mut self, cqe: &Cqe, data: &[u8]) -> Result<(), BringUpError> {
        let status = cqe.status();
        if !status.is_success() {
            let command = if self.receiving { "Authentication Receive" } else { "Authentication Send" };
            return Err(self.verdict().unwrap_or(BringUpError::Failed { command, status }));
        }
        if self.receiving {
            self.host.received(data);
        }
        Ok(())
    }

    /// What this end found wrong, if it did. A controller that is told so may close the connection before it answers:
    /// this says then why there is none, and not how it ended.
    pub fn verdict(&self) -> Option<BringUpError> {
        self.host.verdict().map(Into::into)
    }

    /// What the transaction came to, once [`command`](Self::command) gave `None`.
    pub fn into_agreed(self) -> Option<Agreed> {
        self.agreed
    }
}

/// Whether a queue is to be authenticated whose Connect was answered with `dw0`: `channel` is what this end would
/// ask for, `None` where it has no secret, and `voluntary` says that it wants to in any case.
pub(crate) fn authenticates(
    dw0: u32,
    channel: Option<SecureChannel>,
    voluntary: bool,
) -> Result<bool, BringUpError> {
    let required = dw0 & (fabrics::AUTHREQ_ATR | fabrics::AUTHREQ_ASCR) != 0;
    match channel {
        None if required => Err(BringUpError::AuthenticationRequired),
        None => Ok(false),
        Some(SecureChannel::None) if dw0 & fabrics::AUTHREQ_ASCR != 0 => {
            Err(BringUpError::SecureChannelRequired)
        }
        Some(SecureChannel::None) => Ok(required || voluntary),
        Some(SecureChannel::NewTlsPsk) => Ok(true),
    }
}
