//! What a caller can choose.

use crate::event::Flow;
use crate::record::budget::{DEFAULT_ALARM, DEFAULT_LIMIT, Meter};

/// Who is to seal and open the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The kernel where it can, this process where it cannot, each direction by itself.
    #[default]
    Auto,
    /// This process.
    Process,
    /// The kernel; else the connection fails with
    /// [`Error::KernelTlsUnavailable`](crate::Error::KernelTlsUnavailable).
    Kernel,
}

/// How a [`Socket`](crate::Socket) treats its records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Who is to seal what this end sends.
    pub send_layer: Layer,
    /// Who is to open what the peer sends.
    pub receive_layer: Layer,
    /// Records that one key may seal or open: 2^24.5 by default, the limit of AES-GCM (RFC 8446,
    /// section 5.5).
    pub record_limit: u64,
    /// Records at which [`Event::BudgetLow`](crate::Event::BudgetLow) is raised: 7/8 of the default limit
    /// by default.
    pub record_alarm: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_layer: Layer::Auto,
            receive_layer: Layer::Auto,
            record_limit: DEFAULT_LIMIT,
            record_alarm: DEFAULT_ALARM,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the layer of both directions.
    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        self.send_layer(layer).receive_layer(layer)
    }

    /// Sets [`Options::send_layer`].
    #[must_use]
    pub fn send_layer(mut self, layer: Layer) -> Self {
        self.send_layer = layer;
        self
    }

    /// Sets [`Options::receive_layer`].
    #[must_use]
    pub fn receive_layer(mut self, layer: Layer) -> Self {
        self.receive_layer = layer;
        self
    }

    /// Sets [`Options::record_limit`], and the alarm to 7/8 of it.
    #[must_use]
    pub fn record_limit(mut self, records: u64) -> Self {
        self.record_limit = records;
        self.record_alarm = records / 8 * 7 + records % 8;
        self
    }

    /// Sets [`Options::record_alarm`].
    #[must_use]
    pub fn record_alarm(mut self, records: u64) -> Self {
        self.record_alarm = records;
        self
    }

    pub(crate) fn meter(&self, direction: Flow) -> Meter {
        Meter::new(direction, self.record_alarm, self.record_limit)
    }
}

/// Whether one call may wait. It is said at each call; the descriptor itself stays blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Never: what cannot be done at once is an I/O error of the kind `WouldBlock`.
    Now,
    /// As long as it takes, or as `SO_RCVTIMEO` and `SO_SNDTIMEO` say: then the I/O error is `WouldBlock`
    /// too. A signal ends it with `Interrupted`.
    Block,
}
