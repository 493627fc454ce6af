//! DH-HMAC-CHAP through the program that users get: its secrets, its target, its exit codes.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use support::{HOST, Server, path, run, text, tool};
use tempfile::TempDir;

/// A new secret in a file.
fn secret(folder: &TempDir, name: &str) -> PathBuf {
    let file = folder.path().join(name);
    let made = run(&["key", "generate-dhchap", "--keyfile", path(&file)]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    file
}

/// The namespaces of a server, or why not.
fn list(server: &Server, flags: &[&str]) -> Output {
    let args = ["list", &server.uri, "--hostnqn", HOST, "--timeout", "20"];
    tool(&args).args(flags).output().unwrap()
}

fn refuses(server: &Server, flags: &[&str], cause: &str, hint: &str) {
    let output = list(server, flags);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains(cause) && stderr.contains("hint: ") && stderr.contains(hint), "{stderr}");
}

fn takes(server: &Server, flags: &[&str]) {
    let output = list(server, flags);
    assert!(output.status.success(), "{flags:?}: {}", text(&output.stderr));
}

#[test]
fn secrets_are_made_and_checked() {
    for (hash, bytes) in [("none", 32), ("sha256", 32), ("sha384", 48), ("sha512", 64)] {
        let made = text(&run(&["key", "generate-dhchap", "--hash", hash]).stdout);
        assert!(made.starts_with("DHHC-1:0") && made.ends_with(":\n"), "{made}");
        let checked = run(&["key", "check-dhchap", "--dhchap-secret", made.trim()]);
        let expected = format!("the secret is good: {bytes} bytes, hash {hash}\n");
        assert_eq!(text(&checked.stdout), expected, "{}", text(&checked.stderr));
    }
    assert!(text(&run(&["key", "generate-dhchap", "-m", "3"]).stdout).starts_with("DHHC-1:03:"));
    let folder = tempfile::tempdir().unwrap();
    let file = secret(&folder, "secret");
    assert!(run(&["key", "check-dhchap", "-f", path(&file)]).status.success());
    let again = run(&["key", "generate-dhchap", "-f", path(&file)]);
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
}

#[test]
fn wrong_secrets_are_wrong_usage_and_are_not_shown() {
    let made = text(&run(&["key", "generate-dhchap"]).stdout);
    let broken = made.trim().replace("DHHC-1:01:", "DHHC-1:01:AAAA");
    for args in [
        &["key", "check-dhchap", "-S", &broken][..],
        &["key", "check-dhchap", "-f", made.trim()],
        &["list", made.trim()],
        &["key", "check-dhchap", "-S", "NVMeTLSkey-1:01:x:"],
    ] {
        let output = run(args);
        let stderr = text(&output.stderr);
        assert!(!output.status.success() && stderr.contains("nvme-tcp: "), "{stderr}");
        let field = broken.split(':').nth(2).unwrap();
        assert!(!stderr.contains(field), "{stderr}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("open");
    fs::write(&file, &made).unwrap();
    let mut readable = fs::metadata(&file).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut readable, 0o644);
    fs::set_permissions(&file, readable).unwrap();
    let output = run(&["key", "check-dhchap", "-f", path(&file)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("chmod 600"), "{}", text(&output.stderr));
}

#[test]
fn a_target_with_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, theirs, other] = ["host", "controller", "other"].map(|name| secret(&folder, name));
    let (ours, theirs, other) = (path(&ours), path(&theirs), path(&other));
    let server = Server::start(&["--dhchap-keyfile", ours, "--dhchap-ctrl-keyfile", theirs]);
    takes(&server, &["--dhchap-keyfile", ours]);
    takes(&server, &["--dhchap-keyfile", ours, "--dhchap-ctrl-keyfile", theirs]);
    let text = fs::read_to_string(ours).unwrap();
    takes(&server, &["-S", text.trim(), "--dhchap-ctrl-keyfile", theirs]);
    refuses(&server, &[], "requires DH-HMAC-CHAP", "--dhchap-keyfile");
    refuses(&server, &["--dhchap-keyfile", other], "authentication failed", "compare both");
    let wrong_controller = ["--dhchap-keyfile", ours, "--dhchap-ctrl-keyfile", other];
    refuses(&server, &wrong_controller, "the controller's response", "compare both");
    let concat = ["--dhchap-keyfile", ours, "--concat"];
    refuses(&server, &concat, "secure channel concatenation mismatch", "TLS key");
}

#[test]
fn a_target_that_concatenates() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["host", "other"].map(|name| secret(&folder, name));
    let (ours, other) = (path(&ours), path(&other));
    let server = Server::start(&["--dhchap-keyfile", ours, "--concat"]);
    takes(&server, &["--dhchap-keyfile", ours, "--concat"]);
    refuses(&server, &["--dhchap-keyfile", ours], "requires secure channel concatenation", "--concat");
    refuses(&server, &["--dhchap-keyfile", other, "--concat"], "authentication failed", "compare both");
    refuses(&server, &[], "requires DH-HMAC-CHAP", "--dhchap-keyfile");
}
