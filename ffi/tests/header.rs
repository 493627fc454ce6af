//! The header, the symbols and the layout of structs are what is checked in: a change of them is a change of
//! the ABI.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Scratch, folder, library, run, skip, tool};

/// Set to write the lists anew.
const UPDATE: &str = "NVME_TCP_FFI_UPDATE";

fn same(name: &str, found: &str) {
    let path = folder().join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, found).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(found.lines()).find(|(kept, found)| kept != found);
    assert!(
        kept == found,
        "{name} is not what the sources make (first: {differs:?}); if that is meant: {UPDATE}=1 cargo test -p \
         nvme-tcp-ffi --test header"
    );
}

fn header() -> String {
    let config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    // In the order of the header; a file with modules brings them along.
    for source in [
        "version",
        "error",
        "options/mod",
        "controller",
        "passthrough",
        "statistics",
        "events",
        "namespace",
        "discovery",
        "key",
        "queue/mod",
        "tls/mod",
    ] {
        builder = builder.with_src(folder().join("src").join(format!("{source}.rs")));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    let text = String::from_utf8(text).unwrap();
    // Rust's word for what C programmers take for granted.
    let mut lines = Vec::new();
    let mut skipping = false;
    for line in text.lines() {
        skipping = match line.trim() {
            "* # Safety" => {
                lines.pop();
                true
            }
            "*/" => false,
            _ => skipping,
        };
        if !skipping {
            lines.push(line.trim_end());
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_header_is_what_cbindgen_makes() {
    same("include/nvme_tcp.h", &header());
}

/// What the shared library gives to others.
fn symbols() -> Option<Vec<String>> {
    let Some(nm) = tool("nm") else {
        skip("header::symbols", "no nm (package binutils)");
        return None;
    };
    let said = run(Command::new(nm).args(["-D", "--defined-only", "--format=posix"]).arg(library("so")));
    Some(said.lines().filter_map(|line| line.split(' ').next()).map(|name| name.to_owned()).collect())
}

#[test]
fn only_documented_names_are_exported() {
    let Some(mut symbols) = symbols() else { return };
    symbols.sort();
    assert!(symbols.iter().all(|name| name.starts_with("nvme_tcp_")), "{symbols:?}");
    same("include/symbols.txt", &(symbols.join("\n") + "\n"));
    // The version script, which the installed library is linked with, names the same.
    let script = fs::read_to_string(folder().join("nvme_tcp.map")).unwrap();
    let named: Vec<&str> =
        script.lines().filter_map(|line| line.trim().strip_suffix(';')?.strip_prefix("nvme_tcp_")).collect();
    assert_eq!(named, ["*"]);
    let header = fs::read_to_string(folder().join("include/nvme_tcp.h")).unwrap();
    for name in &symbols {
        assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
    }
}

#[test]
fn structs_lie_in_memory_as_listed() {
    let Some(gcc) = tool("gcc") else { return skip("header::layout", "no gcc (package gcc)") };
    let header = header();
    let scratch = Scratch::new();
    fs::write(scratch.path("nvme_tcp.h"), &header).unwrap();
    let mut program = String::from("#include <nvme_tcp.h>\n#include <stdio.h>\nint main(void)\n{\n");
    for part in header.split("typedef struct ").skip(1) {
        let Some((body, rest)) = part.split_once('}').filter(|(body, _)| body.contains('{')) else {
            continue;
        };
        let Some(name) = rest.trim().split(';').next() else { continue };
        program += &format!("    printf(\"{name} %zu\\n\", sizeof({name}));\n");
        for line in body.lines().filter(|line| line.trim().ends_with(';') && !line.trim().starts_with('*')) {
            let member = line.trim().trim_end_matches(';').rsplit([' ', '*']).next().unwrap();
            let member = member.split('[').next().unwrap();
            program += &format!(
                "    printf(\"{name}.{member} %zu %zu\\n\", offsetof({name}, {member}), sizeof((({name} *)0)->{member}));\n"
            );
        }
    }
    program += "    return 0;\n}\n";
    let source = scratch.path("layout.c");
    fs::write(&source, program).unwrap();
    let out = scratch.path("layout");
    run(Command::new(gcc).arg("-I").arg(scratch.path("")).arg(&source).arg("-o").arg(&out));
    if cfg!(target_pointer_width = "64") {
        same("include/layout.txt", &run(&mut Command::new(out)));
    }
}

#[test]
fn the_header_compiles_without_a_word() {
    // What is checked in is compared with it by another test.
    let scratch = Scratch::new();
    fs::write(scratch.path("nvme_tcp.h"), header()).unwrap();
    let source = scratch.path("use.c");
    fs::write(&source, "#include <nvme_tcp.h>\nint main(void) { return nvme_tcp_version_number() == 0; }\n")
        .unwrap();
    let dialects = [("c", "c99"), ("c", "c11"), ("c++", "c++17")];
    for (compiler, plus) in [("gcc", "g++"), ("clang", "clang++")] {
        for (language, standard) in dialects {
            let name = if language == "c" { compiler } else { plus };
            let Some(program) = tool(name) else {
                skip(&format!("header::compiles {name} {standard}"), &format!("no {name}"));
                continue;
            };
            let mut command = Command::new(program);
            command.args(["-Wall", "-Wextra", "-Wredundant-decls", "-Werror", "-pedantic"]);
            if language == "c" {
                command.arg("-Wstrict-prototypes");
            }
            command.arg(format!("-std={standard}")).args(["-x", language, "-fsyntax-only"]);
            run(command.arg("-I").arg(scratch.path("")).arg(&source));
        }
    }
}

#[test]
fn every_error_number_is_in_the_manual() {
    let page = fs::read_to_string(folder().join("man/nvme_tcp_errors.3")).unwrap();
    let mut missing = Vec::new();
    for source in sources(&folder().join("src")) {
        let text = fs::read_to_string(&source).unwrap();
        for part in text.split("libc::E").skip(1) {
            let name: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
            if !page.contains(&format!(".It Er E{name}\n")) {
                missing.push(format!("E{name} in {}", source.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// The Rust sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Each function of the header: the text above it, what it gives, its name and its parameters.
fn functions(header: &str) -> Vec<(String, String, String, String)> {
    let of = |part: &str| {
        let (text, code) = part.split_once("*/")?;
        let code = code.trim_start();
        let (before, rest) = code.split_once('(').filter(|_| !code.starts_with(['#', 't']))?;
        let name = before.rsplit([' ', '*']).next()?;
        let (parameters, _) = rest.split_once(");")?;
        Some((text.to_owned(), before.strip_suffix(name)?.to_owned(), name.to_owned(), parameters.to_owned()))
    };
    let functions: Vec<_> = header.split("/**").skip(1).filter_map(of).collect();
    assert!(functions.len() > 100, "{} functions: the header is read wrongly", functions.len());
    functions
}

#[test]
fn every_function_is_in_the_manual() {
    let pages = fs::read_dir(folder().join("man")).unwrap().map(|page| page.unwrap().path());
    let pages: String = pages.map(|page| fs::read_to_string(page).unwrap()).collect();
    let plain =
        |text: &str| text.replace("struct nvme_tcp_", "nvme_tcp_").replace("namespace_,", "namespace,");
    let lines = functions(&header()).into_iter().map(|(_, result, name, parameters)| {
        let parameters = parameters.split_whitespace().collect::<Vec<_>>().join(" ");
        let parameters: Vec<String> = plain(&format!("{parameters},"))
            .split_terminator(',')
            .map(|one| if one == "void" { one.to_owned() } else { format!("\"{}\"", one.trim()) })
            .collect();
        format!(".Ft {}\n.Fn {name} {}\n", plain(result.trim()), parameters.join(" "))
    });
    let missing: Vec<String> = lines.filter(|lines| !pages.contains(lines)).collect();
    assert!(missing.is_empty(), "no page has these lines under SYNOPSIS:\n{}", missing.concat());
}

#[test]
fn every_function_says_who_may_call_it() {
    for (text, result, name, _) in functions(&header()) {
        let text = text.to_lowercase();
        assert!(text.contains("threads:"), "{name} has no thread rule");
        // A number is a result, unless it is a plain value.
        let gives_result =
            ["int", "ssize_t"].contains(&result.trim()) && !GIVE_NUMBERS.contains(&name.as_str());
        assert!(!gives_result || text.contains("errors"), "{name} names no errors");
    }
}

#[test]
fn every_lent_buffer_says_whose_it_is() {
    let lends = |parameters: &str| parameters.contains("uint64_t cookie") && parameters.contains("buffer");
    let functions = functions(&header());
    let lending: Vec<_> = functions.iter().filter(|(_, _, _, parameters)| lends(parameters)).collect();
    assert_eq!(lending.len(), 4, "{lending:?}");
    for (text, _, name, _) in lending {
        let text = text.replace("\n *", "");
        assert!(text.contains("to the queue until the completion with this cookie was fetched"), "{name}");
    }
}

#[test]
fn structs_carry_their_size_and_nothing_is_an_enum() {
    let header = header();
    assert!(!header.contains("enum "));
    let structs = header.split("typedef struct ").skip(1).filter_map(|part| {
        let (name, body) = part.split_once(" {")?;
        (!name.contains(';')).then_some((name, body))
    });
    let mut count = 0;
    for (name, body) in structs {
        let first = body.split("*/").nth(1).unwrap().trim_start();
        // An array of completions is given with the size of one.
        assert!(
            first.starts_with("size_t size;") || name == "nvme_tcp_completion",
            "{name} begins with {first}"
        );
        count += 1;
    }
    assert!(count > 9, "{count} structs: the header is read wrongly");
}

/// Functions whose number is a plain value, and no result.
const GIVE_NUMBERS: [&str; 7] = [
    "nvme_tcp_error_scope",
    "nvme_tcp_error_blame",
    "nvme_tcp_error_status_type",
    "nvme_tcp_error_status_code",
    "nvme_tcp_key_hash",
    "nvme_tcp_queue_wants",
    "nvme_tcp_queue_timeout",
];
