use std::fs;
use std::sync::Arc;

use super::*;
use crate::samples::at;
use crate::store::sqlite::{Place, Sqlite};
use crate::store::{Access, ByHand, Store, app};

#[test]
fn a_copy_waits_for_nobody_who_writes_and_has_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let place = Place::file(&folder.path().join(name));
        Store::new(Sqlite::open(place, at(0), Arc::new(ByHand::default())).unwrap())
    };
    let store = open("shop.db");
    let inside = store.clone();
    let to = folder.path().join("copy.db");
    store
        .write_raw(Access::Shared, |sql| app::ensure(sql, "before", at(0)))
        .unwrap();
    store
        .write_raw(Access::Shared, move |sql| {
            app::ensure(sql, "meanwhile", at(0))?;
            inside.backend().backup(&to)
        })
        .unwrap();
    let slugs = |store: &Store| store.read(|sql| app::slugs(sql, "", 10)).unwrap();
    assert_eq!(slugs(&open("copy.db")), ["before"]);
    assert_eq!(slugs(&store), ["before", "meanwhile"]);
}

#[test]
fn without_links_a_copy_is_renamed_and_still_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("copy.part"), folder.path().join("copy"));
    let no_links = |_: &Path, _: &Path| Err(io::Error::from(ErrorKind::Unsupported));
    fs::write(&path, "new").unwrap();
    name(&path, &to, no_links).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"new");
    assert!(!is_there(&path));
    fs::write(&path, "newer").unwrap();
    assert_eq!(name(&path, &to, no_links).unwrap_err().field(), Some("path"));
    assert_eq!(fs::read(&to).unwrap(), b"new");
}

#[test]
fn who_takes_the_name_meanwhile_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let part = Part::beside(&to).unwrap();
    fs::write(&to, "theirs").unwrap();
    assert_eq!(part.publish().unwrap_err().field(), Some("path"));
    assert_eq!(fs::read(&to).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_dead_processes_left_beside_the_path_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let first = Part::beside(&to).unwrap();
    let second = Part::beside(&to).unwrap();
    assert_ne!(first.path, second.path);
    drop((first, second));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
