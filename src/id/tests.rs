use super::*;

#[test]
fn an_id_parses_only_as_itself() {
    let body = "0".repeat(BODY);
    let id = SessionId::parse(&format!("cs_test_{body}")).unwrap();
    assert_eq!(id.mode(), Mode::Test);
    assert_eq!(SessionId::parse(&format!("cs_live_{body}")).unwrap().mode(), Mode::Live);
    for text in [
        String::new(),
        "cs_test_".to_owned(),
        format!("pi_test_{body}"),
        format!("cs_prod_{body}"),
        format!("cs_test_{body}0"),
        format!("cs_test_{}%", &body[1..]),
        format!("cs_test_{}'", &body[1..]),
        format!("CS_test_{body}"),
        format!(" cs_test_{body}"),
        format!("cs_test_{}é", &body[2..]),
    ] {
        assert_eq!(SessionId::parse(&text).unwrap_err().field(), Some("id"), "{text}");
    }
}

#[cfg(feature = "engine")]
mod minting {
    use super::*;
    use crate::time::Timestamp;
    use std::collections::HashSet;

    fn mint(seed: u8, millis: i64) -> Mint {
        Mint::new([seed; 32], Timestamp::from_millis(millis).unwrap())
    }

    #[test]
    fn a_second_run_of_a_command_gets_the_same_ids() {
        let before = mint(1, 5);
        let run = |mut mint: Mint| -> Vec<EventId> { (0..100).map(|_| mint.id(Mode::Live)).collect() };
        let ids = run(before.clone());
        assert_eq!(ids, run(before));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 100);
        for id in ids {
            assert_eq!(EventId::parse(id.as_str()).unwrap(), id);
        }
    }

    #[test]
    fn ids_sort_by_the_time_at_which_they_were_made() {
        let at = |millis| -> SessionId { mint(9, millis).id(Mode::Test) };
        let times = [
            0,
            1,
            61,
            62,
            1_700_000_000_000,
            1_700_000_000_001,
            Timestamp::MAX.as_millis(),
        ];
        assert!(times.map(at).is_sorted());
        // And the beginning of those of one time lies between those made before and those made then.
        for pair in times.windows(2) {
            let begin = first_made::<SessionId>(Mode::Test, Timestamp::from_millis(pair[1]).unwrap());
            assert!(at(pair[0]).as_str() < begin.as_str() && begin.as_str() < at(pair[1]).as_str());
        }
    }
}
