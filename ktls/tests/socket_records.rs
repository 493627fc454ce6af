//! One socket against a peer that sends exactly the records that a test wants, in both layers.

mod socket_support;

use std::io::{IoSlice, IoSliceMut, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use ktls::alert::Alert;
use ktls::handshake::key_update_message;
use ktls::record::{BadRecord, ContentType};
use ktls::{Error, Event, Flow, Layer, Options, RecvHalf, Socket, Wait, probe};
use socket_support::{Peer, pattern, send_all, with_peer, with_peer_and};

with_both_layers!(
    half_close_leaves_the_other_direction_open,
    the_peer_s_close_notify_is_the_end_and_ours_still_goes,
    a_fin_without_close_notify_is_truncation,
    a_fin_inside_of_a_record_is_truncation,
    an_alert_ends_both_directions,
    a_malformed_alert_is_refused,
    user_canceled_alone_changes_nothing,
    tickets_are_dropped,
    a_long_ticket_passes_through_a_small_buffer,
    data_between_the_parts_of_a_message_is_refused,
    a_strange_handshake_message_is_refused,
    an_empty_record_is_not_the_end,
    a_changed_record_is_refused_and_the_peer_told,
    plain_text_is_refused,
    what_came_before_an_error_is_given_first,
    fill_buf_gives_the_same_bytes,
    scattered_buffers_get_everything,
    nothing_there_is_would_block,
    a_time_limit_is_would_block,
    a_peer_that_wants_small_records_gets_them,
    the_send_budget_warns_and_refuses,
    the_receive_budget_warns_and_refuses,
    a_large_send_stops_at_the_limit,
    a_part_of_a_record_is_not_buffered_data,
    a_file_goes_in_whole,
    a_record_of_its_own_keeps_its_type,
    padding_is_no_data,
);

fn receive(recv: &mut RecvHalf, max: usize) -> Result<Vec<u8>, Error> {
    let mut buf = vec![0; max];
    let n = recv.recv_vectored(&mut [IoSliceMut::new(&mut buf)], Wait::Block)?;
    buf.truncate(n);
    Ok(buf)
}

fn expect_alert(peer: &mut Peer, alert: Alert) {
    assert_eq!(peer.receive(), Some((ContentType::Alert, alert.to_bytes().to_vec())));
}

fn half_close_leaves_the_other_direction_open(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (send, recv) = socket.halves();
    send_all(send, b"last words");
    assert!(send.close_notify(Wait::Block).unwrap());
    assert!(send.close_notify(Wait::Now).unwrap(), "a second time does nothing");
    assert!(matches!(send.send_vectored(&[IoSlice::new(b"more")], Wait::Block), Err(Error::SendClosed)));
    assert_eq!(peer.receive().unwrap().1, b"last words");
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
    peer.send_data(b"still here");
    assert_eq!(receive(recv, 100).unwrap(), b"still here");
}

fn the_peer_s_close_notify_is_the_end_and_ours_still_goes(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"bye");
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    peer.cut();
    let (send, recv) = socket.halves();
    assert_eq!(receive(recv, 100).unwrap(), b"bye");
    for _ in 0..3 {
        assert_eq!(receive(recv, 100).unwrap(), b"");
        assert_eq!(recv.fill_buf(Wait::Now).unwrap(), b"");
    }
    assert!(recv.is_closed());
    send_all(send, b"answer");
    assert!(send.close_notify(Wait::Block).unwrap());
    assert_eq!(peer.receive().unwrap().1, b"answer");
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
}

fn a_fin_without_close_notify_is_truncation(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"half of it");
    peer.cut();
    let (_, recv) = socket.halves();
    assert_eq!(receive(recv, 100).unwrap(), b"half of it");
    for _ in 0..3 {
        let error = receive(recv, 100).unwrap_err();
        assert!(error.is_unexpected_eof() && !error.is_retryable(), "{error}");
    }
}

fn a_fin_inside_of_a_record_is_truncation(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&[23, 3, 3, 0, 100, 1, 2, 3]);
    peer.cut();
    assert!(matches!(receive(socket.halves().1, 100), Err(Error::Truncated)));
}

fn an_alert_ends_both_directions(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &Alert::INTERNAL_ERROR.to_bytes());
    let (send, recv) = socket.halves();
    for _ in 0..2 {
        assert!(matches!(receive(recv, 100), Err(Error::Alert(Alert::INTERNAL_ERROR))));
    }
    let refused = send.send_vectored(&[IoSlice::new(b"x")], Wait::Now);
    assert!(matches!(refused, Err(Error::Alert(Alert::INTERNAL_ERROR))));
}

fn a_malformed_alert_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &[1, 0, 0]);
    let refused = receive(socket.halves().1, 100);
    assert!(matches!(refused, Err(Error::BadRecord(BadRecord::AlertLength { len: 3 }))));
}

fn user_canceled_alone_changes_nothing(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Alert, &Alert::USER_CANCELED.to_bytes());
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"");
}

/// A NewSessionTicket whose body is not looked at.
fn ticket(len: usize) -> Vec<u8> {
    let [.., high, middle, low] = len.to_be_bytes();
    [&[4, high, middle, low][..], &vec![9; len]].concat()
}

fn tickets_are_dropped(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &ticket(200));
    peer.send(ContentType::Handshake, &[ticket(20), ticket(30)].concat());
    peer.send_data(b"data");
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"data");
    assert_eq!(socket.take_event(), None);
}

fn a_long_ticket_passes_through_a_small_buffer(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let long = ticket(12_000);
    peer.send(ContentType::Handshake, &long[..9000]);
    peer.send(ContentType::Handshake, &long[9000..]);
    peer.send_data(b"data");
    let (_, recv) = socket.halves();
    assert_eq!(receive(recv, 3).unwrap(), b"dat");
    assert_eq!(receive(recv, 3).unwrap(), b"a");
}

fn data_between_the_parts_of_a_message_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &ticket(200)[..100]);
    peer.send_data(b"data");
    let refused = receive(socket.halves().1, 100);
    assert!(matches!(refused, Err(Error::BadRecord(BadRecord::Interleaved { .. }))), "{refused:?}");
}

fn a_strange_handshake_message_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send(ContentType::Handshake, &[1, 0, 0, 0]);
    let (send, recv) = socket.halves();
    assert!(matches!(receive(recv, 100), Err(Error::Handshake(_))));
    assert!(matches!(
        send.send_vectored(&[IoSlice::new(b"x")], Wait::Now),
        Err(Error::PeerAtFault(Alert::UNEXPECTED_MESSAGE))
    ));
    expect_alert(&mut peer, Alert::UNEXPECTED_MESSAGE);
}

fn an_empty_record_is_not_the_end(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"");
    peer.send_data(b"after");
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"after");
    peer.send_data(b"");
    peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"");
    assert!(socket.halves().1.is_closed());
}

fn a_changed_record_is_refused_and_the_peer_told(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    assert!(peer.sealer.seal_record(ContentType::ApplicationData, b"data").unwrap());
    let mut bytes = peer.sealer.pending().to_vec();
    bytes[6] ^= 1;
    peer.send_raw(&bytes);
    let (send, recv) = socket.halves();
    for _ in 0..3 {
        let refused = receive(recv, 100);
        assert!(
            matches!(refused, Err(Error::BadRecord(BadRecord::NotAuthentic { sequence: 0 }))),
            "{refused:?}"
        );
    }
    for _ in 0..2 {
        let refused = send.send_vectored(&[IoSlice::new(b"x")], Wait::Now);
        assert!(matches!(refused, Err(Error::PeerAtFault(Alert::BAD_RECORD_MAC))), "{refused:?}");
    }
    expect_alert(&mut peer, Alert::BAD_RECORD_MAC);
}

fn plain_text_is_refused(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    // An NVMe/TCP ICResp.
    peer.send_raw(&[1, 0, 0x80, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..3 {
        let refused = receive(socket.halves().1, 100);
        assert!(matches!(refused, Err(Error::BadRecord(_))), "{refused:?}");
    }
}

fn what_came_before_an_error_is_given_first(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_data(b"one ");
    peer.send_data(b"two");
    peer.send_raw(&[23, 3, 3, 0x50, 0]);
    let (_, recv) = socket.halves();
    let mut got = Vec::new();
    let error = loop {
        match receive(recv, 100) {
            Ok(part) => got.extend_from_slice(&part),
            Err(error) => break error,
        }
    };
    assert_eq!(got, b"one two");
    assert!(matches!(error, Error::BadRecord(BadRecord::TooLong { .. })), "{error}");
}

fn fill_buf_gives_the_same_bytes(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(300_000);
    let sent = data.clone();
    let thread = std::thread::spawn(move || {
        for chunk in sent.chunks(7001) {
            peer.send_data(chunk);
        }
        peer.send(ContentType::Alert, &Alert::CLOSE_NOTIFY.to_bytes());
        peer
    });
    let (_, recv) = socket.halves();
    let mut got = Vec::new();
    loop {
        // Both doors in turns.
        let part = recv.fill_buf(Wait::Block).unwrap();
        if part.is_empty() {
            break;
        }
        let n = part.len().min(5000);
        got.extend_from_slice(&part[..n]);
        recv.consume(n);
        if recv.has_buffered() {
            got.extend_from_slice(&receive(recv, 3000).unwrap());
        }
    }
    assert_eq!(got, data);
    thread.join().unwrap();
}

fn scattered_buffers_get_everything(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(40_000);
    for chunk in data.chunks(9999) {
        peer.send_data(chunk);
    }
    let (_, recv) = socket.halves();
    let mut got = Vec::new();
    while got.len() < data.len() {
        let (mut a, mut b, mut c) = ([0; 7], [0; 0], vec![0; 6000]);
        let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c)];
        let n = recv.recv_vectored(&mut bufs, Wait::Block).unwrap();
        got.extend_from_slice(&[&a[..], &c].concat()[..n]);
    }
    assert_eq!(got, data);
}

fn nothing_there_is_would_block(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (_, recv) = socket.halves();
    assert!(recv.recv_vectored(&mut [IoSliceMut::new(&mut [0; 9])], Wait::Now).unwrap_err().is_would_block());
    assert!(recv.fill_buf(Wait::Now).unwrap_err().is_would_block());
    peer.send_data(b"later");
    assert_eq!(recv.fill_buf(Wait::Block).unwrap(), b"later");
}

fn a_time_limit_is_would_block(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    socket.tcp().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let error = receive(socket.halves().1, 9).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    socket.tcp().set_read_timeout(Some(socket_support::DEADLINE)).unwrap();
    peer.send_data(b"later");
    assert_eq!(receive(socket.halves().1, 9).unwrap(), b"later");
}

/// The kernel's own layer counts the time of the whole call.
#[test]
fn a_trickled_record_does_not_outlast_the_time_limit() {
    let (mut socket, mut peer) = with_peer(Layer::Process);
    socket.tcp().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(peer.sealer.seal_record(ContentType::ApplicationData, &pattern(200)).unwrap());
    let record = peer.sealer.pending().to_vec();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (mut stream, record) = (peer.stream.try_clone().unwrap(), &record);
        let trickle = scope.spawn(move || {
            let mut sent = 0;
            // Always sooner than the limit, until the receiver has given up once.
            while sent < record.len() - 1
                && stopped.recv_timeout(Duration::from_millis(20))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                stream.write_all(&record[sent..=sent]).unwrap();
                sent += 1;
            }
            sent
        });
        let error = socket.halves().1.fill_buf(Wait::Block).unwrap_err();
        assert!(error.is_would_block(), "{error}");
        drop(stop);
        let sent = trickle.join().unwrap();
        assert!(sent < record.len() - 1, "the receiver waited for the whole record");
        peer.stream.write_all(&record[sent..]).unwrap();
        assert_eq!(socket.halves().1.fill_buf(Wait::Block).unwrap(), pattern(200));
    });
}

fn a_peer_that_wants_small_records_gets_them(layer: Layer) {
    let (mut socket, mut peer) = with_peer_and(&Options::new().layer(layer), 100);
    let data = pattern(1234);
    send_all(socket.halves().0, &data);
    let mut got = Vec::new();
    while got.len() < data.len() {
        let (_, part) = peer.receive().unwrap();
        assert!(part.len() <= 100);
        got.extend_from_slice(&part);
    }
    assert_eq!(got, data);
}

fn the_send_budget_warns_and_refuses(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(16).record_alarm(8);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let (send, _) = socket.halves();
    let mut sent = 0;
    let error = loop {
        match send.send_vectored(&[IoSlice::new(b"record")], Wait::Block) {
            Ok(n) => sent += n / 6,
            Err(error) => break error,
        }
        match send.take_event() {
            Some(Event::BudgetLow { direction, used, limit }) => {
                assert_eq!((direction, limit), (Flow::Send, 16));
                // The kernel is asked before the next call.
                assert!((8..=9).contains(&used) && used == send.budget().used, "{used}");
            }
            other => assert_eq!(other, None),
        }
    };
    assert_eq!(sent, 16);
    assert!(matches!(error, Error::BudgetExhausted { direction: Flow::Send, limit: 16 }), "{error}");
    assert!(error.needs_new_connection());
    assert!(send.send_vectored(&[IoSlice::new(b"record")], Wait::Block).is_err());
    assert!(send.close_notify(Wait::Block).unwrap());
    for _ in 0..16 {
        assert_eq!(peer.receive().unwrap().1, b"record");
    }
    expect_alert(&mut peer, Alert::CLOSE_NOTIFY);
}

fn the_receive_budget_warns_and_refuses(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(16).record_alarm(8);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let (_, recv) = socket.halves();
    let (mut events, mut got) = (0, 0);
    let error = loop {
        peer.send_data(b"record");
        match receive(recv, 6) {
            Ok(part) => {
                assert_eq!(part, b"record");
                got += 1;
            }
            Err(error) => break error,
        }
        events += usize::from(recv.take_event().is_some());
        assert_eq!(events > 0, got >= 8 + usize::from(layer == Layer::Kernel), "after {got}");
    };
    assert_eq!((got, events), (16, 1));
    assert!(matches!(error, Error::BudgetExhausted { direction: Flow::Receive, limit: 16 }), "{error}");
}

fn a_large_send_stops_at_the_limit(layer: Layer) {
    let options = Options::new().layer(layer).record_limit(20);
    let (mut socket, mut peer) = with_peer_and(&options, 16_384);
    let data = pattern(100 * 16_384);
    let reader = std::thread::spawn(move || {
        let mut got = 0;
        while let Some((ContentType::ApplicationData, part)) = peer.receive() {
            got += part.len();
        }
        got
    });
    let (send, _) = socket.halves();
    // A part of one record, so that the rest of the budget is 19.
    send_all(send, &data[..100]);
    let (mut sent, mut events) = (100, 0);
    let error = loop {
        match send.send_vectored(&[IoSlice::new(&data[sent..])], Wait::Block) {
            Ok(n) => sent += n,
            Err(error) => break error,
        }
        events += usize::from(send.take_event().is_some());
    };
    assert!(matches!(error, Error::BudgetExhausted { .. }), "{error}");
    events += usize::from(send.take_event().is_some());
    assert_eq!((sent, events), (100 + 19 * 16_384, 1));
    assert!(send.close_notify(Wait::Block).unwrap());
    assert_eq!(reader.join().unwrap(), sent);
}

fn a_part_of_a_record_is_not_buffered_data(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (_, recv) = socket.halves();
    assert!(peer.sealer.seal_record(ContentType::ApplicationData, b"data").unwrap());
    let bytes = peer.sealer.pending().to_vec();
    peer.send_raw(&bytes[..10]);
    assert!(recv.fill_buf(Wait::Now).unwrap_err().is_would_block());
    assert!(!recv.has_buffered());
    peer.send_raw(&bytes[10..]);
    assert_eq!(recv.fill_buf(Wait::Block).unwrap(), b"data");
    assert!(recv.has_buffered());
    recv.consume(4);
    assert!(!recv.has_buffered());
}

fn a_file_goes_in_whole(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(500_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&data).unwrap();
    file.rewind().unwrap();
    let expected = data[1000..].to_vec();
    let thread = std::thread::spawn(move || {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend_from_slice(&peer.receive().unwrap().1);
        }
        assert_eq!(got, expected);
        peer
    });
    let (send, _) = socket.halves();
    let mut offset = 1000;
    loop {
        // More than there is: the end of the file is a 0.
        let n = send.send_file(file.as_fd(), offset, 600_000, Wait::Block).unwrap();
        if n == 0 {
            break;
        }
        offset += n as u64;
    }
    assert_eq!(offset, 500_000);
    thread.join().unwrap();
    assert_eq!(file.stream_position().unwrap(), 0, "the file's own position stays");
}

fn a_record_of_its_own_keeps_its_type(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let (send, _) = socket.halves();
    assert_eq!(send.send_record(ContentType::Handshake, &ticket(10), Wait::Block).unwrap(), 14);
    assert_eq!(send.send_record(ContentType::ApplicationData, b"data", Wait::Now).unwrap(), 4);
    let too_long = send.send_record(ContentType::ApplicationData, &[0; 16_385], Wait::Now);
    assert!(matches!(too_long, Err(Error::RecordSize { len: 16_385, max: 16_384 })));
    send_all(send, b"more");
    assert_eq!(peer.receive(), Some((ContentType::Handshake, ticket(10))));
    assert_eq!(peer.receive(), Some((ContentType::ApplicationData, b"data".to_vec())));
    assert_eq!(peer.receive(), Some((ContentType::ApplicationData, b"more".to_vec())));
}

fn padding_is_no_data(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&socket_support::raw_record(0, b"data\x17\0\0\0\0\0"));
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"data");
}

/// What the kernel can do decides: 6.14 and later change a key, older ones say so.
fn can_change_keys(socket: &Socket) -> bool {
    socket.info().receive.by == ktls::SealedBy::Process || probe().rekey
}

mod key_update {
    use super::*;

    with_both_layers!(
        tickets_and_a_key_update_in_one_record,
        a_key_update_over_two_records,
        ours_comes_before_our_next_data,
        the_peer_follows_ours,
    );

    fn expect_data_after_update(socket: &mut Socket, peer: &mut Peer) {
        peer.sealer.rekey().unwrap();
        peer.send_data(b"new key");
        let can = can_change_keys(socket);
        let received = receive(socket.halves().1, 100);
        if can {
            assert_eq!(received.unwrap(), b"new key");
            assert_eq!(socket.take_event(), Some(Event::PeerUpdatedKey));
        } else {
            let refused = matches!(received, Err(Error::RekeyUnsupported { direction: Flow::Receive }));
            assert!(refused, "{received:?}");
        }
    }

    fn tickets_and_a_key_update_in_one_record(layer: Layer) {
        let (mut socket, mut peer) = with_peer(layer);
        let record = [ticket(40), ticket(50), key_update_message(false).to_vec()].concat();
        peer.send(ContentType::Handshake, &record);
        expect_data_after_update(&mut socket, &mut peer);
    }

    fn a_key_update_over_two_records(layer: Layer) {
        let (mut socket, mut peer) = with_peer(layer);
        let message = key_update_message(false);
        peer.send(ContentType::Handshake, &message[..2]);
        peer.send(ContentType::Handshake, &message[2..]);
        expect_data_after_update(&mut socket, &mut peer);
    }

    fn ours_comes_before_our_next_data(layer: Layer) {
        let (mut socket, mut peer) = with_peer(layer);
        peer.send(ContentType::Handshake, &key_update_message(true));
        expect_data_after_update(&mut socket, &mut peer);
        if can_change_keys(&socket) {
            send_all(socket.halves().0, b"answer");
            let update = (ContentType::Handshake, key_update_message(false).to_vec());
            assert_eq!(peer.receive(), Some(update));
            peer.opener.rekey().unwrap();
            assert_eq!(peer.receive().unwrap().1, b"answer");
        }
    }

    fn the_peer_follows_ours(layer: Layer) {
        let (mut socket, mut peer) = with_peer(layer);
        let can = can_change_keys(&socket);
        let (send, _) = socket.halves();
        send_all(send, b"before");
        let updated = send.update_key(true, Wait::Block);
        assert_eq!(peer.receive().unwrap().1, b"before");
        if can {
            updated.unwrap();
            send_all(send, b"after");
            let update = (ContentType::Handshake, key_update_message(true).to_vec());
            assert_eq!(peer.receive(), Some(update));
            peer.opener.rekey().unwrap();
            assert_eq!(peer.receive().unwrap().1, b"after");
        } else {
            assert!(matches!(updated, Err(Error::RekeyUnsupported { direction: Flow::Send })));
        }
    }
}
