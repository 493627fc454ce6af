//! What a controller offers on a connection, and what a host and it agree on.

/// What this controller offers on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Grant header digests to a host that asks for them.
    pub header_digest: bool,
    /// Grant data digests to a host that asks for them.
    pub data_digest: bool,
    /// CPDA: where received data is to begin, 0-based dwords, 0 to 31.
    pub cpda: u8,
    /// MAXH2CDATA: the most data in one H2CData PDU in bytes; at least 4,096 and a multiple of 4.
    pub maxh2cdata: u32,
    /// The most data in one C2HData PDU in bytes, a multiple of 4.
    pub maxc2hdata: u32,
    /// R2Ts outstanding for one command, 1 to 16, and never more than the host's MAXR2T allows.
    pub max_r2ts: u32,
    /// The most data that one R2T asks for, in bytes, a multiple of 4.
    pub r2t_len: u32,
    /// When a read that succeeded has no response of its own.
    pub c2h_success: C2hSuccess,
    /// The most data in the capsule of an I/O command, in bytes, a multiple of 16.
    pub in_capsule: u32,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            header_digest: true,
            data_digest: true,
            cpda: 0,
            maxh2cdata: 1 << 20,
            maxc2hdata: 1 << 20,
            max_r2ts: 1,
            r2t_len: 1 << 20,
            c2h_success: C2hSuccess::Always,
            in_capsule: 8192,
        }
    }
}

/// When the last C2HData of a read says SUCCESS, and no response follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum C2hSuccess {
    /// Each read has a response.
    Never,
    /// On queues without SQ flow control, since SUCCESS carries no SQHD: what the kernel's target does.
    WithoutFlowControl,
    /// On every queue: what SPDK's target does. Hosts that wait for SQHD to move would wait for the next
    /// command that has a response.
    Always,
}

/// What ICReq and ICResp agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Header digests are in force.
    pub header_digest: bool,
    /// Data digests are in force.
    pub data_digest: bool,
    /// Where sent data begins: a multiple of this many bytes.
    pub alignment: u32,
    /// How many R2Ts may be outstanding for one command.
    pub max_r2ts: u32,
}
