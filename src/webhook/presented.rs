//! What the headers of a webhook say, before any of it is believed.

use data_encoding::Encoding;
use hmac::Mac as _;

use super::Reason;
use super::key::{Key, mac, mac_sha512};

/// Looks a header up by its lower-case name.
pub(super) type Header<'a, 'h> = &'a dyn Fn(&str) -> Option<&'h str>;

/// What a webhook presents: that somebody who has the key signed this, and when.
pub(super) struct Presented<'h> {
    /// What is signed in front of the body. A time stands here as it was written, since that is what was
    /// signed.
    pub(super) prefix: Vec<&'h str>,
    /// When it was signed; none in a format without a time.
    pub(super) seconds: Option<i64>,
    pub(super) code: Code,
    /// Codes, each as long as those of the kind are.
    pub(super) codes: Vec<Vec<u8>>,
    /// Ed25519 signatures.
    #[cfg(feature = "ed25519")]
    pub(super) signatures: Vec<Vec<u8>>,
}

/// The code that a format signs with.
#[derive(Clone, Copy)]
pub(super) enum Code {
    Sha256,
    Sha512,
}

impl Code {
    pub(super) const fn len(self) -> usize {
        match self {
            Code::Sha256 => 32,
            Code::Sha512 => 64,
        }
    }
}

impl Presented<'_> {
    /// Whether a signature fits the key. No candidate is left out once one fits, and each code is compared
    /// in constant time.
    pub(super) fn is_signed_by(&self, key: &Key, body: &[u8]) -> bool {
        let parts: Vec<&[u8]> = self.prefix.iter().map(|part| part.as_bytes()).chain([body]).collect();
        match (key, self.code) {
            (Key::Shared(key), Code::Sha256) => {
                let expected = mac(key, &parts);
                any(&self.codes, |code| expected.clone().verify_slice(code).is_ok())
            }
            (Key::Shared(key), Code::Sha512) => {
                let expected = mac_sha512(key, &parts.concat());
                any(&self.codes, |code| expected.clone().verify_slice(code).is_ok())
            }
            #[cfg(feature = "ed25519")]
            (Key::Public(public), _) => {
                let message = parts.concat();
                any(&self.signatures, |signature| {
                    super::ed25519::is_signed(public, &message, signature)
                })
            }
        }
    }
}

fn any(candidates: &[Vec<u8>], fits: impl Fn(&[u8]) -> bool) -> bool {
    candidates
        .iter()
        .fold(false, |matched, candidate| matched | fits(candidate))
}

/// The value of a header that has to be there.
pub(super) fn bounded<'h>(header: Header<'_, 'h>, name: &'static str) -> Result<&'h str, Reason> {
    match header(name) {
        None => Err(Reason::MissingHeader(name)),
        Some(value) if value.len() > HEADER_MAX => Err(Reason::HeaderTooLong(name, value.len())),
        Some(value) => Ok(value),
    }
}

pub(super) fn parsed_seconds(text: &str) -> Result<i64, Reason> {
    // A sign would be parsed too, and no sender writes one.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::BadTimestamp);
    }
    text.parse().map_err(|_| Reason::BadTimestamp)
}

/// The signatures among the elements of a header: those behind `mark`, of one length, in one spelling.
pub(super) fn decoded_signatures<'h>(
    elements: impl Iterator<Item = &'h str>,
    mark: &'static str,
    spelling: &Encoding,
    len: usize,
) -> Result<Vec<Vec<u8>>, Reason> {
    let candidates: Vec<&str> = elements.filter_map(|element| element.strip_prefix(mark)).collect();
    match candidates.len() {
        0 => return Err(Reason::NoSignature(mark)),
        1..=CANDIDATES_MAX => {}
        found => return Err(Reason::TooManySignatures(mark, found)),
    }
    candidates
        .iter()
        .map(|candidate| {
            let bytes = spelling.decode(candidate.as_bytes()).ok();
            bytes
                .filter(|bytes| bytes.len() == len)
                .ok_or(Reason::MalformedSignature(mark))
        })
        .collect()
}

pub(super) const HEADER_MAX: usize = 1_024;
pub(super) const CANDIDATES_MAX: usize = 16;
