//! A pair of ends, and the messages between them.

use ktls::crypto::Hash;
use nvme_tcp::auth::{
    Action, Agreed, AuthError, Authentication, Controller, DhGroup, DhchapSecret, Entropy, Host, Progress,
    SecretHash, SecureChannel,
};

pub(crate) const HOST: &str = "nqn.2024-01.test:host";
pub(crate) const SUBSYSTEM: &str = "nqn.2024-01.test:images";

pub(crate) fn secret(fill: u8) -> DhchapSecret {
    DhchapSecret::new(SecretHash::Sha256, &[fill; 32]).unwrap()
}

/// One secret for the host, another for the controller; no Diffie-Hellman unless a test says so.
pub(crate) fn one_way() -> Authentication {
    Authentication::new(secret(1)).groups([DhGroup::Null])
}

pub(crate) fn both_ways() -> Authentication {
    one_way().controller_secret(secret(2))
}

pub(crate) fn host_entropy() -> Entropy {
    Entropy::fixed([0x5a; 64], [0x77; 64], 0x1234, 0x4321)
}

pub(crate) fn controller_entropy() -> Entropy {
    Entropy::fixed([0xc3; 64], [0x88; 64], 0x9876, 0)
}

pub(crate) struct Pair {
    pub(crate) host: Host,
    pub(crate) controller: Controller,
}

/// What became of both ends.
pub(crate) type Ends = (Result<Agreed, AuthError>, Result<Agreed, AuthError>);

impl Pair {
    pub(crate) fn new(host: Authentication, controller: Authentication, channel: SecureChannel) -> Self {
        Self {
            host: Host::new(host, HOST, SUBSYSTEM, channel, host_entropy()),
            controller: Controller::new(controller, HOST, SUBSYSTEM, channel, controller_entropy()),
        }
    }

    /// Runs the transaction to its end.
    pub(crate) fn run(self) -> Ends {
        self.run_with(|_, _| {})
    }

    /// The same, with each message going through `change`, which gets its number as well: from 0 on, those of
    /// both ends counted together.
    pub(crate) fn run_with(mut self, mut change: impl FnMut(usize, &mut Vec<u8>)) -> Ends {
        let (mut number, mut turns) = (0, 0);
        let mut pass = |mut bytes| {
            change(number, &mut bytes);
            number += 1;
            bytes
        };
        let host = loop {
            turns += 1;
            assert!(turns < 20, "the transaction goes on for ever");
            match self.host.action() {
                Ok(Action::Send(bytes)) => self.controller.received(&pass(bytes)),
                Ok(Action::Receive) => {
                    let bytes = self.controller.give();
                    self.host.received(&pass(bytes));
                }
                Ok(Action::Done(agreed)) => break Ok(*agreed),
                Err(error) => break Err(error),
            }
        };
        let controller = match self.controller.progress() {
            Progress::Done(agreed) => Ok(agreed.clone()),
            Progress::Failed(error) => Err(error),
            Progress::Pending => Err(AuthError::NothingDue),
        };
        (host, controller)
    }
}

/// The message with this number, as it goes over.
pub(crate) fn message(pair: Pair, number: usize) -> Vec<u8> {
    let mut found = None;
    drop(pair.run_with(|at, bytes| {
        if at == number {
            found = Some(bytes.clone());
        }
    }));
    found.expect("there are so many messages")
}

/// HMAC (RFC 2104), by hand.
pub(crate) fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let block = if hash == Hash::Sha256 { 64 } else { 128 };
    let digest = |parts: [&[u8]; 2]| {
        let mut hasher = ktls::crypto::Hasher::new(hash);
        parts.into_iter().for_each(|part| hasher.update(part));
        hasher.finish().as_ref().to_vec()
    };
    assert!(key.len() <= block);
    let padded = |with: u8| {
        let mut pad = vec![with; block];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    digest([&padded(0x5c), &digest([&padded(0x36), data])])
}

pub(crate) fn digest(hash: Hash, data: &[u8]) -> Vec<u8> {
    let mut hasher = ktls::crypto::Hasher::new(hash);
    hasher.update(data);
    hasher.finish().as_ref().to_vec()
}
