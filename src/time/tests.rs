use super::*;

#[test]
fn an_instant_prints_and_parses_to_the_millisecond() {
    let instant = Timestamp::from_millis(1_730_000_000_123).unwrap();
    assert_eq!(instant.to_string(), "2024-10-27T03:33:20.123Z");
    assert_eq!(Timestamp::parse_rfc3339(&instant.to_string()).unwrap(), instant);
    assert_eq!(
        Timestamp::parse_rfc3339("2024-10-27T05:33:20.123+02:00").unwrap(),
        instant
    );
    assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
}

#[test]
fn instants_outside_the_bounds_are_refused_and_sums_stop_at_the_bound() {
    for millis in [-1, i64::MIN, Timestamp::MAX.as_millis() + 1, i64::MAX] {
        assert_eq!(Timestamp::from_millis(millis).unwrap_err().field(), Some("time"));
    }
    for text in [
        "",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "+12026-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
    ] {
        assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
    }
    assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Duration::ZERO);
}

#[test]
fn an_interval_is_bounded_and_knows_its_sale_days() {
    assert!(Interval::new(Unit::Day, 0).is_err());
    assert!(Interval::new(Unit::Day, 1_001).is_err());
    let quarter = Interval::new(Unit::Month, 3).unwrap();
    assert_eq!(quarter.sale_days(), 90);
    assert_eq!(Interval::YEAR.sale_days(), 365);
    assert_eq!(Unit::parse("week"), Some(Unit::Week));
    assert_eq!(Unit::parse("Week"), None);
}
