//! The README's example is compiled as a test of the documentation, where every dependency of this
//! crate can be named. A reader has only what the README tells them to depend on.

use std::collections::BTreeSet;

/// The README's blocks of code in a language.
fn blocks(language: &str) -> String {
    let readme = include_str!("../../README.md");
    let mark = format!("```{language}\n");
    let marked = readme.split(&mark).skip(1);
    marked.filter_map(|rest| rest.split("```").next()).collect()
}

/// Names before `::` that begin a path, and what `use` lines bring in.
fn named(code: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut first, mut brought) = (BTreeSet::new(), BTreeSet::new());
    for line in code.lines() {
        let line = line.split("//").next().unwrap_or_default();
        if let Some((_, list)) = line.strip_prefix("use ").and_then(|line| line.split_once("::")) {
            brought.extend(list.split(|c| !is_name(c)).filter(|name| !name.is_empty()));
        }
        for (at, _) in line.match_indices("::") {
            let before = &line[..at];
            let start = before.rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
            if !before[..start].ends_with("::") {
                first.insert(&before[start..]);
            }
        }
    }
    (first, brought)
}

#[test]
fn the_example_needs_no_crate_that_its_toml_does_not_list() {
    let (code, toml) = (blocks("rust"), blocks("toml"));
    let (first, brought) = named(&code);
    assert!(
        first.contains("tillite_simdisk") && first.contains("rusqlite"),
        "{first:?}"
    );
    for name in first {
        let is_listed = toml.contains(&format!("{} = ", name.replace('_', "-")));
        assert!(
            is_listed || brought.contains(name),
            "{name} is nowhere:\n{toml}\n{code}"
        );
    }
}
