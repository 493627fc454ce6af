//! What a target did so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a target did since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that were accepted.
    pub connections: u64,
    /// Of these, those that are open now.
    pub open_connections: u64,
    /// TLS handshakes that failed, and connections that spoke TLS where it was not expected or the other
    /// way round.
    pub refused_connections: u64,
    /// Commands of all queues.
    pub commands: u64,
    /// Commands that were answered with another status than success.
    pub failed_commands: u64,
    /// Data digests that did not match.
    pub digest_errors: u64,
    /// Connections that ended because the host broke the protocol.
    pub violations: u64,
    /// Bytes received, as NVMe/TCP PDUs.
    pub bytes_received: u64,
    /// Bytes sent, as NVMe/TCP PDUs.
    pub bytes_sent: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Statistics {
                Statistics { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    connections,
    open_connections,
    refused_connections,
    commands,
    failed_commands,
    digest_errors,
    violations,
    bytes_received,
    bytes_sent
);

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}
