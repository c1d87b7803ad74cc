//! Secrets in somebody else's text: an endpoint that repeats the headers it got, a proxy that shows what it was
//! set up with.

/// How the secrets begin that are handed out here, and those of services that name theirs alike.
const BEGINNINGS: [&str; 4] = ["whsec_", "whsk_", "sk_test_", "sk_live_"];

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

/// Where the first secret goes on behind its beginning. In the middle of a word none begins.
fn first_in(text: &str) -> Option<usize> {
    let is_word = |at: usize| text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let found = BEGINNINGS.iter().flat_map(|beginning| text.match_indices(beginning));
    let begun = found.filter(|(at, _)| !is_word(*at));
    begun.map(|(at, beginning)| at + beginning.len()).min()
}

fn is_of_a_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-')
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
            ("whsec_", "whsec_"),
            ("é whsec_é", "é whsec_é"),
        ] {
            assert_eq!(veiled(text), shown);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_around_it_no_secret_is_left(
            before in "[ -~é]{0,8}[ \",:(]",
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
