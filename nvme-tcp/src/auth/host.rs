//! The host's side of a transaction.

use ktls::secret::Secret;

use super::common::{Agreed, Authentication, Entropy, Transcript, check_length, check_transaction, same};
use super::dh::{DhGroup, DhKey};
use super::error::AuthError;
use super::message::{self, Challenge, Kind, Message, Reply, SecureChannel, hash_from_id};

/// What the host has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this by Authentication Send.
    Send(Vec<u8>),
    /// Ask for a message by Authentication Receive, and tell [`Host::received`].
    Receive,
    /// The controller took the host for whom it says it is, and the other way round where that was asked for.
    Done(Box<Agreed>),
}

#[derive(Debug)]
enum State {
    Negotiate,
    AwaitChallenge,
    Reply(Vec<u8>, Waiting),
    AwaitSuccess1(Waiting),
    Success2(Box<Agreed>),
    Done(Box<Agreed>),
    /// The controller is to be told.
    Failing(AuthError),
    Failed(AuthError),
}

/// What is known while Success1 is awaited.
#[derive(Debug)]
struct Waiting {
    agreed: Box<Agreed>,
    /// R2 as it has to be, where the controller is to authenticate itself.
    expected: Option<Secret>,
}

/// The host's side of one transaction, without I/O:
///
/// ```text
/// Negotiate > Challenge awaited > Reply > Success1 awaited --one way---------> Done
///                    \                          |        \-both ways-> Success2 -^
///                     \--------------------------\-> Failure2 > failed
/// ```
///
/// [`action`](Self::action) says what to do until it gives [`Action::Done`] or an error; what it gives to send
/// counts as sent.
#[derive(Debug)]
pub struct Host {
    settings: Authentication,
    host_nqn: String,
    subsystem_nqn: String,
    channel: SecureChannel,
    entropy: Entropy,
    previous: Option<Vec<u8>>,
    state: State,
}

impl Host {
    /// A transaction that has not begun. `entropy` is nobody else's.
    ///
    /// ```
    /// use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, Host, SecretHash, SecureChannel};
    ///
    /// let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    /// let (host, subsystem) = ("nqn.2024-01.io.example:host", "nqn.2024-01.io.example:images");
    /// // On an I/O queue: what authentication leaves behind for TLS comes from the admin queue.
    /// let transaction = Host::new(settings, host, subsystem, SecureChannel::None, Entropy::gather()?);
    /// assert!(!transaction.is_mutual());
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
        let state = State::Negotiate;
        Self { settings, host_nqn, subsystem_nqn, channel, entropy, previous: None, state }
    }

    /// Takes no challenge that the transaction before this one had.
    ///
    /// ```no_run
    /// # fn example(host: nvme_tcp::auth::Host, previous: &nvme_tcp::auth::Agreed) {
    /// // The same controller once more, some hours later: a challenge of then would be no challenge.
    /// let host = host.after(previous);
    /// println!("{host:?}");
    /// # }
    /// ```
    #[must_use]
    pub fn after(self, previous: &Agreed) -> Self {
        Self { previous: Some(previous.challenge.clone()), ..self }
    }

    /// Whether the controller has to authenticate itself.
    ///
    /// ```no_run
    /// # fn example(host: &nvme_tcp::auth::Host) {
    /// println!("{}", if host.is_mutual() { "both ways" } else { "one way" });
    /// # }
    /// ```
    pub fn is_mutual(&self) -> bool {
        self.settings.is_mutual()
    }

    /// What it asks for.
    ///
    /// ```no_run
    /// # fn example(host: &nvme_tcp::auth::Host) {
    /// use nvme_tcp::auth::SecureChannel;
    ///
    /// if host.channel() == SecureChannel::NewTlsPsk {
    ///     println!("a TLS PSK follows: the connection is to be made anew with it");
    /// }
    /// # }
    /// ```
    pub fn channel(&self) -> SecureChannel {
        self.channel
    }

    /// What to do now.
    ///
    /// ```
    /// use nvme_tcp::auth::{Action, Host, SecureChannel, message};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// let mut host = Host::new(settings, "nqn.a", "nqn.b", SecureChannel::None, Entropy::gather()?);
    /// let Action::Send(negotiate) = host.action()? else { panic!("the host begins") };
    /// assert!(matches!(message::parse(&negotiate)?.2, message::Message::Negotiate(_)));
    /// // What it gave to send counts as sent.
    /// assert_eq!(host.action()?, Action::Receive);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The transaction failed, and the controller was told.
    pub fn action(&mut self) -> Result<Action, AuthError> {
        let t_id = self.entropy.transaction;
        Ok(match std::mem::replace(&mut self.state, State::AwaitChallenge) {
            State::Negotiate => {
                let hashes = self.settings.hashes_for(self.channel);
                let groups = self.settings.groups_for(self.channel);
                Action::Send(message::negotiate(t_id, self.channel, &hashes, &groups))
            }
            State::Reply(bytes, waiting) => {
                self.state = State::AwaitSuccess1(waiting);
                Action::Send(bytes)
            }
            state @ (State::AwaitChallenge | State::AwaitSuccess1(_)) => {
                self.state = state;
                Action::Receive
            }
            State::Success2(agreed) => {
                self.state = State::Done(agreed);
                Action::Send(message::success2(t_id))
            }
            State::Done(agreed) => {
                self.state = State::Done(agreed.clone());
                Action::Done(agreed)
            }
            State::Failing(error) => {
                self.state = State::Failed(error);
                Action::Send(message::failure(Kind::Failure2, t_id, error.reason()))
            }
            State::Failed(error) => {
                self.state = State::Failed(error);
                return Err(error);
            }
        })
    }

    /// What Authentication Receive gave, which may be longer than the message in it. What is wrong with it shows
    /// at [`action`](Self::action).
    ///
    /// ```
    /// use nvme_tcp::auth::{AuthError, Host, Reason, SecureChannel, message};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// let mut host = Host::new(settings, "nqn.a", "nqn.b", SecureChannel::None, Entropy::gather()?);
    /// host.action()?;
    /// host.received(&message::failure(message::Kind::Failure1, 1, Reason::HashUnusable));
    /// assert_eq!(host.action(), Err(AuthError::Refused(Reason::HashUnusable)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn received(&mut self, bytes: &[u8]) {
        let state = std::mem::replace(&mut self.state, State::AwaitChallenge);
        self.state = match self.take(state, bytes) {
            Ok(state) => state,
            // Who ended it needs not be told.
            Err(error @ AuthError::Refused(_)) => State::Failed(error),
            Err(error) => State::Failing(error),
        };
    }

    /// What the transaction failed with, also while the controller has not been told yet; `None` as long as it has not.
    ///
    /// ```
    /// use nvme_tcp::auth::{AuthError, Host, Reason, SecureChannel, message};
    /// # use nvme_tcp::auth::{Authentication, DhchapSecret, Entropy, SecretHash};
    /// # let settings = Authentication::new(DhchapSecret::generate(SecretHash::Sha256)?);
    ///
    /// let mut host = Host::new(settings, "nqn.a", "nqn.b", SecureChannel::None, Entropy::gather()?);
    /// host.action()?;
    /// assert_eq!(host.verdict(), None);
    /// host.received(&message::failure(message::Kind::Failure1, 1, Reason::HashUnusable));
    /// assert_eq!(host.verdict(), Some(AuthError::Refused(Reason::HashUnusable)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verdict(&self) -> Option<AuthError> {
        match self.state {
            State::Failing(error) | State::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn take(&self, state: State, bytes: &[u8]) -> Result<State, AuthError> {
        let expected = match &state {
            State::AwaitChallenge => Some(Kind::Challenge),
            State::AwaitSuccess1(_) => Some(Kind::Success1),
            State::Failing(error) | State::Failed(error) => return Err(*error),
            _ => None,
        };
        let (found, t_id, message) = message::parse(bytes)?;
        if let Message::Failure1(reason) = message {
            return Err(AuthError::Refused(reason));
        }
        match (state, message) {
            (State::AwaitChallenge, Message::Challenge(challenge)) => {
                check_transaction(self.entropy.transaction, t_id)?;
                let (reply, waiting) = self.answer(&challenge)?;
                Ok(State::Reply(reply, waiting))
            }
            (State::AwaitSuccess1(waiting), Message::Success1(response)) => {
                check_transaction(self.entropy.transaction, t_id)?;
                let Waiting { agreed, expected } = waiting;
                let (Some(expected), Some(response)) = (&expected, response) else {
                    return if expected.is_some() {
                        Err(AuthError::NotMutual)
                    } else {
                        Ok(State::Done(agreed))
                    };
                };
                check_length(agreed.hash, response)?;
                if !same(expected, response) {
                    return Err(AuthError::ControllerUnverified);
                }
                Ok(State::Success2(agreed))
            }
            _ => Err(AuthError::Message { expected, found }),
        }
    }

    /// The reply to a challenge.
    fn answer(&self, challenge: &Challenge<'_>) -> Result<(Vec<u8>, Waiting), AuthError> {
        let (settings, entropy) = (&self.settings, &self.entropy);
        let hash = hash_from_id(challenge.hash)
            .filter(|hash| settings.hashes_for(self.channel).contains(hash))
            .ok_or(AuthError::Hash(Some(challenge.hash)))?;
        let group = DhGroup::from_id(challenge.group)
            .filter(|group| settings.groups_for(self.channel).contains(group))
            .ok_or(AuthError::DhGroup(Some(challenge.group)))?;
        check_length(hash, challenge.value)?;
        if challenge.sequence == 0 {
            return Err(AuthError::Sequence);
        }
        if self.previous.as_deref() == Some(challenge.value) {
            return Err(AuthError::ReplayedChallenge);
        }
        let key = DhKey::new(group, &entropy.exponent);
        let transcript = Transcript {
            host_nqn: self.host_nqn.clone(),
            subsystem_nqn: self.subsystem_nqn.clone(),
            transaction: entropy.transaction,
            channel: self.channel,
            hash,
            dh_secret: key.agree(challenge.dh_value)?,
        };
        let c1 = challenge.value;
        let c2 = entropy.challenge.get(..hash.output_len()).unwrap_or_default();
        let response = transcript.host_response(&settings.secret, c1, challenge.sequence);
        // A challenge that is for the TLS PSK only has the sequence number 0.
        let sequence = if settings.is_mutual() { entropy.sequence } else { 0 };
        let expected = settings
            .controller_secret
            .as_ref()
            .map(|secret| transcript.controller_response(secret, c2, sequence));
        let reply = Reply {
            response: response.expose(),
            challenge: (settings.is_mutual() || self.channel != SecureChannel::None).then_some(c2),
            sequence,
            dh_value: &key.public(),
        };
        let agreed = Agreed {
            hash,
            group,
            mutual: settings.is_mutual(),
            tls_psk: transcript.tls_psk(c1, c2)?,
            challenge: c1.to_vec(),
        };
        let waiting = Waiting { agreed: Box::new(agreed), expected };
        Ok((message::reply(entropy.transaction, &reply), waiting))
    }
}
