//! Standard Webhooks 1.0.0: id, time and body are signed, and the header holds a list with spaces
//! between: `v1,<base64 HMAC-SHA256>` per secret, then `v1a,<base64 Ed25519>` per key pair.

use data_encoding::BASE64;
#[cfg(any(test, feature = "engine"))]
use hmac::Mac as _;

#[cfg(any(test, feature = "engine"))]
use super::Signing;
use super::{Code, Header, Key, Presented, Reason, bounded, decoded_signatures, parsed_seconds};
#[cfg(any(test, feature = "engine"))]
use crate::webhook::key::{decoded_key, mac};

#[cfg(any(test, feature = "engine"))]
pub(super) fn headers(signing: &Signing<'_>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("webhook-id", signing.id.to_owned()),
        ("webhook-timestamp", signing.seconds.to_string()),
    ];
    headers.extend(signatures(signing).map(|list| ("webhook-signature", list)));
    headers
}

/// The value of `webhook-signature`. Secrets that are no key of Standard Webhooks are left out; none if
/// that leaves no signature.
#[cfg(any(test, feature = "engine"))]
pub(in crate::webhook) fn signatures(signing: &Signing<'_>) -> Option<String> {
    let time = signing.seconds.to_string();
    let parts = [signing.id.as_bytes(), b".", time.as_bytes(), b".", signing.body];
    let keys = signing.shared().filter_map(|secret| decoded_key(secret).ok());
    let codes = keys.map(|key| format!("v1,{}", BASE64.encode(&mac(&key, &parts).finalize().into_bytes())));
    #[allow(unused_mut, reason = "there are more with the feature ed25519")]
    let mut list: Vec<String> = codes.collect();
    #[cfg(feature = "engine")]
    {
        use crate::webhook::ed25519;
        let pairs = signing.secrets.iter().filter(|secret| ed25519::is_signing_key(secret));
        let message = parts.concat();
        list.extend(pairs.filter_map(|pair| Some(format!("v1a,{}", ed25519::sign(pair, &message)?))));
    }
    (!list.is_empty()).then(|| list.join(" "))
}

/// Reads the three headers. Of the list, only what the keys can check has to be there and well spelled.
pub(super) fn read<'h>(keys: &[Key], header: Header<'_, 'h>) -> Result<Presented<'h>, Reason> {
    let id = bounded(header, "webhook-id")?;
    let time = bounded(header, "webhook-timestamp")?;
    let list = bounded(header, "webhook-signature")?;
    if id.is_empty() || id.contains('.') {
        return Err(Reason::BadId);
    }
    let seconds = parsed_seconds(time)?;
    let codes = || decoded_signatures(list.split(' '), "v1,", &BASE64, Code::Sha256.len());
    let presented = |codes| Presented {
        prefix: vec![id, ".", time, "."],
        seconds: Some(seconds),
        code: Code::Sha256,
        codes,
        #[cfg(feature = "ed25519")]
        signatures: Vec::new(),
    };
    #[cfg(feature = "ed25519")]
    if keys.iter().any(|key| matches!(key, Key::Public(_))) {
        let len = crate::webhook::ed25519::SIGNATURE_LEN;
        let signatures = decoded_signatures(list.split(' '), "v1a,", &BASE64, len);
        let shared = keys.iter().any(|key| matches!(key, Key::Shared(_)));
        // With keys of both kinds, either kind of signature will do.
        let (codes, signatures) = match (shared.then(codes), signatures) {
            (None, signatures) => (Vec::new(), signatures?),
            (Some(Err(Reason::NoSignature(_))), signatures) => (Vec::new(), signatures?),
            (Some(codes), Err(Reason::NoSignature(_))) => (codes?, Vec::new()),
            (Some(codes), signatures) => (codes?, signatures?),
        };
        return Ok(Presented {
            signatures,
            ..presented(codes)
        });
    }
    #[cfg(not(feature = "ed25519"))]
    let _ = keys;
    Ok(presented(codes()?))
}
