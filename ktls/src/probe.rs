//! What this kernel's TLS can do, found out by trying on a pair of sockets on loopback.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cipher::{CipherSuite, NONCE_LEN, RecordCipher};
use crate::crypto;
use crate::event::Flow;
use crate::keys::DirectionKey;
use crate::secret::MAX_SECRET_LEN;
use crate::socket::{Wait, Why};
use crate::sys;

/// Whether the kernel takes the keys of one cipher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuiteProbe {
    /// Which version and cipher.
    pub suite: RecordCipher,
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
    /// A file's pages are sent without a copy (sendfile(2)).
    pub sendfile: bool,
    /// The kernel tells how many records each key was used for (Linux 6.0).
    pub counts_records: bool,
    /// A key can be replaced (Linux 6.14), so KeyUpdate works.
    pub rekey: bool,
}

/// What the first complete probe of this process found.
static FOUND: Mutex<Option<Probe>> = Mutex::new(None);
/// The same of every cipher.
static CIPHERS: Mutex<Vec<SuiteProbe>> = Mutex::new(Vec::new());

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

/// Tries every cipher of linux/tls.h in each of its versions, as [`probe_cipher`] does, and keeps the answer for this
/// process where the kernel has TLS.
pub fn probe_ciphers() -> Vec<SuiteProbe> {
    let mut found = CIPHERS.lock().unwrap_or_else(PoisonError::into_inner);
    if !found.is_empty() {
        return found.clone();
    }
    let probes: Vec<_> = RecordCipher::all().map(probe_cipher).collect();
    if probe().missing.is_none() {
        found.clone_from(&probes);
    }
    probes
}

/// Tries one cipher of one version now: also those that this library itself has not. A kernel may look for a
/// module meanwhile, which takes it some milliseconds.
pub fn probe_cipher(cipher: RecordCipher) -> SuiteProbe {
    SuiteProbe::run(cipher).0
}

impl SuiteProbe {
    fn run(suite: RecordCipher) -> (Self, Option<Trial>) {
        match Trial::new(suite) {
            Ok(trial) => {
                let why =
                    |result: &io::Result<()>| result.as_ref().err().map(|error| Why::from_key(suite, error));
                (Self { suite, send: why(&trial.send), receive: why(&trial.receive) }, Some(trial))
            }
            Err(why) => (Self { suite, send: Some(why.clone()), receive: Some(why) }, None),
        }
    }
}

impl fmt::Display for SuiteProbe {
    /// A sentence for each direction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = self.suite;
        let otherwise = if suite.cipher().in_process() { "by this process" } else { "not at all" };
        let mut separator = "";
        for (direction, refusal) in [(Flow::Send, &self.send), (Flow::Receive, &self.receive)] {
            match refusal {
                None => write!(f, "{separator}{suite} to {direction}: by the kernel.")?,
                Some(why) => write!(f, "{separator}{suite} to {direction}: {otherwise} ({why}).")?,
            }
            separator = "\n";
        }
        Ok(())
    }
}

impl Probe {
    fn nothing(missing: Why) -> Self {
        Self {
            missing: Some(missing),
            suites: Vec::new(),
            no_pad: false,
            max_payload: false,
            sendfile: false,
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
            let (found, trial) = SuiteProbe::run(suite.into());
            if let (None, None, false, Some(trial)) =
                (&found.send, &found.receive, probe.counts_records, trial)
            {
                trial.features(&mut probe);
            }
            probe.suites.push(found);
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
            said.extend(probe.to_string().lines().map(str::to_owned));
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
            self.sendfile,
            "It sends files without a copy.",
            "Whether it sends files without a copy could not be tried: memfd_create(2) is forbidden here.",
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
    key: DirectionKey,
    send: io::Result<()>,
    receive: io::Result<()>,
}

impl Trial {
    fn new(cipher: RecordCipher) -> Result<Self, Why> {
        let pair = Pair::new().map_err(|error| Why::not_tried(&error))?;
        for end in [&pair.a, &pair.b] {
            sys::tls::attach(end.as_fd()).map_err(|error| Why::from_ulp(&error))?;
        }
        let key = random_key(cipher).map_err(|error| Why::not_tried(&error))?;
        let send = sys::tls::install_key(pair.a.as_fd(), Flow::Send, &key);
        let receive = sys::tls::install_key(pair.b.as_fd(), Flow::Receive, &key);
        Ok(Self { pair, key, send, receive })
    }

    fn features(self, probe: &mut Probe) {
        let (a, b) = (self.pair.a.as_fd(), self.pair.b.as_fd());
        probe.no_pad = sys::tls::expect_no_pad(b).is_ok();
        probe.counts_records = self.counts().unwrap_or(false);
        probe.sendfile = self.sends_a_file().unwrap_or(false);
        probe.max_payload = sys::tls::max_payload(a, 4096).is_ok();
        probe.rekey = random_key(self.key.cipher())
            .and_then(|next| sys::tls::install_key(a, Flow::Send, &next))
            .is_ok();
    }

    /// Whether one record, sent and received, is one record more at both ends.
    fn counts(&self) -> io::Result<bool> {
        let (a, b) = (self.pair.a.as_fd(), self.pair.b.as_fd());
        sys::msg::send(a, &[IoSlice::new(b"1")], None, Wait::Block)?;
        let byte = self.receive()?;
        let cipher = self.key.cipher();
        let sent = sys::tls::record_sequence(a, Flow::Send, cipher)?;
        let received = sys::tls::record_sequence(b, Flow::Receive, cipher)?;
        Ok(byte == b'1' && sent == 1 && received == 1)
    }

    /// Whether what a file holds comes out at the other end.
    fn sends_a_file(&self) -> io::Result<bool> {
        let mut file = File::from(sys::msg::memory_file()?);
        file.write_all(b"2")?;
        let sent = sys::msg::send_file(self.pair.a.as_fd(), file.as_fd(), 0, 1)?;
        Ok(sent == 1 && self.receive()? == b'2')
    }

    fn receive(&self) -> io::Result<u8> {
        self.pair.b.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut byte = [0];
        sys::msg::receive(self.pair.b.as_fd(), &mut [IoSliceMut::new(&mut byte)], Wait::Block)?;
        Ok(byte[0])
    }
}

fn random_key(cipher: RecordCipher) -> io::Result<DirectionKey> {
    let mut bytes = [0; MAX_SECRET_LEN];
    crypto::random(&mut bytes).map_err(|_| io::ErrorKind::Other)?;
    let (iv, key) = bytes.split_at(NONCE_LEN);
    let key = key.get(..cipher.cipher().key_len()).unwrap_or_default();
    DirectionKey::new(cipher, key, iv, 0).map_err(io::Error::other)
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
    #[cfg_attr(miri, ignore = "makes system calls")]
    fn finds_all_or_says_why_not() {
        let probe = probe();
        match &probe.missing {
            Some(_) => assert!(probe.suites.is_empty()),
            None => {
                assert_eq!(probe.suites.len(), CipherSuite::ALL.len());
                assert!(probe.sendfile, "every kernel with TLS sends files: {probe}");
            }
        }
        assert_eq!(probe, Probe::run());
        let ciphers = probe_ciphers();
        assert!(ciphers.iter().map(|probe| probe.suite).eq(RecordCipher::all()));
        assert!(probe.suites.iter().all(|suite| ciphers.contains(suite)), "{probe}");
        assert_eq!(ciphers, probe_ciphers());
    }
}
