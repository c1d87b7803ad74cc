use crate::Disk;
use crate::handle::Place;

use super::is_listed;

fn number(disk: &Disk) -> u64 {
    Place::parse(&disk.path("a.db")).unwrap().disk
}

#[test]
fn a_disk_leaves_the_list_with_its_last_clone() {
    for seed in 0..1_000 {
        let disk = Disk::new(seed);
        let number = number(&disk);
        let clone = disk.clone();
        drop(disk);
        assert!(is_listed(number));
        drop(clone);
        assert!(!is_listed(number));
    }
}

#[test]
fn a_connection_keeps_its_disk() {
    let disk = Disk::new(1);
    let (number, path) = (number(&disk), disk.path("a.db"));
    let open = || rusqlite::Connection::open_with_flags_and_vfs(&path, rusqlite::OpenFlags::default(), Disk::vfs());
    let connection = open().unwrap();
    drop(disk);
    connection.execute("CREATE TABLE note (id INTEGER)", []).unwrap();
    assert!(is_listed(number));
    drop(connection);
    assert!(!is_listed(number));
    assert!(open().is_err(), "the path leads nowhere");
}
