//! What a target reports while it runs.

use std::net::SocketAddr;

use nvme_tcp::driver::transport::TransportError;

use crate::session::SessionEnd;

/// Something an operator may want to read. It prints as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetEvent {
    /// A connection was accepted.
    #[error("{peer}: connected to {local}{}", tls.as_deref().map(|tls| format!(", {tls}")).unwrap_or_default())]
    Accepted {
        /// The host's address.
        peer: SocketAddr,
        /// The listener's address.
        local: SocketAddr,
        /// On a TLS connection: version, suite and PSK identity.
        tls: Option<String>,
    },
    /// A connection never came as far as NVMe.
    #[error("{peer}: refused: {reason}")]
    Refused {
        /// The host's address.
        peer: SocketAddr,
        /// Why.
        reason: Refusal,
    },
    /// A connection is over.
    #[error("{peer}: {} closed: {reason}", queue_name(*qid))]
    Closed {
        /// The host's address.
        peer: SocketAddr,
        /// The queue it was, once it was connected.
        qid: Option<u16>,
        /// Why.
        reason: Close,
    },
    /// A listener cannot accept connections for now.
    #[error("{local}: cannot accept connections: {error}")]
    Listener {
        /// The listener's address.
        local: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
}

fn queue_name(qid: Option<u16>) -> String {
    match qid {
        None => "connection without a queue".to_owned(),
        Some(0) => "admin queue".to_owned(),
        Some(qid) => format!("I/O queue {qid}"),
    }
}

/// Why a connection never came as far as NVMe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// TLS met a plain listener.
    #[error("the host speaks TLS, and this listener does not: connect without TLS, or to a TLS listener")]
    TlsOnPlain,
    /// Something else than TLS met a TLS listener.
    #[error("the host speaks plain NVMe/TCP, and this listener requires TLS")]
    PlainOnTls,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(ktls::Error),
    /// There are as many connections as there may be.
    #[error("there are {0} connections already")]
    Full(usize),
    /// A thread or descriptor for it cannot be had.
    #[error("no resources: {0}")]
    Resources(std::io::Error),
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// The session ended it, or the host did by NVMe's means.
    #[error(transparent)]
    Session(#[from] SessionEnd),
    /// The host closed it, or the network did.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The host did not connect a queue, or did not authenticate itself, in time.
    #[error("no queue was connected and authenticated in time")]
    Idle,
    /// The host takes none of what is sent to it.
    #[error("the host read nothing of what it was sent for {} ms", .0.as_millis())]
    Stalled(std::time::Duration),
    /// The target is shut down.
    #[error("the target shuts down")]
    Shutdown,
    /// A fault plan said so.
    #[error("the fault plan cut it")]
    Fault,
}
