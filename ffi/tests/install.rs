//! The installed library, found by pkg-config: from the command line, from CMake, from Meson; the same by cargo-c.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::{Scratch, built, ended_within, run, skip, tool};

/// A library that was installed, as a packager does it: below a folder of its own.
struct Installed {
    scratch: Scratch,
    root: PathBuf,
}

/// How long cargo-c may take, which builds everything anew at its first time.
const BUILDING: Duration = Duration::from_secs(30 * 60);
const PREFIX: &str = "/opt/nvme-tcp";
const CONSUMER: &str = "#include <nvme_tcp.h>\n#include <stdio.h>\n\
    int main(void) { return puts(nvme_tcp_version()) < 0 || nvme_tcp_options_new(NULL) == 0; }\n";

fn installed(test: &str) -> Option<Installed> {
    let missing = ["cc", "pkg-config"].into_iter().find(|name| tool(name).is_none());
    if let Some(name) = missing {
        skip(&format!("install::{test}"), &format!("no {name}"));
        return None;
    }
    let scratch = Scratch::new();
    let destdir = scratch.path("destdir");
    // The library as it was built for this test: a release takes its time.
    let mut install = Command::new(env!("CARGO"));
    install.args(["run", "--quiet", "-p", "xtask", "--", "install", "--prefix", PREFIX, "--destdir"]);
    run(install.arg(&destdir).arg("--from").arg(built()).current_dir(support::folder()));
    fs::write(scratch.path("consumer.c"), CONSUMER).unwrap();
    Some(Installed { root: destdir.join(PREFIX.trim_start_matches('/')), scratch })
}

impl Installed {
    /// A command that finds the library through pkg-config, and at run time.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("PKG_CONFIG_PATH", self.root.join("lib/pkgconfig"))
            .env("PKG_CONFIG_SYSROOT_DIR", self.scratch.path("destdir"))
            .env("LD_LIBRARY_PATH", self.root.join("lib"));
        command
    }

    /// That everything is there, and that a program finds it by pkg-config, shared and static.
    fn links(&self) {
        for file in ["lib/libnvme_tcp.so", "lib/libnvme_tcp.so.0", "lib/libnvme_tcp.a", "include/nvme_tcp.h"]
        {
            assert!(self.root.join(file).exists(), "{file}");
        }
        for page in ["nvme_tcp", "nvme_tcp_queue", "nvme_tcp_ktls", "nvme_tcp_errors"] {
            assert!(self.root.join(format!("share/man/man3/{page}.3")).exists(), "{page}");
        }
        let version = run(self.command("pkg-config").args(["--modversion", "nvme-tcp"]));
        assert_eq!(version.trim(), env!("CARGO_PKG_VERSION"));
        let source = self.scratch.path("consumer.c");
        for (name, options) in
            [("shared", &["--cflags", "--libs"][..]), ("static", &["--static", "--cflags", "--libs"])]
        {
            let flags = run(self.command("pkg-config").args(options).arg("nvme-tcp"));
            let program = self.scratch.path(name);
            let mut cc = Command::new("cc");
            cc.arg(&source).arg("-o").arg(&program);
            if name == "static" {
                // The archive, not the shared library of the same name.
                let archive =
                    flags.replace("-lnvme_tcp ", &format!("{}/lib/libnvme_tcp.a ", self.root.display()));
                run(cc.args(archive.split_whitespace()));
            } else {
                run(cc.args(flags.split_whitespace()));
            }
            self.says_its_version(program);
        }
    }

    /// The names that the shared library gives to others, with their versions, in order.
    fn exported(&self, test: &str) -> Option<Vec<String>> {
        let Some(nm) = tool("nm") else {
            skip(&format!("install::{test} names"), "no nm (package binutils)");
            return None;
        };
        let library = self.root.join("lib/libnvme_tcp.so");
        let said =
            run(Command::new(nm).args(["-D", "--defined-only", "--with-symbol-versions"]).arg(library));
        let mut names: Vec<String> =
            said.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
        names.sort();
        Some(names)
    }

    /// What was installed.
    fn files(&self) -> BTreeSet<PathBuf> {
        let (mut folders, mut files) = (vec![self.root.clone()], BTreeSet::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.strip_prefix(&self.root).unwrap().to_owned());
                }
            }
        }
        files
    }

    fn says_its_version(&self, program: PathBuf) {
        let said = run(&mut self.command(program.to_str().unwrap()));
        assert_eq!(said.trim(), env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn everything_is_in_its_place_and_links() {
    let Some(installed) = installed("links") else { return };
    installed.links();
    if let Some(names) = installed.exported("links") {
        let ours = |name: &&String| name.starts_with("nvme_tcp_") && name.ends_with("@@NVME_TCP_0");
        let others: Vec<_> =
            names.iter().filter(|name| !ours(name) && !name.starts_with("NVME_TCP_0")).collect();
        assert!(others.is_empty() && names.len() > 90, "{others:?} of {}", names.len());
    }
}

#[test]
fn cargo_c_installs_the_same() {
    if tool("cargo-cinstall").is_none() {
        return skip("install::cargo_c", "no cargo-c (cargo install cargo-c)");
    }
    let Some(ours) = installed("cargo_c") else { return };
    ours.links();
    let scratch = Scratch::new();
    let destdir = scratch.path("destdir");
    let mut cinstall = Command::new(env!("CARGO"));
    cinstall.args(["cinstall", "--profile", "dev", "--prefix", PREFIX, "--libdir", "lib", "--destdir"]);
    // A folder of its own: it builds everything for a target that it names.
    cinstall.arg(&destdir).arg("--target-dir").arg(built().join("cargo-c")).current_dir(support::folder());
    let (good, _, said) = ended_within(&mut cinstall, BUILDING);
    assert!(good, "{said}");
    fs::write(scratch.path("consumer.c"), CONSUMER).unwrap();
    let theirs = Installed { root: destdir.join(PREFIX.trim_start_matches('/')), scratch };
    theirs.links();
    assert_eq!(theirs.files(), ours.files());

    let facts = |installed: &Installed| {
        let mut facts: Vec<String> = [&["--modversion"][..], &["--cflags", "--libs"], &["--variable=libdir"]]
            .iter()
            .map(|question| run(installed.command("pkg-config").args(*question).arg("nvme-tcp")))
            .map(|said| said.replace(installed.scratch.path("").to_str().unwrap(), "/").trim().to_owned())
            .collect();
        if let Some(readelf) = tool("readelf") {
            let said = run(Command::new(readelf).arg("-d").arg(installed.root.join("lib/libnvme_tcp.so")));
            let of_interest = |line: &&str| ["(SONAME)", "NODELETE"].iter().any(|what| line.contains(what));
            let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
            facts.extend(said.lines().filter(of_interest).map(words).map(|line| line.replace("NOW ", "")));
        }
        // rustc has a version script of its own, which knows no versions: there they differ.
        let names = installed.exported("cargo_c").unwrap_or_default();
        let plain = names.iter().filter(|name| name.starts_with("nvme_tcp_"));
        facts.extend(plain.map(|name| name.split('@').next().unwrap_or_default().to_owned()));
        facts
    };
    assert_eq!(facts(&theirs), facts(&ours));
    // A program that was linked with the one runs with the other.
    theirs.says_its_version(ours.scratch.path("shared"));
    ours.says_its_version(theirs.scratch.path("shared"));
}

#[test]
fn cmake_finds_it() {
    let Some(cmake) = tool("cmake") else { return skip("install::cmake", "no cmake (package cmake)") };
    let Some(installed) = installed("cmake") else { return };
    let project = "cmake_minimum_required(VERSION 3.16)\nproject(consumer C)\nfind_package(PkgConfig REQUIRED)\n\
        pkg_check_modules(NVME_TCP REQUIRED IMPORTED_TARGET nvme-tcp)\nadd_executable(consumer consumer.c)\n\
        target_link_libraries(consumer PkgConfig::NVME_TCP)\n";
    fs::write(installed.scratch.path("CMakeLists.txt"), project).unwrap();
    let build = installed.scratch.path("build");
    let cmake = cmake.to_str().unwrap();
    run(installed.command(cmake).arg("-S").arg(installed.scratch.path("")).arg("-B").arg(&build));
    run(installed.command(cmake).arg("--build").arg(&build));
    installed.says_its_version(build.join("consumer"));
}

#[test]
fn meson_finds_it() {
    let Some(meson) = tool("meson") else { return skip("install::meson", "no meson (package meson)") };
    let Some(installed) = installed("meson") else { return };
    let project = "project('consumer', 'c')\n\
        executable('consumer', 'consumer.c', dependencies: dependency('nvme-tcp'))\n";
    fs::write(installed.scratch.path("meson.build"), project).unwrap();
    let build = installed.scratch.path("build");
    let meson = meson.to_str().unwrap();
    run(installed.command(meson).arg("setup").arg(&build).current_dir(installed.scratch.path("")));
    run(installed.command(meson).arg("compile").arg("-C").arg(&build));
    installed.says_its_version(build.join("consumer"));
}
