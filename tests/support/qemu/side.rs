//! Programs on either side: on this machine, or brought into the guest.

use std::ffi::OsStr;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::UNIX_EPOCH;

use super::Lab;
use crate::{Run, Tool};

/// Where our initiator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On this machine, by the guest's forwarded ports.
    Host,
    /// In the guest.
    Guest,
}

impl Lab {
    /// Runs a program of ours where the initiator is in this cell. In the guest it finds the files that its
    /// arguments name as it would here.
    #[track_caller]
    pub fn run(&self, tool: Tool) -> Run {
        match self.side {
            Side::Host => tool.run(),
            Side::Guest => self.run_in_guest(tool),
        }
    }

    /// Runs a program of ours in the guest.
    ///
    /// # Panics
    /// The guest does not take what it needs.
    #[track_caller]
    pub fn run_in_guest(&self, tool: Tool) -> Run {
        let (command, input) = tool.into_parts();
        let mut line = match Path::new(command.get_program()) {
            // It is part of the guest.
            own if own == Tool::path() => "nvme-tcp".to_owned(),
            program => format!("/host/lib/loader --library-path /host/lib {}", self.program(program)),
        };
        for word in command.get_args() {
            let path = Path::new(word);
            if path.is_absolute() && path.is_file() {
                self.put(path, &std::fs::read(path).expect("a file that an argument names can be read"));
            }
            line.push(' ');
            line.push_str(&quoted(word));
        }
        if let Some(bytes) = input {
            let path = Path::new("/tmp/input");
            self.put(path, &bytes);
            line.push_str(" </tmp/input");
        }
        self.sh(&line)
    }

    /// Where a program is in the guest; it is brought there where this build of it is not yet.
    fn program(&self, program: &Path) -> String {
        let about = std::fs::metadata(program).expect("the program is there");
        let built = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let there = format!("/tmp/programs/{name}-{}", built.unwrap_or_default().as_nanos());
        if self.sh(&format!("[ -x {there} ]")).code != Some(0) {
            self.put(Path::new(&there), &std::fs::read(program).expect("a program can be read"));
        }
        there
    }

    /// Puts a file into the guest, for its owner alone, by the network: the agent's own wire is slow.
    ///
    /// # Panics
    /// It does not arrive.
    #[track_caller]
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let (folder, file) = (quoted(path.parent().unwrap_or(path).as_os_str()), quoted(path.as_os_str()));
        let (len, bytes) = (bytes.len(), bytes.to_vec());
        // A guest that does not come for it, or for half of it, is found out below.
        thread::spawn(move || listener.accept().and_then(|(mut guest, _)| guest.write_all(&bytes)));
        self.ask(&format!(
            "umask 077; mkdir -p {folder}; nc 10.0.2.2 {port} >{file} </dev/null
             [ $(wc -c <{file}) = {len} ]; chmod u+x {file}"
        ));
    }
}

/// A word as the shell takes it whole.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"))
}
