//! The client's side.
//!
//! ```text
//! new() -> ClientHello ->  WaitServerHello --HelloRetryRequest--> ClientHello, once
//!                                | ServerHello
//!                          WaitEncryptedExtensions
//!                                | EncryptedExtensions
//!                          WaitFinished
//!                                | Finished
//!                          Done -> Finished
//! ```

use super::channel::Channel;
use super::config::ClientConfig;
use super::error::{Error, Role};
use super::hello::{ClientHelloParts, ServerHello, binders_len};
use super::message::{Extensions, extension_type, finished, message_name, message_type, record_size_limit};
use super::reassembly::Message;
use super::schedule::{
    EXTERNAL_BINDER, EarlySecret, HandshakeSecret, Traffic, Transcript, check_finished, verify_data,
};
use super::wire::Reader;
use super::{Handshake, MAX_FRAGMENT_LEN, MAX_RECORD_SIZE_LIMIT};
use crate::crypto::{Group, KeyPair, random};
use crate::keys::Established;

/// The longest cookie that is given back, in bytes: what servers send has some hundred.
const MAX_COOKIE_LEN: usize = 16_384;

/// What the ClientHello said, as long as its answer is awaited.
struct Hello {
    config: ClientConfig,
    random: [u8; 32],
    session_id: Vec<u8>,
    shares: Vec<KeyPair>,
    cookie: Option<Vec<u8>>,
    /// Everything up to the ClientHello last sent.
    transcript: Transcript,
    retried: bool,
}

/// The handshake keys, and what they run over.
struct Keys {
    hello: Hello,
    group: Group,
    secret: HandshakeSecret,
    traffic: Traffic,
}

enum State {
    WaitServerHello(Hello),
    WaitEncryptedExtensions(Keys),
    WaitFinished(Keys),
    Done(Box<Established>),
    Failed,
}

/// A client's handshake: see [`Handshake`] for how it is driven.
pub struct ClientHandshake {
    channel: Channel,
    state: State,
}

impl ClientHandshake {
    /// Makes the ClientHello: it is the first output.
    ///
    /// # Errors
    /// [`Error::Config`] where `config` cannot work, [`Error::Crypto`] where the system gives no random
    /// bytes.
    pub fn new(config: &ClientConfig) -> Result<Self, Error> {
        config.check()?;
        let mut channel = Channel::new(Role::Client);
        if let Some(limit) = config.record_size_limit {
            channel.set_max_receive(usize::from(limit) - 1);
        }
        let mut hello = Hello::new(config)?;
        hello.send(&mut channel)?;
        Ok(Self { channel, state: State::WaitServerHello(hello) })
    }
}

impl Handshake for ClientHandshake {
    fn read_record(&mut self, record: &mut [u8]) -> Result<(), Error> {
        if self.is_finished() {
            return Err(Error::Misuse("the handshake is over: the record belongs to the connection"));
        }
        let state = &mut self.state;
        self.channel.drive(record, |channel, message| {
            *state = std::mem::replace(state, State::Failed).next(channel, message)?;
            Ok(())
        })
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.channel.take_output()
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    fn closed(&mut self) -> Error {
        self.channel.closed()
    }

    fn into_established(self) -> Result<Established, Error> {
        match self.state {
            State::Done(established) => Ok(*established),
            _ => Err(Error::Misuse("the handshake is not finished")),
        }
    }
}

impl State {
    fn next(self, channel: &mut Channel, message: &Message) -> Result<Self, Error> {
        match (self, message.kind) {
            (Self::WaitServerHello(hello), message_type::SERVER_HELLO) => {
                hello.server_hello(channel, message)
            }
            (Self::WaitEncryptedExtensions(keys), message_type::ENCRYPTED_EXTENSIONS) => {
                keys.encrypted_extensions(channel, message)
            }
            (Self::WaitFinished(keys), message_type::FINISHED) => keys.finished(channel, message),
            (state, kind) => Err(Error::unexpected("handshake message", state.awaits(), message_name(kind))),
        }
    }

    fn awaits(&self) -> &'static str {
        match self {
            Self::WaitServerHello(_) => "ServerHello",
            Self::WaitEncryptedExtensions(_) => "EncryptedExtensions",
            Self::WaitFinished(_) => "Finished",
            Self::Done(_) | Self::Failed => "nothing",
        }
    }
}

impl Hello {
    fn new(config: &ClientConfig) -> Result<Self, Error> {
        let mut hello_random = [0; 32];
        random(&mut hello_random)?;
        let mut session_id = Vec::new();
        if config.middlebox_compatibility {
            session_id.resize(32, 0);
            random(&mut session_id)?;
        }
        let shares = config.groups.iter().take(config.key_shares).map(|group| KeyPair::generate(*group));
        Ok(Self {
            random: hello_random,
            session_id,
            shares: shares.collect::<Result<_, _>>()?,
            cookie: None,
            transcript: Transcript::new(config.psk.suite().hash()),
            retried: false,
            config: config.clone(),
        })
    }

    /// Sends the ClientHello with the binder over all before it.
    fn send(&mut self, channel: &mut Channel) -> Result<(), Error> {
        let psk = &self.config.psk;
        let hash = psk.suite().hash();
        let shares: Vec<_> = self.shares.iter().map(|share| (share.group(), share.public())).collect();
        let mut message = ClientHelloParts {
            random: &self.random,
            session_id: &self.session_id,
            suite: psk.suite(),
            groups: &self.config.groups,
            shares: &shares,
            cookie: self.cookie.as_deref(),
            record_size_limit: self.config.record_size_limit,
            identity: psk.identity(),
        }
        .encode();
        let truncated = message.len() - binders_len(hash);
        let transcript = self.transcript.digest_with(&message[..truncated]);
        let binder = EarlySecret::new(hash, psk.secret()).binder(EXTERNAL_BINDER, transcript.as_ref());
        message.truncate(message.len() - hash.output_len());
        message.extend_from_slice(binder.expose());
        self.transcript.add(&message);
        channel.send(&message)
    }

    /// The extensions of the ClientHello: only they may be answered.
    fn offered(&self) -> Vec<u16> {
        let mut offered = vec![
            extension_type::SUPPORTED_VERSIONS,
            extension_type::SUPPORTED_GROUPS,
            extension_type::KEY_SHARE,
            extension_type::PSK_KEY_EXCHANGE_MODES,
            extension_type::PRE_SHARED_KEY,
        ];
        offered.extend(self.config.record_size_limit.map(|_| extension_type::RECORD_SIZE_LIMIT));
        offered
    }

    fn server_hello(self, channel: &mut Channel, message: &Message) -> Result<State, Error> {
        let answer = ServerHello::decode(message.body())?;
        channel.expect_end_of_flight("ServerHello")?;
        answer.check(&self.session_id, self.config.psk.suite())?;
        match answer.is_retry() {
            true => self.retry(channel, message, &answer),
            false => self.accept(channel, message, &answer),
        }
    }

    /// A HelloRetryRequest (section 4.1.4).
    fn retry(
        mut self,
        channel: &mut Channel,
        message: &Message,
        answer: &ServerHello<'_>,
    ) -> Result<State, Error> {
        const FIELD: &str = "HelloRetryRequest";
        if self.retried {
            return Err(Error::unexpected(FIELD, "at most one", "a second one"));
        }
        let allowed = [extension_type::SUPPORTED_VERSIONS, extension_type::KEY_SHARE, extension_type::COOKIE];
        answer.extensions.allow_only(&allowed, &self.offered())?;
        if let Some(mut data) = answer.extensions.get(extension_type::COOKIE) {
            self.cookie = Some(data.vec16(1..=MAX_COOKIE_LEN, "cookie")?.to_vec());
            data.end("cookie")?;
        }
        if let Some(mut data) = answer.extensions.get(extension_type::KEY_SHARE) {
            let id = data.u16("HelloRetryRequest key_share")?;
            data.end("HelloRetryRequest key_share")?;
            let wanted = Group::from_id(id).filter(|group| {
                self.config.groups.contains(group) && self.shares.iter().all(|share| share.group() != *group)
            });
            let Some(group) = wanted else {
                let got = format!("group {id:#06x}");
                let expected = "a group that was offered without a share";
                return Err(Error::illegal("HelloRetryRequest key_share", expected, got));
            };
            self.shares = vec![KeyPair::generate(group)?];
        } else if self.cookie.is_none() {
            return Err(Error::illegal(FIELD, "a group or a cookie", "neither: the same hello again"));
        }
        self.retried = true;
        self.transcript.fold_first_hello();
        self.transcript.add(&message.bytes);
        if self.config.middlebox_compatibility {
            channel.send_change_cipher_spec();
        }
        self.send(channel)?;
        Ok(State::WaitServerHello(self))
    }

    fn accept(
        mut self,
        channel: &mut Channel,
        message: &Message,
        answer: &ServerHello<'_>,
    ) -> Result<State, Error> {
        let allowed =
            [extension_type::SUPPORTED_VERSIONS, extension_type::KEY_SHARE, extension_type::PRE_SHARED_KEY];
        answer.extensions.allow_only(&allowed, &self.offered())?;
        let mut selected = answer.extensions.require(extension_type::PRE_SHARED_KEY)?;
        let identity = selected.u16("selected_identity")?;
        selected.end("selected_identity")?;
        if identity != 0 {
            return Err(Error::illegal("selected_identity", "0, the only one", identity.to_string()));
        }
        const FIELD: &str = "ServerHello key_share";
        let mut share = answer.extensions.require(extension_type::KEY_SHARE)?;
        let id = share.u16(FIELD)?;
        let public = share.vec16(1..=0xffff, FIELD)?;
        share.end(FIELD)?;
        let at = self.shares.iter().position(|share| share.group().id() == id);
        let Some(at) = at else {
            return Err(Error::illegal(FIELD, "a group with a share", format!("group {id:#06x}")));
        };
        let pair = self.shares.swap_remove(at);
        let group = pair.group();
        let shared = pair
            .agree(public)
            .map_err(|_| Error::illegal(FIELD, "a public key of its group", "bytes that are none"))?;

        let psk = &self.config.psk;
        self.transcript.add(&message.bytes);
        let secret = EarlySecret::new(psk.suite().hash(), psk.secret()).into_handshake(&shared);
        let traffic = secret.traffic(psk.suite(), self.transcript.digest().as_ref())?;
        channel.set_rx(&traffic.server);
        if self.config.middlebox_compatibility && !self.retried {
            channel.send_change_cipher_spec();
        }
        channel.set_tx(&traffic.client);
        Ok(State::WaitEncryptedExtensions(Keys { hello: self, group, secret, traffic }))
    }
}

impl Keys {
    fn encrypted_extensions(mut self, channel: &mut Channel, message: &Message) -> Result<State, Error> {
        let mut reader = Reader::new(message.body());
        if reader.is_empty() {
            return Err(Error::decode("EncryptedExtensions", "2 bytes", "0 bytes"));
        }
        let extensions = Extensions::read(&mut reader, "EncryptedExtensions")?;
        reader.end("EncryptedExtensions")?;
        let offered = self.hello.offered();
        let mut allowed = vec![extension_type::SUPPORTED_GROUPS];
        allowed.extend(self.hello.config.record_size_limit.map(|_| extension_type::RECORD_SIZE_LIMIT));
        extensions.allow_only(&allowed, &offered)?;
        if let Some(limit) = record_size_limit(&extensions)? {
            if limit > MAX_RECORD_SIZE_LIMIT {
                let most = format!("at most {MAX_RECORD_SIZE_LIMIT}");
                return Err(Error::illegal("record_size_limit", most, limit.to_string()));
            }
            channel.set_max_send(usize::from(limit) - 1);
        } else {
            // Whoever does not answer does not keep to the limit either.
            channel.set_max_receive(MAX_FRAGMENT_LEN);
        }
        self.hello.transcript.add(&message.bytes);
        Ok(State::WaitFinished(self))
    }

    fn finished(mut self, channel: &mut Channel, message: &Message) -> Result<State, Error> {
        let transcript = &mut self.hello.transcript;
        check_finished(&self.traffic.server, transcript.digest().as_ref(), message.body())?;
        channel.expect_end_of_flight("Finished")?;
        transcript.add(&message.bytes);
        let psk = &self.hello.config.psk;
        let digest = transcript.digest();
        let application = self.secret.into_master().traffic(psk.suite(), digest.as_ref())?;
        channel.send(&finished(verify_data(&self.traffic.client, digest.as_ref()).expose()))?;
        Ok(State::Done(Box::new(Established {
            suite: psk.suite(),
            group: self.group,
            psk_identity: psk.identity().to_vec(),
            tx: application.client,
            rx: application.server,
            max_send_fragment: channel.max_send(),
            max_receive_fragment: channel.max_receive(),
        })))
    }
}
