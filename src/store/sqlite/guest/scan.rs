//! What is read off the text of a statement, without the library.

/// Whether something stands behind the first statement of a text. Not every version of the library says so.
/// In the definition of a trigger, statements end before it does; there it says so or ignores the rest.
pub(super) fn has_second_statement(sql: &str) -> bool {
    if makes_trigger(sql) {
        return false;
    }
    let mut rest = after_blanks(sql);
    while let Some(next) = rest.chars().next() {
        let tail = &rest[next.len_utf8()..];
        rest = match next {
            ';' => return !after_blanks(tail).is_empty(),
            '\'' | '"' | '`' => behind(tail, next),
            '[' => behind(tail, ']'),
            _ => behind_comment(rest).unwrap_or(tail),
        };
    }
    false
}

/// Whether a text has no statement in it.
pub(super) fn has_none(sql: &str) -> bool {
    after_blanks(sql).trim_start_matches(';').is_empty()
}

/// Whether it is `CREATE TRIGGER`, `CREATE TEMP TRIGGER` or `CREATE TEMPORARY TRIGGER`.
fn makes_trigger(sql: &str) -> bool {
    let mut rest = sql;
    let words = [(); 3].map(|()| {
        let text = after_blanks(rest);
        let end = text.find(|c| !goes_on(c)).unwrap_or(text.len());
        rest = &text[end..];
        text[..end].to_ascii_lowercase()
    });
    let [make, what, of] = words.each_ref().map(String::as_str);
    make == "create" && matches!((what, of), ("trigger", _) | ("temp" | "temporary", "trigger"))
}

/// Whether a name may stand in a statement that begins so, in whatever quotes and letters. What is only part of
/// a text or a comment counts as well: who refuses a statement for it is on the safe side.
pub(super) fn has_name_from(sql: &str, start: &str) -> bool {
    behind_starts(&sql.to_ascii_lowercase(), start).any(|_| true)
}

/// Whether such a name may stand in a statement, and nothing more of it.
pub(super) fn has_name(sql: &str, name: &str) -> bool {
    behind_starts(&sql.to_ascii_lowercase(), name).any(|rest| !rest.starts_with(goes_on))
}

/// What stands behind each place in a text where a name may begin so.
fn behind_starts<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    let places = text.match_indices(start);
    let begins = places.filter(|(at, _)| !text[..*at].ends_with(goes_on));
    begins.map(|(at, found)| &text[at + found.len()..])
}

/// Whether a name goes on with a character, or does where it stands in no quotes. Of others than these it is not
/// assumed: a byte order mark, for one, goes on with a name and begins none.
fn goes_on(next: char) -> bool {
    next.is_ascii_alphanumeric() || next == '_' || next == '$'
}

/// What stands behind the next such character; nothing if there is none.
fn behind(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// What is left of a text without blanks, comments and empty statements at its beginning.
fn after_blanks(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        match behind_comment(rest) {
            Some(next) => rest = next,
            None => return rest,
        }
    }
}

/// What stands behind the comment that a text begins with; none if it begins with something else.
fn behind_comment(text: &str) -> Option<&str> {
    match text.get(..2)? {
        "--" => Some(behind(text, '\n')),
        "/*" => Some(text[2..].split_once("*/").map_or("", |(_, rest)| rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
