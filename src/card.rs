//! Recognising payment card numbers, so that none is ever stored or repeated.
//!
//! A run of digits counts as a card number if three things hold together: it starts like a card of
//! a known brand, it has a length that this brand issues, and its Luhn check digit is right. Each
//! alone would refuse order numbers and timestamps. Single blanks and dashes between digits are
//! ignored, and every group of neighbouring digit groups is tried, so that a number is found beside
//! an expiry date too.

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

/// The most characters over which a number can be spread, a blank or dash after each digit.
pub(crate) const LONGEST_WRITTEN: usize = 2 * LONGEST;

/// Whether a card number stands anywhere in the text.
#[cfg(feature = "engine")]
pub(crate) fn contains_card(text: &str) -> bool {
    find(text).is_some()
}

/// The text with the digits of every card number replaced by `*`.
pub(crate) fn masked(text: &str) -> String {
    let mut masked = text.to_owned();
    while let Some((start, end)) = find(&masked) {
        let stars: String = masked[start..end]
            .chars()
            .map(|c| if c.is_ascii_digit() { '*' } else { c })
            .collect();
        masked.replace_range(start..end, &stars);
    }
    masked
}

/// Byte range of the first card number.
fn find(text: &str) -> Option<(usize, usize)> {
    let groups = digit_groups(text.as_bytes());
    groups.iter().enumerate().find_map(|(first, &(start, _))| {
        let mut digits = Vec::new();
        let mut previous_end = start;
        for &(group_start, group_end) in &groups[first..] {
            if group_start > previous_end + 1 || !joins(&text.as_bytes()[previous_end..group_start]) {
                return None;
            }
            digits.extend_from_slice(&text.as_bytes()[group_start..group_end]);
            if digits.len() > LONGEST {
                return None;
            }
            if is_card(&digits) {
                return Some((start, group_end));
            }
            previous_end = group_end;
        }
        None
    })
}

/// Whether what stands between two groups of digits leaves them one number.
fn joins(between: &[u8]) -> bool {
    matches!(between, [] | [b' ' | b'-'])
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
