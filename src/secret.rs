//! Text that must not be shown.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, such as the `whsec_…` with which a webhook is signed.
///
/// It prints as `Secret(***)`, is wiped from memory when dropped, and has neither `==` nor a
/// serialised form: comparing secrets takes constant time or is a leak, and writing one down has
/// to be asked for with [`Secret::expose`]. Only this copy is wiped; the text it was made from is
/// the caller's.
///
/// ```
/// let secret = tillite::Secret::new("whsec_test");
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// assert_eq!(secret.expose(), "whsec_test");
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret from its text, taken as it is: nothing is trimmed or decoded.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// `Secret(***)`, whatever the text.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
