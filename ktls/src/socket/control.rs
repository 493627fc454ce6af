//! What control records mean: alerts, and what comes after the handshake.

use std::sync::PoisonError;

use crate::alert::Alert;
use crate::cipher::Version;
use crate::error::Error;
use crate::handshake::{self, PostHandshake};
use crate::keys::SharedSchedule;
use crate::record::{BadRecord, ContentType};

/// What a control record asks for.
pub(super) enum Effect {
    None,
    Closed,
    KeyUpdate { requested: bool },
}

/// What control records mean.
pub(super) struct Control {
    version: Version,
    /// Takes the tickets, where somebody does.
    schedule: Option<SharedSchedule>,
    post: PostHandshake,
}

impl Control {
    pub(super) fn new(version: Version, schedule: Option<SharedSchedule>) -> Self {
        Self { version, schedule, post: PostHandshake::new() }
    }

    /// Whether a handshake message has begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        self.post.is_partial()
    }

    /// Nothing else may stand between the parts of a handshake message (RFC 8446, section 5.1).
    pub(super) fn check_between(&self, content_type: ContentType) -> Result<(), Error> {
        if self.post.is_partial() { Err(BadRecord::Interleaved { content_type }.into()) } else { Ok(()) }
    }

    pub(super) fn take(&mut self, content_type: ContentType, content: &[u8]) -> Result<Effect, Error> {
        match (content_type, self.version) {
            // One that ends the connection does so wherever it stands.
            (ContentType::Alert, version) => {
                alert(version, content).and_then(|effect| self.check_between(content_type).map(|()| effect))
            }
            (ContentType::Handshake, Version::Tls13) => self.handshake(content),
            (ContentType::Handshake, Version::Tls12) => {
                handshake::hello_request(content)?;
                Ok(Effect::None)
            }
            (ContentType::ApplicationData, _) => Ok(Effect::None),
        }
    }

    fn handshake(&mut self, content: &[u8]) -> Result<Effect, Error> {
        let mut refused = None;
        let events = self.post.read_with(content, |ticket| {
            if let (Some(schedule), None) = (&self.schedule, &refused) {
                refused = schedule.lock().unwrap_or_else(PoisonError::into_inner).ticket(ticket).err();
            }
        })?;
        if let Some(error) = refused {
            return Err(Error::Stack(error.into()));
        }
        let mut effect = Effect::None;
        for event in events {
            if let handshake::Event::KeyUpdate { requested } = event {
                effect = Effect::KeyUpdate { requested };
            }
        }
        Ok(effect)
    }
}

fn alert(version: Version, content: &[u8]) -> Result<Effect, Error> {
    const WARNING: u8 = 1;
    let &[level, alert] = content else {
        return Err(BadRecord::AlertLength { len: content.len() }.into());
    };
    match Alert(alert) {
        Alert::CLOSE_NOTIFY => Ok(Effect::Closed),
        // Only a close_notify can follow it (RFC 8446, section 6.1).
        Alert::USER_CANCELED => Ok(Effect::None),
        // TLS 1.2 has warnings that end nothing (RFC 5246, section 7.2).
        _ if version == Version::Tls12 && level == WARNING => Ok(Effect::None),
        alert => Err(Error::Alert(alert)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert_of(version: Version, content: &[u8]) -> Result<Effect, Error> {
        Control::new(version, None).take(ContentType::Alert, content)
    }

    #[test]
    fn warnings_of_tls_1_2_end_nothing_and_those_of_tls_1_3_do() {
        const NO_RENEGOTIATION: u8 = 100;
        assert!(matches!(alert_of(Version::Tls12, &[1, NO_RENEGOTIATION]), Ok(Effect::None)));
        assert!(matches!(alert_of(Version::Tls12, &[2, NO_RENEGOTIATION]), Err(Error::Alert(_))));
        assert!(matches!(alert_of(Version::Tls13, &[1, NO_RENEGOTIATION]), Err(Error::Alert(_))));
        for version in [Version::Tls12, Version::Tls13] {
            assert!(matches!(alert_of(version, &[1, 0]), Ok(Effect::Closed)));
            assert!(matches!(alert_of(version, &[1]), Err(Error::BadRecord(_))));
        }
    }

    #[test]
    fn tls_1_2_has_neither_tickets_nor_key_updates() {
        let mut control = Control::new(Version::Tls12, None);
        assert!(matches!(control.take(ContentType::Handshake, &[0, 0, 0, 0]), Ok(Effect::None)));
        for message in [[24, 0, 0, 1, 0], [4, 0, 0, 1, 0], [1, 0, 0, 1, 0]] {
            assert!(matches!(control.take(ContentType::Handshake, &message), Err(Error::Handshake(_))));
        }
    }
}
