use super::*;

#[test]
fn a_second_statement_is_seen_and_nothing_else_is_taken_for_one() {
    const ONE: &[&str] = &[
        "",
        ";",
        "SELECT 1",
        "SELECT 1;",
        "; SELECT 1 ; ; -- nothing more",
        "SELECT 1; /* nothing; more */ ;\n",
        "SELECT 1 /* never closed ; SELECT 2",
        "SELECT ';', \";\", `;`, [;] -- ; SELECT 2",
        "SELECT 'it''s; one'",
        "SELECT '/*'; -- */ SELECT 2",
        "SELECT 'gr\u{fc}n;' -- \u{e4};",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END",
        "create /* a */ temp -- b\n trigger t AFTER INSERT ON a BEGIN DELETE FROM b; END",
        "/* first */ CREATE TEMPORARY TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END;",
    ];
    const TWO: &[&str] = &[
        "SELECT 1; SELECT 2",
        "SELECT 1;SELECT 2;",
        "SELECT 1 /* ; */ ; SELECT 2",
        "SELECT 1 -- ;\n; SELECT 2",
        "SELECT 'a'';'; SELECT 2",
        "SELECT [it's]; SELECT 2",
        "SELECT \"'\"; SELECT ';'",
        "SELECT 1; x",
        "CREATE TABLE trigger (id); SELECT 2",
    ];
    for sql in ONE {
        assert!(!has_second_statement(sql), "{sql}");
    }
    for sql in TWO {
        assert!(has_second_statement(sql), "{sql}");
    }
}

#[test]
fn a_name_is_seen_in_every_spelling_and_not_in_the_middle_of_another() {
    const NAMED: &[&str] = &[
        "ours_x",
        "a.OURS_x",
        "(Ours_x)",
        "\"ours_x\"",
        "[ours_x]",
        "`ours_x`",
        "'ours_x'",
        "references/**/ours_x",
        "references\u{feff}ours_x",
        "other, ours_x",
        "\"an ours_x\"",
    ];
    const OTHERS: &[&str] = &["yours_x", "my_ours_x", "1ours_x", "a$ours_x", "ours", "our s_x", ""];
    for sql in NAMED {
        assert!(has_name_from(sql, "ours_"), "{sql}");
    }
    for sql in OTHERS {
        assert!(!has_name_from(sql, "ours_"), "{sql}");
    }
    for sql in [
        "ours",
        "TO Ours;",
        "\"ours\"",
        "[ours] x",
        "ours\u{feff}",
        "ours-x, ours_x",
    ] {
        assert!(has_name(sql, "ours"), "{sql}");
    }
    for sql in ["ours_x", "oursx", "ours1", "ours$", "yours", ""] {
        assert!(!has_name(sql, "ours"), "{sql}");
    }
}
