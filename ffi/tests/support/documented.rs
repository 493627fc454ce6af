//! What the header promises to fail with, and whether the test programs have seen it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{folder, skip};

/// Names the file to which test programs write which call failed with which number.
pub(crate) const PROVOKED: &str = "NVME_TCP_PROVOKED";

/// What cannot be provoked, or not on every machine: function, error and why.
const NOT_HERE: [(&str, &str, &str); 5] = [
    ("nvme_tcp_key_generate", "EIO", "the system always gives random bytes"),
    ("nvme_tcp_connect", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_connect", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_wrap", "EOPNOTSUPP", "this kernel has TLS"),
    ("nvme_tcp_ktls_update_key", "EOPNOTSUPP", "this kernel has no TLS, or can change keys"),
];

/// Each function of the header, with the errors that its own text names; what it takes over from another one by "as"
/// is that one's to show.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let header = fs::read_to_string(folder().join("include/nvme_tcp.h")).unwrap();
    let mut functions = BTreeMap::new();
    for part in header.split("/**").skip(1) {
        let (text, code) = part.split_once("*/").unwrap();
        let code = code.trim_start();
        let Some((before, _)) = code.split_once('(').filter(|_| !code.starts_with(['#', 't'])) else {
            continue;
        };
        let name = before.rsplit([' ', '*']).next().unwrap();
        let errors = text.split_once("Errors").map_or("", |(_, errors)| errors);
        let numbers = errors.split("-E").skip(1).map(|rest| {
            let rest: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            format!("E{rest}")
        });
        functions.insert(name.to_owned(), numbers.collect::<BTreeSet<_>>());
    }
    functions
}

/// The names of <errno.h>, by number, as far as the header names them.
fn number(name: &str) -> i32 {
    let known = [
        ("EACCES", libc::EACCES),
        ("EAGAIN", libc::EAGAIN),
        ("EBADF", libc::EBADF),
        ("EBADMSG", libc::EBADMSG),
        ("ECHILD", libc::ECHILD),
        ("ECONNABORTED", libc::ECONNABORTED),
        ("ECONNREFUSED", libc::ECONNREFUSED),
        ("ECONNRESET", libc::ECONNRESET),
        ("EEXIST", libc::EEXIST),
        ("EHOSTUNREACH", libc::EHOSTUNREACH),
        ("EILSEQ", libc::EILSEQ),
        ("EINVAL", libc::EINVAL),
        ("EIO", libc::EIO),
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
const GIVES_VALUES: [&str; 12] = [
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
    let functions = documented();
    assert!(functions.len() > 100, "{} functions: the header is read wrongly", functions.len());
    for (name, errors) in &functions {
        if !sources.contains(&format!("{name}(")) {
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
