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
    /// [`Error::KernelTlsUnavailable`](crate::Error::KernelTlsUnavailable). Where this end has announced a
    /// record_size_limit (RFC 8449), which the kernel does not know, a longer record is refused as far as the
    /// number of records tells: always where one call receives one record.
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
    /// `TLS_RX_EXPECT_NO_PAD`, on by default: where the kernel opens records of TLS 1.3, it opens them straight into
    /// the caller's memory, and once more beside it if the peer has padded one. A peer that pads much makes that
    /// dear: [`observe::NoPad`](crate::observe::NoPad) tells, and then this is better off.
    pub expect_no_pad: bool,
    /// `TLS_TX_ZEROCOPY_RO`, off by default: where a network card seals (TLS 1.2 only), it takes a file's pages
    /// from where they lie, and takes them again for a retransmission.
    ///
    /// # Danger
    /// Whoever changes the file before the peer has acknowledged it makes the card send a record whose tag does not
    /// match its bytes, or the same record number with two contents, which AES-GCM does not survive: the key's
    /// secrecy is lost. Only for files that nobody writes to while they are sent (`chattr +i`, a read-only file
    /// system, `F_SEAL_WRITE`). Where the socket is not on a card it is not set:
    /// [`Info::send_zerocopy`](crate::Info::send_zerocopy) tells.
    pub send_zerocopy: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            send_layer: Layer::Auto,
            receive_layer: Layer::Auto,
            record_limit: DEFAULT_LIMIT,
            record_alarm: DEFAULT_ALARM,
            expect_no_pad: true,
            send_zerocopy: false,
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

    /// Sets [`Options::expect_no_pad`].
    #[must_use]
    pub fn expect_no_pad(mut self, on: bool) -> Self {
        self.expect_no_pad = on;
        self
    }

    /// Sets [`Options::send_zerocopy`]: mind its danger.
    #[must_use]
    pub fn send_zerocopy(mut self, on: bool) -> Self {
        self.send_zerocopy = on;
        self
    }

    pub(crate) fn meter(&self, direction: Flow) -> Meter {
        Meter::new(direction, self.record_alarm, self.record_limit)
    }
}

/// Whether one call may wait. It is said at each call; the descriptor itself stays blocking. (But for
/// [`send_file`](crate::SendHalf::send_file) and [`splice_from`](crate::SendHalf::splice_from), which say what a
/// non-blocking one is for.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// Never: what cannot be done at once is an I/O error of the kind `WouldBlock`.
    Now,
    /// As long as it takes, or as `SO_RCVTIMEO` and `SO_SNDTIMEO` say: then the I/O error is `WouldBlock`
    /// too. A signal ends it with `Interrupted`.
    Block,
}
