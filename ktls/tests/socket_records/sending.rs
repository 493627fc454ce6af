//! Files, small records and records of any type.

use super::*;

with_both_layers!(
    a_file_goes_in_whole,
    a_record_of_its_own_keeps_its_type,
    a_peer_that_wants_small_records_gets_them,
);

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
