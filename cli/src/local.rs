//! The side of a copy that is on this machine: where an image is read from, and where it is written to.

use std::convert::Infallible;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::str::FromStr;

use ktls::crypto::Hasher;
use nix::errno::Errno;

use crate::exit::Failure;
use crate::hashing::Hashing;

/// Which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// Standard input or output.
    Stdio,
    /// A file, a device or a pipe with a name.
    Path(PathBuf),
}

impl Local {
    /// Whether there is something of this name.
    pub fn exists(&self) -> bool {
        matches!(self, Self::Path(path) if path.exists())
    }
}

impl FromStr for Local {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "-" => Self::Stdio,
            path => Self::Path(path.into()),
        })
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio => f.write_str("-"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What an image is read from.
pub struct Source<'s> {
    /// The bytes.
    pub reader: Box<dyn Read + Send + 's>,
    /// What to wait for before each read: reading a pipe may take for ever.
    pub waits: Option<OwnedFd>,
    len: Option<u64>,
    lasting: bool,
}

impl<'s> Source<'s> {
    /// Opens it.
    pub fn open(local: &Local) -> Result<Self, Failure> {
        let failed = |e| Failure::file("read", local, &e);
        let (file, named) = match local {
            Local::Stdio => (own(io::stdin().as_fd()).map_err(failed)?, false),
            Local::Path(path) => (File::open(path).map_err(failed)?, true),
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let lasting = is_lasting(&metadata);
        let waits = if lasting { None } else { Some(own(file.as_fd()).map_err(failed)?.into()) };
        // Standard input may have been read from already.
        let len = (named && metadata.is_file()).then_some(metadata.len());
        Ok(Self { reader: Box::new(file), waits, len, lasting: named && lasting })
    }

    /// `len` bytes that are here as soon as they are wanted.
    pub fn ready(reader: impl Read + Send + 's, len: u64) -> Self {
        Self { reader: Box::new(reader), waits: None, len: Some(len), lasting: false }
    }

    /// How many bytes there are, where that can be known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether it can be opened again and gives the same again.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// The same, hashed on its way.
    pub fn hashed(self, hasher: &'s mut Hasher) -> Self {
        Self { reader: Box::new(Hashing::new(self.reader, hasher)), ..self }
    }
}

/// What an image is written to. Nothing is held back in this process.
pub struct Sink {
    file: File,
    lasting: bool,
}

impl Sink {
    /// Opens it; a file that is there already is emptied.
    pub fn create(local: &Local) -> Result<Self, Failure> {
        let failed = |e| Failure::file("write", local, &e);
        let (file, named) = match local {
            Local::Stdio => (own(io::stdout().as_fd()).map_err(failed)?, false),
            Local::Path(path) => (File::create(path).map_err(failed)?, true),
        };
        let lasting = named && is_lasting(&file.metadata().map_err(failed)?);
        Ok(Self { file, lasting })
    }

    /// Whether it can be opened to read what was written.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    /// Has the device take what was written: only then are all errors known.
    ///
    /// # Errors
    /// Not everything could be written.
    pub fn finish(&self) -> io::Result<()> {
        synced(self.file.sync_data())
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The result of fdatasync(2), which is none for pipes and other files that keep nothing.
fn synced(result: io::Result<()>) -> io::Result<()> {
    let keeps_nothing = |error: &io::Error| {
        let known = [Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EROFS].map(|errno| errno as i32);
        error.raw_os_error().is_some_and(|errno| known.contains(&errno))
    };
    match result {
        Err(error) if keeps_nothing(&error) => Ok(()),
        result => result,
    }
}

/// Whether what is in the file stays there when it is read.
fn is_lasting(metadata: &Metadata) -> bool {
    metadata.is_file() || metadata.file_type().is_block_device()
}

/// A descriptor of the same open file, without the standard library's buffer.
fn own(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(fd.try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_makes_no_sense_is_no_failure() {
        for errno in [Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EROFS] {
            synced(Err(errno.into())).unwrap();
        }
        for errno in [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT] {
            let error = synced(Err(errno.into())).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno as i32));
        }
        Sink::create(&Local::Path("/dev/null".into())).unwrap().finish().unwrap();
    }

    #[test]
    fn only_what_stays_there_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = Local::Path(folder.path().join("image"));
        let mut sink = Sink::create(&file).unwrap();
        sink.write_all(b"abc").unwrap();
        sink.finish().unwrap();
        let source = Source::open(&file).unwrap();
        assert!(sink.is_lasting() && source.is_lasting() && source.waits.is_none());
        assert_eq!(source.len(), Some(3));
        let null = Source::open(&Local::Path("/dev/null".into())).unwrap();
        assert!(!null.is_lasting() && null.waits.is_some());
        assert_eq!(null.len(), None);
    }
}
