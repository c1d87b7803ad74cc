use super::*;
use crate::device::{Device, Survive};

const NEW: Mode = Mode {
    create: true,
    must_be_new: false,
    syncs_directory: false,
};

#[test]
fn shared_memory_that_sqlite_points_into_outlives_a_reboot() {
    let disk = Shared::listed(Device::new(1));
    let handle = Handle::open(&host_path(disk.number, "notes.db"), NEW).unwrap();
    handle.region(0, true).unwrap().unwrap();
    let region = Arc::downgrade(&locked(&handle.regions)[0]);
    disk.device().reboot(Survive::Everything);
    assert!(region.upgrade().is_some());
    handle.leave_shared();
    assert!(region.upgrade().is_none());
}

#[test]
fn a_full_path_names_the_generation_and_stays_as_it_is() {
    let disk = Shared::listed(Device::new(1));
    let path = host_path(disk.number, "notes.db");
    let first = full_path(&path).unwrap();
    disk.device().reboot(Survive::Everything);
    let second = full_path(&path).unwrap();
    assert_ne!(first, second);
    assert_eq!(full_path(&first), Some(first.clone()));
    assert!(Handle::open(&first, NEW).is_err());
    assert!(Handle::open(&second, NEW).is_ok());
}

#[test]
fn paths_that_lead_to_no_disk_are_refused() {
    for path in [
        "",
        "/",
        "notes.db",
        "/simdisk-",
        "/simdisk-x/a",
        "/simdisk-0/a",
        "/simdisk-1.x/a",
        "/simdisk-1",
    ] {
        assert!(Handle::open(path, NEW).is_err(), "{path}");
        assert!(full_path(path).is_none(), "{path}");
    }
}
