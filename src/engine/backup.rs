use std::path::Path;

use super::Engine;
use crate::error::Result;

impl Engine {
    /// Copies the whole file to a path at which nothing is, without closing anything.
    ///
    /// The copy is the file at one moment: everything that anybody had been answered when this was
    /// called, a host's own tables beside ours included, and of what came after whole transactions
    /// only. It is a single file, without what was deleted, and readable by its owner only.
    /// [`Engine::verify`] checks it like any other. An engine in memory can be copied too.
    ///
    /// Others read and write meanwhile, but the write-ahead log starts anew only when the copy is
    /// done: it grows by what is written, and [`Engine::close`] answers that the file is busy. A
    /// database in memory has one connection, so there everybody waits. A second
    /// copy to the same path is refused.
    ///
    /// # Restoring
    /// Stop every process that has the file open. Take away the file with its `-wal` and `-shm`, which
    /// would be worked into whatever stands in its place, put the copy there, and open it. The sealing
    /// key is not in the copy: keep it apart, and give it to [`crate::Builder::seal_key`] as before.
    ///
    /// A copy does not know what happened after it was made. What was paid since is unpaid in it, and
    /// can be paid again; what was delivered since is delivered again. A payment service that
    /// recognises a repetition still refuses to repeat an attempt, as each has the same key in the
    /// copy, but only for as long as it keeps them. So compare what it has collected since with the
    /// sessions in the copy before you sell from it.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a path at which something is, be it a link that leads nowhere, or
    /// beside which lies a `-wal`, `-shm` or `-journal` that another file has left, which whoever opens
    /// the copy would work into it; and for one that names no file; [`crate::Error::SchemaMoved`];
    /// [`crate::Error::Storage`], also for a host's index that needs a function or collation of the
    /// host's own. After an error nothing is at the path that was not there before.
    ///
    /// # Durability
    /// The copy gets its name when it is whole, and is on disk under it when this returns. A process
    /// that dies before leaves at most two files beside it, whose names end in `.part` and
    /// `.part-journal`; they can be deleted.
    ///
    /// # Events
    /// None.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<()> {
        self.core.store.backend().backup(to.as_ref())
    }
}
