//! How much the crate brings into a program: the number of packages that are compiled for it, as
//! the README quotes it. Every one of them is code that its users trust with money.

use std::collections::BTreeSet;
use std::process::Command;

/// Packages with the default features, without the crate itself.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const DEFAULT: usize = 44;

/// Packages with the ready-made transport as well.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const WITH_UREQ: usize = 57;

/// Packages of a build that only verifies webhooks.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const LIGHT: usize = 22;

/// What the light build is there to leave out: a database, and what needs a C compiler.
const HEAVY: [&str; 3] = ["rusqlite", "libsqlite3-sys", "ring"];

/// Other systems and processors need other packages, so the numbers are those of one.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_number_of_packages_is_the_one_in_the_readme() {
    for (build, arguments, pinned) in [
        ("default features", &[][..], DEFAULT),
        ("the feature ureq", &["--features", "ureq"][..], WITH_UREQ),
        ("no default features", &["--no-default-features"][..], LIGHT),
    ] {
        let found = packages(arguments);
        assert_eq!(
            found.len(),
            pinned,
            "with {build} the crate brings {} packages, not {pinned}; if that is meant, change the number in the \
             README and the constant in tests/it/size.rs together. Found: {found:#?}",
            found.len()
        );
    }
}

#[test]
fn a_receiver_of_webhooks_brings_no_database() {
    let found = packages(&["--no-default-features"]);
    for heavy in HEAVY {
        let brought = found.iter().find(|package| package.split(' ').next() == Some(heavy));
        assert_eq!(brought, None, "the build without default features needs {heavy}");
    }
    let all = packages(&[]);
    assert!(
        HEAVY
            .iter()
            .all(|heavy| all.iter().any(|package| package.starts_with(heavy)))
    );
}

/// Name and version of every package that is compiled into a program by this one, on this machine.
/// Nothing is fetched: what the test itself was built from is enough to answer.
fn packages(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--package", env!("CARGO_PKG_NAME")])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .filter(|package| !package.starts_with(concat!(env!("CARGO_PKG_NAME"), " ")))
        .collect()
}
