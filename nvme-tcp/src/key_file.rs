//! Key files: one interchange text, of a TLS key or an authentication secret, readable by nobody but its owner.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::auth::SecretTextError;
use crate::psk::{KeyTextError, TlsPskError};

/// No key text is nearly as long: a file of this size is something else.
const MAX_FILE_LEN: u64 = 1024;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
const OWNER_ONLY: u32 = 0o600;

/// Why a key file could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The system could not open, read or write it.
    #[error("cannot {action} key file {}: {source}", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Group or others have access to it.
    #[error("key file {} has mode {mode:04o}: others than its owner have access", path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is too long to be a key, or is not text.
    #[error("{} is not a key file: it is not one short line of text", path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
    },
    /// Its text is wrong.
    #[error("key file {}: {source}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: KeyTextError,
    },
    /// Its text is wrong for an authentication secret.
    #[error("secret file {}: {source}", path.display())]
    Secret {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: SecretTextError,
    },
    /// One of its lines is no identity with its TLS PSK.
    #[error("file of TLS PSKs {}, line {line}: {source}", path.display())]
    TlsPsk {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong.
        source: TlsPskError,
    },
    /// There is a file of this name already, which would be lost.
    #[error("key file {} exists already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
}

impl KeyFileError {
    /// What an operator can do about it, where that does not follow from the message.
    ///
    /// ```
    /// use nvme_tcp::psk::KeyFileError;
    ///
    /// let error = KeyFileError::Permissions { path: "/etc/nvme/image.key".into(), mode: 0o644 };
    /// assert!(error.hint().is_some_and(|hint| hint.starts_with("chmod 600 /etc/nvme/image.key")));
    /// ```
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Permissions { path, .. } => {
                Some(format!("chmod 600 {}; if others may have read it, generate a new key", path.display()))
            }
            Self::NotText { .. } => Some(
                "a key file holds one key as `nvme-tcp key generate` prints it, and nothing else".to_owned(),
            ),
            Self::Text { source, .. } => Some(source.hint()),
            Self::Secret { source, .. } => Some(source.hint()),
            Self::TlsPsk { .. } => Some(
                "each line holds a PSK identity and its TLS PSK, as `nvme tls-key --export` writes them; for a \
                 configured key use a key file"
                    .to_owned(),
            ),
            Self::Exists { path } => Some(format!(
                "choose another name, or remove {} if its key is no longer used",
                path.display()
            )),
        }
    }
}

/// The text in a file that nobody but its owner may read, without the white space around it, taken by
/// `parse`. A pipe is as good as a file.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, KeyFileError>,
) -> Result<T, KeyFileError> {
    read_up_to(MAX_FILE_LEN, path, parse)
}

/// The same for files of so many bytes at most.
pub(crate) fn read_up_to<T>(
    most: u64,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, KeyFileError>,
) -> Result<T, KeyFileError> {
    let failed = |source| KeyFileError::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the open file, so that nobody can put another in its place in between.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }
    // As large as it can get, or growing would leave copies behind.
    let room = metadata.len().clamp(MAX_FILE_LEN, most) as usize + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() as u64 <= most);
    parse(text.ok_or_else(|| KeyFileError::NotText { path: path.to_owned() })?.trim())
}

/// Writes `text` as the one line of a new file of mode 0600. A file that there is already is left as it is;
/// after a failure there is none.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Io { action: "write", path: path.to_owned(), source },
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path).map_err(failed)?;
    let written = [text.as_bytes(), b"\n"].into_iter().try_for_each(|part| file.write_all(part));
    written.and_then(|()| file.sync_all()).map_err(|error| {
        // The first failure is the one to tell of.
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}
