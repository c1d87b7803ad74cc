//! JoPay: `X-JoPay-Signature: t=<seconds>,v1=<hex>`. The service's own sample reads the first two
//! elements by position, so that the first `v1` is the one it checks.

use super::{Header, Presented, Reason, read_timestamped};
#[cfg(any(test, feature = "engine"))]
use super::{Signing, timestamped};

#[cfg(any(test, feature = "engine"))]
pub(super) fn headers(signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let value = timestamped(&signing.old_then_new(), signing.seconds, signing.body);
    vec![("X-JoPay-Signature", value)]
}

pub(super) fn read<'h>(header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    read_timestamped(header, "x-jopay-signature")
}
