//! A copy of the whole file, made while others write.
//!
//! The library reads the file in one view and writes what it finds into a new one. That one gets its
//! name only when it is whole and on disk, so that whoever finds the name finds a copy.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::os;
use super::statement::{Live, error};
use crate::error::{Error, Invalid, Result, StorageError, StorageKind};
use crate::store::head;

/// How many names for a copy in the making are tried; those of processes that died may be taken.
const NAMES: u32 = 1_000;

/// A copy in the making. It is gone with this value.
pub(super) struct Part {
    path: PathBuf,
    to: PathBuf,
}

impl Part {
    /// Makes an empty file beside a path at which nothing is.
    pub(super) fn beside(to: &Path) -> Result<Part> {
        let Some(name) = to.file_name() else {
            return Err(Invalid::new("path", to.display(), "a path that ends in the name of a file").into());
        };
        // The last step refuses it as well; this is before all the work.
        nothing_is_at(to)?;
        for number in 0..NAMES {
            let mut name = name.to_owned();
            name.push(format!(".{}-{number}.part", std::process::id()));
            let path = to.with_file_name(name);
            match os::make(&path) {
                Ok(()) => {
                    let to = to.to_owned();
                    return Ok(Part { path, to });
                }
                Err(found) if found.kind() == ErrorKind::AlreadyExists => {}
                Err(found) => return Err(os::error(&found)),
            }
        }
        Err(StorageError::new(
            StorageKind::CantOpen,
            "too many files that end in .part are beside the path",
        )
        .into())
    }

    /// Copies what is committed.
    pub(super) fn fill(&self, connection: &Connection) -> Result<()> {
        head::check_schema(&mut Live(connection))?;
        let mut statement = connection.prepare("VACUUM INTO $1").map_err(|found| error(&found))?;
        statement
            .execute([FileName::of(&self.path)?])
            .map_err(|found| error(&found))?;
        Ok(())
    }

    /// Gives the copy its name. Nobody may have it open.
    pub(super) fn publish(self) -> Result<()> {
        os::sync(&self.path).map_err(|found| os::error(&found))?;
        nothing_is_at(&self.to)?;
        name(&self.path, &self.to, |path, to| std::fs::hard_link(path, to))?;
        let to = self.to.clone();
        drop(self);
        let directory = to.parent().unwrap_or(Path::new("."));
        os::sync_directory(directory).map_err(|found| {
            // What was refused is not there.
            let _ = std::fs::remove_file(&to);
            os::error(&found)
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut journal = self.path.clone().into_os_string();
        journal.push("-journal");
        // What cannot be deleted says by its name that it may be.
        let _ = std::fs::remove_file(journal);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Gives a file another name, which nothing has. A link and no renaming: that would put away what
/// somebody else has put there meanwhile.
fn name(path: &Path, to: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> Result<()> {
    match link(path, to) {
        Ok(()) => Ok(()),
        Err(_) if is_there(to) => Err(taken(to)),
        // Not every file system has links. There the look above and the renaming are two steps.
        Err(found) if matches!(found.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            std::fs::rename(path, to).map_err(|found| os::error(&found))
        }
        Err(found) => Err(os::error(&found)),
    }
}

/// Refuses a path at which something is, or beside which lies what SQLite takes for a part of the
/// file: a log or journal that another file has left behind would be worked into the copy by whoever
/// opens it first.
fn nothing_is_at(to: &Path) -> Result<()> {
    for part in ["", "-wal", "-shm", "-journal"] {
        let mut path = to.as_os_str().to_owned();
        path.push(part);
        if is_there(Path::new(&path)) {
            return Err(taken(Path::new(&path)));
        }
    }
    Ok(())
}

/// Whether a name is taken, be it by a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

fn taken(path: &Path) -> Error {
    Invalid::new("path", path.display(), "a path at which nothing is").into()
}

/// A file's name as the library takes it: the bytes that the operating system knows it by.
struct FileName<'p>(&'p [u8]);

impl FileName<'_> {
    fn of(path: &Path) -> Result<FileName<'_>> {
        let name = if cfg!(unix) {
            Some(path.as_os_str().as_encoded_bytes())
        } else {
            path.to_str().map(str::as_bytes)
        };
        name.map(FileName)
            .ok_or_else(|| Invalid::new("path", path.display(), "a path in Unicode").into())
    }
}

impl ToSql for FileName<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

#[cfg(test)]
mod tests;
