//! Recognising payment card numbers, so that none is ever stored or repeated.
//!
//! A run of digits counts as a card number if three things hold together: it starts like a card of
//! a known brand, it has a length that this brand issues, and its Luhn check digit is right. Each
//! alone would refuse order numbers and timestamps. Single blanks and dashes between groups of digits
//! are ignored, and neighbouring groups are tried from each on, so that a number is found beside an
//! expiry date too. What stands directly before or behind the digits does not matter: `card4242…` and
//! `pan_4242…` are found.
//!
//! Two kinds of text hold long numbers by chance only, and are no cards:
//!
//! * groups joined by a dash whose lengths are not those of a printed card, and everything in a UUID
//!   written in full;
//! * digits in a hash: a token of at least 20 hexadecimal digits in which letters and digits
//!   alternate.
//!
//! So ids by chance are accepted: of a million random UUIDs each, with dashes, without, with `order-`
//! before them, and of a million SHA-1 sums, none is refused. What remains are ids that are nothing
//! but digits, since such a number is what a card's is. Of random ones without a zero in front this
//! share is refused, with letters before them or not:
//!
//! | digits | 12 | 13 | 14 | 15 | 16 | 17 | 18 | 19 |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | refused | 0.01 % | 1.1 % | 0.4 % | 0.2 % | 3.2 % | 0.5 % | 0.5 % | 1.6 % |
//!
//! No rule can tell `user_` from `pan_` before such a number. But no number is refused that starts
//! with 0, 1 or 7, or that has fewer than 12 digits or more than 19; and anything but a blank or a dash
//! parts two numbers. So an id passes with a zero before its digits, or with an underscore among them.

/// First and last value of the leading digits, how many digits those are, and the lengths issued.
const BRANDS: &[(u32, u32, usize, &[usize])] = &[
    (4, 4, 1, &[13, 16, 19]),                           // Visa
    (51, 55, 2, &[16]),                                 // Mastercard
    (2221, 2720, 4, &[16]),                             // Mastercard
    (34, 34, 2, &[15]),                                 // American Express
    (37, 37, 2, &[15]),                                 // American Express
    (6011, 6011, 4, &[16, 17, 18, 19]),                 // Discover
    (644, 649, 3, &[16, 17, 18, 19]),                   // Discover
    (65, 65, 2, &[16, 17, 18, 19]),                     // Discover
    (3528, 3589, 4, &[16, 17, 18, 19]),                 // JCB
    (300, 305, 3, &[14, 16]),                           // Diners Club
    (36, 36, 2, &[14, 16]),                             // Diners Club
    (38, 39, 2, &[14, 16]),                             // Diners Club
    (62, 62, 2, &[16, 17, 18, 19]),                     // UnionPay
    (81, 81, 2, &[16, 17, 18, 19]),                     // UnionPay and RuPay
    (60, 60, 2, &[16]),                                 // RuPay
    (5018, 5018, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (5020, 5020, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (5038, 5038, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (5893, 5893, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (6304, 6304, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (6759, 6763, 4, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (5078, 5078, 4, &[16]),                             // Meeza
    (9792, 9792, 4, &[16]),                             // Troy
    (2200, 2204, 4, &[16, 17, 18, 19]),                 // Mir
];

const LONGEST: usize = 19;

/// Lengths of the groups in which cards are printed, beside groups of four with what is left behind.
const PRINTED: &[&[usize]] = &[&[4, 6, 5], &[4, 6, 4], &[4, 4, 5], &[4, 3, 3, 3], &[6, 13]];

/// The fewest characters of a token of hexadecimal digits that is taken for a hash.
const SHORTEST_HASH: usize = 20;

/// Characters of a UUID, and where its groups start and how long they are.
const UUID: usize = 36;
const UUID_GROUPS: [(usize, usize); 5] = [(0, 8), (9, 4), (14, 4), (19, 4), (24, 12)];

/// The most characters over which a number can be spread, a blank or dash after each digit.
pub(crate) const LONGEST_WRITTEN: usize = 2 * LONGEST;

/// Whether a card number stands anywhere in the text.
#[cfg(feature = "engine")]
pub(crate) fn contains_card(text: &str) -> bool {
    cards(text).next().is_some()
}

/// The text with the digits of every card number replaced by `*`.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    for (start, end) in cards(text) {
        let stars: String = text[start..end]
            .chars()
            .map(|c| if c.is_ascii_digit() { '*' } else { c })
            .collect();
        masked.replace_range(start..end, &stars);
    }
    masked
}

/// Byte ranges of the card numbers, in order and apart from each other.
fn cards(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let bytes = text.as_bytes();
    let groups = digit_groups(bytes);
    let mut first = 0;
    std::iter::from_fn(move || {
        while first < groups.len() {
            match card_from(bytes, &groups[first..]) {
                Some(count) => {
                    let range = (groups[first].0, groups[first + count - 1].1);
                    first += count;
                    return Some(range);
                }
                None => first += 1,
            }
        }
        None
    })
}

/// How many of the groups, from the first on, make a card number.
fn card_from(text: &[u8], groups: &[(usize, usize)]) -> Option<usize> {
    let mut digits = Vec::new();
    let mut dashed = false;
    for (count, &(start, end)) in (1..).zip(groups) {
        if count > 1 {
            match &text[groups[count - 2].1..start] {
                b" " => {}
                b"-" => dashed = true,
                _ => return None,
            }
        }
        if digits.len() + (end - start) > LONGEST {
            return None;
        }
        digits.extend_from_slice(&text[start..end]);
        let groups = &groups[..count];
        let written = || !dashed || is_printed(groups);
        if is_card(&digits) && written() && !groups.iter().any(|group| is_of_an_id(text, *group)) {
            return Some(count);
        }
    }
    None
}

/// Whether cards are printed in groups of such lengths.
fn is_printed(groups: &[(usize, usize)]) -> bool {
    let lengths: Vec<usize> = groups.iter().map(|(start, end)| end - start).collect();
    let Some((last, others)) = lengths.split_last() else {
        return false;
    };
    (others.iter().all(|length| *length == 4) && *last <= 4) || PRINTED.contains(&lengths.as_slice())
}

/// Whether a group of digits is part of a UUID or of a hash, in which digits follow each other by
/// chance.
fn is_of_an_id(text: &[u8], group: (usize, usize)) -> bool {
    let start = text[..group.0]
        .iter()
        .rposition(|byte| !byte.is_ascii_alphanumeric())
        .map_or(0, |before| before + 1);
    let length = text[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    // What follows `%` in a URL is the end of an escape, and no part of a token.
    let escaped = start > 0 && text[start - 1] == b'%';
    (!escaped && is_hash(&text[start..start + length])) || is_in_uuid(text, start)
}

/// Whether a token is of hexadecimal digits, long, and changes between letters and digits at least
/// three times. A word before a number can be read as hexadecimal too, as can one letter between
/// the number and what follows.
fn is_hash(token: &[u8]) -> bool {
    token.len() >= SHORTEST_HASH
        && token.iter().all(u8::is_ascii_hexdigit)
        && token
            .chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit())
            .count()
            >= 4
}

/// Whether the token that starts here is a group of a UUID that is written in full.
fn is_in_uuid(text: &[u8], token: usize) -> bool {
    UUID_GROUPS.iter().any(|(group, _)| {
        token
            .checked_sub(*group)
            .is_some_and(|start| is_uuid(&text[..start], &text[start..]))
    })
}

fn is_uuid(before: &[u8], text: &[u8]) -> bool {
    let Some((uuid, behind)) = text.split_at_checked(UUID) else {
        return false;
    };
    let apart = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
    apart(before.last())
        && apart(behind.first())
        && UUID_GROUPS.iter().all(|&(start, length)| {
            (start == 0 || uuid[start - 1] == b'-') && uuid[start..start + length].iter().all(u8::is_ascii_hexdigit)
        })
}

/// Byte ranges of the maximal runs of ASCII digits.
fn digit_groups(text: &[u8]) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if byte.is_ascii_digit() {
            match groups.last_mut() {
                Some((_, end)) if *end == at => *end += 1,
                _ => groups.push((at, at + 1)),
            }
        }
    }
    groups
}

fn is_card(digits: &[u8]) -> bool {
    let leading = |count: usize| {
        digits
            .iter()
            .take(count)
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    };
    let of_a_brand = BRANDS
        .iter()
        .any(|(from, to, count, lengths)| lengths.contains(&digits.len()) && (*from..=*to).contains(&leading(*count)));
    of_a_brand && luhn(digits)
}

/// The check digit rule of ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match place % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}
