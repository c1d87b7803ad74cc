//! The functions of an open file.

use std::ffi::{c_int, c_void};
use std::slice;
use std::sync::atomic::{Ordering, fence};

use rusqlite::ffi;

use super::{answer, code};
use crate::device::{Level, REGION, SECTOR, SharedAsk};
use crate::handle::Handle;

/// What stands in the room that SQLite gives for an open file.
#[repr(C)]
pub(super) struct SimFile {
    base: ffi::sqlite3_file,
    /// From `Box::into_raw`, until `close` takes it back.
    handle: *mut Handle,
}

/// The room that one needs.
pub(super) const SIZE: c_int = in_c(size_of::<SimFile>());

/// A small number as C has it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "asserted when it is compiled"
)]
const fn in_c(number: usize) -> c_int {
    assert!(number < 65_536);
    number as c_int
}

impl SimFile {
    /// Makes room for a file into an open file.
    ///
    /// # Safety
    /// `room` can hold a `SimFile`.
    pub(super) unsafe fn fill(room: *mut ffi::sqlite3_file, handle: Handle) {
        let opened = SimFile {
            base: ffi::sqlite3_file {
                pMethods: &raw const METHODS,
            },
            handle: Box::into_raw(Box::new(handle)),
        };
        // SAFETY: the caller's promise.
        unsafe { room.cast::<SimFile>().write(opened) };
    }
}

/// The handle of an open file.
///
/// # Safety
/// `file` was filled and is not closed for as long as the answer is used. SQLite promises that of the
/// file that a method is called with, for as long as the method runs.
unsafe fn handle<'f>(file: *mut ffi::sqlite3_file) -> &'f Handle {
    // SAFETY: `fill` wrote a `SimFile` there, whose handle is a live box until `close`. Only shared
    // references are ever made from it.
    unsafe { &*(*file.cast::<SimFile>()).handle }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The second version has shared memory; the third would have memory-mapped reading.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the box that `fill` gave up; SQLite closes a file once and uses it no more.
    drop(unsafe { Box::from_raw((*file.cast::<SimFile>()).handle) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(amount), Ok(at)) = (usize::try_from(amount), usize::try_from(at)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: the buffer has `amount` bytes and is this call's. Zeros make it a slice of values,
    // whatever SQLite left in it, and are what it wants beyond the end of the file.
    let out = unsafe {
        buffer.cast::<u8>().write_bytes(0, amount);
        slice::from_raw_parts_mut(buffer.cast::<u8>(), amount)
    };
    // SAFETY: a method's file.
    match unsafe { handle(file) }.read(at, out) {
        Ok(count) if count < amount => ffi::SQLITE_IOERR_SHORT_READ,
        Ok(_) => ffi::SQLITE_OK,
        Err(failure) => code(failure, ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(amount), Ok(at)) = (usize::try_from(amount), usize::try_from(at)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: the buffer has `amount` bytes, which nobody changes during this call.
    let data = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), amount) };
    // SAFETY: a method's file.
    answer(unsafe { handle(file) }.write(at, data), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    let Ok(len) = usize::try_from(len) else {
        return ffi::SQLITE_IOERR_TRUNCATE;
    };
    // SAFETY: a method's file.
    answer(unsafe { handle(file) }.resize(len), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: a method's file.
    answer(unsafe { handle(file) }.sync(), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: a method's file.
    match unsafe { handle(file) }.len() {
        Ok(len) => {
            // SAFETY: a place for an answer.
            unsafe { *size = ffi::sqlite3_int64::try_from(len).unwrap_or(ffi::sqlite3_int64::MAX) };
            ffi::SQLITE_OK
        }
        Err(failure) => code(failure, ffi::SQLITE_IOERR_FSTAT),
    }
}

fn level(level: c_int) -> Level {
    match level {
        ffi::SQLITE_LOCK_NONE => Level::None,
        ffi::SQLITE_LOCK_SHARED => Level::Shared,
        ffi::SQLITE_LOCK_RESERVED => Level::Reserved,
        ffi::SQLITE_LOCK_PENDING => Level::Pending,
        _ => Level::Exclusive,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: a method's file.
    answer(unsafe { handle(file) }.lock(level(wanted)), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, down_to: c_int) -> c_int {
    // SAFETY: a method's file.
    unsafe { handle(file) }.unlock(level(down_to));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: a method's file.
    match unsafe { handle(file) }.is_reserved() {
        Ok(reserved) => {
            // SAFETY: a place for an answer.
            unsafe { *answer = c_int::from(reserved) };
            ffi::SQLITE_OK
        }
        Err(failure) => code(failure, ffi::SQLITE_IOERR_CHECKRESERVEDLOCK),
    }
}

/// SQLite does without everything that it might ask for here.
unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _operation: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    const { in_c(SECTOR) }
}

/// What lies beside a written range is safe, which SQLite takes for granted on Unix too.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    size: c_int,
    extend: c_int,
    start: *mut *mut c_void,
) -> c_int {
    // SAFETY: a place for an answer.
    unsafe { *start = std::ptr::null_mut() };
    let (Ok(index), Ok(REGION)) = (usize::try_from(index), usize::try_from(size)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: a method's file.
    match unsafe { handle(file) }.region(index, extend != 0) {
        Ok(None) => ffi::SQLITE_OK,
        Ok(Some(region)) => {
            // SAFETY: a place for an answer. The region has as many bytes as SQLite asked for and
            // lives until it unmaps or closes this file, when it gives the pointer up.
            unsafe { *start = region.cast() };
            ffi::SQLITE_OK
        }
        Err(failure) => code(failure, ffi::SQLITE_IOERR_SHMMAP),
    }
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    let bits = (first..first + count).fold(0, |bits, index| bits | (1 << index));
    let ask = if flags & ffi::SQLITE_SHM_SHARED != 0 {
        SharedAsk::Shared(bits)
    } else {
        SharedAsk::Exclusive(bits)
    };
    // SAFETY: a method's file.
    let handle = unsafe { handle(file) };
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        handle.unlock_shared(ask);
        ffi::SQLITE_OK
    } else {
        answer(handle.lock_shared(ask), ffi::SQLITE_IOERR_SHMLOCK)
    }
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

/// Whether the memory is to be deleted too does not matter: it is gone with its last user.
unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: a method's file.
    unsafe { handle(file) }.leave_shared();
    ffi::SQLITE_OK
}
