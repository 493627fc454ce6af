//! Sockets on tokio, with both record layers: whole, in halves of two tasks, and given up in the middle.

// Each support brings the file with the child processes.
#![allow(clippy::duplicate_mod)]

mod handshake_support;
mod rustls_support;
mod socket_support;

use std::future::Future;
use std::io::Write;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use handshake_support::{psk, server_config};
use ktls::alert::Alert;
use ktls::crypto::Hash;
use ktls::handshake::{ClientConfig, key_update_message};
use ktls::record::ContentType;
use ktls::tokio::Socket;
use ktls::{Error, Event, Layer, Options, SealedBy, probe};
use rustls_support::{Certificate, ciphers, name};
use socket_support::process::skip;
use socket_support::{DEADLINE, FRAGMENT, Peer, SUITE, established, pattern, sockets, tcp_pair, with_peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

with_both_layers!(
    pre_shared_keys_connect_and_accept,
    halves_go_both_ways_while_keys_change,
    a_reader_s_debt_is_paid_by_the_writer,
    a_whole_socket_answers_while_it_reads,
    a_dropped_read_loses_nothing,
    a_dropped_write_took_nothing,
    a_dropped_shutdown_resumes,
    a_file_goes_in_whole,
    truncation_is_an_unexpected_eof,
    a_socket_comes_back_from_the_reactor,
);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("within the deadline")
}

/// One poll, after which the future is dropped: whether it was ready.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    // The reactor must see what has come, as it does between any two polls of a task.
    tokio::task::yield_now().await;
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

fn tokio_pair() -> [TcpStream; 2] {
    let (a, b) = tcp_pair();
    [a, b].map(|stream| {
        stream.set_nonblocking(true).unwrap();
        TcpStream::from_std(stream).unwrap()
    })
}

/// A socket on the reactor, and a blocking peer that does as it is told.
fn socket_with_peer(runtime: &Runtime, layer: Layer) -> (Socket, Peer) {
    let _guard = runtime.enter();
    let (socket, peer) = with_peer(layer);
    (Socket::from_socket(socket).unwrap(), peer)
}

fn can_rekey(by: SealedBy) -> bool {
    by == SealedBy::Process || probe().rekey
}

fn pre_shared_keys_connect_and_accept(layer: Layer) {
    runtime().block_on(in_time(async {
        let [a, b] = tokio_pair();
        let options = Options::new().layer(layer);
        let (client, server) = (ClientConfig::new(psk(Hash::Sha384, 7)), psk(Hash::Sha384, 7));
        let server = server_config(vec![server]);
        let (client, server) =
            tokio::join!(Socket::connect(a, &client, &options), Socket::accept(b, &server, &options));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(client.info().suite, server.info().suite);
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        got.clear();
        client.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"answer");
    }));
}

/// Four tasks on two threads; each writer asks for a new key now and then, and each reader's debt is paid by the
/// other task of its socket.
fn halves_go_both_ways_while_keys_change(layer: Layer) {
    const ROUNDS: usize = 40;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(in_time(async {
        let options = Options::new().layer(layer);
        let sockets = sockets(SUITE, [&options, &options]).map(|socket| Socket::from_socket(socket).unwrap());
        let rekey = sockets.iter().all(|socket| can_rekey(socket.info().send.by));
        let part = pattern(30_001);
        let mut tasks = Vec::new();
        for socket in sockets {
            let (mut read, mut write) = socket.into_split();
            let data = part.clone();
            tasks.push(tokio::spawn(async move {
                for round in 0..ROUNDS {
                    if rekey && round % 8 == 3 {
                        write.update_key(true).await.unwrap();
                    }
                    write.write_all(&data).await.unwrap();
                }
                write.shutdown().await.unwrap();
            }));
            let data = part.clone();
            tasks.push(tokio::spawn(async move {
                let (mut got, mut updates) = (vec![0; data.len()], 0);
                for round in 0..ROUNDS {
                    read.read_exact(&mut got).await.unwrap();
                    assert!(got == data, "round {round}");
                    while let Some(event) = read.get_mut().take_event() {
                        updates += usize::from(event == Event::PeerUpdatedKey);
                    }
                }
                assert_eq!(read.read(&mut got).await.unwrap(), 0);
                // Some may fall into one: an event stands for those since the last.
                assert_eq!(updates > 0, rekey);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }));
}

fn a_reader_s_debt_is_paid_by_the_writer(layer: Layer) {
    let runtime = runtime();
    let (socket, mut peer) = socket_with_peer(&runtime, layer);
    if !can_rekey(socket.info().receive.by) {
        return refuses_the_key_update(&runtime, socket, &mut peer);
    }
    let (mut read, mut write) = socket.into_split();
    peer.send(ContentType::Handshake, &key_update_message(true));
    peer.sealer.rekey().unwrap();
    peer.send_data(b"under the new key");
    let mut got = [0; 17];
    runtime.block_on(in_time(read.read_exact(&mut got))).unwrap();
    assert_eq!(&got, b"under the new key");
    assert!(peer_has_nothing(&mut peer), "only the writing half sends");
    runtime.block_on(in_time(write.flush())).unwrap();
    expect_answer(&mut peer);
    runtime.block_on(in_time(write.write_all(b"answer"))).unwrap();
    assert_eq!(peer.receive().unwrap().1, b"answer");
}

/// A kernel before 6.14.
fn refuses_the_key_update(runtime: &Runtime, mut socket: Socket, peer: &mut Peer) {
    peer.send(ContentType::Handshake, &key_update_message(true));
    let error = runtime.block_on(in_time(socket.read(&mut [0; 9]))).unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::RekeyUnsupported { .. })), "{error}");
}

fn expect_answer(peer: &mut Peer) {
    assert_eq!(peer.receive(), Some((ContentType::Handshake, key_update_message(false).to_vec())));
    peer.opener.rekey().unwrap();
}

fn peer_has_nothing(peer: &mut Peer) -> bool {
    peer.stream.set_nonblocking(true).unwrap();
    let result = peer.stream.peek(&mut [0]);
    peer.stream.set_nonblocking(false).unwrap();
    matches!(result, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

fn a_whole_socket_answers_while_it_reads(layer: Layer) {
    let runtime = runtime();
    let (mut socket, mut peer) = socket_with_peer(&runtime, layer);
    if !can_rekey(socket.info().receive.by) {
        return refuses_the_key_update(&runtime, socket, &mut peer);
    }
    peer.send(ContentType::Handshake, &key_update_message(true));
    peer.sealer.rekey().unwrap();
    peer.send_data(b"data");
    runtime.block_on(in_time(socket.read_exact(&mut [0; 4]))).unwrap();
    expect_answer(&mut peer);
}

fn a_dropped_read_loses_nothing(layer: Layer) {
    let runtime = runtime();
    let (mut socket, mut peer) = socket_with_peer(&runtime, layer);
    let data = pattern(40_000);
    let mut wire = Vec::new();
    for record in data.chunks(9000) {
        assert!(peer.sealer.seal_record(ContentType::ApplicationData, record).unwrap());
    }
    wire.extend_from_slice(peer.sealer.pending());
    let mut got = Vec::new();
    // The wire is cut where no record is, and after each piece the read is begun and given up.
    for piece in wire.chunks(3331) {
        peer.send_raw(piece);
        let mut buf = [0; 2000];
        runtime.block_on(in_time(async {
            while let Some(n) = poll_once(socket.read(&mut buf)).await {
                got.extend_from_slice(&buf[..n.unwrap()]);
            }
        }));
    }
    let mut buf = vec![0; data.len() - got.len()];
    runtime.block_on(in_time(socket.read_exact(&mut buf))).unwrap();
    got.extend_from_slice(&buf);
    assert!(got == data);
}

/// Writes until there is no room, each future dropped after one poll, and gives what was taken.
async fn fill(socket: &mut Socket, data: &[u8]) -> usize {
    let mut taken = 0;
    let mut refused = 0;
    while refused < 20 {
        assert!(taken < data.len(), "the socket took {taken} bytes and still has room");
        let end = data.len().min(taken + 50_000);
        match poll_once(socket.write(&data[taken..end])).await {
            Some(n) => taken += n.unwrap(),
            None => refused += 1,
        }
    }
    taken
}

/// Everything that the peer gets until close_notify, or at least `len` bytes.
fn drain(mut peer: Peer, len: usize) -> std::thread::JoinHandle<(Peer, Vec<u8>, bool)> {
    std::thread::spawn(move || {
        let mut got = Vec::new();
        while got.len() < len {
            match peer.receive() {
                Some((ContentType::ApplicationData, part)) => got.extend(part),
                Some((ContentType::Alert, alert)) => {
                    assert_eq!(alert, Alert::CLOSE_NOTIFY.to_bytes());
                    return (peer, got, true);
                }
                other => panic!("{other:?}"),
            }
        }
        (peer, got, false)
    })
}

fn a_dropped_write_took_nothing(layer: Layer) {
    let runtime = runtime();
    let (mut socket, peer) = socket_with_peer(&runtime, layer);
    let data = pattern(30_000_000);
    let taken = runtime.block_on(in_time(fill(&mut socket, &data)));
    let reader = drain(peer, taken + 100_000);
    runtime.block_on(in_time(async {
        socket.write_all(&data[taken..taken + 100_000]).await.unwrap();
        socket.flush().await.unwrap();
    }));
    let (_, got, closed) = reader.join().unwrap();
    assert!(!closed);
    assert!(got == data[..taken + 100_000]);
}

fn a_dropped_shutdown_resumes(layer: Layer) {
    let runtime = runtime();
    let (mut socket, peer) = socket_with_peer(&runtime, layer);
    let data = pattern(30_000_000);
    let taken = runtime.block_on(in_time(async {
        let taken = fill(&mut socket, &data).await;
        for _ in 0..3 {
            assert!(poll_once(socket.shutdown()).await.is_none(), "there was room");
        }
        taken
    }));
    let reader = drain(peer, usize::MAX);
    runtime.block_on(in_time(socket.shutdown())).unwrap();
    // What is left in the kernel now must not get lost with the descriptor.
    drop(socket);
    let (_, got, closed) = reader.join().unwrap();
    assert!(closed && got == data[..taken], "{} of {taken} bytes", got.len());
}

fn a_file_goes_in_whole(layer: Layer) {
    let runtime = runtime();
    let (socket, peer) = socket_with_peer(&runtime, layer);
    let data = pattern(3_000_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    let reader = drain(peer, usize::MAX);
    // So that sendfile(2) does not hold the task up.
    let flags = nix::fcntl::fcntl(socket.tcp(), nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert!(nix::fcntl::OFlag::from_bits_retain(flags).contains(nix::fcntl::OFlag::O_NONBLOCK));
    let (_read, mut write) = socket.into_split();
    runtime.block_on(in_time(async {
        let mut offset = 0;
        loop {
            let n = write.send_file(file.as_fd(), offset, 600_000).await.unwrap();
            if n == 0 {
                break;
            }
            offset += n as u64;
        }
        write.shutdown().await.unwrap();
    }));
    let (_, got, closed) = reader.join().unwrap();
    assert!(closed && got == data);
}

fn truncation_is_an_unexpected_eof(layer: Layer) {
    let runtime = runtime();
    let (mut socket, mut peer) = socket_with_peer(&runtime, layer);
    peer.send_data(b"half");
    peer.cut();
    let mut got = Vec::new();
    let error = runtime.block_on(in_time(socket.read_to_end(&mut got))).unwrap_err();
    assert_eq!((error.kind(), &got[..]), (std::io::ErrorKind::UnexpectedEof, &b"half"[..]));
}

fn a_socket_comes_back_from_the_reactor(layer: Layer) {
    let runtime = runtime();
    let (mut socket, mut peer) = socket_with_peer(&runtime, layer);
    peer.send_data(b"first second");
    runtime.block_on(in_time(socket.read_exact(&mut [0; 6]))).unwrap();
    let mut socket = socket.into_socket().unwrap();
    let mut rest = [0; 6];
    std::io::Read::read_exact(&mut socket, &mut rest).unwrap();
    assert_eq!(&rest, b"second");
    drop(runtime);
    socket.write_all(b"blocking").unwrap();
    assert_eq!(peer.receive().unwrap().1, b"blocking");
}

#[test]
fn rustls_connects_and_accepts() {
    let Some(certificate) = Certificate::make() else {
        return skip("rustls_connects_and_accepts", "openssl is not installed (apt install openssl)");
    };
    for cipher in ciphers() {
        let client = Arc::new(certificate.client(cipher));
        let server = Arc::new(certificate.server(cipher));
        runtime().block_on(in_time(async {
            let [a, b] = tokio_pair();
            let options = Options::new();
            let (client, server) = tokio::join!(
                ktls::tokio::rustls::connect(a, &client, name(), &options),
                ktls::tokio::rustls::accept(b, &server, &options)
            );
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            assert_eq!((client.info().suite, server.info().suite), (cipher, cipher));
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"question");
        }));
    }
}

/// What a task of a runtime with several threads asks of its futures and values.
#[test]
fn tasks_may_move_between_threads() {
    fn movable<T: Send>(_: &T) {}
    runtime().block_on(async {
        let [a, b] = tokio_pair();
        let options = Options::new();
        let client = ClientConfig::new(psk(Hash::Sha256, 7));
        let server = server_config(vec![psk(Hash::Sha256, 7)]);
        let (connect, accept) = (Socket::connect(a, &client, &options), Socket::accept(b, &server, &options));
        movable(&connect);
        movable(&accept);
        let (client, server) = tokio::join!(connect, accept);
        movable(&client.unwrap().into_split());
        movable(&server.unwrap());
        let [keys, _] = established(SUITE, FRAGMENT);
        movable(&keys);
    });
}
