//! The distribution's packages that tests use, and how they come onto the machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process;

/// How to tell that a package's content is there, on any distribution.
enum Sign {
    Program(&'static str),
    File(&'static str),
    /// What `python3 -c` runs without an error.
    Python(&'static str),
}

struct Package {
    /// Debian's name of it.
    name: &'static str,
    sign: Sign,
    /// What is skipped without it.
    wanted_by: &'static str,
}

const PACKAGES: [Package; 24] = [
    Package {
        name: "user-mode-linux",
        sign: Sign::Program("linux.uml"),
        wanted_by: "the User-Mode Linux lab: all tests with kernel TLS",
    },
    Package { name: "gnutls-bin", sign: Sign::Program("gnutls-serv"), wanted_by: "handshakes with GnuTLS" },
    Package { name: "openssl", sign: Sign::Program("openssl"), wanted_by: "handshakes with OpenSSL" },
    Package { name: "tshark", sign: Sign::Program("tshark"), wanted_by: "captures" },
    Package {
        name: "strace",
        sign: Sign::Program("strace"),
        wanted_by: "the order of a copy's system calls",
    },
    Package {
        name: "iproute2",
        sign: Sign::Program("ip"),
        wanted_by: "the User-Mode Linux lab, network namespaces",
    },
    Package { name: "kmod", sign: Sign::Program("depmod"), wanted_by: "the User-Mode Linux lab" },
    Package {
        name: "patchelf",
        sign: Sign::Program("patchelf"),
        wanted_by: "the User-Mode Linux lab on a kernel that can change keys",
    },
    Package { name: "wrk", sign: Sign::Program("wrk"), wanted_by: "load on the example HTTPS server" },
    Package {
        name: "debian-archive-keyring",
        sign: Sign::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        wanted_by: "the QEMU lab: all tests with the Linux kernel's NVMe target and initiator",
    },
    Package { name: "gcc", sign: Sign::Program("gcc"), wanted_by: "comparison with the system's headers" },
    Package {
        name: "libc6-dev",
        sign: Sign::File("/usr/include/stdio.h"),
        wanted_by: "comparison with the system's headers",
    },
    Package {
        name: "linux-libc-dev",
        sign: Sign::File("/usr/include/linux/tls.h"),
        wanted_by: "comparison with the system's headers",
    },
    Package { name: "g++", sign: Sign::Program("g++"), wanted_by: "the C header in C++" },
    Package { name: "clang", sign: Sign::Program("clang"), wanted_by: "the C header under clang" },
    Package { name: "binutils", sign: Sign::Program("nm"), wanted_by: "the C library's symbols" },
    Package { name: "valgrind", sign: Sign::Program("valgrind"), wanted_by: "the C programs under valgrind" },
    Package { name: "strace", sign: Sign::Program("strace"), wanted_by: "what loads ask of the kernel" },
    Package { name: "pkgconf", sign: Sign::Program("pkg-config"), wanted_by: "the installed C library" },
    Package { name: "make", sign: Sign::Program("make"), wanted_by: "a CMake user of the C library" },
    Package { name: "cmake", sign: Sign::Program("cmake"), wanted_by: "the installed C library from CMake" },
    Package { name: "meson", sign: Sign::Program("meson"), wanted_by: "the installed C library from Meson" },
    Package { name: "python3", sign: Sign::Program("python3"), wanted_by: "the Python suite" },
    Package {
        name: "python3-venv",
        sign: Sign::Python("import venv, ensurepip"),
        wanted_by: "the Python suite",
    },
];

impl Package {
    fn is_here(&self) -> bool {
        match self.sign {
            Sign::Program(name) => process::find_program(name).is_some(),
            Sign::File(path) => Path::new(path).exists(),
            Sign::Python(script) => {
                let mut python = Command::new("python3");
                python.args(["-c", script]);
                let kept = process::kept(&python, Duration::from_secs(60));
                kept.is_ok_and(|(ended, _)| ended.success())
            }
        }
    }
}

fn missing() -> Vec<&'static Package> {
    PACKAGES.iter().filter(|package| !package.is_here()).collect()
}

/// Installs what is missing where that is allowed (root, apt-get), and names what is missing then.
pub(crate) fn ensure() {
    let wanted = missing();
    if !wanted.is_empty() && is_root() && process::find_program("apt-get").is_some() {
        let mut install = vec!["install", "-y", "--no-install-recommends"];
        install.extend(wanted.iter().map(|package| package.name));
        for arguments in [vec!["update"], install] {
            match process::shown(&apt_get(&arguments), Duration::from_secs(600)) {
                Ok(ended) if ended.success() => {}
                Ok(ended) => println!("apt-get {}: {ended}", arguments[0]),
                Err(error) => println!("apt-get {}: {error}", arguments[0]),
            }
        }
    }
    let wanted = missing();
    if wanted.is_empty() {
        println!("all {} packages are here", PACKAGES.len());
        return;
    }
    let names: Vec<&str> = wanted.iter().map(|package| package.name).collect();
    println!("missing, install with: apt-get install {}", names.join(" "));
    for package in wanted {
        println!("  without {} these are skipped: {}", package.name, package.wanted_by);
    }
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // tshark's package asks who may capture; without a frontend its default stands: root only.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=120"]);
    command.args(arguments);
    command
}

fn is_root() -> bool {
    // The effective user is the second number.
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse::<u32>().ok())
            == Some(0)
    })
}
