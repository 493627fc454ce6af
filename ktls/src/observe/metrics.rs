//! What is known of kernel TLS as Prometheus's text (exposition format 0.0.4).

use std::fmt::{self, Write as _};

use super::{Conf, DeviceCounters, DeviceTls, SocketTls, TlsStat};
use crate::event::Flow;
use crate::probe::Probe;

/// Gathers what is known, and writes it as Prometheus's text by `Display`.
///
/// ```
/// use ktls::observe::{Metrics, TlsStat};
///
/// let mut metrics = Metrics::new();
/// metrics.probe(&ktls::probe());
/// if let Ok(counters) = TlsStat::read() {
///     metrics.counters(&counters);
/// }
/// assert!(metrics.to_string().contains("\nktls_kernel_tls "));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    families: Vec<Family>,
}

/// The samples of one name stand together, after what it means.
#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, u64)>,
}

impl Metrics {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this kernel's TLS can do.
    pub fn probe(&mut self, probe: &Probe) {
        self.gauge("ktls_kernel_tls", "Whether this kernel has TLS.", &[], probe.missing.is_none().into());
        for suite in &probe.suites {
            for (direction, refusal) in [(Flow::Send, &suite.send), (Flow::Receive, &suite.receive)] {
                let labels = [("cipher", suite.suite.to_string()), ("direction", direction.to_string())];
                let help = "Whether this kernel seals (send) or opens (receive) with a cipher.";
                self.gauge("ktls_kernel_cipher", help, &labels, refusal.is_none().into());
            }
        }
        for (feature, has) in [
            ("no_pad", probe.no_pad),
            ("max_payload", probe.max_payload),
            ("sendfile", probe.sendfile),
            ("counts_records", probe.counts_records),
            ("rekey", probe.rekey),
        ] {
            let labels = [("feature", feature.to_owned())];
            self.gauge(
                "ktls_kernel_feature",
                "Whether this kernel's TLS has a feature.",
                &labels,
                has.into(),
            );
        }
    }

    /// The counters of the network namespace.
    pub fn counters(&mut self, stat: &TlsStat) {
        for (name, value) in stat.iter() {
            let labels = [("counter", name.to_owned())];
            if name.starts_with("TlsCurr") {
                let help = "Sockets with kernel TLS now, from /proc/net/tls_stat.";
                self.gauge("ktls_sockets", help, &labels, value);
            } else {
                let help = "Counters of /proc/net/tls_stat.";
                self.add("ktls_stat_total", "counter", help, &labels, value);
            }
        }
    }

    /// A network card.
    pub fn device(&mut self, name: &str, device: &DeviceTls) {
        let (send, receive) = (device.send, device.receive);
        for (direction, state, value) in [
            (Flow::Send, "supported", send.supported),
            (Flow::Send, "active", send.active),
            (Flow::Receive, "supported", receive.supported),
            (Flow::Receive, "active", receive.active),
        ] {
            let labels = [
                ("device", name.to_owned()),
                ("direction", direction.to_string()),
                ("state", state.to_owned()),
            ];
            let help = "Whether a network card can take keys, and whether it is switched on.";
            self.gauge("ktls_device_offload", help, &labels, value.into());
        }
    }

    /// What a network card counts.
    pub fn device_counters(&mut self, name: &str, counters: &DeviceCounters) {
        for (counter, value) in counters.iter() {
            let labels = [("device", name.to_owned()), ("counter", counter.to_owned())];
            let help = "What a network card's driver counts (ethtool -S).";
            self.add("ktls_device_total", "counter", help, &labels, value);
        }
    }

    /// One socket under a name of the caller's.
    pub fn socket(&mut self, name: &str, socket: &SocketTls) {
        for (direction, conf) in [(Flow::Send, socket.tx), (Flow::Receive, socket.rx)] {
            let labels = [
                ("socket", name.to_owned()),
                ("direction", direction.to_string()),
                ("where", conf.unwrap_or(Conf::Base).to_string()),
            ];
            self.gauge("ktls_socket", "Where the records of a socket are sealed or opened.", &labels, 1);
        }
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, String)], value: u64) {
        self.add(name, "gauge", help, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        labels: &[(&str, String)],
        value: u64,
    ) {
        let mut text = String::new();
        for (label, value) in labels {
            let separator = if text.is_empty() { '{' } else { ',' };
            let _ = write!(text, "{separator}{label}=\"{}\"", escaped(value));
        }
        if !text.is_empty() {
            text.push('}');
        }
        match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push((text, value)),
            None => self.families.push(Family { name, kind, help, samples: vec![(text, value)] }),
        }
    }
}

/// A label's value: backslash, quote and line feed are written with a backslash.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Family { name, kind, help, samples } in &self.families {
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for (labels, value) in samples {
                writeln!(f, "{name}{labels} {value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Offload;

    #[test]
    fn the_text_is_prometheus_s() {
        let mut metrics = Metrics::new();
        metrics.counters(&TlsStat::parse("TlsCurrTxSw 2\nTlsTxSw 9\nTlsRxSw 8\n").unwrap());
        metrics.device(
            "a\"\\\n",
            &DeviceTls { send: Offload { supported: true, active: false }, ..DeviceTls::default() },
        );
        metrics.device_counters("eth0", &DeviceCounters::default());
        metrics.socket("peer", &SocketTls { tx: Some(Conf::Software), ..SocketTls::default() });
        let text = metrics.to_string();
        let expected = "\
# HELP ktls_sockets Sockets with kernel TLS now, from /proc/net/tls_stat.
# TYPE ktls_sockets gauge
ktls_sockets{counter=\"TlsCurrTxSw\"} 2
# HELP ktls_stat_total Counters of /proc/net/tls_stat.
# TYPE ktls_stat_total counter
ktls_stat_total{counter=\"TlsTxSw\"} 9
ktls_stat_total{counter=\"TlsRxSw\"} 8
";
        assert!(text.starts_with(expected), "{text}");
        let device = r#"ktls_device_offload{device="a\"\\\n",direction="send",state="supported"} 1"#;
        assert!(text.contains(device), "{text}");
        assert!(
            text.contains(r#"ktls_socket{socket="peer",direction="receive",where="no key"} 1"#),
            "{text}"
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn a_name_stands_once() {
        let mut metrics = Metrics::new();
        metrics.probe(&crate::probe());
        metrics.probe(&crate::probe());
        let text = metrics.to_string();
        assert_eq!(text.matches("# TYPE ktls_kernel_tls gauge").count(), 1, "{text}");
    }
}
