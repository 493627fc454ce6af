//! The doors for received data.

use super::*;

with_both_layers!(
    fill_buf_gives_the_same_bytes,
    one_call_takes_many_records,
    scattered_buffers_get_everything,
    nothing_there_is_would_block,
    a_time_limit_is_would_block,
    a_part_of_a_record_is_not_buffered_data,
    padding_is_no_data,
);

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

fn one_call_takes_many_records(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    let data = pattern(4 * FRAGMENT);
    let (_, recv) = socket.halves();
    // The first call makes the buffers as large as is needed.
    for _ in 0..2 {
        for record in data.chunks(FRAGMENT) {
            peer.send_data(record);
        }
        let mut got = Vec::new();
        let mut calls = 0;
        while got.len() < data.len() {
            let (mut a, mut b) = (vec![0; 1000], vec![0; data.len()]);
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            let n = recv.recv_vectored(&mut bufs, Wait::Block).unwrap();
            got.extend_from_slice(&[a, b].concat()[..n]);
            calls += 1;
        }
        assert!(got == data);
        assert!(calls < 4, "{calls} calls for 4 records");
    }
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

fn padding_is_no_data(layer: Layer) {
    let (mut socket, mut peer) = with_peer(layer);
    peer.send_raw(&socket_support::raw_record(0, b"data\x17\0\0\0\0\0"));
    assert_eq!(receive(socket.halves().1, 100).unwrap(), b"data");
}
