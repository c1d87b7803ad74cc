use super::*;
use crate::store::delivery::tests::{Counting, WORLD};

#[test]
fn an_endpoint_that_was_deleted_costs_nobody_anything() {
    type Reading = fn(&mut dyn Sql) -> Result<usize>;
    let readings: [(&str, Reading); 5] = [
        ("who listens", |sql| Ok(listening(sql, WORLD)?.len())),
        ("the list", |sql| Ok(list(sql, WORLD, "", 10)?.len())),
        ("the secrets", |sql| Ok(all_sealed(sql, WORLD, Timestamp::MIN)?.len())),
        ("how many there are", |sql| {
            Ok(usize::try_from(count(sql, WORLD)?).unwrap())
        }),
        ("the one of a URL", |sql| {
            Ok(by_url_key(sql, WORLD, "3")?.into_iter().count() * 3)
        }),
    ];
    let [few, many] = [10, 1_000].map(|count| {
        let mut of = Counting::with_endpoints(count);
        of.write(&format!(
            "UPDATE tillite_endpoint SET state = 'deleted' WHERE number < {count} - 2"
        ));
        of.write("UPDATE tillite_endpoint SET url_key = 3 WHERE number = (SELECT max(number) FROM tillite_endpoint)");
        readings.map(|(what, reading)| {
            let (steps, found) = of.steps(reading);
            assert_eq!(found, 3, "{what}");
            (what, steps)
        })
    });
    assert_eq!(few, many);
}
