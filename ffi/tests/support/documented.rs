//! What the header promises to fail with, and whether the test programs have seen it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{folder, skip};

/// Names the file to which test programs write which call failed with which number.
pub(crate) const PROVOKED: &str = "NVME_TCP_PROVOKED";

/// What cannot be provoked, or not on every machine: function, error and why.
const NOT_HERE: [(&str, &str, &str); 7] = [
    ("nvme_tcp_key_generate", "EIO", "the system always gives random bytes"),
    ("nvme_tcp_connect", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_discover", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_connect", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_accept", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_wrap", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_update_key", "EOPNOTSUPP", "this kernel has no TLS, or can change keys"),
];

type Errors = BTreeSet<String>;

/// Each function of the header, with the errors that its text names, itself or by "as" another one or by "those of a
/// command"; and under "completion:" each one that submits to a queue, with those that its completion can have.
fn documented(header: &str) -> BTreeMap<String, Errors> {
    let (_, of_a_command) = header.split_once("Errors of a command:").unwrap();
    let of_a_command = named(of_a_command.split_once("\n *\n").unwrap().0);
    let mut texts = BTreeMap::new();
    let mut completion = Errors::new();
    for part in header.split("/**").skip(1) {
        let (text, code) = part.split_once("*/").unwrap();
        let code = code.trim_start();
        if code.starts_with("int result;") {
            completion = named(text);
            completion.extend(of_a_command.clone());
        }
        let Some((before, parameters)) = code.split_once('(').filter(|_| !code.starts_with(['#', 't']))
        else {
            continue;
        };
        let name = before.rsplit([' ', '*']).next().unwrap();
        let errors = text.split_once("Errors").map_or("", |(_, errors)| errors);
        let errors = errors.split("Threads:").next().unwrap_or_default();
        let words: Vec<&str> = errors.split_whitespace().filter(|word| *word != "*").collect();
        texts.insert(name.to_owned(), (words.join(" "), parameters.contains("uint64_t cookie")));
    }
    assert!(texts.len() > 100, "{} functions: the header is read wrongly", texts.len());
    let mut functions = BTreeMap::new();
    for (name, (text, submits)) in &texts {
        let mut errors = named(text);
        let mut others = vec![text.as_str()];
        while let Some(text) = others.pop() {
            errors.extend(named(text));
            if text.contains("those of a command") {
                errors.extend(of_a_command.clone());
            }
            for other in text.split(" as ").chain(text.split("those of ")).skip(1) {
                let other = other.split_once("()").map_or("", |(other, _)| other);
                if other != name {
                    others.extend(texts.get(other).map(|(text, _)| text.as_str()));
                }
            }
        }
        functions.insert(name.clone(), errors);
        if *submits && !name.ends_with("_cancel") {
            let errors = completion.iter().filter(|error| can_complete(name, error)).cloned();
            functions.insert(format!("completion:{name}"), errors.collect());
        }
    }
    functions
}

/// The numbers in a text.
fn named(text: &str) -> Errors {
    let name = |rest: &str| rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    text.split("-E").skip(1).map(|rest| format!("E{}", name(rest))).collect()
}

/// What the header says of completions: which errors are those of reads, and which of what writes.
fn can_complete(name: &str, error: &str) -> bool {
    match error {
        "EBADMSG" | "ECANCELED" => name.contains("_read"),
        "ENOSPC" | "EROFS" => !name.contains("_read") && !name.ends_with("_flush"),
        _ => true,
    }
}

/// The names of <errno.h>, by number, as far as the header names them.
fn number(name: &str) -> i32 {
    let known = [
        ("EACCES", libc::EACCES),
        ("EAGAIN", libc::EAGAIN),
        ("EBADF", libc::EBADF),
        ("EBADMSG", libc::EBADMSG),
        ("ECANCELED", libc::ECANCELED),
        ("ECHILD", libc::ECHILD),
        ("ECONNABORTED", libc::ECONNABORTED),
        ("ECONNREFUSED", libc::ECONNREFUSED),
        ("ECONNRESET", libc::ECONNRESET),
        ("EEXIST", libc::EEXIST),
        ("EHOSTUNREACH", libc::EHOSTUNREACH),
        ("EILSEQ", libc::EILSEQ),
        ("EINVAL", libc::EINVAL),
        ("EIO", libc::EIO),
        ("EISDIR", libc::EISDIR),
        ("EKEYEXPIRED", libc::EKEYEXPIRED),
        ("EKEYREJECTED", libc::EKEYREJECTED),
        ("EMSGSIZE", libc::EMSGSIZE),
        ("ENODATA", libc::ENODATA),
        ("ENOENT", libc::ENOENT),
        ("ENOKEY", libc::ENOKEY),
        ("ENOSPC", libc::ENOSPC),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
        ("EPIPE", libc::EPIPE),
        ("EPROTO", libc::EPROTO),
        ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT),
        ("EROFS", libc::EROFS),
        ("ESHUTDOWN", libc::ESHUTDOWN),
        ("ETIMEDOUT", libc::ETIMEDOUT),
    ];
    let found = known.into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("the header names {name}, which this table does not have")).1
}

/// Functions that take a handle and cannot say that they fail.
const GIVES_VALUES: [&str; 13] = [
    "nvme_tcp_key_hash",
    "nvme_tcp_namespace_id",
    "nvme_tcp_namespace_size",
    "nvme_tcp_namespace_block_size",
    "nvme_tcp_namespace_max_transfer",
    "nvme_tcp_namespace_is_read_only",
    "nvme_tcp_discovery_count",
    "nvme_tcp_queue_room",
    "nvme_tcp_queue_outstanding",
    "nvme_tcp_queue_wants",
    "nvme_tcp_queue_timeout",
    "nvme_tcp_queue_uses_io_uring",
    "nvme_tcp_ktls_has_buffered",
];

/// Whether a function takes a handle first, and can say that it fails: in a forked child it does, with ECHILD, as the
/// header says at its beginning.
fn takes_a_handle(header: &str, name: &str) -> bool {
    let handles = ["options", "controller", "namespace", "queue", "events", "discovery", "key", "ktls"];
    let Some((_, parameters)) = header.split_once(&format!("{name}(")) else { return false };
    let first = parameters.trim_start().trim_start_matches("const ").trim_start_matches("struct nvme_tcp_");
    let takes = handles.iter().any(|handle| first.starts_with(&format!("{handle} *")));
    takes && !name.ends_with("_free") && !GIVES_VALUES.contains(&name) && !first.starts_with(&out(name))
}

/// How the parameters begin of a function that makes a handle of the kind that its name has.
fn out(name: &str) -> String {
    let kind = name.trim_start_matches("nvme_tcp_").split('_').next().unwrap_or_default();
    format!("{kind} **")
}

/// Fails where a test program calls a function of the header nowhere, or an error that the header names was not
/// provoked.
pub(crate) fn all_were_provoked(noted: &Path) {
    let header = fs::read_to_string(folder().join("include/nvme_tcp.h")).unwrap();
    let mut sources = String::new();
    for source in fs::read_dir(folder().join("tests/c")).unwrap() {
        sources += &fs::read_to_string(source.unwrap().path()).unwrap();
    }
    let noted = fs::read_to_string(noted).unwrap();
    let provoked: BTreeSet<(&str, i32)> = noted
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, number)| (name, -number.parse::<i32>().unwrap()))
        .collect();
    let (mut missing, mut count) = (Vec::new(), 0);
    let functions = documented(&header);
    for (name, errors) in &functions {
        let function = name.trim_start_matches("completion:");
        if !sources.contains(&format!("{function}(")) {
            missing.push(format!("{name} is called by no test program"));
        }
        let everywhere = takes_a_handle(&header, name).then(|| "ECHILD".to_owned());
        for error in errors.iter().chain(&everywhere) {
            count += 1;
            if provoked.contains(&(name, number(error))) {
                continue;
            }
            match NOT_HERE.iter().find(|(function, known, _)| function == name && known == error) {
                Some((_, _, why)) => skip(&format!("programs::documented {name} {error}"), why),
                None => missing.push(format!("{name} has not failed with {error}")),
            }
        }
    }
    assert!(missing.is_empty(), "of {count} errors: {missing:#?}");
    println!("{count} errors of {} functions", functions.len());
}
