use super::*;

#[test]
fn an_error_never_repeats_more_than_the_limit() {
    let long = "x".repeat(10_000);
    let invalid = Invalid::new("name", &long, "at most 10 characters");
    assert_eq!(invalid.found.chars().count(), ECHO_LIMIT);
    assert_eq!(shortened(&"é".repeat(64)).chars().count(), 64);
    assert_eq!(shortened("short"), "short");
    let cut = shortened(&format!("{}4242424242424242", "x".repeat(55)));
    assert!(
        !cut.contains("42"),
        "a card number that is cut in two is masked all the same: {cut}"
    );
}

#[cfg(feature = "engine")]
#[test]
fn every_storage_kind_says_what_to_do() {
    let now = |kind| Error::from(StorageError::new(kind, "detail")).what_now();
    assert_eq!(now(StorageKind::OutcomeUnknown), WhatNow::RetrySameCall);
    assert_eq!(now(StorageKind::Busy), WhatNow::RetryLater);
    for kind in [
        StorageKind::DiskFull,
        StorageKind::ReadOnly,
        StorageKind::CantOpen,
        StorageKind::NotADatabase,
        StorageKind::NamesTaken,
        StorageKind::Corrupt,
        StorageKind::Moved,
        StorageKind::Unsupported,
        StorageKind::Io,
    ] {
        assert_eq!(now(kind), WhatNow::AskOperator, "{kind}");
    }
}
