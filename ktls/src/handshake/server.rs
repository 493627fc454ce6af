//! The server's side.
//!
//! ```text
//! new() ->  WaitClientHello --no share for the common group--> HelloRetryRequest, once
//!                 | ClientHello
//!           ServerHello, EncryptedExtensions, Finished
//!                 |
//!           WaitFinished
//!                 | Finished
//!           Done
//! ```

use super::channel::Channel;
use super::config::ServerConfig;
use super::error::{Error, Role};
use super::hello::{ClientHello, OfferedPsks, RETRY_RANDOM, ServerHelloParts};
use super::message::{
    extension_type, finished, message, message_name, message_type, put_extension, record_size_limit,
};
use super::psk::Psk;
use super::reassembly::Message;
use super::schedule::{
    EXTERNAL_BINDER, EarlySecret, Traffic, Transcript, check_finished, mac_matches, verify_data,
};
use super::wire::{put_u16, put_vec16};
use super::{Handshake, MAX_RECORD_SIZE_LIMIT};
use crate::cipher::CipherSuite;
use crate::crypto::{Group, KeyPair, random};
use crate::keys::{Established, TrafficSecret};

/// What the HelloRetryRequest asked for, and what the second ClientHello must repeat.
struct Retry {
    group: Group,
    suite: CipherSuite,
    random: [u8; 32],
    session_id: Vec<u8>,
    suites: Vec<u16>,
    groups: Vec<u16>,
    /// Everything up to the HelloRetryRequest.
    transcript: Transcript,
}

struct WaitFinished {
    client: TrafficSecret,
    transcript: Transcript,
    established: Established,
}

enum State {
    WaitClientHello(Option<Box<Retry>>),
    WaitFinished(Box<WaitFinished>),
    Done(Box<Established>),
    Failed,
}

/// A server's handshake: see [`Handshake`] for how it is driven. Nothing is sent, and no key looked up,
/// before a whole ClientHello has come.
pub struct ServerHandshake {
    config: ServerConfig,
    channel: Channel,
    state: State,
}

impl ServerHandshake {
    /// Waits for a ClientHello.
    ///
    /// # Errors
    /// [`Error::Config`] where `config` cannot work.
    pub fn new(config: &ServerConfig) -> Result<Self, Error> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
            channel: Channel::new(Role::Server),
            state: State::WaitClientHello(None),
        })
    }
}

impl Handshake for ServerHandshake {
    fn read_record(&mut self, record: &mut [u8]) -> Result<(), Error> {
        if self.is_finished() {
            return Err(Error::Misuse("the handshake is over: the record belongs to the connection"));
        }
        let Self { config, channel, state } = self;
        channel.drive(record, |channel, message| {
            *state = std::mem::replace(state, State::Failed).next(config, channel, message)?;
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
    fn next(self, config: &ServerConfig, channel: &mut Channel, message: &Message) -> Result<Self, Error> {
        match (self, message.kind) {
            (Self::WaitClientHello(retry), message_type::CLIENT_HELLO) => {
                client_hello(retry, config, channel, message)
            }
            (Self::WaitFinished(wait), message_type::FINISHED) => wait.finished(channel, message),
            (state, kind) => Err(Error::unexpected("handshake message", state.awaits(), message_name(kind))),
        }
    }

    fn awaits(&self) -> &'static str {
        match self {
            Self::WaitClientHello(_) => "ClientHello",
            Self::WaitFinished(_) => "Finished",
            Self::Done(_) | Self::Failed => "nothing",
        }
    }
}

fn client_hello(
    retry: Option<Box<Retry>>,
    config: &ServerConfig,
    channel: &mut Channel,
    message: &Message,
) -> Result<State, Error> {
    let hello = ClientHello::decode(message.body())?;
    channel.expect_end_of_flight("ClientHello")?;
    let psks = hello.psks()?.ok_or_else(|| match retry {
        None => Error::NoPskOffered,
        Some(_) => Error::missing("second ClientHello", "pre_shared_key, as in the first one"),
    })?;
    if !hello.offers_psk_dhe_ke()? {
        let field = "psk_key_exchange_modes";
        let alert = crate::alert::Alert::HANDSHAKE_FAILURE;
        return Err(Error::protocol(alert, field, "psk_dhe_ke", "psk_ke only"));
    }
    let groups = hello.groups()?;
    let shares = hello.shares(&groups)?;
    if let Some(retry) = &retry {
        retry.check(&hello, &groups, &shares)?;
    }
    let limit = record_size_limit(&hello.extensions)?;
    let early_data = hello.offers_early_data()?;
    if early_data && retry.is_some() {
        return Err(Error::illegal("second ClientHello early_data", "none", "the offer again"));
    }

    let transcript = retry.as_ref().map(|retry| &retry.transcript);
    let chosen = choose_psk(config, &hello, &psks, message, transcript)?;
    let suite = chosen.psk.suite();
    let mut transcript = match &retry {
        Some(retry) if retry.suite != suite => {
            return Err(Error::illegal("second ClientHello", retry.suite.name(), suite.name()));
        }
        Some(retry) => retry.transcript.clone(),
        None => Transcript::new(suite.hash()),
    };
    transcript.add(&message.bytes);
    channel.skip_early_data(early_data);

    let mut common = groups.iter().filter_map(|id| Group::from_id(*id)).filter(|g| config.groups.contains(g));
    let share_for = |group: Group| shares.iter().find(|(id, _)| *id == group.id()).map(|(_, share)| *share);
    let Some((group, share)) = common.clone().find_map(|group| Some((group, share_for(group)?))) else {
        let Some(group) = common.next() else {
            return Err(Error::NoCommonGroup { offered: groups });
        };
        // A second ClientHello has the share that was asked for: that was checked.
        return Ok(State::WaitClientHello(Some(ask_again(
            hello, groups, group, suite, transcript, channel,
        )?)));
    };
    let pair = KeyPair::generate(group)?;
    let public = pair.public().to_vec();
    let field = "ClientHello key_share";
    let shared = pair
        .agree(share)
        .map_err(|_| Error::illegal(field, "a public key of its group", "bytes that are none"))?;

    let mut server_random = [0; 32];
    random(&mut server_random)?;
    let answer = ServerHelloParts {
        random: server_random,
        session_id: hello.session_id,
        suite,
        group,
        chosen: Some((&public, chosen.at)),
    }
    .encode();
    transcript.add(&answer);
    channel.send(&answer)?;
    if !hello.session_id.is_empty() && retry.is_none() {
        channel.send_change_cipher_spec();
    }
    let handshake = chosen.early.into_handshake(&shared);
    let Traffic { client, server } = handshake.traffic(suite, transcript.digest().as_ref())?;
    channel.set_rx(&client);
    channel.set_tx(&server);
    if let Some(limit) = limit {
        channel.set_max_send(usize::from(limit.min(MAX_RECORD_SIZE_LIMIT)) - 1);
        channel.set_max_receive(usize::from(config.record_size_limit) - 1);
    }

    let mut flight = encrypted_extensions(limit.map(|_| config.record_size_limit));
    transcript.add(&flight);
    let proof = finished(verify_data(&server, transcript.digest().as_ref()).expose());
    transcript.add(&proof);
    flight.extend_from_slice(&proof);
    channel.send(&flight)?;

    let application = handshake.into_master().traffic(suite, transcript.digest().as_ref())?;
    // From its Finished on, the server sends under the application key: also an alert.
    channel.set_tx(&application.server);
    let established = Established {
        suite,
        group,
        psk_identity: chosen.psk.identity().to_vec(),
        tx: application.server,
        rx: application.client,
        max_send_fragment: channel.max_send(),
        max_receive_fragment: channel.max_receive(),
    };
    Ok(State::WaitFinished(Box::new(WaitFinished { client, transcript, established })))
}

fn encrypted_extensions(limit: Option<u16>) -> Vec<u8> {
    message(message_type::ENCRYPTED_EXTENSIONS, |out| {
        put_vec16(out, |out| {
            if let Some(limit) = limit {
                put_extension(out, extension_type::RECORD_SIZE_LIMIT, |out| put_u16(out, limit));
            }
        });
    })
}

fn ask_again(
    hello: ClientHello<'_>,
    groups: Vec<u16>,
    group: Group,
    suite: CipherSuite,
    mut transcript: Transcript,
    channel: &mut Channel,
) -> Result<Box<Retry>, Error> {
    let session_id = hello.session_id;
    let request = ServerHelloParts { random: RETRY_RANDOM, session_id, suite, group, chosen: None }.encode();
    transcript.fold_first_hello();
    transcript.add(&request);
    channel.send(&request)?;
    if !session_id.is_empty() {
        channel.send_change_cipher_spec();
    }
    Ok(Box::new(Retry {
        group,
        suite,
        random: hello.random,
        session_id: session_id.to_vec(),
        suites: hello.suites,
        groups,
        transcript,
    }))
}

impl Retry {
    /// The second ClientHello is the first but for the share (section 4.1.2).
    fn check(&self, hello: &ClientHello<'_>, groups: &[u16], shares: &[(u16, &[u8])]) -> Result<(), Error> {
        let same = [
            ("second ClientHello.random", self.random == hello.random),
            ("second ClientHello.legacy_session_id", self.session_id == hello.session_id),
            ("second ClientHello.cipher_suites", self.suites == hello.suites),
            ("second ClientHello supported_groups", self.groups == groups),
        ];
        if let Some((field, _)) = same.iter().find(|(_, same)| !same) {
            return Err(Error::illegal(field, "what the first one said", "another value"));
        }
        match shares {
            [(id, _)] if *id == self.group.id() => Ok(()),
            _ => {
                let expected = format!("one share, for group {:#06x}", self.group.id());
                let ids: Vec<_> = shares.iter().map(|(id, _)| id).collect();
                Err(Error::illegal("second ClientHello key_share", expected, format!("{ids:#06x?}")))
            }
        }
    }
}

struct Chosen {
    at: u16,
    psk: Psk,
    early: EarlySecret,
}

/// The first identity that is known and whose suite the client offers, and of its keys the one that the
/// binder was made with.
fn choose_psk(
    config: &ServerConfig,
    hello: &ClientHello<'_>,
    psks: &OfferedPsks<'_>,
    message: &Message,
    earlier: Option<&Transcript>,
) -> Result<Chosen, Error> {
    let truncated = message.bytes.len().checked_sub(psks.binders_len);
    let truncated = truncated.and_then(|len| message.bytes.get(..len)).unwrap_or_default();
    let mut known = false;
    for (at, &(identity, binder)) in (0..).zip(&psks.identities) {
        let mut candidates = config.keys.candidates(identity);
        known |= !candidates.is_empty();
        candidates.retain(|psk| hello.suites.contains(&psk.suite().id()));
        if candidates.is_empty() {
            continue;
        }
        for psk in candidates {
            let hash = psk.suite().hash();
            let early = EarlySecret::new(hash, psk.secret());
            let fresh = Transcript::new(hash);
            let digest = earlier.unwrap_or(&fresh).digest_with(truncated);
            if mac_matches(&early.binder(EXTERNAL_BINDER, digest.as_ref()), binder) {
                return Ok(Chosen { at, psk, early });
            }
        }
        return Err(Error::BinderMismatch { identity: identity.to_vec() });
    }
    if known {
        return Err(Error::NoCommonSuite { offered: hello.suites.clone() });
    }
    let identities = psks.identities.iter().map(|(identity, _)| identity.to_vec()).collect();
    Err(Error::UnknownIdentity { identities })
}

impl WaitFinished {
    fn finished(self, channel: &mut Channel, message: &Message) -> Result<State, Error> {
        check_finished(&self.client, self.transcript.digest().as_ref(), message.body())?;
        channel.expect_end_of_flight("Finished")?;
        Ok(State::Done(Box::new(self.established)))
    }
}
