//! Two sockets of this library against each other, in every pairing of the layers.

mod socket_support;

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use ktls::cipher::CipherSuite;
use ktls::crypto::Hash;
use ktls::handshake::{self, ClientConfig, Psk, ServerConfig};
use ktls::secret::Secret;
use ktls::{Error, Flow, Layer, Options, SealedBy, Socket, Wait, Why, probe};
use socket_support::{
    DEADLINE, kernel_has_tls, pattern, receive_all, send_all, sockets, tcp_pair, with_peer,
};

/// Everything that a pair is put through: both ways at once, then one close after the other.
fn exchange(suite: CipherSuite, a: &Options, b: &Options) {
    let [a, b] = sockets(suite, [a, b]);
    assert_eq!((a.info().suite, a.info().version()), (suite.into(), "TLS 1.3"));
    let data = pattern(3_000_000);
    let ((mut send_a, mut recv_a), (mut send_b, mut recv_b)) = (a.into_halves(), b.into_halves());
    thread::scope(|scope| {
        for send in [&mut send_a, &mut send_b] {
            let data = &data;
            scope.spawn(move || {
                // Sizes below, at and above a record's.
                let mut rest = &data[..];
                for len in [1, 100, 16_384, 16_385, 5, 400_000].into_iter().cycle() {
                    let (part, more) = rest.split_at(rest.len().min(len));
                    send_all(send, part);
                    rest = more;
                    if rest.is_empty() {
                        break;
                    }
                }
                assert!(send.close_notify(Wait::Block).unwrap());
            });
        }
        for recv in [&mut recv_a, &mut recv_b] {
            let data = &data;
            scope.spawn(move || assert!(receive_all(recv) == *data));
        }
    });
}

fn in_layers(a: Layer, b: Layer) {
    for suite in CipherSuite::ALL {
        exchange(suite, &Options::new().layer(a), &Options::new().layer(b));
    }
}

#[test]
fn process_to_process() {
    in_layers(Layer::Process, Layer::Process);
}

#[test]
fn kernel_to_process_and_back() {
    if kernel_has_tls("kernel_to_process_and_back") {
        in_layers(Layer::Kernel, Layer::Process);
    }
}

#[test]
fn kernel_to_kernel() {
    if kernel_has_tls("kernel_to_kernel") {
        in_layers(Layer::Kernel, Layer::Kernel);
    }
}

#[test]
fn each_direction_by_itself() {
    if !kernel_has_tls("each_direction_by_itself") {
        return;
    }
    let sends = Options::new().send_layer(Layer::Kernel).receive_layer(Layer::Process);
    let receives = Options::new().send_layer(Layer::Process).receive_layer(Layer::Kernel);
    exchange(socket_support::SUITE, &sends, &receives);
    exchange(socket_support::SUITE, &sends, &sends);
    let [socket, _] = sockets(socket_support::SUITE, [&sends, &receives]);
    assert_eq!((socket.info().send.by, socket.info().receive.by), (SealedBy::Kernel, SealedBy::Process));
    assert_eq!(socket.info().receive.why, Why::Asked);
}

#[test]
fn the_best_layer_is_found_and_explained() {
    let options = Options::new();
    let [socket, _] = sockets(socket_support::SUITE, [&options, &options]);
    let info = socket.info();
    match probe().missing {
        None => assert_eq!(info.send.by, SealedBy::Kernel),
        Some(why) => {
            assert_eq!((info.send.by, info.receive.by), (SealedBy::Process, SealedBy::Process));
            assert_eq!(info.send.to_string(), format!("this process ({why})"));
        }
    }
}

#[test]
fn a_kernel_that_is_required_and_refuses_is_an_error() {
    let (a, _b) = tcp_pair();
    let options = Options::new().layer(Layer::Kernel);
    let take = |stream: std::net::TcpStream| {
        let [keys, _] = socket_support::established(socket_support::SUITE, 16_384);
        Socket::from_established(stream, keys, &options)
    };
    // Where the kernel has TLS, it gives it to a socket once.
    let first = take(a.try_clone().unwrap());
    assert_eq!(first.is_ok(), probe().missing.is_none());
    match take(a) {
        Err(error @ Error::KernelTlsUnavailable { direction: Flow::Send, .. }) => {
            let missing = probe().missing.map_or("refused".to_owned(), |why| why.to_string());
            assert!(error.to_string().contains(&missing), "{error}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn wait_until(fd: BorrowedFd<'_>, writable: bool) {
    let flag = if writable { nix::poll::PollFlags::POLLOUT } else { nix::poll::PollFlags::POLLIN };
    let mut fds = [nix::poll::PollFd::new(fd, flag)];
    assert_eq!(nix::poll::poll(&mut fds, nix::poll::PollTimeout::from(60_000_u16)).unwrap(), 1);
}

with_both_layers!(a_full_send_buffer_loses_nothing, a_file_goes_without_waiting);

fn a_full_send_buffer_loses_nothing(layer: Layer) {
    let options = [Options::new().layer(layer), Options::new().layer(Layer::Process)];
    let [a, b] = sockets(socket_support::SUITE, [&options[0], &options[1]]);
    let ((mut send, _keep), (_keep_too, mut recv)) = (a.into_halves(), b.into_halves());
    let data = pattern(64 * 1024 * 1024);
    let mut sent = 0;
    let error = loop {
        match send.send_vectored(&[IoSlice::new(&data[sent..])], Wait::Now) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
    };
    assert!(error.is_would_block() && error.is_retryable(), "{error}");
    assert!(sent > 0 && sent < data.len());
    assert_eq!(send.has_pending(), layer == Layer::Process);
    assert_eq!(send.flush(Wait::Now).unwrap(), layer == Layer::Kernel);
    assert!(!send.close_notify(Wait::Now).unwrap(), "no room for it now");
    let expected = data[..sent].to_vec();
    let reader = thread::spawn(move || assert!(receive_all(&mut recv) == expected));
    while !send.close_notify(Wait::Now).unwrap() {
        wait_until(send.as_fd(), true);
    }
    assert!(!send.has_pending());
    reader.join().unwrap();
}

fn a_file_goes_without_waiting(layer: Layer) {
    let options = [Options::new().layer(layer), Options::new().layer(Layer::Process)];
    let [a, b] = sockets(socket_support::SUITE, [&options[0], &options[1]]);
    let ((mut send, _keep), (_keep_too, mut recv)) = (a.into_halves(), b.into_halves());
    let data = pattern(8 * 1024 * 1024);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    let reader = thread::spawn(move || receive_all(&mut recv));
    let mut sent = 0;
    while sent < data.len() {
        match send.send_file(file.as_fd(), sent as u64, data.len() - sent, Wait::Now) {
            Ok(n) => sent += n,
            Err(error) if error.is_would_block() => wait_until(send.as_fd(), true),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(send.send_file(file.as_fd(), sent as u64, 10, Wait::Now).unwrap(), 0);
    assert!(send.close_notify(Wait::Block).unwrap());
    assert!(reader.join().unwrap() == data);
}

fn psk(identity: &[u8], fill: u8, hash: Hash) -> Psk {
    Psk::new(identity.to_vec(), Secret::new(&vec![fill; hash.output_len()]).unwrap(), hash).unwrap()
}

fn server(keys: Vec<Psk>) -> ServerConfig {
    ServerConfig::new(move |identity: &[u8]| {
        keys.iter().filter(|psk| psk.identity() == identity).cloned().collect::<Vec<_>>()
    })
}

fn deadline() -> Option<Instant> {
    Some(Instant::now() + DEADLINE)
}

/// Both ends of a handshake over loopback.
fn shake(client: Psk, keys: Vec<Psk>) -> (Result<Socket, Error>, Result<Socket, Error>) {
    let (a, b) = tcp_pair();
    let accepting = thread::spawn(move || Socket::accept(b, &server(keys), &Options::new(), deadline()));
    let connected = Socket::connect(a, &ClientConfig::new(client), &Options::new(), deadline());
    (connected, accepting.join().unwrap())
}

#[test]
fn connect_and_accept_exchange_data() {
    for hash in [Hash::Sha256, Hash::Sha384] {
        let (client, server) = shake(psk(b"id", 5, hash), vec![psk(b"other", 1, hash), psk(b"id", 5, hash)]);
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.info().psk_identity, b"id");
        assert_eq!(client.info().suite, CipherSuite::for_hash(hash).unwrap());
        client.write_all(b"request").unwrap();
        client.flush().unwrap();
        let mut buf = [0; 7];
        server.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"request");
        server.write_all(b"reply").unwrap();
        assert!(server.halves().0.close_notify(Wait::Block).unwrap());
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).unwrap();
        assert_eq!(reply, b"reply");
        drop(server);
    }
}

#[test]
fn a_wrong_key_is_told_at_both_ends() {
    let (client, server) = shake(psk(b"id", 5, Hash::Sha256), vec![psk(b"id", 6, Hash::Sha256)]);
    assert!(matches!(server, Err(Error::Handshake(handshake::Error::BinderMismatch { .. }))), "{server:?}");
    match client {
        Err(error @ Error::Handshake(handshake::Error::AlertReceived { .. })) => {
            assert!(error.hint().is_some())
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_peer_that_does_not_speak_tls_is_named() {
    let (a, mut b) = tcp_pair();
    b.write_all(&[1, 0, 0x80, 0, 0x80]).unwrap();
    let refused =
        Socket::connect(a, &ClientConfig::new(psk(b"id", 5, Hash::Sha256)), &Options::new(), deadline());
    assert!(matches!(refused, Err(Error::Handshake(handshake::Error::NotTls { .. }))), "{refused:?}");
}

#[test]
fn a_peer_that_closes_or_is_silent_does_not_hold_us() {
    let config = ClientConfig::new(psk(b"id", 5, Hash::Sha256));
    let (a, b) = tcp_pair();
    let soon = Some(Instant::now() + Duration::from_millis(30));
    match Socket::connect(a, &config, &Options::new(), soon) {
        Err(Error::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        other => panic!("not timed out: {other:?}"),
    }
    drop(b);
    let (a, b) = tcp_pair();
    drop(b);
    let refused = Socket::connect(a, &config, &Options::new(), deadline());
    assert!(matches!(refused, Err(Error::Handshake(_) | Error::Io(_))), "{refused:?}");
}

#[test]
fn nothing_behind_the_handshake_is_read_with_it() {
    // The client's first data goes out in the same segment as its Finished, as far as TCP may choose.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        let config = ClientConfig::new(psk(b"id", 5, Hash::Sha256));
        let mut socket = Socket::connect(stream, &config, &Options::new(), deadline()).unwrap();
        socket.write_all(&pattern(100_000)).unwrap();
        assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
        receive_all(socket.halves().1)
    });
    let (stream, _) = listener.accept().unwrap();
    let config = server(vec![psk(b"id", 5, Hash::Sha256)]);
    let mut socket = Socket::accept(stream, &config, &Options::new(), deadline()).unwrap();
    assert!(receive_all(socket.halves().1) == pattern(100_000));
    assert!(socket.halves().0.close_notify(Wait::Block).unwrap());
    assert_eq!(client.join().unwrap(), b"");
}

#[test]
fn std_s_errors_keep_their_kind() {
    let (mut socket, mut peer) = with_peer(Layer::Process);
    peer.cut();
    let mut buf = [0; 1];
    let error = socket.read_vectored(&mut [IoSliceMut::new(&mut buf)]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
