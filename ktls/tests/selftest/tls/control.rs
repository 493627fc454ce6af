//! Control records among the data, and the ends of a connection.

use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;

use ktls::alert::Alert;
use ktls::record::ContentType;
use ktls::{Error, Layer, Options, Wait};

use crate::harness::{Pairing, expect_nothing, receive, receive_exactly, send, try_receive};
use crate::socket_support::{FRAGMENT, pattern, with_peer};

pairs!(control_msg, data_control_data, shutdown, getsockopt);
alone!(control_msg_nomerge);

/// A NewSessionTicket, which the other end takes and drops.
const TICKET: [u8; 7] = [4, 0, 0, 3, 1, 2, 3];

fn control_msg(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    for _ in 0..2 {
        let sent = a.halves().0.send_record(ContentType::Handshake, &TICKET, Wait::Block).unwrap();
        assert_eq!(sent, TICKET.len());
        // It is no data, and no EIO.
        expect_nothing(&mut b);
        send(&mut a, b"test_data");
        assert_eq!(receive(&mut b, 100), b"test_data");
    }
    a.halves().0.send_record(ContentType::Alert, &Alert::USER_CANCELED.to_bytes(), Wait::Block).unwrap();
    a.halves().0.send_record(ContentType::Alert, &Alert::INTERNAL_ERROR.to_bytes(), Wait::Block).unwrap();
    assert!(matches!(try_receive(&mut b, 100, Wait::Block), Err(Error::Alert(Alert::INTERNAL_ERROR))));
}

fn control_msg_nomerge(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (send, _) = socket.halves();
    for content in [&TICKET[..3], &TICKET[3..]] {
        assert_eq!(send.send_record(ContentType::Handshake, content, Wait::Block).unwrap(), content.len());
    }
    assert_eq!(peer.receive(), Some((ContentType::Handshake, TICKET[..3].to_vec())));
    assert_eq!(peer.receive(), Some((ContentType::Handshake, TICKET[3..].to_vec())));
    // Nor are they merged on the way in: the message is put together from both.
    peer.send(ContentType::Handshake, &TICKET[..3]);
    peer.send(ContentType::Handshake, &TICKET[3..]);
    peer.send_data(b"data");
    assert_eq!(receive(&mut socket, 100), b"data");
}

fn data_control_data(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    send(&mut a, b"test_rec1");
    a.halves().0.send_record(ContentType::Handshake, &TICKET, Wait::Block).unwrap();
    send(&mut a, b"test_rec2");
    // Room for all of it, the control record included.
    let first = receive(&mut b, 1000);
    assert!(first.starts_with(b"test_rec1"));
    let rest = receive_exactly(&mut b, 18 - first.len());
    assert_eq!([first, rest].concat(), b"test_rec1test_rec2");
}

fn shutdown(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets();
    let data = pattern(FRAGMENT);
    send(&mut a, &data);
    assert!(receive_exactly(&mut b, FRAGMENT) == data);
    for socket in [&a, &b] {
        socket.tcp().shutdown(Shutdown::Both).unwrap();
    }
    for socket in [&mut a, &mut b] {
        assert!(try_receive(socket, 1, Wait::Block).unwrap_err().is_unexpected_eof());
        // The kernel's layer takes records as long as it has room for them, also when TCP does not (Linux 6.1
        // takes 50 MB): an error must come in the end.
        let (send, _) = socket.halves();
        let error = (0..10_000)
            .find_map(|_| send.send_vectored(&[IoSlice::new(&data)], Wait::Block).err())
            .expect("nobody can get it");
        assert!(matches!(&error, Error::Io(error) if error.kind() == ErrorKind::BrokenPipe), "{error:?}");
    }
}

/// getsockopt(TLS_TX) is the record counter, which this library asks for at the marks of its budget.
fn getsockopt(pairing: Pairing) {
    let [mut a, mut b] = pairing.sockets_with(&Options::new().record_limit(100).record_alarm(3));
    for n in 0..4 {
        send(&mut a, b"record");
        assert_eq!(receive(&mut b, 100), b"record", "{n}");
    }
    // The kernel's count is asked for before the call after the third.
    assert!((3..=4).contains(&a.halves().0.budget().used));
    assert!((3..=4).contains(&b.halves().1.budget().used));
    assert_eq!(a.halves().0.budget().limit, 100);
    assert!(a.take_event().is_some() && b.take_event().is_some());
}
