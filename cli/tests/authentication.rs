//! DH-HMAC-CHAP through the program that users get: its secrets, its target, its exit codes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const HOST: &str = "nqn.2024-01.test:host";
const SUBSYSTEM: &str = "nqn.2024-01.test:images";

fn tool(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvme-tcp"));
    command.args(args).env_remove("NVME_TCP_TLS_KEY");
    command
}

fn run(args: &[&str]) -> Output {
    tool(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A new secret in a file.
fn secret(folder: &TempDir, name: &str) -> PathBuf {
    let file = folder.path().join(name);
    let made = run(&["key", "generate-dhchap", "--keyfile", path(&file)]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    file
}

/// `serve` with these flags; it ends with this.
struct Server {
    child: Child,
    uri: String,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let serve = ["serve", "--listen", "127.0.0.1:0", "-n", SUBSYSTEM, "--namespace", "ram:1M"];
        let mut command = tool(&serve);
        command.args(["--hostnqn", HOST]).args(flags).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().nth(2).unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { uri: format!("nvme+tcp://{address}/{SUBSYSTEM}"), child }
    }

    fn list(&self, flags: &[&str]) -> Output {
        let args = ["list", &self.uri, "--hostnqn", HOST, "--timeout", "20"];
        tool(&args).args(flags).output().unwrap()
    }

    fn refuses(&self, flags: &[&str], cause: &str, hint: &str) {
        let output = self.list(flags);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains(cause) && stderr.contains("hint: ") && stderr.contains(hint), "{stderr}");
    }

    fn takes(&self, flags: &[&str]) {
        let output = self.list(flags);
        assert!(output.status.success(), "{flags:?}: {}", text(&output.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
    server.takes(&["--dhchap-keyfile", ours]);
    server.takes(&["--dhchap-keyfile", ours, "--dhchap-ctrl-keyfile", theirs]);
    let text = fs::read_to_string(ours).unwrap();
    server.takes(&["-S", text.trim(), "--dhchap-ctrl-keyfile", theirs]);
    server.refuses(&[], "requires DH-HMAC-CHAP", "--dhchap-keyfile");
    server.refuses(&["--dhchap-keyfile", other], "authentication failed", "compare both");
    let wrong_controller = ["--dhchap-keyfile", ours, "--dhchap-ctrl-keyfile", other];
    server.refuses(&wrong_controller, "the controller's response", "compare both");
    let concat = ["--dhchap-keyfile", ours, "--concat"];
    server.refuses(&concat, "secure channel concatenation mismatch", "TLS key");
}

#[test]
fn a_target_that_concatenates() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["host", "other"].map(|name| secret(&folder, name));
    let (ours, other) = (path(&ours), path(&other));
    let server = Server::start(&["--dhchap-keyfile", ours, "--concat"]);
    server.takes(&["--dhchap-keyfile", ours, "--concat"]);
    server.refuses(&["--dhchap-keyfile", ours], "requires secure channel concatenation", "--concat");
    server.refuses(&["--dhchap-keyfile", other, "--concat"], "authentication failed", "compare both");
    server.refuses(&[], "requires DH-HMAC-CHAP", "--dhchap-keyfile");
}
