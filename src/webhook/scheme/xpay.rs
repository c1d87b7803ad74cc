//! XPay: `XPay-Signature: t=<seconds>,v1=<hex>`. The service's own samples make a map of the header's
//! elements, so that the last `v1` is the one they check.

use super::{Header, Presented, Reason, read_timestamped};
#[cfg(any(test, feature = "engine"))]
use super::{Signing, timestamped};

#[cfg(any(test, feature = "engine"))]
pub(super) fn headers(signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let value = timestamped(&signing.new_then_old(), signing.seconds, signing.body);
    vec![("XPay-Signature", value)]
}

pub(super) fn read<'h>(header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    read_timestamped(header, "xpay-signature")
}
