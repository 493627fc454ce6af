//! The controller's side of a transaction.

use super::common::{Agreed, Authentication, Entropy, Transcript, check_length, check_transaction, same};
use super::dh::{DhGroup, DhKey};
use super::error::AuthError;
use super::message::{self, Challenge, Kind, Message, Negotiate, Reply, SecureChannel, hash_id};
use ktls::crypto::Hash;

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// It goes on.
    Pending,
    /// The host is who it says it is.
    Done(&'a Agreed),
    /// It failed, and the host was told, or told so itself.
    Failed(AuthError),
}

#[derive(Debug)]
enum State {
    AwaitNegotiate,
    Challenge(Challenged),
    AwaitReply(Challenged),
    Success1 {
        bytes: Vec<u8>,
        agreed: Box<Agreed>,
    },
    AwaitSuccess2(Box<Agreed>),
    Done(Box<Agreed>),
    /// The host is to be told.
    Failing(AuthError),
    Failed(AuthError),
}

/// What a challenge was made of.
#[derive(Debug)]
struct Challenged {
    transaction: u16,
    hash: Hash,
    group: DhGroup,
    key: DhKey,
}

/// The controller's side of one transaction, without I/O:
///
/// ```text
/// Negotiate awaited > Challenge > Reply awaited > Success1 --one way--------------------> Done
///                 \                     |              \-both ways-> Success2 awaited --^
///                  \--------------------\-> Failure1 > failed
/// ```
///
/// What Authentication Send brings goes to [`received`](Self::received); what Authentication Receive asks for is
/// [`give`](Self::give); [`progress`](Self::progress) says how far it is.
#[derive(Debug)]
pub struct Controller {
    settings: Authentication,
    host_nqn: String,
    subsystem_nqn: String,
    channel: SecureChannel,
    entropy: Entropy,
    /// T_ID of the last message, which a failure quotes.
    transaction: u16,
    state: State,
}

impl Controller {
    /// A transaction that has not begun: `channel` is what the host has to ask for on this queue. `entropy` is
    /// nobody else's.
    ///
    /// ```
    /// use nvme_tcp::auth::{Controller, Entropy, Progress, SecureChannel};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// // `settings` are those of the host whose NQN stands in the Connect.
    /// let (host, subsystem) = ("nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images");
    /// let transaction = Controller::new(settings, host, subsystem, SecureChannel::None, Entropy::gather()?);
    /// assert_eq!(transaction.progress(), Progress::Pending);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        settings: Authentication,
        host_nqn: impl Into<String>,
        subsystem_nqn: impl Into<String>,
        channel: SecureChannel,
        entropy: Entropy,
    ) -> Self {
        let (host_nqn, subsystem_nqn) = (host_nqn.into(), subsystem_nqn.into());
        let state = State::AwaitNegotiate;
        Self { settings, host_nqn, subsystem_nqn, channel, entropy, transaction: 0, state }
    }

    /// How far it is.
    ///
    /// ```no_run
    /// # fn example(transaction: &nvme_tcp::auth::Controller) {
    /// use nvme_tcp::auth::Progress;
    ///
    /// match transaction.progress() {
    ///     Progress::Pending => println!("other commands get Authentication Required"),
    ///     Progress::Done(agreed) => println!("let in, with {:?} and {:?}", agreed.hash, agreed.group),
    ///     Progress::Failed(error) => println!("the connection ends: {error}"),
    /// }
    /// # }
    /// ```
    pub fn progress(&self) -> Progress<'_> {
        match &self.state {
            State::Done(agreed) => Progress::Done(agreed),
            State::Failed(error) => Progress::Failed(*error),
            _ => Progress::Pending,
        }
    }

    /// What Authentication Send brought. What is wrong with it, the host is told at its next Authentication
    /// Receive.
    ///
    /// ```
    /// use nvme_tcp::auth::{Controller, Reason, SecureChannel, message};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// let mut controller = Controller::new(settings, "nqn.a", "nqn.b", SecureChannel::None, Entropy::gather()?);
    /// // A message out of its turn is no error here: the host hears of it.
    /// controller.received(&message::success2(1));
    /// let failure = controller.give();
    /// assert_eq!(message::parse(&failure)?.2, message::Message::Failure1(Reason::IncorrectMessage));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn received(&mut self, bytes: &[u8]) {
        let state = std::mem::replace(&mut self.state, State::AwaitNegotiate);
        self.state = match self.take(state, bytes) {
            Ok(state) => state,
            // Who ended it needs not be told.
            Err(error @ AuthError::Refused(_)) => State::Failed(error),
            Err(error) => State::Failing(error),
        };
    }

    /// The message that Authentication Receive asks for: the one that is due, or why there is none.
    ///
    /// ```
    /// use nvme_tcp::auth::{Action, AuthError, Controller, Host, Progress, SecureChannel, message};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// let none = SecureChannel::None;
    /// let mut host = Host::new(settings.clone(), "nqn.a", "nqn.b", none, Entropy::gather()?);
    /// let mut controller = Controller::new(settings, "nqn.a", "nqn.b", none, Entropy::gather()?);
    /// let Action::Send(negotiate) = host.action()? else { panic!("the host begins") };
    /// controller.received(&negotiate);
    /// assert!(matches!(message::parse(&controller.give())?.2, message::Message::Challenge(_)));
    /// // To be asked once more without a reply ends it.
    /// controller.give();
    /// assert_eq!(controller.progress(), Progress::Failed(AuthError::NothingDue));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn give(&mut self) -> Vec<u8> {
        let state = std::mem::replace(&mut self.state, State::AwaitNegotiate);
        let (state, bytes) = match state {
            State::Challenge(challenged) => {
                let bytes = self.challenge(&challenged);
                (State::AwaitReply(challenged), bytes)
            }
            State::Success1 { bytes, agreed } if agreed.mutual => (State::AwaitSuccess2(agreed), bytes),
            State::Success1 { bytes, agreed } => (State::Done(agreed), bytes),
            State::Failing(error) | State::Failed(error) => (State::Failed(error), self.failure(error)),
            _ => (State::Failed(AuthError::NothingDue), self.failure(AuthError::NothingDue)),
        };
        self.state = state;
        bytes
    }

    fn failure(&self, error: AuthError) -> Vec<u8> {
        message::failure(Kind::Failure1, self.transaction, error.reason())
    }

    /// C1.
    fn value(&self, hash: Hash) -> &[u8] {
        self.entropy.challenge.get(..hash.output_len()).unwrap_or_default()
    }

    fn challenge(&self, challenged: &Challenged) -> Vec<u8> {
        let challenge = Challenge {
            hash: hash_id(challenged.hash).unwrap_or_default(),
            group: challenged.group.id(),
            sequence: self.entropy.sequence,
            value: self.value(challenged.hash),
            dh_value: &challenged.key.public(),
        };
        message::challenge(challenged.transaction, &challenge)
    }

    fn take(&mut self, state: State, bytes: &[u8]) -> Result<State, AuthError> {
        let expected = match &state {
            State::AwaitNegotiate => Some(Kind::Negotiate),
            State::AwaitReply(_) => Some(Kind::Reply),
            State::AwaitSuccess2(_) => Some(Kind::Success2),
            State::Failing(error) | State::Failed(error) => return Err(*error),
            _ => None,
        };
        let (found, t_id, message) = message::parse(bytes)?;
        if let Message::Failure2(reason) = message {
            return Err(AuthError::Refused(reason));
        }
        match (state, message) {
            (State::AwaitNegotiate, Message::Negotiate(negotiate)) => {
                self.transaction = t_id;
                self.choose(t_id, &negotiate).map(State::Challenge)
            }
            (State::AwaitReply(challenged), Message::Reply(reply)) => {
                check_transaction(challenged.transaction, t_id)?;
                self.verify(challenged, &reply)
            }
            (State::AwaitSuccess2(agreed), Message::Success2) => {
                check_transaction(self.transaction, t_id)?;
                Ok(State::Done(agreed))
            }
            _ => Err(AuthError::Message { expected, found }),
        }
    }

    /// Chooses hash and group of those that the host offers, by this end's preference.
    fn choose(&self, transaction: u16, negotiate: &Negotiate) -> Result<Challenged, AuthError> {
        let expected = self.channel as u8;
        if negotiate.secure_channel != expected {
            return Err(AuthError::SecureChannel { expected, found: negotiate.secure_channel });
        }
        let offered = negotiate.hashes.as_ref().ok_or(AuthError::Protocol)?;
        let mut hashes = self.settings.hashes_for(self.channel).into_iter();
        let hash = hashes
            .find(|hash| hash_id(*hash).is_some_and(|id| offered.contains(&id)))
            .ok_or(AuthError::Hash(None))?;
        let mut groups = self.settings.groups_for(self.channel).into_iter();
        let group =
            groups.find(|group| negotiate.groups.contains(&group.id())).ok_or(AuthError::DhGroup(None))?;
        Ok(Challenged { transaction, hash, group, key: DhKey::new(group, &self.entropy.exponent) })
    }

    /// Checks the host's response, and answers its challenge.
    fn verify(&self, challenged: Challenged, reply: &Reply<'_>) -> Result<State, AuthError> {
        let Challenged { transaction, hash, group, key } = challenged;
        check_length(hash, reply.response)?;
        let c1 = self.value(hash);
        if reply.challenge == Some(c1) {
            return Err(AuthError::ReplayedChallenge);
        }
        let transcript = Transcript {
            host_nqn: self.host_nqn.clone(),
            subsystem_nqn: self.subsystem_nqn.clone(),
            transaction,
            channel: self.channel,
            hash,
            dh_secret: key.agree(reply.dh_value)?,
        };
        let expected = transcript.host_response(&self.settings.secret, c1, self.entropy.sequence);
        if !same(&expected, reply.response) {
            return Err(AuthError::HostUnverified);
        }
        // A challenge with the sequence number 0 is there for the TLS PSK only.
        let mutual = reply.sequence != 0;
        let response = match (reply.challenge, mutual) {
            (Some(c2), true) => {
                let secret = self.settings.controller_secret.as_ref().ok_or(AuthError::NoControllerSecret)?;
                Some(transcript.controller_response(secret, c2, reply.sequence))
            }
            (Some(_), false) if self.channel == SecureChannel::None => return Err(AuthError::Sequence),
            (None, _) if self.channel != SecureChannel::None => return Err(AuthError::NoChallenge),
            _ => None,
        };
        let tls_psk = transcript.tls_psk(c1, reply.challenge.unwrap_or_default())?;
        let response = response.as_ref().map(ktls::secret::Secret::expose);
        let bytes = message::success1(transaction, hash.output_len(), response);
        let mutual = response.is_some();
        let agreed = Agreed { hash, group, mutual, tls_psk, challenge: c1.to_vec() };
        Ok(State::Success1 { bytes, agreed: Box::new(agreed) })
    }
}
