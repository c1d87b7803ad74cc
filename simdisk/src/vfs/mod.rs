//! The disk as SQLite sees it: a VFS, which is a table of C functions.
//!
//! The functions only turn C's arguments into Rust's and answers into codes. What they rely on is
//! what `sqlite3_vfs` promises to every VFS, and they rely on nothing else:
//! * Names end with a zero byte and are not changed during a call.
//! * A buffer has the length that is given beside it and is not touched by others during a call.
//! * A place for an answer can be written to.
//! * A file's functions are called after a successful open of that file and before or with its one
//!   close.
//!
//! A panic in one of them ends the process: Rust does not let it through to C.

mod file;
mod seed;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::Once;

use rusqlite::ffi;

use crate::device::{Failure, Mode};
use crate::handle::{self, Handle};
use crate::schedule;
use file::SimFile;
pub use seed::seed_sqlite;

pub(crate) const NAME: &str = "tillite-simdisk";
const NAME_IN_C: &CStr = c"tillite-simdisk";

/// Longer paths are refused.
const LONGEST_PATH: c_int = 512;

/// 1970-01-01 in the milliseconds that SQLite counts, from noon of a day 4,714 years before our era.
const NOW: i64 = 210_866_760_000_000;

/// What opens of journals and logs have in their flags: those whose first sync makes their name
/// durable. The last has no name in the bindings for old versions of SQLite.
const JOURNALS: c_int = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | 0x4000;

/// Makes the VFS known to SQLite, once per process and not as the default.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SQLite keeps the table in a list that it changes, for as long as the process lives.
        let vfs = Box::leak(Box::new(table()));
        // SAFETY: the table and its name live for ever, and nothing else uses the table.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        // It fails only if SQLite could not start, and then opening a connection says why.
        debug_assert_eq!(code, ffi::SQLITE_OK);
    });
}

fn table() -> ffi::sqlite3_vfs {
    ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: file::SIZE,
        mxPathname: LONGEST_PATH,
        pNext: ptr::null_mut(),
        zName: NAME_IN_C.as_ptr(),
        pAppData: ptr::null_mut(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: Some(dl_open),
        xDlError: Some(dl_error),
        // Asked only about what `dl_open` opened.
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        // The second version has the time in whole numbers instead.
        xCurrentTime: None,
        xGetLastError: None,
        xCurrentTimeInt64: Some(current_time),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }
}

/// A failure as SQLite's code, with the one for a disk that does not do it.
fn code(failure: Failure, io: c_int) -> c_int {
    match failure {
        Failure::Io => io,
        Failure::Full => ffi::SQLITE_FULL,
        Failure::Busy => ffi::SQLITE_BUSY,
        Failure::Missing => ffi::SQLITE_CANTOPEN,
    }
}

fn answer(result: Result<(), Failure>, io: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(failure) => code(failure, io),
    }
}

/// A path as text; none is as good as one that leads nowhere.
///
/// # Safety
/// `path` is null, or ends with a zero byte and stays as it is for as long as the answer is used.
unsafe fn text<'p>(path: *const c_char) -> &'p str {
    if path.is_null() {
        return "";
    }
    // SAFETY: not null, and the rest is the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    path.to_str().unwrap_or("")
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives room for one file. Without methods it will not close what did not open.
    unsafe { (*file).pMethods = ptr::null() };
    let opened = if path.is_null() {
        Handle::temporary()
    } else {
        let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let mode = Mode {
            create,
            must_be_new: flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0,
            syncs_directory: create && flags & JOURNALS != 0,
        };
        // SAFETY: a path from SQLite, used within this call.
        Handle::open(unsafe { text(path) }, mode)
    };
    let handle = match opened {
        Ok(handle) => handle,
        // Unix says the same of a new file that finds no room.
        Err(Failure::Full) => return ffi::SQLITE_CANTOPEN,
        Err(failure) => return code(failure, ffi::SQLITE_IOERR),
    };
    // SAFETY: the room is of `file::SIZE` bytes, as the table asks for, and aligned for any type.
    unsafe { SimFile::fill(file, handle) };
    if !flags_out.is_null() {
        // SAFETY: a place for an answer.
        unsafe { *flags_out = flags };
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: a path from SQLite, used within this call.
    let path = unsafe { text(path) };
    match handle::delete(path, sync_directory != 0) {
        Err(Failure::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        other => answer(other, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // As on Unix, a file that is empty does not count as one that exists: no journal is empty.
    let even_empty = flags != ffi::SQLITE_ACCESS_EXISTS;
    // SAFETY: a path from SQLite, used within this call.
    let Ok(yes) = handle::exists(unsafe { text(path) }, even_empty) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    // SAFETY: a place for an answer.
    unsafe { *answer = c_int::from(yes) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: a path from SQLite, used within this call.
    let Some(full) = handle::full_path(unsafe { text(path) }) else {
        return ffi::SQLITE_CANTOPEN;
    };
    if usize::try_from(room).is_ok_and(|room| full.len() < room) {
        // SAFETY: `out` has `room` bytes, which is more than these and the zero.
        unsafe {
            ptr::copy_nonoverlapping(full.as_ptr().cast(), out, full.len());
            *out.add(full.len()) = 0;
        }
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_CANTOPEN
    }
}

/// There are no extensions on this disk.
unsafe extern "C" fn dl_open(_vfs: *mut ffi::sqlite3_vfs, _path: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

unsafe extern "C" fn dl_error(_vfs: *mut ffi::sqlite3_vfs, room: c_int, out: *mut c_char) {
    if room > 0 {
        // SAFETY: `out` has `room` bytes; an empty text is one of them.
        unsafe { *out = 0 };
    }
}

/// SQLite asks its default VFS for randomness, which this is not.
unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, amount: c_int, out: *mut c_char) -> c_int {
    let bytes = usize::try_from(amount).unwrap_or(0);
    // SAFETY: `out` has as many bytes.
    unsafe { ptr::write_bytes(out, 0x5A, bytes) };
    amount
}

/// Says that the time has passed.
unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    schedule::sleep();
    microseconds
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, answer: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: a place for an answer.
    unsafe { *answer = NOW };
    ffi::SQLITE_OK
}
