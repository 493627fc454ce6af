//! The examples, as a user would run them.

mod rustls_support;
mod socket_support;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ktls::observe::TlsStat;
use ktls::probe;
use rustls_support::Certificate;
use socket_support::process::{Peer, skip, version};
use socket_support::{kernel_has_tls, pattern};

/// The example `name`, which cargo builds beside the tests; not where only some tests were asked for.
fn example(name: &str, test: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).unwrap().join("examples").join(name);
    if !path.exists() {
        skip(test, &format!("{} is not built (cargo build -p linux-ktls --examples)", path.display()));
        return None;
    }
    Some(path)
}

/// Where a server says that it listens.
fn address(server: &Peer) -> String {
    server.wait_for("listening on 127.0.0.1:");
    server.wait_for("\n");
    server.said().split_whitespace().nth(2).unwrap().to_owned()
}

fn run<S: AsRef<OsStr>>(program: &PathBuf, arguments: &[S]) -> (bool, Vec<u8>, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn files_are_served_and_downloaded() {
    const TEST: &str = "files_are_served_and_downloaded";
    let Some(certificate) = Certificate::make() else {
        return skip(TEST, "openssl is not installed (apt install openssl)");
    };
    let (Some(serve), Some(get)) = (example("https_files", TEST), example("rustls_get", TEST)) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = pattern(3_000_000);
    std::fs::write(folder.path().join("data"), &data).unwrap();
    let (path, key) = (certificate.path(), certificate.key());
    let arguments = [path.as_os_str(), key.as_os_str(), folder.path().as_os_str(), "127.0.0.1:0".as_ref()];
    let server = Peer::start(serve.to_str().unwrap(), arguments);
    let from = address(&server);
    let get = |what: &str| run(&get, &[from.as_ref(), OsStr::new(what), path.as_os_str()]);
    let (well, got, said) = get("/data");
    assert!(well && got == data, "{} bytes: {said}\n{}", got.len(), server.said());
    assert!(said.contains("TLS 1.3") && said.contains("opened by"), "{said}");
    for missing in ["/absent", "/../certificate.pem", "//etc/passwd"] {
        let (well, _, said) = get(missing);
        assert!(!well && said.contains("404"), "{missing}: {said}");
    }
}

#[test]
fn lines_are_echoed() {
    const TEST: &str = "lines_are_echoed";
    let Some(echo) = example("psk_echo", TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let (echo, key) = (echo.to_str().unwrap(), key.to_str().unwrap());
    let server = Peer::start(echo, ["serve", "127.0.0.1:0", key]);
    let address = address(&server);
    let mut client = Peer::start(echo, ["connect", &address, key]);
    client.write(b"hello\n");
    client.wait_for("hello\n");
    server.wait_for("opened by");
}

#[test]
fn a_ring_gets_its_words_back() {
    const TEST: &str = "a_ring_gets_its_words_back";
    if !kernel_has_tls(TEST) {
        return;
    }
    let (Some(echo), Some(get)) = (example("psk_echo", TEST), example("io_uring_get", TEST)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, [7; 32]).unwrap();
    let key = key.to_str().unwrap();
    let server = Peer::start(echo.to_str().unwrap(), ["serve", "127.0.0.1:0", key]);
    let words = "by a ring ".repeat(5000);
    let (well, got, said) = run(&get, &[&address(&server), key, &words]);
    if said.contains("Operation not permitted") || said.contains("Function not implemented") {
        return skip(TEST, &format!("no io_uring here: {said}"));
    }
    assert!(
        well && String::from_utf8_lossy(&got).trim_end() == words.trim_end(),
        "{said}\n{}",
        server.said()
    );
}

#[test]
fn the_probe_names_every_cipher() {
    let Some(probe) = example("probe", "the_probe_names_every_cipher") else { return };
    let (well, said, _) = run::<&str>(&probe, &[]);
    let said = String::from_utf8(said).unwrap();
    assert!(well, "{said}");
    for word in ["TLS_AES_128_GCM_SHA256 to send", "ARIA-256-GCM of TLS 1.2 to receive", "TLS_SM4_CCM_SM3"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// As in a container: nobody's user, and no /proc.
#[test]
fn the_probe_needs_neither_rights_nor_proc() {
    const TEST: &str = "the_probe_needs_neither_rights_nor_proc";
    let Some(probe) = example("probe", TEST) else { return };
    let (well, as_usual, _) = run::<&str>(&probe, &[]);
    assert!(well);
    let script = "mount -t tmpfs none /proc && test ! -e /proc/self && \
                  exec chroot --userspec=65534:65534 / sh -c 'echo inside && exec \"$0\"' \"$0\"";
    let arguments = ["--mount".as_ref(), "sh".as_ref(), "-c".as_ref(), script.as_ref(), probe.as_os_str()];
    let output = Command::new("unshare").args(arguments).stdin(Stdio::null()).output();
    let Some((output, said)) = output.ok().and_then(|output| {
        let said = String::from_utf8_lossy(&output.stdout).strip_prefix("inside\n")?.to_owned();
        Some((output, said))
    }) else {
        return skip(TEST, "no file systems of one's own can be had here (unshare; needs root)");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said, String::from_utf8_lossy(&as_usual));
}

#[test]
fn wrk_hammers_the_file_server() {
    const TEST: &str = "wrk_hammers_the_file_server";
    if version("wrk", "-v").is_none() {
        return skip(TEST, "wrk is not installed (apt install wrk)");
    }
    let Some(certificate) = Certificate::make() else {
        return skip(TEST, "openssl is not installed (apt install openssl)");
    };
    let Some(serve) = example("https_files", TEST) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), pattern(100_000)).unwrap();
    let (path, key) = (certificate.path(), certificate.key());
    let arguments = [path.as_os_str(), key.as_os_str(), folder.path().as_os_str(), "127.0.0.1:0".as_ref()];
    let before = TlsStat::read().ok();
    let server = Peer::start(serve.to_str().unwrap(), arguments);
    let url = format!("https://{}/data", address(&server));
    let (well, said, _) = run(&"wrk".into(), &["-t", "2", "-c", "8", "-d", "2s", "--timeout", "20s", &url]);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(well && said.contains("requests in"), "{said}");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}\n{}", server.said());
    // The first request of each of eight connections at the least.
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in"));
    let requests: u64 = requests.unwrap().0.parse().unwrap();
    assert!(requests >= 8, "{said}");
    if let (None, Some(before)) = (probe().missing, before) {
        let grown = TlsStat::read().unwrap().since(&before);
        assert!(grown.get("TlsTxSw").unwrap() >= 8, "the kernel sealed: {}", server.said());
    }
}
