//! What `copy` says and what it leaves alone, through the program that users get.

mod support;

use std::fs;

use support::{HOST, Server, path, run, text};

/// A copy with these flags: its exit code, its output and its error output, with URI for the address.
fn copy(server: &Server, from: &str, to: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let args = [&["copy", from, to, "--hostnqn", HOST, "--timeout", "60"], flags].concat();
    let output = run(&args);
    let name = |stream: &[u8]| text(stream).replace(&server.uri, "URI");
    (output.status.code(), name(&output.stdout), name(&output.stderr))
}

#[test]
fn a_dry_run_changes_nothing() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(&[]));
    let (image, out) = (folder.path().join("image"), folder.path().join("out"));
    let namespace = format!("{}/1", server.uri);
    fs::write(&image, [0x5a; 3000]).unwrap();

    let (code, said, error) = copy(&server, path(&image), &namespace, &["--dry-run"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("would overwrite 3000 bytes of URI/1, which has 1048576"), "{said}");
    let (code, said, error) = copy(&server, "-", &namespace, &["--dry-run"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("would overwrite all that comes"), "{said}");
    let (code, said, error) = copy(&server, &namespace, path(&out), &["--dry-run", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("\"dry_run\": true") && said.contains("\"bytes\": 1048576"), "{said}");
    assert!(!out.exists());

    // Nothing was written: all of it reads as zeros.
    let (code, said, error) = copy(&server, &namespace, path(&out), &["-Q", "100", "--verify"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.contains("copied out 1048576 bytes"), "{said}");
    assert!(fs::read(&out).unwrap().iter().all(|byte| *byte == 0));
    // And a file that is there stays as it is.
    let (_, said, _) = copy(&server, &namespace, path(&image), &["--dry-run"]);
    assert!(said.contains("would overwrite ") && said.contains("with 1048576 bytes of URI/1"), "{said}");
    assert_eq!(fs::read(&image).unwrap(), [0x5a; 3000]);
}

#[test]
fn a_dry_run_fails_as_the_copy_would() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(&[]));
    let image = folder.path().join("image");
    fs::write(&image, vec![1; (1 << 20) + 1]).unwrap();
    let namespace = format!("{}/1", server.uri);
    for flags in [&["--dry-run"][..], &[]] {
        let (code, _, error) = copy(&server, path(&image), &namespace, flags);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("the image has 1048577 bytes, and the namespace 1048576"), "{error}");
    }
    let (code, _, error) = copy(&server, &namespace, "-", &["--dry-run", "--length", "2M"]);
    assert_eq!(code, Some(2), "{error}");
    let (code, _, _) = copy(&server, path(&image), &namespace, &["--dry-run", "--verify"]);
    assert_eq!(code, Some(2));
}

#[test]
fn verbose_tells_the_steps_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let (key, image) = (folder.path().join("key"), folder.path().join("image"));
    assert!(run(&["key", "generate", "--keyfile", path(&key)]).status.success());
    fs::write(&image, [7; 1024]).unwrap();
    let server = Server::start(&["--keyfile", path(&key)]);
    let namespace = format!("{}/1", server.uri);
    let tls = ["--tls", "--keyfile", path(&key)];

    let (code, _, error) = copy(&server, path(&image), &namespace, &tls);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let (code, said, error) =
        copy(&server, path(&image), &namespace, &[&tls[..], &["-v", "--verify"]].concat());
    assert_eq!(code, Some(0), "{error}");
    let from = format!("TLS required, key from {}", key.display());
    for step in [
        &from,
        HOST,
        "connected: controller ",
        "TLS_AES_128_GCM_SHA256",
        "writing ",
        "flushing",
        "reading back",
    ] {
        assert!(error.contains(step), "no {step:?} in {error}");
    }
    let secret = fs::read_to_string(&key).unwrap();
    let secret = secret.trim().rsplit(':').nth(1).unwrap();
    assert!(secret.len() > 40 && !error.contains(secret) && !said.contains(secret), "{error}");
    // Before the command as well as after it.
    let output =
        run(&["--verbose", "list", &server.uri, "--hostnqn", HOST, "--tls", "--keyfile", path(&key)]);
    assert!(text(&output.stderr).contains("connected: "), "{}", text(&output.stderr));
}
