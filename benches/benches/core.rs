//! What the cores cost without I/O: sealing records, the handshake, the life of a command.

mod loads;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nvme_tcp::spec::digest::crc32c;

fn digests(c: &mut Criterion) {
    let data = vec![0x5a; 128 * 1024];
    let mut group = c.benchmark_group("crc32c");
    for len in [24, 4096, 128 * 1024] {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| b.iter(|| crc32c(black_box(&data[..len]))));
    }
}

fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    group.throughput(Throughput::Bytes(16 * 1024));
    group.bench_function("seal 16 KiB", |b| b.iter(loads::seal()));
}

fn lives(c: &mut Criterion) {
    c.bench_function("handshake, both ends", |b| b.iter(loads::handshake()));
    c.bench_function("a 4 KiB read's life in the core", |b| b.iter(loads::read()));
    c.bench_function("a foreseen 4 KiB read's life in the core", |b| b.iter(loads::foreseen_read()));
    c.bench_function("a flush's life in the core", |b| b.iter(loads::flush()));
}

criterion_group!(benches, digests, records, lives);
criterion_main!(benches);
