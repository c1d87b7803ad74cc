use std::net::Ipv6Addr;

use http::Uri;

use crate::address::AddressPolicy;
use crate::error::{Error, Invalid};

const MAX: usize = 2_048;

/// An absolute http or https URL, kept as it was given.
///
/// The rules are checked on the raw text first, since a lenient parser repairs what a browser
/// would read differently: no white space, no control character, no backslash, no user
/// information, no braces in the host, at most 2,048 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    raw: String,
    scheme_is_https: bool,
    host: String,
    port: Option<u16>,
}

impl Url {
    pub(crate) fn parse(field: &str, raw: &str) -> Result<Url, Error> {
        let refused = |found: &str| -> Error {
            Invalid::new(
                field,
                found,
                "an absolute http or https URL with a host, without user information, white space, \
                 control characters or backslashes, at most 2048 characters",
            )
            .into()
        };
        if raw.chars().count() > MAX {
            return Err(refused(&format!("{} characters", raw.chars().count())));
        }
        if raw.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(refused("white space, a control character or a backslash"));
        }
        let scheme_is_https = match raw.split_once("://").map(|(scheme, _)| scheme) {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(refused(raw)),
        };
        let after_scheme = raw.split_once("://").map_or("", |(_, rest)| rest);
        let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or("");
        if authority.contains('@') {
            return Err(refused("user information before the host"));
        }
        if authority.contains(['{', '}', '%']) {
            return Err(refused("braces or escapes in the host"));
        }
        // The template parameter is put in later; for the parser's check it stands for its value.
        let uri: Uri = raw.replace(['{', '}'], "_").parse().map_err(|_| refused(raw))?;
        let host = uri.host().unwrap_or("").to_ascii_lowercase();
        // What follows the host is a port in range, or nothing; the parser takes anything in brackets
        // for an address.
        let behind_host = authority.get(host.len()..).unwrap_or("");
        let has_digits = behind_host.len() > 1 && behind_host[1..].bytes().all(|byte| byte.is_ascii_digit());
        let port = uri.port_u16().filter(|port| *port > 0 && has_digits);
        let is_no_port = !behind_host.is_empty() && port.is_none();
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_no_address = in_brackets.is_some_and(|address| address.parse::<Ipv6Addr>().is_err());
        if host.is_empty() || is_no_port || is_no_address {
            return Err(refused(raw));
        }
        super::no_card(field, raw)?;
        Ok(Url {
            raw: raw.to_owned(),
            scheme_is_https,
            host,
            port,
        })
    }

    /// The URL of a webhook endpoint, whose host is no address that no webhook can be meant for, such as a
    /// link-local one. Whether a private address may be dialled is the transport's to say.
    pub(crate) fn parse_endpoint(field: &str, raw: &str) -> Result<Url, Error> {
        let url = Url::parse(field, raw)?;
        if AddressPolicy::PrivateToo.check_host(&url.host).is_err() {
            let allowed = "a host by name, or a public, loopback or private address";
            return Err(Invalid::new(field, &url.host, allowed).into());
        }
        Ok(url)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.raw
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme_is_https
    }

    /// Whether the host is a name or address of the machine itself.
    pub(crate) fn is_localhost(&self) -> bool {
        let host = self.host.trim_end_matches('.');
        host == "localhost"
            || host.ends_with(".localhost")
            || host.starts_with("127.")
            || host == "[::1]"
            || host == "0.0.0.0"
    }

    /// Scheme and host in lower case, without a default port: equal for URLs of one place.
    pub(crate) fn key(&self) -> String {
        let (scheme, rest) = self.raw.split_once("://").unwrap_or(("", &self.raw));
        let rest = rest.split('#').next().unwrap_or("");
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let path = &rest[split..];
        let scheme = scheme.to_ascii_lowercase();
        let default_port = if self.scheme_is_https { 443 } else { 80 };
        let port = self.port.filter(|port| *port != default_port);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{scheme}://{}{port}{slash}{path}", self.host)
    }
}
