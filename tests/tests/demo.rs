//! `nvme-tcp demo`: what a newcomer sees first.

use system_tests::{KeyFile, Run, Tool, image, in_lab, scaled};

fn size() -> u64 {
    scaled(32 << 20, 8 << 20)
}

/// Who seals on this machine: the word for machines, and how the sentence for people begins.
fn sealer() -> (&'static str, &'static str) {
    match in_lab() || ktls::probe().missing.is_none() {
        true => ("kernel", "the kernel"),
        false => ("process", "this process"),
    }
}

fn verified(run: &Run, bytes: u64) {
    let json = run.json();
    assert_eq!(json["verified"], true);
    assert_eq!(json["bytes"], bytes);
    for rate in ["write_mb_s", "read_mb_s"] {
        assert!(json[rate].as_f64().is_some_and(|rate| rate > 0.0), "{json}");
    }
    let tls = &json["tls"];
    assert_eq!((&tls["version"], &tls["suite"]), (&"TLS 1.3".into(), &"TLS_AES_128_GCM_SHA256".into()));
    let (word, sentence) = sealer();
    assert_eq!((&tls["tx"], &tls["rx"]), (&word.into(), &word.into()), "{json}");
    for why in ["tx_why", "rx_why"] {
        assert!(tls[why].as_str().is_some_and(|why| why.starts_with(sentence)), "{json}");
    }
}

#[test]
fn the_demo_tells_people_what_it_did_and_who_sealed_the_records() {
    let run = Tool::new(["demo", "--size", &size().to_string()]).run().succeeded();
    let table = run.text();
    let lines: Vec<_> = table.lines().collect();
    let line = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
        line.unwrap_or_else(|| panic!("no line {name:?} in {table}")).trim().to_owned()
    };
    assert!(line("image").ends_with(&format!("({} bytes)", size())), "{table}");
    for way in ["written", "read back"] {
        let (time, rate) = line(way).split_once(" s, ").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(time.parse::<f64>().unwrap() > 0.0, "{table}");
        assert!(rate.strip_suffix(" MB/s").unwrap().parse::<f64>().unwrap() > 0.0, "{table}");
    }
    assert!(line("SHA-256").starts_with("the same, "), "{table}");
    assert_eq!(line("TLS"), "TLS 1.3, TLS_AES_128_GCM_SHA256");
    assert_eq!(line("PSK identity"), "version 1");
    let (_, sentence) = sealer();
    assert!(line("sent records").starts_with(&format!("sealed by {sentence}")), "{table}");
    assert!(line("received records").starts_with(&format!("opened by {sentence}")), "{table}");
}

#[test]
fn without_kernel_tls_the_demo_names_the_reason_and_the_mend() {
    let Some(missing) = ktls::probe().missing else {
        return system_tests::skip(
            "without_kernel_tls_the_demo_names_the_reason_and_the_mend",
            "this kernel has TLS",
        );
    };
    let json = Tool::new(["demo", "--size", "1M", "--json"]).run().succeeded().json();
    let why = json["tls"]["tx_why"].as_str().unwrap();
    assert!(why.contains(&missing.to_string()) && why.contains("modprobe tls"), "{why}");
}

#[test]
fn the_demo_as_json_is_one_object() {
    let run = Tool::new(["demo", "--size", &size().to_string(), "--json"]).run().succeeded();
    verified(&run, size());
    assert_eq!(run.json()["schema_version"], 1);
}

#[test]
fn the_demo_takes_a_file_of_any_length() {
    let file = KeyFile::with("");
    // One byte more than whole blocks.
    let len = (1 << 20) + 1;
    std::fs::write(file.path(), image(1, len)).unwrap();
    let run = Tool::new(["demo", "--json", "--file", file.path()]).run().succeeded();
    verified(&run, len);
}

#[test]
fn the_demo_refuses_what_is_no_image() {
    let missing = Tool::new(["demo", "--file", "/no/such/file"]).run();
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("cannot read /no/such/file: No such file"), "{}", missing.stderr);
    let folder = Tool::new(["demo", "--file", "/"]).run();
    assert_eq!(folder.code, Some(2), "{}", folder.stderr);
    assert!(folder.stderr.contains("/ is no regular file"), "{}", folder.stderr);
}
