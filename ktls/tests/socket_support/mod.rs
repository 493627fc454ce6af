//! What the socket's tests share: connected pairs, a peer that does as it is told, and the kernel or a
//! note that it was missing.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

#[path = "../handshake_support/process.rs"]
pub mod process;

use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use ktls::cipher::{CipherSuite, TAG_LEN};
use ktls::crypto::Group;
use ktls::keys::{Established, TrafficSecret};
use ktls::record::ContentType;
use ktls::record::budget::{DEFAULT_LIMIT, Meter};
use ktls::record::process::{Opener, Sealer};
use ktls::secret::Secret;
use ktls::{Flow, Layer, Options, Socket, Wait, probe};

/// Longer than anything here takes: a test that waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Two connected TCP sockets that give up waiting at [`DEADLINE`].
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, from) = listener.accept().unwrap();
    assert_eq!(from, a.local_addr().unwrap());
    for stream in [&a, &b] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
    }
    (a, b)
}

/// What a handshake would have left at both ends.
pub fn established(suite: CipherSuite, max_send_fragment: usize) -> [Established; 2] {
    let secret = |fill| {
        let bytes = vec![fill; suite.hash().output_len()];
        TrafficSecret::new(suite, Secret::new(&bytes).unwrap()).unwrap()
    };
    [(1, 2), (2, 1)].map(|(tx, rx)| Established {
        suite,
        group: Group::X25519,
        psk_identity: b"test".to_vec(),
        tx: secret(tx),
        rx: secret(rx),
        max_send_fragment,
        max_receive_fragment: FRAGMENT,
    })
}

pub const SUITE: CipherSuite = CipherSuite::Aes128GcmSha256;
pub const FRAGMENT: usize = 16_384;

/// A socket with `options`, and one that seals in the process.
pub fn sockets(suite: CipherSuite, options: [&Options; 2]) -> [Socket; 2] {
    let (a, b) = tcp_pair();
    let [keys_a, keys_b] = established(suite, FRAGMENT);
    [
        Socket::from_established(a, keys_a, options[0]).unwrap(),
        Socket::from_established(b, keys_b, options[1]).unwrap(),
    ]
}

/// A socket with `layer`, and a peer that does as it is told.
pub fn with_peer(layer: Layer) -> (Socket, Peer) {
    with_peer_and(&Options::new().layer(layer), FRAGMENT)
}

pub fn with_peer_and(options: &Options, max_send_fragment: usize) -> (Socket, Peer) {
    let (a, b) = tcp_pair();
    let [keys, peer] = established(SUITE, max_send_fragment);
    (Socket::from_established(a, keys, options).unwrap(), Peer::new(b, peer))
}

/// The other end, record by record.
pub struct Peer {
    pub stream: TcpStream,
    pub sealer: Sealer,
    pub opener: Opener,
}

impl Peer {
    pub fn new(stream: TcpStream, keys: Established) -> Self {
        let meter = |direction| Meter::new(direction, DEFAULT_LIMIT, DEFAULT_LIMIT);
        let sealer = Sealer::new(keys.tx, FRAGMENT, meter(Flow::Send));
        Self { stream, sealer, opener: Opener::new(keys.rx, meter(Flow::Receive)) }
    }

    pub fn send(&mut self, content_type: ContentType, content: &[u8]) {
        assert!(self.sealer.seal_record(content_type, content).unwrap());
        self.stream.write_all(self.sealer.pending()).unwrap();
        self.sealer.sent(usize::MAX);
    }

    pub fn send_data(&mut self, content: &[u8]) {
        self.send(ContentType::ApplicationData, content);
    }

    /// Bytes that are no record of ours.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// FIN, without close_notify.
    pub fn cut(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next record, or `None` at the end of the stream.
    pub fn receive(&mut self) -> Option<(ContentType, Vec<u8>)> {
        loop {
            if let Some(content_type) = self.opener.next_record().unwrap() {
                return Some((content_type, self.opener.plaintext().to_vec()));
            }
            let n = self.stream.read(self.opener.space()).unwrap();
            if n == 0 {
                return None;
            }
            self.opener.filled(n);
        }
    }
}

/// A record from the peer whose inner plaintext is just what the test says: content, type and padding.
pub fn raw_record(sequence: u64, inner: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(inner.len() + TAG_LEN).unwrap().to_be_bytes();
    let header = [23, 3, 3, high, low];
    let mut body = inner.to_vec();
    let [_, keys] = established(SUITE, FRAGMENT);
    let tag = keys.tx.record_key().seal(sequence, &header, &mut body).unwrap();
    [&header[..], &body, &tag].concat()
}

/// Bytes that repeat nowhere within reach.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Sends all of `data`, waiting as long as it takes.
pub fn send_all(socket: &mut ktls::SendHalf, data: &[u8]) {
    let mut sent = 0;
    while sent < data.len() {
        sent += socket.send_vectored(&[IoSlice::new(&data[sent..])], Wait::Block).unwrap();
    }
}

/// Receives to the peer's close_notify.
pub fn receive_all(half: &mut ktls::RecvHalf) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = vec![0; 200_000];
    loop {
        let n = half.recv_vectored(&mut [std::io::IoSliceMut::new(&mut buf)], Wait::Block).unwrap();
        if n == 0 {
            return all;
        }
        all.extend_from_slice(&buf[..n]);
    }
}

/// Whether this kernel has TLS. In the lab it must; elsewhere the test `name` is skipped.
pub fn kernel_has_tls(name: &str) -> bool {
    let Some(why) = probe().missing else { return true };
    assert!(
        std::env::var_os("NVME_TCP_LAB").is_none_or(|lab| lab != "uml"),
        "no kernel TLS in the lab: {why}"
    );
    process::skip(name, &why.to_string());
    false
}

/// Makes two tests of each function: with the process's record layer and with the kernel's.
#[macro_export]
macro_rules! with_both_layers {
    ($($name:ident),* $(,)?) => {
        mod process {
            $(#[test] fn $name() { super::$name(ktls::Layer::Process); })*
        }
        mod kernel {
            $(#[test] fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                if super::socket_support::kernel_has_tls(name) {
                    super::$name(ktls::Layer::Kernel);
                }
            })*
        }
    };
}
