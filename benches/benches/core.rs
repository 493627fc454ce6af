//! What the cores cost without I/O: sealing and opening records, the handshake, the life of a command.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ktls::cipher::CipherSuite;
use ktls::crypto::{Hash, random};
use ktls::handshake::{
    ClientConfig, ClientHandshake, Handshake, Psk, ServerConfig, ServerHandshake, record_length,
};
use ktls::keys::TrafficSecret;
use ktls::secret::Secret;
use nvme_tcp::proto::{Connection, ConnectionConfig, Event, Transfer};
use nvme_tcp::spec::command::nvm;
use nvme_tcp::spec::completion::{Cqe, Status};
use nvme_tcp::spec::digest::crc32c;
use nvme_tcp::spec::pdu::{CapsuleResp, CommonHeader, DataPdu, Flags, IcResp, Layout, PduType};
use zerocopy::IntoBytes;

fn digests(c: &mut Criterion) {
    let data = vec![0x5a; 128 * 1024];
    let mut group = c.benchmark_group("crc32c");
    for len in [24, 4096, 128 * 1024] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| b.iter(|| crc32c(black_box(&data[..len]))));
    }
}

fn records(c: &mut Criterion) {
    let suite = CipherSuite::Aes128GcmSha256;
    let secret = Secret::new(&[7; 32]).expect("a secret of 32 bytes");
    let key = TrafficSecret::new(suite, secret).expect("as long as SHA-256").record_key();
    let mut data = vec![0x5a; 16 * 1024];
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Bytes(data.len() as u64));
    let mut sequence = 0;
    group.bench_function("seal 16 KiB", |b| {
        b.iter(|| {
            sequence += 1;
            key.seal(sequence, b"aad", &mut data).map(|tag| tag[0])
        });
    });
}

/// Client and server against each other in memory.
fn handshake(c: &mut Criterion) {
    let mut secret = Secret::zeroed(32).expect("32 bytes");
    random(secret.expose_mut()).expect("random bytes");
    let psk = Psk::new(b"NVMe1R01 host subsystem".to_vec(), secret, Hash::Sha256).expect("a key of 32 bytes");
    let known = psk.clone();
    let server_config = ServerConfig::new(move |_: &[u8]| vec![known.clone()]);
    let client_config = ClientConfig::new(psk);
    c.bench_function("handshake, both ends", |b| {
        b.iter(|| {
            let mut client = ClientHandshake::new(&client_config).expect("a client");
            let mut server = ServerHandshake::new(&server_config).expect("a server");
            while !(client.is_finished() && server.is_finished()) {
                pass(&mut client, &mut server);
                pass(&mut server, &mut client);
            }
            client.into_established().map(|keys| keys.suite)
        });
    });
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

/// A 4 KiB read from submit to completion, with the controller's bytes made beforehand.
fn command_life(c: &mut Criterion) {
    let mut connection = Connection::new(ConnectionConfig::default());
    let all = connection.segments().map(|s| match s {
        nvme_tcp::proto::Segment::Bytes(bytes) => bytes.len(),
        nvme_tcp::proto::Segment::Payload(_) => 0,
    });
    let sent = all.sum();
    connection.sent(sent);
    let response = IcResp::new(0, false, false, 1 << 20);
    assert!(matches!(connection.consume(&mut response.as_bytes()), Ok(Some(Event::Open(_)))));
    let layout = Layout::default();
    let sqe = nvm::read(1, 0, 1);
    let mut wire = vec![0; 24 + 4096];
    c.bench_function("a 4 KiB read's life in the core", |b| {
        b.iter(|| {
            let id = connection.submit(&sqe, Transfer::Read(4096), None).expect("room");
            connection.sent(72);
            let common: CommonHeader =
                layout.common_header(PduType::C2hData, Flags::LAST | Flags::SUCCESS, 4096);
            let header = DataPdu::new(common, id.to_wire(), 0, 0, 4096);
            wire[..24].copy_from_slice(header.as_bytes());
            let mut input = &wire[..];
            let mut events = 0;
            while let Ok(Some(event)) = connection.consume(&mut input) {
                black_box(event);
                events += 1;
            }
            assert_eq!(events, 2);
        });
    });
    let common = CommonHeader::bare(PduType::CapsuleResp);
    c.bench_function("a flush's life in the core", |b| {
        b.iter(|| {
            let id = connection.submit(&nvm::flush(1), Transfer::None, None).expect("room");
            connection.sent(72);
            let response = CapsuleResp { common, cqe: Cqe::new(id.to_wire(), Status::SUCCESS, 0) };
            connection.consume(&mut response.as_bytes()).map(|event| event.is_some())
        });
    });
}

criterion_group!(benches, digests, records, handshake, command_life);
criterion_main!(benches);
