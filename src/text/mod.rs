//! Checks on what callers give: texts, metadata, URLs. A value is checked once, where it enters.

mod metadata;
mod patch;
mod secrets;
mod url;

pub use metadata::Metadata;
pub(crate) use patch::Patch;
pub(crate) use url::Url;

use crate::card::{contains_card, masked};
use crate::error::{Error, Invalid};

/// A text of 1 to `max` characters without control characters and without a card number.
pub(crate) fn text(field: &str, value: &str, max: usize) -> Result<String, Error> {
    let length = value.chars().count();
    if length == 0 || length > max {
        let found = format!("{length} characters");
        return Err(Invalid::new(field, found, format!("1 to {max} characters")).into());
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(field, "a control character", "text without control characters").into());
    }
    no_card(field, value)?;
    Ok(value.to_owned())
}

/// [`text`] for something that may be absent.
pub(crate) fn optional(field: &str, value: Option<&str>, max: usize) -> Result<Option<String>, Error> {
    value.map(|value| text(field, value, max)).transpose()
}

/// A name made of `a-z`, `0-9`, `_` and `-`, such as a tier or an app's slug.
pub(crate) fn name(field: &str, value: &str, max: usize) -> Result<String, Error> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if (1..=max).contains(&value.len()) && value.bytes().all(allowed) {
        no_card(field, value)?;
        return Ok(value.to_owned());
    }
    Err(Invalid::new(field, value, format!("1 to {max} of a-z, 0-9, _ and -")).into())
}

/// A key of the caller's, such as an idempotency key: 1 to 255 visible ASCII characters.
pub(crate) fn key(field: &str, value: Option<&str>) -> Result<Option<String>, Error> {
    let Some(value) = value else {
        return Ok(None);
    };
    if (1..=255).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        no_card(field, value)?;
        return Ok(Some(value.to_owned()));
    }
    let found = format!("{} bytes", value.len());
    Err(Invalid::new(field, found, "1 to 255 visible ASCII characters").into())
}

/// How many times as much as is kept is looked at: a text gets shorter where a secret is veiled.
const LOOKED_AT: usize = 4;

/// Somebody else's text as it is kept: bounded, without control characters, card numbers and secrets masked.
pub(crate) fn kept(text: &str, max: usize) -> String {
    kept_start(text, max, false)
}

/// [`kept`] of the start of a text, if `is_cut`: one that goes on beyond what there is of it.
pub(crate) fn kept_start(text: &str, max: usize, is_cut: bool) -> String {
    let looked_at = max.saturating_mul(LOOKED_AT);
    let mut shown = String::new();
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.extend(chars.by_ref().take(looked_at));
    // A card number without its last digits is not recognised, and those follow from the others.
    if is_cut || chars.next().is_some() {
        star_last_digits(&mut shown);
    }
    // Masked before it is cut, for the same reason.
    masked(&secrets::veiled(&shown)).chars().take(max).collect()
}

/// Stars for the digits at the end of a text, in groups or not: what may be the beginning of a card number.
fn star_last_digits(text: &mut String) {
    let rest = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, ' ' | '-'));
    let stars = text[rest.len()..].replace(|c: char| c.is_ascii_digit(), "*");
    text.truncate(rest.len());
    text.push_str(&stars);
}

/// Refuses a text that holds a card number, without repeating it.
pub(crate) fn no_card(field: &str, value: &str) -> Result<(), Error> {
    if contains_card(value) {
        return Err(Invalid::new(
            field,
            "what looks like a card number",
            "text without card numbers: give the processor's token instead",
        )
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
