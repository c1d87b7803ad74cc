//! What is asked of the operating system itself, past SQLite, with a branch for each kind of system.

#[cfg(unix)]
use std::fs::File;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::{Error, StorageError, StorageKind, shown_path};

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

/// How the permissions of a file keep everybody from writing it, if they do.
pub(super) fn write_protection(path: &Path) -> Option<String> {
    let permissions = std::fs::metadata(path).ok()?.permissions();
    permissions.readonly().then(|| protection(&permissions))
}

#[cfg(unix)]
fn protection(permissions: &Permissions) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    format!(
        "its permissions are {:03o}, by which nobody may write it",
        permissions.mode() & 0o777
    )
}

#[cfg(not(unix))]
fn protection(_: &Permissions) -> String {
    "it is marked read-only".to_owned()
}

/// The kind of an error of the operating system.
pub(super) fn error(found: &io::Error) -> Error {
    StorageError::new(kind(found), found.to_string()).into()
}

/// The same where a file could not be made at a path, with what to do.
pub(super) fn not_made(path: &Path, found: &io::Error) -> Error {
    let advice = match found.kind() {
        ErrorKind::NotFound => "; its directory is not there, make it first",
        ErrorKind::NotADirectory => "; what should be its directory is a file",
        ErrorKind::PermissionDenied => "; this user may not make files in its directory, where the log is made too",
        _ if is_out_of_descriptors(found) => "; close files, or raise the limit of open files",
        _ => "",
    };
    StorageError::new(kind(found), format!("{}: {found}{advice}", shown_path(path))).into()
}

fn kind(found: &io::Error) -> StorageKind {
    match found.kind() {
        ErrorKind::StorageFull => StorageKind::DiskFull,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StorageKind::ReadOnly,
        _ => StorageKind::CantOpen,
    }
}

/// Whether the process (EMFILE) or the system (ENFILE) has no more; the standard library has no word
/// for either.
fn is_out_of_descriptors(found: &io::Error) -> bool {
    cfg!(unix) && matches!(found.raw_os_error(), Some(23 | 24))
}
