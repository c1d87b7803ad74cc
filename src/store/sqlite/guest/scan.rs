//! What is read off the text of a statement, without the library.

/// Whether something stands behind the first statement of a text. Not every version of the library says so.
/// In the definition of a trigger, statements end before it does; there it says so or ignores the rest.
pub(super) fn has_second_statement(sql: &str) -> bool {
    let mut rest = after_blanks(sql);
    let words: Vec<String> = rest
        .split_ascii_whitespace()
        .take(3)
        .map(str::to_ascii_lowercase)
        .collect();
    let is = |at: usize, known: &str| words.get(at).is_some_and(|word| word == known);
    if is(0, "create") && (is(1, "trigger") || is(2, "trigger")) {
        return false;
    }
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
