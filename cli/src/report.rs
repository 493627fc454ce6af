//! What a transfer turned out to be, for people and as JSON.

use std::time::Duration;

use nvme_tcp::TlsFacts;
use nvme_tcp::psk::IdentityVersion;
use serde::Serialize;

/// What TLS was, on the connections of a transfer.
#[derive(Clone, Debug, Serialize)]
pub struct TlsReport {
    /// "TLS 1.3"
    pub version: &'static str,
    /// The cipher suite's name.
    pub suite: &'static str,
    /// Version of the PSK identity.
    pub identity: u8,
    /// Who seals what is sent: "kernel", "nic" or "process".
    pub tx: &'static str,
    /// Who opens what is received.
    pub rx: &'static str,
    /// The same in words, and why.
    pub tx_why: String,
    /// The same in words, and why.
    pub rx_why: String,
}

impl TlsReport {
    /// What the library says of it.
    pub fn new(facts: &TlsFacts) -> Self {
        let identity = match facts.identity_version {
            IdentityVersion::V0 => 0,
            _ => 1,
        };
        Self {
            version: facts.info.version(),
            suite: facts.info.suite.name(),
            identity,
            tx: sealer(facts.info.send.by),
            rx: sealer(facts.info.receive.by),
            tx_why: facts.info.send.to_string(),
            rx_why: facts.info.receive.to_string(),
        }
    }

    /// Lines for a table of two columns.
    pub fn rows(&self) -> Vec<[String; 2]> {
        vec![
            ["TLS".to_owned(), format!("{}, {}", self.version, self.suite)],
            ["PSK identity".to_owned(), format!("version {}", self.identity)],
            ["sent records".to_owned(), format!("sealed by {}", self.tx_why)],
            ["received records".to_owned(), format!("opened by {}", self.rx_why)],
        ]
    }
}

fn sealer(by: ktls::SealedBy) -> &'static str {
    match by {
        ktls::SealedBy::Kernel => "kernel",
        ktls::SealedBy::Nic => "nic",
        _ => "process",
    }
}

/// 10^6 bytes in a second.
pub fn mb_s(bytes: u64, time: Duration) -> f64 {
    let rate = bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9);
    (rate * 10.0).round() / 10.0
}

/// "1.234 s"
pub fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_in_millions_of_bytes() {
        assert_eq!(mb_s(256 << 20, Duration::from_millis(500)), 536.9);
        assert!(mb_s(1, Duration::ZERO).is_finite());
    }
}
