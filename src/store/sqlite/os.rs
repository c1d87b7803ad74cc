//! What is asked of the operating system itself, past SQLite, with a branch for each kind of system.

#[cfg(unix)]
use std::fs::File;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::{Error, StorageError, StorageKind};

/// A file's identity on its file system, to notice when another stands at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt as _;
        let meta = std::fs::metadata(path).ok()?;
        Some(Identity(meta.dev(), meta.ino()))
    }

    /// Elsewhere an open file can be neither deleted nor replaced, so its presence says enough.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> Option<Identity> {
        path.exists().then_some(Identity(0, 0))
    }
}

/// Makes an empty file that only its owner can read. SQLite would make it readable by all.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map(|_| ())
}

/// Waits until a file's bytes are on disk. No connection may have the file open: closing it here
/// would drop the process's locks on it.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.sync_all()
}

/// Waits until the names in a directory are on disk.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and its names are written with the files.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The kind of an error of the operating system.
pub(super) fn error(found: &io::Error) -> Error {
    let kind = match found.kind() {
        ErrorKind::StorageFull => StorageKind::DiskFull,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StorageKind::ReadOnly,
        _ => StorageKind::CantOpen,
    };
    StorageError::new(kind, found.to_string()).into()
}
