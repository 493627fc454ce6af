//! The same C programs where the kernel has TLS: in a lab, or on a machine that has it.

mod support;

use std::fs;

use support::programs::{Programs, Way};
use support::skip;

/// One of the kernel's counters; none where it has no TLS.
fn counter(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/net/tls_stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[test]
fn the_kernel_seals_and_opens_for_c_programs() {
    let Some((sent, received)) = counter("TlsTxSw ").zip(counter("TlsRxSw ")) else {
        return skip("kernel_tls", "this kernel has no TLS: modprobe tls");
    };
    let Some(programs) = Programs::new(Way::Plain, "kernel_tls") else { return };
    programs.over_tls();
    assert!(counter("TlsTxSw ") > Some(sent), "the kernel has sealed nothing");
    assert!(counter("TlsRxSw ") > Some(received), "the kernel has opened nothing");
}
