//! Secrets in somebody else's text: an endpoint that repeats the headers it got, a proxy that shows what it was
//! set up with.

/// How the secrets of webhooks begin. No word has this in it, so they are found wherever they stand: what stands
/// before them may be the end of an escape (`\n`, `%3D`) or of a name (`MY_whsec_…`).
const OF_WEBHOOKS: [&str; 2] = ["whsec_", "whsk_"];

/// How API keys begin, those that are handed out here and those of services that name theirs alike.
const OF_KEYS: [&str; 2] = ["sk_test_", "sk_live_"];

/// The fewest letters and digits of what is taken for a key in the middle of a word (`risk_test_results`).
const SHORTEST_KEY: usize = 16;

/// The text with three stars for what follows such a beginning, up to the next character that no secret has.
pub(super) fn veiled(text: &str) -> String {
    let mut veiled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = first_in(rest) {
        let (before, secret) = rest.split_at(start);
        let end = secret.find(|c: char| !is_of_a_secret(c)).unwrap_or(secret.len());
        veiled.push_str(before);
        veiled.push_str(if end > 0 { "***" } else { "" });
        rest = &secret[end..];
    }
    veiled.push_str(rest);
    veiled
}

/// Where the first secret goes on behind its beginning.
fn first_in(text: &str) -> Option<usize> {
    let ends = |beginnings: [&'static str; 2]| {
        let found = beginnings
            .into_iter()
            .flat_map(|beginning| text.match_indices(beginning));
        found.map(|(at, beginning)| (at, at + beginning.len()))
    };
    let is_word = |at: usize| text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let keys = ends(OF_KEYS).filter(|(at, end)| !is_word(*at) || is_key(&text[*end..]));
    ends(OF_WEBHOOKS).chain(keys).map(|(_, end)| end).min()
}

/// Whether a key goes on here: a long run of letters and digits that is no word.
fn is_key(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    end >= SHORTEST_KEY && text[..end].contains(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Whether a secret goes on with it, be it that it is escaped (`%2B`, `\/`).
fn is_of_a_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '%' | '\\')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::veiled;

    #[test]
    fn a_secret_is_veiled_to_its_end_and_nothing_else_is() {
        for (text, shown) in [
            ("", ""),
            ("no route to host", "no route to host"),
            ("key whsec_aB3+/=x, sorry", "key whsec_***, sorry"),
            ("whsk_AAAA whsec_BBBB", "whsk_*** whsec_***"),
            ("{\"key\":\"sk_live_51H-x_y\"}", "{\"key\":\"sk_live_***\"}"),
            ("risk_test_results", "risk_test_results"),
            ("risk_test_internationalisation", "risk_test_internationalisation"),
            ("MY_sk_live_51HxyzABCDEFGHIJ!", "MY_sk_live_***!"),
            ("\\nsk_test_51hxyzabcdefghij\"", "\\nsk_test_***\""),
            ("MY_whsec_aB3", "MY_whsec_***"),
            ("secret%3Dwhsec_aB3", "secret%3Dwhsec_***"),
            ("whsec_aB3%2Bx%3D%3D&b=1", "whsec_***&b=1"),
            ("\"whsk_aB3\\/x\"", "\"whsk_***\""),
            ("whsec_", "whsec_"),
            ("é whsec_é", "é whsec_é"),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_around_it_no_secret_is_left(
            before in "[ -~é]{0,9}",
            secret in "[A-Za-z0-9+/]{1,40}={0,2}",
            after in "([ \",)é].{0,8})?",
        ) {
            let told = format!("whsec_{secret}");
            let whole = format!("{before}{told}{after}");
            let shown = veiled(&whole);
            prop_assert!(!shown.contains(&told));
            prop_assert!(shown.starts_with(&before) && shown.ends_with(&after));
            prop_assert_eq!(veiled(&shown), shown);
        }
    }
}
