//! The `key` commands, through the program that users get.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A key and what libnvme's own test derives from it.
const KEY: &str = "NVMeTLSkey-1:01:VRLbtnN9AQb2WXW3c9+wEf/DRLz0QuLdbYvEhwtdWwNf9LrZ:";
const NAMES: [&str; 4] = ["--hostnqn", "nqn.psk-test-host", "--subsysnqn", "nqn.psk-test-subsys"];
const IDENTITY_0: &str = "NVMe0R01 nqn.psk-test-host nqn.psk-test-subsys";
const IDENTITY_1: &str =
    "NVMe1R01 nqn.psk-test-host nqn.psk-test-subsys iSbjiStwJ/1TrTvDlt2fjFmzvsytOJelidNnA+X5lEU=";
const IDENTITY_1_COMPAT: &str =
    "NVMe1R01 nqn.psk-test-host nqn.psk-test-subsys 66GuqV08TsAGII39teWUfwQwizjv06Jy8jOcX3NAAzM=";
const TLS_PSK_0: &str = "05c6503551ad136e6ee32e6eeb3f6d500b69701d84ec71e328f65c7f51566f68";
const TLS_PSK_1: &str = "8fc3c0badfd4c0c66fa3ca33aadd0314f85536cc9bc47338b60f3e6e563786ca";
const TLS_PSK_0_COMPAT: &str = "09fb1983ac6d6d0353e7cae4f23daddd651c367fa347c59d9cf6936f5a83eafb";
const TLS_PSK_1_COMPAT: &str = "b9f5ab2a41ba6e72a23a12066302a2f775fa6c0942c8e0b18ca8ac07edf305e2";

struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvme-tcp"));
    command.args(args).env_remove("NVME_TCP_TLS_KEY");
    command
}

fn finished(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn run(args: &[&str]) -> Run {
    finished(command(args).output().unwrap())
}

/// A failure: nothing on standard output, the cause with the tool's name before it, and a hint.
fn fails(args: &[&str], code: i32, cause: &str, hint: &str) {
    let run = run(args);
    assert_eq!((run.code, run.stdout.as_str()), (Some(code), ""), "{args:?}: {}", run.stderr);
    let mut lines = run.stderr.lines().skip_while(|line| line.starts_with("nvme-tcp: warning:"));
    let first = lines.next().unwrap();
    assert!(first.starts_with("nvme-tcp: ") && first.contains(cause), "{args:?}: {first}");
    let second = lines.next().unwrap();
    assert!(second.starts_with("hint: ") && second.contains(hint), "{args:?}: {second}");
    assert_eq!(lines.next(), None);
    assert!(!run.stderr.contains("VRLbtnN9"), "{}", run.stderr);
}

fn keyfile(mode: u32, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("psk");
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
    (folder, path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn generate_prints_a_key_that_check_takes() {
    for (flags, hash, bytes) in [
        (&[][..], "sha256", 32),
        (&["--hash", "sha256"], "sha256", 32),
        (&["--hash", "sha384"], "sha384", 48),
        (&["--hash", "none"], "none", 32),
        (&["--hmac", "0"], "none", 32),
        (&["-m", "1"], "sha256", 32),
        (&["--hmac=2"], "sha384", 48),
    ] {
        let made = run(&[&["key", "generate"], flags].concat());
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stdout.starts_with("NVMeTLSkey-1:0") && made.stdout.ends_with(":\n"));
        assert_eq!(made.stderr.contains("GnuTLS before 3.8.11"), bytes == 48);
        let checked =
            command(&["key", "check"]).env("NVME_TCP_TLS_KEY", made.stdout.trim()).output().unwrap();
        let checked = finished(checked);
        assert_eq!(
            checked.stdout,
            format!("the key is good: {bytes} bytes, hash {hash}\n"),
            "{}",
            checked.stderr
        );
    }
    assert_ne!(run(&["key", "generate"]).stdout, run(&["key", "generate"]).stdout);
}

#[test]
fn generate_writes_a_private_file_and_prints_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("psk");
    let made = run(&["key", "generate", "--keyfile", text(&path)]);
    assert_eq!((made.code, made.stdout.as_str()), (Some(0), ""));
    assert!(!made.stderr.contains("NVMeTLSkey"), "{}", made.stderr);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let checked = run(&["key", "check", "--keyfile", text(&path), "--json"]);
    assert_eq!(checked.stdout, "{\n  \"schema_version\": 1,\n  \"hash\": \"sha256\",\n  \"bytes\": 32\n}\n");

    let before = fs::read_to_string(&path).unwrap();
    fails(&["key", "generate", "--keyfile", text(&path)], 2, "exists already", "another name");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let nowhere = folder.path().join("no/such/folder");
    let failed = run(&["key", "generate", "--keyfile", text(&nowhere)]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.starts_with("nvme-tcp: cannot write key file"), "{}", failed.stderr);
}

#[test]
fn identity_prints_the_known_answers() {
    let (_folder, path) = keyfile(0o600, &format!("{KEY}\n"));
    let base = [&["key", "identity", "--keyfile", text(&path)][..], &NAMES].concat();
    for (flags, identity, tls_psk) in [
        (&[][..], IDENTITY_1, TLS_PSK_1),
        (&["--identity", "1"], IDENTITY_1, TLS_PSK_1),
        (&["--identity", "0"], IDENTITY_0, TLS_PSK_0),
        (&["--compat"], IDENTITY_1_COMPAT, TLS_PSK_1_COMPAT),
        (&["--identity", "0", "--compat"], IDENTITY_0, TLS_PSK_0_COMPAT),
    ] {
        let shown = run(&[&base, flags].concat());
        assert_eq!(shown.stdout, format!("{identity}\n"), "{flags:?}");
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
        let revealed = run(&[&base, flags, &["--reveal"]].concat());
        assert_eq!(revealed.stdout, format!("{identity}\n{tls_psk}\n"), "{flags:?}");
        let json = run(&[&base, flags, &["-o", "json"]].concat()).stdout;
        assert!(
            json.contains(&format!("\"identity\": \"{identity}\"")) && !json.contains("tls_psk"),
            "{json}"
        );
        let json = run(&[&base, flags, &["-o", "json", "--reveal"]].concat()).stdout;
        assert!(json.contains(&format!("\"tls_psk\": \"{tls_psk}\"")), "{json}");
    }
}

#[test]
fn identity_has_a_host_of_its_own() {
    let (_folder, path) = keyfile(0o600, KEY);
    let shown =
        run(&["key", "identity", "--keyfile", text(&path), "--subsysnqn", "nqn.test:s", "--identity", "0"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let nqn = shown.stdout.strip_prefix("NVMe0R01 ").and_then(|rest| rest.strip_suffix(" nqn.test:s\n"));
    assert!(!nqn.unwrap().is_empty());
}

#[test]
fn a_key_on_the_command_line_is_warned_about() {
    let shown = run(&[&["key", "identity", "--tls-key", KEY][..], &NAMES].concat());
    assert_eq!(shown.stdout, format!("{IDENTITY_1}\n"));
    assert!(shown.stderr.starts_with("nvme-tcp: warning: a key on the command line"), "{}", shown.stderr);
    assert!(!shown.stderr.contains("VRLb"));
}

#[test]
fn the_environment_may_hold_the_key_and_a_file_goes_first() {
    let (_folder, path) = keyfile(0o600, KEY);
    let environment = |value: &str, args: &[&str]| {
        let mut command = command(&[&["key", "identity"][..], &NAMES, args].concat());
        finished(command.env("NVME_TCP_TLS_KEY", value).output().unwrap())
    };
    assert_eq!(environment(KEY, &[]).stdout, format!("{IDENTITY_1}\n"));
    assert_eq!(environment("nonsense", &["--keyfile", text(&path)]).stdout, format!("{IDENTITY_1}\n"));
    let wrong = environment(&KEY.replace("VRLb", "VRLc"), &[]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("NVME_TCP_TLS_KEY: the key text's CRC-32"), "{}", wrong.stderr);
    assert_eq!(environment("", &[]).code, Some(2));
}

#[test]
fn wrong_keys_are_refused_with_a_mend() {
    for (wrong, cause, hint) in [
        (KEY.replace("VRLb", "VRLc"), "CRC-32", "copy the text again"),
        (KEY.replace(":01:", ":02:"), "its hash 02 asks for 48", "32-byte keys go with 01"),
        (KEY.replace(":01:", ":07:"), "hash \"07\"", "32-byte keys go with 01"),
        (KEY.replace("VRLb", ""), "29 bytes long", "copy the text again"),
        (KEY[..30].to_owned(), "ends inside its key field", "copy the whole text"),
        ("DHHC-1:00:xyz:".to_owned(), "DH-HMAC-CHAP", "key generate"),
        ("hello".to_owned(), "does not begin with \"NVMeTLSkey-1:\"", "interchange form"),
    ] {
        let (_folder, path) = keyfile(0o600, &wrong);
        fails(&["key", "check", "--keyfile", text(&path)], 2, cause, hint);
        fails(&["key", "check", "--tls-key", &wrong], 2, cause, hint);
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let (_folder, path) = keyfile(0o600, KEY);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mend = format!("chmod 600 {}", text(&path));
    fails(&["key", "check", "--keyfile", text(&path)], 2, "mode 0644", &mend);
}

#[test]
fn a_missing_file_is_an_io_error() {
    let missing = run(&["key", "check", "--keyfile", "/no/such/file"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(
        missing.stderr.contains("cannot read key file /no/such/file: No such file"),
        "{}",
        missing.stderr
    );
}

#[test]
fn usage_errors_end_with_2() {
    fails(&["key", "check"], 2, "no key is given", "NVME_TCP_TLS_KEY");
    let long = ["--hostnqn", &"h".repeat(200), "--subsysnqn", &"s".repeat(200), "--identity", "0"];
    fails(
        &[&["key", "identity", "--tls-key", KEY], &long[..]].concat(),
        2,
        "version-0 identity",
        "version-1",
    );
    for args in [
        &[][..],
        &["key"],
        &["key", "generate", "--hash", "md5"],
        &["key", "generate", "--hmac", "3"],
        &["key", "generate", "--hmac", "1", "--hash", "sha256"],
        &["key", "identity", "--tls-key", KEY],
        &["key", "identity", "--tls-key", KEY, "--subsysnqn", "with space"],
        &["key", "identity", "--tls-key", KEY, "--subsysnqn", "nqn.test:s", "--identity", "2"],
        &["key", "check", "--tls-key", KEY, "--keyfile", "f"],
    ] {
        let wrong = run(args);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(!wrong.stderr.contains("VRLb"), "{}", wrong.stderr);
    }
}

#[test]
fn a_key_in_the_wrong_place_is_not_repeated() {
    fails(&["key", "check", KEY], 2, "a key's text stands where none belongs", "--tls-key");
    fails(&["key", "generate", "--hash", KEY], 2, "a key's text stands where none belongs", "--tls-key");
}

#[test]
fn help_goes_to_standard_output_with_the_exit_codes() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert!(help.stdout.contains("Exit codes:") && help.stdout.contains("6  the peer broke the protocol"));
    assert_eq!(run(&["--version"]).stdout, format!("nvme-tcp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let (reader, writer) = UnixStream::pair().unwrap();
    drop(reader);
    let output = command(&["key", "generate"]).stdout(OwnedFd::from(writer)).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}

#[test]
fn a_full_disk_is_an_io_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let failed = finished(command(&["key", "generate"]).stdout(full).output().unwrap());
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.starts_with("nvme-tcp: cannot write to standard output: No space"),
        "{}",
        failed.stderr
    );
}
