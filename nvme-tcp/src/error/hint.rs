//! What an operator can do about each error.

use std::io;

use ktls::alert::Alert;
use ktls::handshake;

use super::{Error, ErrorKind, NamespaceRefusal, TriedIdentities};
use crate::key_source::KeyringError;
use crate::proto::{BringUpError, DataFault};
use crate::spec::command::fabrics::InvalidParameter;
use crate::spec::completion::Status;

impl Error {
    /// What an operator can do about it, in the words of the command line; `None` where the message says it all.
    ///
    /// ```
    /// use nvme_tcp::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::PeerSpeaksTls { address: "10.0.0.5:4420".into() });
    /// assert_eq!(error.to_string(), "10.0.0.5:4420 answers in TLS");
    /// assert!(error.hint().is_some_and(|hint| hint.contains("--tls and the key")));
    /// ```
    pub fn hint(&self) -> Option<String> {
        let text = match self.kind() {
            ErrorKind::Host(e) => return e.hint(),
            ErrorKind::Key(e) => return e.hint(),
            ErrorKind::KeyFile(e) => return e.hint(),
            ErrorKind::KeySource(e) => e.downcast_ref::<KeyringError>()?.hint()?,
            ErrorKind::Kernel(e) => e.hint()?,
            ErrorKind::Tls { source, tried, .. } => return handshake_hint(source, *tried),
            ErrorKind::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => "nothing listens there: check address, port and target",
                io::ErrorKind::TimedOut => "nothing answers there: check address, routing and firewall",
                _ => "check the address and the network",
            },
            ErrorKind::Route { what, source } if what.starts_with("congestion control") => {
                match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "net.ipv4.tcp_allowed_congestion_control lists those that want no CAP_NET_ADMIN: add it there, or \
                     give the program that capability"
                    }
                    _ => {
                        "this kernel has no such congestion control: net.ipv4.tcp_available_congestion_control lists those \
                     it has, and `modprobe tcp_NAME` adds one"
                    }
                }
            }
            ErrorKind::Route { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "interfaces want CAP_NET_RAW on kernels older than 5.7, priorities above 6 CAP_NET_ADMIN: run as \
                     root, or give the program that capability"
                }
                io::ErrorKind::AddrNotAvailable => {
                    "this machine has no such address: `ip address` shows those it has"
                }
                io::ErrorKind::InvalidInput => {
                    "a link-local address is one together with its link: name the target's as [fe80::1%eth0]:4420"
                }
                _ => "this machine has no such interface: `ip link` shows those it has",
            },
            ErrorKind::PeerSpeaksTls { .. } => {
                "the listener at this port speaks TLS: connect with --tls and the key that both ends share"
            }
            ErrorKind::NoIcResp { tls: false, .. } => {
                "the listener may want TLS (connect with --tls and a key), or be no NVMe/TCP target at all"
            }
            ErrorKind::NoIcResp { tls: true, .. } => "the target's own log says why it gave up after TLS",
            ErrorKind::BringUp(error) => bring_up_hint(error)?,
            ErrorKind::Status { status, .. } => status_hint(*status),
            ErrorKind::Data { fault: DataFault::Digest, .. } => {
                "bytes changed between the target's memory and this host's: try again; where it happens again, the \
                 network hardware of one of the two is at fault"
            }
            ErrorKind::Data { fault: DataFault::Short { .. }, .. } => TARGET_AT_FAULT,
            ErrorKind::Namespace { refusal: NamespaceRefusal::Missing, .. } => {
                "`nvme-tcp list` shows the namespaces that there are"
            }
            ErrorKind::Namespace { .. } => {
                "format it without metadata and protection information, with 512- or 4096-byte blocks"
            }
            ErrorKind::Lost(_) => {
                "the target stopped or the network failed: what was not flushed may not be written"
            }
            ErrorKind::Timeout { .. } => "the target is overloaded or gone; a longer --timeout waits longer",
            ErrorKind::UnknownFate { .. } => {
                "read what stands there once the old controller is fenced, before writing to the same place again"
            }
            ErrorKind::Entry(_) => "connect with --tls and the key that both ends share",
            ErrorKind::Unsupported(_) => {
                "use another way, or another target: what is optional, Identify tells"
            }
            ErrorKind::Protocol(_) | ErrorKind::Malformed(_) => TARGET_AT_FAULT,
            ErrorKind::Terminated { .. } => {
                "one of the two ends is at fault: report it with the target's log, name and version"
            }
            // The message says it all.
            _ => return None,
        };
        Some(text.to_owned())
    }
}

const TARGET_AT_FAULT: &str = "this is a fault of the target: report it with its name and version";

/// Who closes a connection when a TLS handshake begins.
const UNANSWERED: &str = "the listener may be plain (connect without --tls and key); the kernel's target \
                          closes as well when it does not know the key, so compare it at both ends";

/// What a target does with a key that comes of DH-HMAC-CHAP.
const GENERATED: &str = "authentication went well, but the target did not take the TLS key that comes of it: Linux 7.2 \
                         makes none where the controller authenticates itself too (connect without its secret), and a \
                         listener without TLS takes none";

/// What to do about a server that gave up during the TLS handshake: of NVMe, the TLS library knows nothing.
fn handshake_hint(error: &ktls::Error, tried: TriedIdentities) -> Option<String> {
    let Some(hint) = key_hint(error) else {
        return unanswered_for_long(error).or_else(|| error.hint()).map(str::to_owned);
    };
    let more = match tried {
        TriedIdentities::Generated => return Some(GENERATED.to_owned()),
        TriedIdentities::Version1 => {
            "; or the target only knows version-0 identities, as SPDK and older targets do: allow version 0, too"
        }
        TriedIdentities::Version0 => "; or the target only knows version-1 identities: allow version 1, too",
        TriedIdentities::BothVersions => "",
    };
    Some(format!("{hint}{more}"))
}

fn unanswered_for_long(error: &ktls::Error) -> Option<&'static str> {
    let ktls::Error::Io(error) = error else { return None };
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock).then_some(
        "who listens there does not answer: check address and port; a longer --timeout waits longer",
    )
}

/// Where it may be the key or its identity.
fn key_hint(error: &ktls::Error) -> Option<&'static str> {
    Some(match error {
        ktls::Error::Handshake(handshake::Error::AlertReceived {
            alert: Alert::UNKNOWN_PSK_IDENTITY,
            ..
        }) => {
            "the target has no such key for this host and subsystem: compare the key, --hostnqn and the \
             subsystem's NQN with the target's"
        }
        // What SPDK v26.05 answers to every identity that it does not know, and to a wrong key.
        ktls::Error::Handshake(handshake::Error::AlertReceived { alert: Alert::INTERNAL_ERROR, .. }) => {
            "the target may have no such key for this host and subsystem (SPDK answers so): compare the key, \
             --hostnqn and the subsystem's NQN with the target's, whose own log says more"
        }
        ktls::Error::Handshake(handshake::Error::Closed { answered: false, .. }) => UNANSWERED,
        ktls::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => UNANSWERED,
        _ => return None,
    })
}

fn bring_up_hint(error: &BringUpError) -> Option<&'static str> {
    Some(match error {
        BringUpError::Refused { status, .. } if status.is(Status::CONNECT_INVALID_HOST) => {
            "this host NQN is not allowed on the subsystem: add it there, or connect with one that is (--hostnqn)"
        }
        BringUpError::Refused { parameter: Some(p), .. } => match *p {
            InvalidParameter::SUBNQN => {
                "the target has no subsystem of this NQN at this port: `nvme-tcp list` shows those it has"
            }
            InvalidParameter::HOSTNQN => "the target does not take this host NQN",
            InvalidParameter::CNTLID => {
                "the target had given this controller up before all its queues were there: connect again, with a longer \
                 keep-alive timeout if it is short"
            }
            _ => "target and host disagree on Connect",
        },
        BringUpError::Refused { status, .. } if status.is(Status::CONNECT_CONTROLLER_BUSY) => {
            "the target has as many controllers as it may: end another host's connection, or raise its limit"
        }
        BringUpError::Refused { status, .. } | BringUpError::Failed { status, .. } => status_hint(*status),
        BringUpError::AuthenticationRequired => {
            "the target wants a DH-HMAC-CHAP secret of this host: give it by --dhchap-keyfile or --dhchap-secret"
        }
        BringUpError::SecureChannelRequired => {
            "connect with --concat, which makes a TLS key from the DH-HMAC-CHAP secret"
        }
        BringUpError::Authentication(e) => e.hint()?,
        BringUpError::Fatal | BringUpError::NotReady { .. } => {
            "the target's own log says what is wrong with it; a restart of the target may mend it"
        }
        _ => return None,
    })
}

/// What an operator can do about a command that the controller completed with `status`.
fn status_hint(status: Status) -> &'static str {
    let known = [
        (
            Status::WRITE_PROTECTED,
            "the target serves it for reading only: let it be written there, or choose another namespace",
        ),
        (
            Status::CAPACITY_EXCEEDED,
            "the target has no room left behind this namespace (it is thinly provisioned): make room there",
        ),
        (Status::LBA_OUT_OF_RANGE, "the namespace was made smaller meanwhile: connect again"),
        (
            Status::INVALID_NAMESPACE,
            "the namespace was taken away: `nvme-tcp list` shows those that there are",
        ),
        (Status::NAMESPACE_NOT_READY, "the target is not ready yet: try again"),
        (Status::FORMAT_IN_PROGRESS, "wait until the namespace is formatted, and try again"),
        (Status::SANITIZE_IN_PROGRESS, "wait until the target is sanitized, and try again"),
        (
            Status::RESERVATION_CONFLICT,
            "another host has reserved the namespace: release the reservation, or wait for its end",
        ),
        (Status::ACCESS_DENIED, "the target does not let this host do so: change its access rights"),
        (
            Status::WRITE_FAULT,
            "the medium behind the namespace fails: see to it at the target, and copy to another one",
        ),
        (
            Status::UNRECOVERED_READ,
            "the medium behind the namespace has lost data: see to it at the target, and restore what it held",
        ),
        (Status::ANA_PERSISTENT_LOSS, "this way to the namespace is gone: connect to another address of it"),
        (
            Status::ANA_INACCESSIBLE,
            "this way to the namespace does not serve: connect to another address of it",
        ),
        (Status::ANA_TRANSITION, "the ways to the namespace are changing: try again"),
    ];
    match known.into_iter().find(|(known, _)| status.is(*known)) {
        Some((_, hint)) => hint,
        None if status.do_not_retry() => "the target's own log says why: it will refuse the same again",
        None => "the target's own log says why; the same may succeed later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls_hint(source: ktls::Error) -> String {
        tried_hint(source, TriedIdentities::BothVersions)
    }

    fn tried_hint(source: ktls::Error, tried: TriedIdentities) -> String {
        let error = Error::from(ErrorKind::Tls { address: "h:1".to_owned(), tried, source });
        error.hint().unwrap_or_default()
    }

    #[test]
    fn an_identity_of_one_version_may_be_the_wrong_one() {
        let closed = || handshake::Error::Closed { role: handshake::Role::Client, answered: false }.into();
        let hint = tried_hint(closed(), TriedIdentities::Version1);
        assert!(hint.contains("only knows version-0 identities") && hint.contains("compare it"), "{hint}");
        assert!(tried_hint(closed(), TriedIdentities::Version0).contains("only knows version-1"));
        assert!(!tls_hint(closed()).contains("version"));
        // No key of an operator's: there is nothing to compare.
        let hint = tried_hint(closed(), TriedIdentities::Generated);
        assert!(hint.contains("authentication went well") && !hint.contains("compare"), "{hint}");
        // What has nothing to do with the key stays as it is.
        let late = || io::Error::from(io::ErrorKind::TimedOut).into();
        assert_eq!(tried_hint(late(), TriedIdentities::Generated), tls_hint(late()));
    }

    #[test]
    fn identities_are_told_by_version_and_origin() {
        use crate::psk::{IdentityVersion::*, Origin::*};
        let of = |tried: &[_]| TriedIdentities::of(tried.iter().copied());
        assert_eq!(of(&[(V1, Retained), (V0, Retained)]), TriedIdentities::BothVersions);
        assert_eq!(of(&[(V1, Retained), (V1, Retained)]), TriedIdentities::Version1);
        assert_eq!(of(&[(V0, Retained)]), TriedIdentities::Version0);
        assert_eq!(of(&[(V1, Generated)]), TriedIdentities::Generated);
    }

    #[test]
    fn a_handshake_without_an_answer_has_two_mends() {
        let closed = |answered| handshake::Error::Closed { role: handshake::Role::Client, answered };
        for unanswered in [closed(false).into(), io::Error::from(io::ErrorKind::ConnectionReset).into()] {
            let hint = tls_hint(unanswered);
            assert!(hint.contains("without --tls") && hint.contains("compare it at both ends"), "{hint}");
        }
        assert!(!tls_hint(closed(true).into()).contains("without --tls"));
        assert!(tls_hint(io::Error::from(io::ErrorKind::TimedOut).into()).contains("--timeout"));
    }

    #[test]
    fn an_unknown_identity_is_mended_where_nvme_names_it() {
        let alert = Alert::UNKNOWN_PSK_IDENTITY;
        let received = handshake::Error::AlertReceived { alert, role: handshake::Role::Client };
        assert!(tls_hint(received.into()).contains("--hostnqn"));
    }

    #[test]
    fn an_alert_that_names_no_cause_still_gets_a_mend() {
        let alert = Alert::INTERNAL_ERROR;
        let received = handshake::Error::AlertReceived { alert, role: handshake::Role::Client };
        assert!(tls_hint(received.into()).contains("compare the key"));
    }

    #[test]
    fn every_status_has_a_mend() {
        let hint = |status| Error::from(ErrorKind::Status { command: "Write", status }).hint().unwrap();
        assert!(hint(Status::WRITE_PROTECTED.with_do_not_retry()).contains("for reading only"));
        assert!(hint(Status::CAPACITY_EXCEEDED).contains("make room"));
        let vendor = Status::of(7, 0x42);
        assert!(hint(vendor).contains("may succeed later"));
        assert!(hint(vendor.with_do_not_retry()).contains("refuse the same again"));
        let failed = BringUpError::Failed { command: "Identify", status: Status::ACCESS_DENIED };
        assert_eq!(Error::from(failed).hint().unwrap(), hint(Status::ACCESS_DENIED));
    }

    #[test]
    fn a_digest_is_not_the_targets_fault_alone() {
        let hint = |fault| Error::from(ErrorKind::Data { command: "Read", fault }).hint().unwrap();
        assert!(hint(DataFault::Digest).contains("network"));
        assert!(hint(DataFault::Short { got: 1, expected: 2 }).contains("fault of the target"));
    }
}
