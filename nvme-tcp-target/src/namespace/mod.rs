//! Namespaces: what a subsystem serves, block by block.

mod file;
mod ram;
mod ranges;
mod shared;
mod volume;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::File;
pub use ram::Ram;
pub use shared::{Page, Shared};
pub(crate) use volume::{State, Volume};

use crate::ana::MAX_ANA_GROUPS;

/// Where a namespace's bytes are. The methods are called from many threads at once, with ranges inside of
/// [`size`](Self::size).
pub trait Backend: Send + Sync + 'static {
    /// How many bytes there are. Only [`resize`](Self::resize) changes it.
    fn size(&self) -> u64;

    /// Fills `data` with what is at `offset`.
    ///
    /// # Errors
    /// The bytes cannot be read.
    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()>;

    /// The `len` bytes at `offset` as they are now, added to `pieces` to be sent from where they are, without a copy;
    /// whether that can be done here (if not, nothing was added, and they are [read](Self::read_at)).
    fn share(&self, pieces: &mut Vec<Shared>, offset: u64, len: u64) -> bool {
        let _ = (pieces, offset, len);
        false
    }

    /// Stores `data` at `offset`.
    ///
    /// # Errors
    /// The bytes cannot be stored; [`io::ErrorKind::StorageFull`] and
    /// [`io::ErrorKind::ReadOnlyFilesystem`] are told to the host as such.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Whether [`put`](Self::put) keeps the pages that it is given, so that it pays to receive whole ones.
    fn keeps_pages(&self) -> bool {
        false
    }

    /// Stores `pages`, of [`Page::LEN`] bytes each and nobody else's, at `offset`, a multiple of that. Where the backend
    /// [keeps](Self::keeps_pages) them, without a copy, others take their place: what was stored there before.
    ///
    /// # Errors
    /// As for [`write_at`](Self::write_at).
    fn put(&self, pages: &mut [Arc<Page>], offset: u64) -> io::Result<()> {
        let offsets = (offset..).step_by(Page::LEN);
        offsets.zip(pages).try_for_each(|(offset, page)| self.write_at(page.bytes(), offset))
    }

    /// Makes what was stored before outlive a power failure, as far as the backend can.
    ///
    /// # Errors
    /// It may not outlive one.
    fn flush(&self) -> io::Result<()>;

    /// Makes `len` bytes at `offset` read as zeros; their storage may be given back if `deallocate`.
    ///
    /// # Errors
    /// As for [`write_at`](Self::write_at).
    fn write_zeroes(&self, offset: u64, len: u64, deallocate: bool) -> io::Result<()>;

    /// Gives the storage of `len` bytes at `offset` back; they read as zeros from then on.
    ///
    /// # Errors
    /// As for [`write_at`](Self::write_at).
    fn deallocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write_zeroes(offset, len, true)
    }

    /// Makes it `size` bytes long; what it gains reads as zeros. No other method runs meanwhile.
    ///
    /// # Errors
    /// It keeps its size, as any backend does that has nothing else to say.
    fn resize(&self, size: u64) -> io::Result<()> {
        let _ = size;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Why a namespace cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The file cannot be opened, made or measured.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a device or something else.
    #[error("{}: this is not a regular file", path.display())]
    NotRegular {
        /// What it is called.
        path: PathBuf,
    },
    /// It is served already, by this process or another one.
    #[error("{}: it is locked: end what serves it already", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// The block size is one that is not supported.
    #[error("a block size of {0} bytes is not supported: use 512 or 4096")]
    BlockSize(u32),
    /// It is not a whole number of blocks, or none at all.
    #[error("{size} bytes are not a whole number (at least one) of {block_size}-byte blocks")]
    Size {
        /// How many bytes there are.
        size: u64,
        /// The block size in bytes.
        block_size: u32,
    },
    /// What holds its bytes cannot be made that long.
    #[error("it cannot have another size: {0}")]
    Resize(#[source] io::Error),
    /// The ANA group is not from 1 to 128.
    #[error("there is no ANA group {0}, only 1 to {MAX_ANA_GROUPS}")]
    AnaGroup(u32),
}

#[derive(Debug)]
enum Source {
    Ram(u64),
    File { path: PathBuf, size: Option<u64> },
    Backend(BackendBox),
}

struct BackendBox(Box<dyn Backend>);

impl fmt::Debug for BackendBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({} bytes)", self.0.size())
    }
}

/// A namespace that is to be served: where its bytes are, and how they are shown to hosts.
#[derive(Debug)]
pub struct Namespace {
    source: Source,
    shape: Shape,
}

/// How a namespace is shown to hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) block_size: u32,
    pub(crate) read_only: bool,
    pub(crate) metadata_bytes: u16,
    pub(crate) protection: u8,
    pub(crate) ana_group: u32,
}

impl Shape {
    /// How many blocks `size` bytes are.
    fn blocks(&self, size: u64) -> Result<u64, NamespaceError> {
        let block_size = self.block_size;
        match size / u64::from(block_size) {
            0 => Err(NamespaceError::Size { size, block_size }),
            _ if size % u64::from(block_size) != 0 => Err(NamespaceError::Size { size, block_size }),
            blocks => Ok(blocks),
        }
    }
}

impl Namespace {
    fn new(source: Source) -> Self {
        let shape =
            Shape { block_size: 512, read_only: false, metadata_bytes: 0, protection: 0, ana_group: 1 };
        Self { source, shape }
    }

    /// `size` bytes of memory, all zero. Memory is taken when it is first written to.
    pub fn ram(size: u64) -> Self {
        Self::new(Source::Ram(size))
    }

    /// A regular file, locked while it is served. With a `size` in bytes it is made, or grown, to that size.
    pub fn file(path: impl AsRef<Path>, size: Option<u64>) -> Self {
        Self::new(Source::File { path: path.as_ref().to_owned(), size })
    }

    /// Something else that holds bytes.
    pub fn backend(backend: impl Backend) -> Self {
        Self::new(Source::Backend(BackendBox(Box::new(backend))))
    }

    /// The size of a logical block in bytes: 512 (the default) or 4,096.
    #[must_use]
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.shape.block_size = bytes;
        self
    }

    /// Hosts may not write. A file is then opened for reading only.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.shape.read_only = true;
        self
    }

    /// Puts it into this ANA group, 1 to 128; 1 is the default.
    /// [`Hub::set_ana_state`](crate::Hub::set_ana_state) says in which state the group is.
    #[must_use]
    pub fn ana_group(mut self, group: u32) -> Self {
        self.shape.ana_group = group;
        self
    }

    /// For tests: the format says that each block has this many bytes of metadata. No I/O command works then.
    #[must_use]
    pub fn metadata_bytes(mut self, bytes: u16) -> Self {
        self.shape.metadata_bytes = bytes;
        self
    }

    /// For tests: the format says that end-to-end protection of this type (1 to 3) is in use. No I/O command
    /// works then.
    #[must_use]
    pub fn protection(mut self, kind: u8) -> Self {
        self.shape.protection = kind & 0b111;
        self
    }

    /// Opens what is behind it.
    pub(crate) fn open(self) -> Result<Volume, NamespaceError> {
        let block_size = self.shape.block_size;
        if !matches!(block_size, 512 | 4096) {
            return Err(NamespaceError::BlockSize(block_size));
        }
        if !(1..=MAX_ANA_GROUPS).contains(&self.shape.ana_group) {
            return Err(NamespaceError::AnaGroup(self.shape.ana_group));
        }
        let backend: Box<dyn Backend> = match self.source {
            Source::Ram(size) => Box::new(Ram::new(size)),
            Source::File { path, size } => Box::new(File::open(&path, size, self.shape.read_only)?),
            Source::Backend(backend) => backend.0,
        };
        Volume::new(backend, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_whole_number_of_supported_blocks() {
        let wrong = Namespace::ram(1000).open().unwrap_err();
        assert!(matches!(wrong, NamespaceError::Size { size: 1000, block_size: 512 }), "{wrong}");
        assert!(Namespace::ram(0).open().is_err());
        assert!(matches!(Namespace::ram(1024).block_size(1024).open(), Err(NamespaceError::BlockSize(1024))));
        let volume = Namespace::ram(8192).block_size(4096).open().unwrap();
        let state = volume.shared();
        assert_eq!(state.blocks, 2);
        assert_eq!(volume.range(&state, 1, 1), Some((4096, 4096)));
        assert_eq!(volume.range(&state, 1, 2), None);
        assert_eq!(volume.range(&state, u64::MAX, 2), None);
        assert!(matches!(Namespace::ram(512).ana_group(0).open(), Err(NamespaceError::AnaGroup(0))));
    }

    /// For memory and for a file: what is cut off is zeros when it comes back.
    #[test]
    fn a_namespace_grows_and_shrinks() {
        let dir = tempfile::tempdir().unwrap();
        let file = Namespace::file(dir.path().join("image"), Some(8192));
        for namespace in [Namespace::ram(8192), file] {
            let volume = namespace.open().unwrap();
            volume.backend.write_at(&[7; 8192], 0).unwrap();
            for size in [1024, 5 << 20] {
                volume.resize(size).unwrap();
                assert_eq!((volume.shared().blocks, volume.backend.size()), (size / 512, size));
            }
            let mut data = [1; 8192];
            volume.backend.read_at(&mut data, 0).unwrap();
            assert!(data[..1024] == [7; 1024] && data[1024..].iter().all(|byte| *byte == 0));
            volume.backend.write_at(&[7; 512], (5 << 20) - 512).unwrap();
            assert!(matches!(volume.resize(1000), Err(NamespaceError::Size { size: 1000, .. })));
        }
        let fixed = Namespace::file(dir.path().join("image"), None).read_only().open().unwrap();
        assert!(matches!(fixed.resize(512), Err(NamespaceError::Resize(_))));
    }
}
