//! Notices that a key file changed.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Watches the directory that a file is in, since a new file that takes the place of the old one is another file.
#[derive(Debug)]
pub(crate) struct FileWatch {
    inotify: Inotify,
    name: OsString,
}

impl FileWatch {
    /// `None` where it cannot be watched: then the file is looked at for each association only.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_owned();
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        let flags = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(directory.unwrap_or(Path::new(".")), flags).ok()?;
        Some(Self { inotify, name })
    }

    /// Whether the file was written, or replaced, since this was last asked.
    pub(crate) fn changed(&self) -> bool {
        let mut changed = false;
        while let Ok(events) = self.inotify.read_events() {
            // An event without a name says that some were lost.
            changed |= events.iter().any(|event| event.name.as_ref().is_none_or(|name| *name == self.name));
        }
        changed
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_or_replaced_is_noticed_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let watch = FileWatch::new(&path).unwrap();
        assert!(!watch.changed());
        std::fs::write(&path, "1").unwrap();
        assert!(watch.changed() && !watch.changed());
        let other = directory.path().join("other");
        std::fs::write(&other, "2").unwrap();
        assert!(!watch.changed());
        std::fs::rename(&other, &path).unwrap();
        assert!(watch.changed());
    }
}
