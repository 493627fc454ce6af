//! A namespace in a regular file.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};

use super::{Backend, NamespaceError};

/// Zeros that are written where the file system cannot make them.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A regular file, under an advisory lock (flock(2)) for as long as it is served: exclusive, or shared where
/// it is only read.
#[derive(Debug)]
pub struct File {
    file: Flock<fs::File>,
    size: AtomicU64,
}

impl File {
    /// Opens `path`; with a `size` in bytes, makes it or grows it to that size.
    ///
    /// # Errors
    /// The file cannot be opened, is no regular file, or is locked by another process.
    pub fn open(path: &Path, size: Option<u64>, read_only: bool) -> Result<Self, NamespaceError> {
        let failed = |source| NamespaceError::Io { path: path.to_owned(), source };
        let mut options = fs::OpenOptions::new();
        options.read(true).write(!read_only).create(size.is_some() && !read_only);
        let file = options.open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(NamespaceError::NotRegular { path: PathBuf::from(path) });
        }
        let lock = if read_only { FlockArg::LockSharedNonblock } else { FlockArg::LockExclusiveNonblock };
        let file = Flock::lock(file, lock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => NamespaceError::Locked { path: PathBuf::from(path) },
            errno => failed(errno.into()),
        })?;
        let mut len = file.metadata().map_err(failed)?.len();
        if let Some(size) = size.filter(|size| *size > len && !read_only) {
            file.set_len(size).map_err(failed)?;
            len = size;
        }
        Ok(Self { file, size: AtomicU64::new(len) })
    }

    /// Lets the file system make the zeros; `Ok(false)` where it cannot.
    fn fallocate(&self, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<bool> {
        let (offset, len) = (offset as i64, len as i64);
        match fallocate(&*self.file, flags | FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len) {
            Ok(()) => Ok(true),
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Backend for File {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(data, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_zeroes(&self, offset: u64, len: u64, deallocate: bool) -> io::Result<()> {
        let flags = if deallocate {
            FallocateFlags::FALLOC_FL_PUNCH_HOLE
        } else {
            FallocateFlags::FALLOC_FL_ZERO_RANGE
        };
        if len == 0 || self.fallocate(flags, offset, len)? {
            return Ok(());
        }
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(ZEROS.len() as u64);
            self.file.write_all_at(&ZEROS[..piece as usize], offset + done)?;
            done += piece;
        }
        Ok(())
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_with_its_size_locked_and_zeroed_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let file = File::open(&path, Some(1 << 20), false).unwrap();
        assert!(matches!(File::open(&path, None, false), Err(NamespaceError::Locked { .. })));
        file.write_at(&[7; 8192], 4096).unwrap();
        file.write_zeroes(4096, 1024, false).unwrap();
        file.deallocate(6144, 4096).unwrap();
        file.flush().unwrap();
        drop(file);
        let file = File::open(&path, None, true).unwrap();
        assert_eq!(file.size(), 1 << 20);
        let mut data = [1; 12288];
        file.read_at(&mut data, 0).unwrap();
        let sevens = |range: std::ops::Range<usize>| data[range].iter().all(|byte| *byte == 7);
        assert!(sevens(5120..6144) && sevens(10240..12288));
        assert!(data[..5120].iter().chain(&data[6144..10240]).all(|byte| *byte == 0));
        assert!(file.write_at(b"x", 0).is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_refused_by_name() {
        let wrong = File::open(Path::new("/dev/null"), None, false).unwrap_err();
        assert!(matches!(wrong, NamespaceError::NotRegular { .. }), "{wrong}");
        let absent = File::open(Path::new("/nonexistent/image"), None, false).unwrap_err();
        assert!(absent.to_string().contains("/nonexistent/image"), "{absent}");
    }
}
