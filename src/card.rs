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
//!
//! That is how callers' texts are read. What a service posts (`body`) is searched by the same rules for what
//! services and forms write between digits and instead of them.

#[cfg(feature = "engine")]
mod body;

#[cfg(feature = "engine")]
pub(crate) use body::masked_body;

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

const SHORTEST: usize = 12;
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

/// What may stand between the groups of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    /// One blank or dash, as people write it.
    Written,
    /// A few blanks, dashes and dots.
    #[cfg_attr(
        not(feature = "engine"),
        expect(dead_code, reason = "only what services post to the engine is read so")
    )]
    Wide,
}

/// The most characters between two groups.
const WIDEST_GAP: usize = 8;

impl Gaps {
    /// Whether the groups on both sides of it must be those of a printed card, if they can be one number.
    fn needs_printed(self, between: &[u8]) -> Option<bool> {
        match (self, between) {
            (Gaps::Written | Gaps::Wide, b" ") => Some(false),
            (Gaps::Written | Gaps::Wide, b"-") => Some(true),
            (Gaps::Wide, wide) if wide.len() <= WIDEST_GAP && wide.iter().all(|byte| b" -.".contains(byte)) => {
                Some(wide.iter().any(|byte| *byte != b' '))
            }
            _ => None,
        }
    }
}

/// Digits that stand together.
struct Group {
    start: usize,
    end: usize,
    /// Whether they are part of a UUID or of a hash, in which digits follow each other by chance.
    of_an_id: bool,
}

/// Whether a card number stands anywhere in the text.
#[cfg(feature = "engine")]
pub(crate) fn contains_card(text: &str) -> bool {
    cards(text.as_bytes(), Gaps::Written).next().is_some()
}

/// The text with the digits of every card number replaced by `*`.
pub(crate) fn masked(text: &str) -> String {
    let mut cards = cards(text.as_bytes(), Gaps::Written).peekable();
    let starred = text.char_indices().map(|(at, c)| {
        while cards.next_if(|(_, end)| *end <= at).is_some() {}
        let is_in = cards.peek().is_some_and(|(start, _)| *start <= at);
        if is_in && c.is_ascii_digit() { '*' } else { c }
    });
    starred.collect()
}

/// Byte ranges of the card numbers, in the order in which they start; one may begin in another.
fn cards(text: &[u8], gaps: Gaps) -> impl Iterator<Item = (usize, usize)> {
    let groups = digit_groups(text);
    (0..groups.len()).filter_map(move |first| {
        let count = card_from(text, &groups[first..], gaps)?;
        Some((groups[first].start, groups[first + count - 1].end))
    })
}

/// How many of the groups, from the first on, make a card number; the most, where a longer one begins with a
/// shorter one.
fn card_from(text: &[u8], groups: &[Group], gaps: Gaps) -> Option<usize> {
    let mut digits = Vec::with_capacity(LONGEST);
    let mut needs_printed = false;
    let mut longest = None;
    for (count, group) in (1..).zip(groups) {
        if count > 1 {
            match gaps.needs_printed(&text[groups[count - 2].end..group.start]) {
                Some(needs) => needs_printed |= needs,
                None => break,
            }
        }
        if digits.len() + (group.end - group.start) > LONGEST || group.of_an_id {
            break;
        }
        digits.extend_from_slice(&text[group.start..group.end]);
        if digits.len() >= SHORTEST && is_card(&digits) && (!needs_printed || is_printed(&groups[..count])) {
            longest = Some(count);
        }
    }
    longest
}

/// Whether cards are printed in groups of such lengths.
fn is_printed(groups: &[Group]) -> bool {
    let lengths: Vec<usize> = groups.iter().map(|group| group.end - group.start).collect();
    let Some((last, others)) = lengths.split_last() else {
        return false;
    };
    (others.iter().all(|length| *length == 4) && *last <= 4) || PRINTED.contains(&lengths.as_slice())
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

/// The maximal runs of ASCII digits.
fn digit_groups(text: &[u8]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut end = 0;
    for token in text.chunk_by(|one, next| one.is_ascii_alphanumeric() && next.is_ascii_alphanumeric()) {
        let start = end;
        end += token.len();
        // What follows `%` in a URL is the end of an escape, and no part of a token.
        let escaped = start > 0 && text[start - 1] == b'%';
        let has_digits = token.iter().any(u8::is_ascii_digit);
        let of_an_id = has_digits && ((!escaped && is_hash(token)) || is_in_uuid(text, start));
        let mut at = start;
        for run in token.chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit()) {
            if run[0].is_ascii_digit() {
                groups.push(Group {
                    start: at,
                    end: at + run.len(),
                    of_an_id,
                });
            }
            at += run.len();
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
