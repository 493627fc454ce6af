//! What the cores do without I/O, as loads to be timed or counted: each call of what a function gives is one.

use std::hint::black_box;

use ktls::cipher::CipherSuite;
use ktls::crypto::{Hash, random};
use ktls::handshake::{
    ClientConfig, ClientHandshake, Handshake, Psk, ServerConfig, ServerHandshake, record_length,
};
use ktls::keys::TrafficSecret;
use ktls::secret::Secret;
use nvme_tcp::proto::{Connection, ConnectionConfig, Event, Foreseen, Segment, Transfer};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::pdu::{CapsuleResp, CommonHeader, DataPdu, Flags, IcResp, Layout, PduType};
use zerocopy::IntoBytes;

/// Seals a record of 16 KiB.
pub(crate) fn seal() -> impl FnMut() {
    let secret = Secret::new(&[7; 32]).expect("a secret of 32 bytes");
    let secret = TrafficSecret::new(CipherSuite::Aes128GcmSha256, secret).expect("as long as SHA-256");
    let (key, mut data, mut sequence) = (secret.record_key(), vec![0x5a; 16 * 1024], 0);
    move || {
        sequence += 1;
        black_box(key.seal(sequence, b"aad", &mut data).expect("a tag"));
    }
}

/// Client and server against each other in memory.
pub(crate) fn handshake() -> impl FnMut() {
    let mut secret = Secret::zeroed(32).expect("32 bytes");
    random(secret.expose_mut()).expect("random bytes");
    let psk = Psk::new(b"NVMe1R01 host subsystem".to_vec(), secret, Hash::Sha256).expect("a key of 32 bytes");
    let known = psk.clone();
    let server_config = ServerConfig::new(move |_: &[u8]| vec![known.clone()]);
    let client_config = ClientConfig::new(psk);
    move || {
        let mut client = ClientHandshake::new(&client_config).expect("a client");
        let mut server = ServerHandshake::new(&server_config).expect("a server");
        while !(client.is_finished() && server.is_finished()) {
            pass(&mut client, &mut server);
            pass(&mut server, &mut client);
        }
        black_box(client.into_established().expect("keys").suite);
    }
}

fn pass(from: &mut impl Handshake, to: &mut impl Handshake) {
    let mut flight = from.take_output();
    let mut rest = &mut flight[..];
    while let Some(header) = rest.first_chunk::<5>() {
        let len = 5 + record_length(header).expect("a record");
        let (record, after) = rest.split_at_mut(len);
        to.read_record(record).expect("an honest peer");
        rest = after;
    }
}

fn open() -> Connection {
    let mut connection = Connection::new(ConnectionConfig::default());
    let all = connection.segments().map(|segment| match segment {
        Segment::Bytes(bytes) => bytes.len(),
        Segment::Payload(_) => 0,
    });
    let sent = all.sum();
    connection.sent(sent);
    let response = IcResp::new(0, false, false, 1 << 20);
    assert!(matches!(connection.consume(&mut response.as_bytes()), Ok(Some(Event::Open(_)))));
    connection
}

/// Of the 4 KiB that a read asked for.
fn answer(cid: u16) -> DataPdu {
    let common: CommonHeader =
        Layout::default().common_header(PduType::C2hData, Flags::LAST | Flags::SUCCESS, 4096);
    DataPdu::new(common, cid, 0, 0, 4096)
}

/// A 4 KiB read from submit to completion.
pub(crate) fn read() -> impl FnMut() {
    let (mut connection, sqe) = (open(), nvm::read(1, 0, 1));
    let mut wire = vec![0; 24 + 4096];
    move || {
        let id = connection.submit(&sqe, Transfer::Read(4096), None).expect("room");
        connection.sent(72);
        wire[..24].copy_from_slice(answer(id.to_wire()).as_bytes());
        let mut input = &wire[..];
        let mut events = 0;
        while let Ok(Some(event)) = connection.consume(&mut input) {
            black_box(event);
            events += 1;
        }
        assert_eq!(events, 2);
    }
}

/// The same where its data was received into place before its header was here.
pub(crate) fn foreseen_read() -> impl FnMut() {
    let (mut connection, sqe, mut ahead) = (open(), nvm::read(1, 0, 1), Vec::new());
    move || {
        let id = connection.submit(&sqe, Transfer::Read(4096), None).expect("room");
        connection.sent(72);
        ahead.clear();
        black_box(connection.foresee(&mut ahead, 1, 8192));
        let [at] = ahead[..] else { unreachable!("one read is outstanding, not {}", ahead.len()) };
        let header = answer(id.to_wire());
        let header = header.as_bytes().first_chunk().expect("24 bytes");
        let taken = connection.take_foreseen(header, at, 4096);
        assert!(matches!(black_box(taken), Foreseen::Completed(_)));
        connection.came_as_foreseen(true);
    }
}

/// A Flush from submit to completion.
pub(crate) fn flush() -> impl FnMut() {
    let mut connection = open();
    let common = CommonHeader::bare(PduType::CapsuleResp);
    move || {
        let id = connection.submit(&nvm::flush(1), Transfer::None, None).expect("room");
        connection.sent(72);
        let response = CapsuleResp { common, cqe: Cqe::new(id.to_wire(), Status::SUCCESS, 0) };
        black_box(connection.consume(&mut response.as_bytes()).map(|event| event.is_some()))
            .expect("an answer");
    }
}
