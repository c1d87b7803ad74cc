//! xPay subscriptions: `xpay-signature: <base64 HMAC-SHA512 of the body>`, and nothing else. HTTP takes
//! this name and that of XPay for one, so an endpoint speaks one of the two. There is room for one
//! signature: the old secret's, until the overlap ends.

use data_encoding::BASE64;
#[cfg(any(test, feature = "engine"))]
use hmac::Mac as _;

#[cfg(any(test, feature = "engine"))]
use super::Signing;
use super::{Code, Header, Presented, Reason, bounded, decoded_signatures};
#[cfg(any(test, feature = "engine"))]
use crate::webhook::key::mac_sha512;

#[cfg(any(test, feature = "engine"))]
pub(super) fn headers(signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let oldest = signing.old_then_new().into_iter().next();
    let code = |secret: &crate::secret::Secret| mac_sha512(secret.expose().as_bytes(), signing.body).finalize();
    let value = oldest.map(|secret| BASE64.encode(&code(secret).into_bytes()));
    value.into_iter().map(|value| ("xpay-signature", value)).collect()
}

pub(super) fn read<'h>(header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    let value = bounded(header, "xpay-signature")?;
    Ok(Presented {
        prefix: Vec::new(),
        seconds: None,
        code: Code::Sha512,
        codes: decoded_signatures([value].into_iter(), "", &BASE64, Code::Sha512.len())?,
        #[cfg(feature = "ed25519")]
        signatures: Vec::new(),
    })
}
