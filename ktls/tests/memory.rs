//! What a connection that is idle costs this process, measured.
//!
//! docs/ktls-memory.md has the numbers; `--nocapture` prints them.

mod alloc_support;
mod socket_support;

use std::io::{IoSlice, IoSliceMut};
use std::sync::Mutex;

use ktls::{Layer, Options, Socket, Wait};
use socket_support::{SUITE, pattern, sockets};

/// Connections with both ends here; the usual limit of descriptors is 1,024.
const PAIRS: usize = 250;
const ENDS: usize = 2 * PAIRS;
/// The goal for the kernel's layer, and for either before its first use, in bytes.
const GOAL: usize = 4096;
/// Two buffers for records of full size.
const USED_A_LITTLE: usize = 2 * 32 * 1024 + GOAL;

/// `len` bytes each way.
fn exchange(sockets: &mut [[Socket; 2]], len: usize) {
    let data = pattern(len);
    let mut buf = vec![0; len];
    for [a, b] in sockets {
        one_way(a, b, &data, &mut buf);
        one_way(b, a, &data, &mut buf);
    }
}

fn one_way(from: &mut Socket, to: &mut Socket, data: &[u8], buf: &mut [u8]) {
    assert_eq!(from.halves().0.send_vectored(&[IoSlice::new(data)], Wait::Block).unwrap(), data.len());
    let mut got = 0;
    while got < data.len() {
        got += to.halves().1.recv_vectored(&mut [IoSliceMut::new(&mut buf[got..])], Wait::Block).unwrap();
    }
}

/// The numbers are those of the whole process, so only one measures.
static ALONE: Mutex<()> = Mutex::new(());

with_both_layers!(an_idle_connection_costs_little);

fn an_idle_connection_costs_little(layer: Layer) {
    let _alone = ALONE.lock().unwrap();
    let options = Options::new().layer(layer);
    // The probe, and what else comes once.
    drop(sockets(SUITE, [&options, &options]));
    let (live, resident) = (alloc_support::live(), alloc_support::resident());
    let cost = |what: &str| {
        let each = alloc_support::live().saturating_sub(live).div_ceil(ENDS);
        let ram = alloc_support::resident().saturating_sub(resident).div_ceil(ENDS);
        println!("{layer:?}, {what}: {each} bytes allocated, {ram} bytes resident, for each end");
        each
    };
    let mut all = Vec::with_capacity(PAIRS);
    all.resize_with(PAIRS, || sockets(SUITE, [&options, &options]));
    assert!(cost("never used") < GOAL);
    exchange(&mut all, 100);
    let used = cost("after 100 bytes each way");
    assert!(used < if layer == Layer::Kernel { GOAL } else { USED_A_LITTLE });
    exchange(&mut all, 60_000);
    let used = cost("after 60,000 bytes each way");
    assert!(layer == Layer::Process || used < GOAL);
    for socket in all.iter_mut().flatten() {
        let (send, recv) = socket.halves();
        assert!(send.release_buffers() && recv.release_buffers());
    }
    assert!(cost("after release_buffers") < GOAL);
    // They still work.
    exchange(&mut all, 100);
}
