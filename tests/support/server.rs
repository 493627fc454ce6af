//! `nvme-tcp serve` as a process of its own, and key files.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::{Process, Tool};

/// The subsystem that is served.
pub const SUBSYSTEM_NQN: &str = "nqn.2024-01.org.example:images";
/// The host that connects.
pub const HOST_NQN: &str = "nqn.2024-01.org.example:store";

/// Where a namespace of [`SUBSYSTEM_NQN`] is.
pub fn uri(address: SocketAddr, nsid: u32) -> String {
    format!("nvme+tcp://{address}/{SUBSYSTEM_NQN}/{nsid}")
}

/// A target in a process of its own.
#[derive(Debug)]
pub struct Server {
    process: Process,
    nqn: String,
    /// Its first line.
    pub line: String,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Serves these namespaces in plain, to any host.
    pub fn plain<S: AsRef<str>>(namespaces: impl IntoIterator<Item = S>) -> Self {
        Self::start(namespaces, &[])
    }

    /// Serves these namespaces over TLS, to any host.
    pub fn tls<S: AsRef<str>>(namespaces: impl IntoIterator<Item = S>, key: &KeyFile) -> Self {
        Self::start(namespaces, &["--keyfile", key.path()])
    }

    /// Serves these namespaces, with more flags of `serve`.
    pub fn start<S: AsRef<str>>(namespaces: impl IntoIterator<Item = S>, flags: &[&str]) -> Self {
        Self::named(SUBSYSTEM_NQN, namespaces, flags)
    }

    /// The same for a subsystem of another name.
    ///
    /// # Panics
    /// It does not start.
    pub fn named<S: AsRef<str>>(nqn: &str, namespaces: impl IntoIterator<Item = S>, flags: &[&str]) -> Self {
        let mut tool = Tool::new(["serve", "--listen", "127.0.0.1:0", "--subsysnqn", nqn]);
        for namespace in namespaces {
            tool = tool.args(["--namespace", namespace.as_ref()]);
        }
        let process = tool.args(flags).start();
        let line = process.first_line();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { process, nqn: nqn.to_owned(), line, address }
    }

    /// Where a namespace of it is.
    pub fn uri(&self, nsid: u32) -> String {
        format!("nvme+tcp://{}/{}/{nsid}", self.address, self.nqn)
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, as a machine that loses power would.
    pub fn kill(self) {
        self.process.kill();
    }
}

/// A key in a file of its own.
#[derive(Debug)]
pub struct KeyFile {
    folder: TempDir,
    path: String,
}

impl KeyFile {
    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("key").to_str().expect("its name is text").to_owned();
        Self { folder, path }
    }

    /// A new key, made by the tool: `hash` as in `key generate --hash`.
    pub fn generate(hash: &str) -> Self {
        let file = Self::empty();
        let made = Tool::new(["key", "generate", "--hash", hash, "--keyfile", &file.path]).run();
        drop(made.succeeded());
        file
    }

    /// A file with this text, right or wrong.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn with(text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let file = Self::empty();
        std::fs::write(&file.path, text).expect("a temporary file can be written");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file.path, private).expect("it can be made private");
        file
    }

    /// Its name.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its folder, for other files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The key's text.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.path).expect("the key file is there").trim().to_owned()
    }

    /// The flags of a host that connects with it, by [`HOST_NQN`].
    pub fn flags(&self) -> [&str; 5] {
        ["--tls", "--keyfile", &self.path, "--hostnqn", HOST_NQN]
    }
}
