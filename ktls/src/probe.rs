//! What this kernel's TLS can do, found out by trying on a pair of sockets on loopback.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cipher::CipherSuite;
use crate::crypto;
use crate::event::Flow;
use crate::keys::TrafficSecret;
use crate::secret::Secret;
use crate::socket::{Wait, Why};
use crate::sys;

/// Whether the kernel takes the key of one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuiteProbe {
    /// Which suite.
    pub suite: CipherSuite,
    /// Why it cannot be used to send; `None` where it can.
    pub send: Option<Why>,
    /// Why it cannot be used to receive; `None` where it can.
    pub receive: Option<Why>,
}

/// What this kernel's TLS can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Why there is no TLS in the kernel; `None` where there is.
    pub missing: Option<Why>,
    /// Each suite of this library, with TLS 1.3.
    pub suites: Vec<SuiteProbe>,
    /// `TLS_RX_EXPECT_NO_PAD` (Linux 6.0): records are opened straight into the caller's memory.
    pub no_pad: bool,
    /// `TLS_TX_MAX_PAYLOAD_LEN` (Linux 6.19): records can be made smaller for a peer that asks for it.
    pub max_payload: bool,
    /// The kernel tells how many records each key was used for (Linux 6.0).
    pub counts_records: bool,
    /// A key can be replaced (Linux 6.14), so KeyUpdate works.
    pub rekey: bool,
}

/// What the first complete probe of this process found.
static FOUND: Mutex<Option<Probe>> = Mutex::new(None);

/// Tries this kernel's TLS, and keeps the answer for this process. That there is none is not kept: the
/// module may be loaded later. It takes well below a millisecond, and needs neither rights nor /proc.
pub fn probe() -> Probe {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(probe) = &*found {
        return probe.clone();
    }
    let probe = Probe::run();
    if probe.missing.is_none() {
        *found = Some(probe.clone());
    }
    probe
}

impl Probe {
    fn nothing(missing: Why) -> Self {
        Self {
            missing: Some(missing),
            suites: Vec::new(),
            no_pad: false,
            max_payload: false,
            counts_records: false,
            rekey: false,
        }
    }

    /// Tries it now.
    pub fn run() -> Self {
        let first = match Pair::new() {
            Ok(pair) => pair,
            Err(error) => return Self::nothing(Why::not_tried(&error)),
        };
        if let Err(error) = sys::tls::attach(first.a.as_fd()) {
            return Self::nothing(Why::from_ulp(&error));
        }
        let mut probe = Self { missing: None, ..Self::nothing(Why::Asked) };
        for suite in CipherSuite::ALL {
            match Trial::new(suite) {
                Ok(trial) => {
                    let why = |result: &io::Result<()>| {
                        result.as_ref().err().map(|error| Why::from_key(suite, error))
                    };
                    let (send, receive) = (why(&trial.send), why(&trial.receive));
                    if send.is_none() && receive.is_none() && !probe.counts_records {
                        trial.features(&mut probe);
                    }
                    probe.suites.push(SuiteProbe { suite, send, receive });
                }
                Err(error) => {
                    let why = Why::not_tried(&error);
                    probe.suites.push(SuiteProbe { suite, send: Some(why.clone()), receive: Some(why) });
                }
            }
        }
        probe
    }

    /// One sentence for each thing found, with the mend where there is one.
    pub fn explain(&self) -> Vec<String> {
        if let Some(why) = &self.missing {
            return vec![format!("TLS records are sealed by this process: {why}")];
        }
        let mut said = vec!["The kernel has TLS.".to_owned()];
        for probe in &self.suites {
            for (direction, refusal) in [(Flow::Send, &probe.send), (Flow::Receive, &probe.receive)] {
                said.push(match refusal {
                    None => format!("{} to {direction}: by the kernel.", probe.suite.name()),
                    Some(why) => format!("{} to {direction}: by this process ({why}).", probe.suite.name()),
                });
            }
        }
        let mut feature = |has: bool, yes: &str, no: &str| said.push(if has { yes } else { no }.to_owned());
        feature(
            self.counts_records,
            "It counts the records of each key.",
            "It does not count the records of each key, so this process seals them; Linux 6.0 or later counts.",
        );
        feature(
            self.no_pad,
            "It opens records straight into the reader's memory.",
            "It copies received data once; Linux 6.0 or later need not.",
        );
        feature(
            self.max_payload,
            "It can send smaller records where a peer asks for them.",
            "For a peer that asks for smaller records, each is a call of its own; Linux 6.19 or later can do better.",
        );
        feature(
            self.rekey,
            "It can change the key of a connection.",
            "It cannot change the key of a connection, so a new connection takes over; Linux 6.14 or later can.",
        );
        said
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explain().join("\n"))
    }
}

/// Two connected sockets.
struct Pair {
    a: TcpStream,
    b: TcpStream,
}

impl Pair {
    fn new() -> io::Result<Self> {
        let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
        let listener = TcpListener::bind(&addresses[..])?;
        let a = TcpStream::connect(listener.local_addr()?)?;
        loop {
            let (b, from) = listener.accept()?;
            // Another process may have connected first.
            if from == a.local_addr()? {
                return Ok(Self { a, b });
            }
        }
    }
}

/// A pair of sockets with a key from one to the other.
struct Trial {
    pair: Pair,
    secret: TrafficSecret,
    send: io::Result<()>,
    receive: io::Result<()>,
}

impl Trial {
    fn new(suite: CipherSuite) -> io::Result<Self> {
        let pair = Pair::new()?;
        sys::tls::attach(pair.a.as_fd())?;
        sys::tls::attach(pair.b.as_fd())?;
        let secret = random_secret(suite)?;
        let send = sys::tls::install_key(pair.a.as_fd(), Flow::Send, &secret);
        let receive = sys::tls::install_key(pair.b.as_fd(), Flow::Receive, &secret);
        Ok(Self { pair, secret, send, receive })
    }

    fn features(self, probe: &mut Probe) {
        let (a, b) = (self.pair.a.as_fd(), self.pair.b.as_fd());
        probe.no_pad = sys::tls::expect_no_pad(b).is_ok();
        probe.counts_records = self.counts().unwrap_or(false);
        probe.max_payload = sys::tls::max_payload(a, 4096).is_ok();
        let next = self.secret.next();
        probe.rekey = sys::tls::install_key(a, Flow::Send, &next).is_ok();
    }

    /// Whether one record, sent and received, is one record more at both ends.
    fn counts(&self) -> io::Result<bool> {
        let (a, b) = (self.pair.a.as_fd(), self.pair.b.as_fd());
        self.pair.b.set_read_timeout(Some(Duration::from_secs(2)))?;
        sys::msg::send(a, &[IoSlice::new(b"1")], None, Wait::Block)?;
        let mut byte = [0];
        sys::msg::receive(b, &mut [IoSliceMut::new(&mut byte)], Wait::Block)?;
        let suite = self.secret.suite();
        let sent = sys::tls::record_sequence(a, Flow::Send, suite)?;
        let received = sys::tls::record_sequence(b, Flow::Receive, suite)?;
        Ok(&byte == b"1" && sent == 1 && received == 1)
    }
}

fn random_secret(suite: CipherSuite) -> io::Result<TrafficSecret> {
    let mut secret = Secret::zeroed(suite.hash().output_len()).ok_or(io::ErrorKind::InvalidInput)?;
    crypto::random(secret.expose_mut()).map_err(|_| io::ErrorKind::Other)?;
    TrafficSecret::new(suite, secret).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_what_is_missing_and_the_mend() {
        let probe = Probe::nothing(Why::NoModule);
        let [sentence] = &probe.explain()[..] else { panic!("one sentence") };
        assert!(
            sentence.contains("module tls is not loaded") && sentence.contains("modprobe tls"),
            "{sentence}"
        );
    }

    #[test]
    fn finds_all_or_says_why_not() {
        let probe = probe();
        match &probe.missing {
            Some(_) => assert!(probe.suites.is_empty()),
            None => assert_eq!(probe.suites.len(), CipherSuite::ALL.len()),
        }
        assert_eq!(probe, Probe::run());
    }
}
