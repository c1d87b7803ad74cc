//! Card numbers in what a service posted.
//!
//! Forms write a blank as `+`, URLs, JSON and XML have escapes for any character, and there are blanks and
//! dashes beyond those of ASCII. So a body is read as it stands, and with its escapes undone once and twice,
//! each time with every blank, dash and digit of Unicode as the plain one; what is a card number in any of
//! these readings is masked. Between its groups up to eight blanks, dashes and dots may stand; where a dash or
//! dot is among them, the groups must be those of a printed card.
//!
//! What is compressed, encrypted or in base64 is not read, nor a number over two lines.

use super::{Gaps, cards};

/// How often escapes are undone: JSON in a form field is escaped twice.
const UNDONE: usize = 2;

/// What stands for a character that is no digit, blank, dash or dot.
const OTHER: u8 = b'?';

/// Escapes of XML and HTML with a name.
const NAMED: &[(&[u8], u8)] = &[
    (b"&amp;", b'&'),
    (b"&nbsp;", b' '),
    (b"&ensp;", b' '),
    (b"&emsp;", b' '),
    (b"&thinsp;", b' '),
    (b"&shy;", b' '),
    (b"&hyphen;", b'-'),
    (b"&dash;", b'-'),
    (b"&ndash;", b'-'),
    (b"&mdash;", b'-'),
    (b"&minus;", b'-'),
    (b"&period;", b'.'),
    (b"&middot;", b'.'),
];

/// A byte as it is read, and the bytes of the body that it was read from.
#[derive(Clone, Copy)]
struct Sign {
    byte: u8,
    start: usize,
    end: usize,
}

/// The bytes with a star for each byte of every digit of a card number, whatever the bytes are. It takes time
/// that grows with their number only.
pub(crate) fn masked_body(body: &[u8]) -> Vec<u8> {
    let mut masked = body.to_vec();
    let mut reading: Vec<Sign> = (0..)
        .zip(body)
        .map(|(at, byte)| Sign {
            byte: *byte,
            start: at,
            end: at + 1,
        })
        .collect();
    star_cards(&reading, &mut masked);
    for _ in 0..UNDONE {
        reading = each(&reading, unescaped);
        star_cards(&reading, &mut masked);
    }
    masked
}

/// Writes stars over what a card number in a reading was read from.
fn star_cards(reading: &[Sign], masked: &mut [u8]) {
    let plain = each(reading, plain);
    let text: Vec<u8> = plain.iter().map(|sign| sign.byte).collect();
    for (start, end) in cards(&text, Gaps::Wide) {
        for digit in plain[start..end].iter().filter(|sign| sign.byte.is_ascii_digit()) {
            masked[digit.start..digit.end].fill(b'*');
        }
    }
}

/// Reads on from each place: what stands there, and how many signs that are.
fn each(reading: &[Sign], next: fn(&[u8]) -> (u8, usize)) -> Vec<Sign> {
    let text: Vec<u8> = reading.iter().map(|sign| sign.byte).collect();
    let mut read = Vec::with_capacity(reading.len());
    let mut at = 0;
    while at < reading.len() {
        let (byte, length) = next(&text[at..]);
        let last = (at + length.max(1)).min(reading.len());
        read.push(Sign {
            byte,
            start: reading[at].start,
            end: reading[last - 1].end,
        });
        at = last;
    }
    read
}

/// The first character with its escape undone.
fn unescaped(text: &[u8]) -> (u8, usize) {
    match text {
        [b'+', ..] => (b' ', 1),
        [b'%', high, low, ..] => match number(&[*high, *low], 16) {
            Some(byte) => (u8::try_from(byte).unwrap_or(OTHER), 3),
            None => (b'%', 1),
        },
        [b'\\', b'u', code @ ..] if code.len() >= 4 => match number(&code[..4], 16) {
            Some(code) => (of_code(code), 6),
            None => (b'u', 2),
        },
        [b'\\', b'x', high, low, ..] => match number(&[*high, *low], 16) {
            Some(code) => (of_code(code), 4),
            None => (b'x', 2),
        },
        [b'\\', b't', ..] => (b' ', 2),
        [b'\\', b'n' | b'r' | b'f' | b'b', ..] => (b'\n', 2),
        [b'\\', escaped, ..] => (*escaped, 2),
        [b'&', ..] => entity(text).unwrap_or((b'&', 1)),
        [first, ..] => (*first, 1),
        [] => (OTHER, 1),
    }
}

/// The escape of XML at the beginning.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    let named = NAMED.iter().find(|(name, _)| text.starts_with(name));
    if let Some((name, byte)) = named {
        return Some((*byte, name.len()));
    }
    // Long enough for every character.
    let length = text.iter().take(12).position(|byte| *byte == b';')?;
    let code = match &text[..length] {
        [b'&', b'#', b'x' | b'X', hex @ ..] => number(hex, 16)?,
        [b'&', b'#', decimal @ ..] => number(decimal, 10)?,
        _ => return None,
    };
    Some((of_code(code), length + 1))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, radix).ok()
}

fn of_code(code: u32) -> u8 {
    char::from_u32(code).map_or(OTHER, folded)
}

/// The first character as the plain one that it stands for.
fn plain(text: &[u8]) -> (u8, usize) {
    match text {
        [first, ..] if first.is_ascii() => (folded(char::from(*first)), 1),
        // Bytes that are no UTF-8 are read as Latin-1, which has one blank more.
        [0xa0, ..] => (b' ', 1),
        _ => {
            let whole = (2..=4.min(text.len())).find_map(|length| {
                let text = std::str::from_utf8(&text[..length]).ok()?;
                text.chars().next().map(|c| (folded(c), length))
            });
            whole.unwrap_or((OTHER, 1))
        }
    }
}

/// A character as the digit, blank, dash or dot that it stands for.
fn folded(c: char) -> u8 {
    let digit = |zero: char| u8::try_from(u32::from(c) - u32::from(zero)).map_or(OTHER, |digit| b'0' + digit);
    match c {
        '\u{ff10}'..='\u{ff19}' => digit('\u{ff10}'),
        '\u{660}'..='\u{669}' => digit('\u{660}'),
        '\u{6f0}'..='\u{6f9}' => digit('\u{6f0}'),
        '\t'
        | '\u{a0}'
        | '\u{ad}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200f}'
        | '\u{202f}'
        | '\u{205f}'
        | '\u{2060}'
        | '\u{3000}'
        | '\u{feff}' => b' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => b'-',
        '\u{b7}' | '\u{2022}' | '\u{2024}' | '\u{2027}' | '\u{ff0e}' => b'.',
        c if c.is_ascii() => u8::try_from(u32::from(c)).unwrap_or(OTHER),
        _ => OTHER,
    }
}
