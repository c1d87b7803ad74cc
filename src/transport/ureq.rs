use std::fmt;
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, config::Config};

use crate::address::{AddressPolicy, Forbidden};
use crate::hook::{Answered, SignedRequest, Transport, TransportOutcome};
use crate::id::Mode;

/// A transport over http and https, by the crate `ureq`.
///
/// ```no_run
/// use tillite::Engine;
/// use tillite::transport::UreqTransport;
///
/// # fn main() -> tillite::Result<()> {
/// let engine = Engine::builder()
///     .transport(UreqTransport::new())
///     .open("shop.db")?;
/// # Ok(())
/// # }
/// ```
///
/// Live webhooks go to public addresses only, test ones to loopback and private addresses too. The address that
/// is judged is the one that is dialled: names are judged by what they lead to for this connection, and an answer
/// of which one address is forbidden is refused as a whole. No redirect is followed, no cookie is kept or sent,
/// no proxy is taken from the environment, and a request is never repeated.
///
/// # The deadline
/// One deadline counts over the look-up of the name, the connection, TLS, what is sent and what is read, up to the
/// last byte of the reply that is kept. The operating system cannot be told to give a look-up up, so each runs in a
/// thread of its own; one that the system answers late is left behind, and its thread ends when the system's own
/// patience does.
///
/// # Connections
/// One that is free is used again for up to 15 seconds, for the mode that it was dialled for. At most 32 are kept per
/// mode: 16 times two to different receivers. Those that nobody uses again are closed when there are more, when
/// another request goes by the same place, by the receiver, or with the transport; after a burst of requests at the
/// same time some stay open until then.
///
/// # What it says of a failure
/// `TransportOutcome::Failed` begins with its class: `address`, `name`, `connection`, `tls`, `timeout`,
/// `protocol`, `url` or `header`. It repeats neither the URL nor a header's value, and says nothing of the addresses
/// that a name led to but what kind they are: it is kept among the attempts of the delivery, and who may read those
/// need not know the host's network.
#[derive(Debug)]
pub struct UreqTransport {
    test: Lane,
    live: Lane,
    live_needs_https: bool,
}

impl UreqTransport {
    /// Sends live webhooks to public addresses and test ones to private ones too, over http and https.
    #[must_use]
    pub fn new() -> UreqTransport {
        UreqTransport {
            test: Lane::new(AddressPolicy::PrivateToo),
            live: Lane::new(AddressPolicy::PublicOnly),
            live_needs_https: false,
        }
    }

    /// Where webhooks of a mode may go.
    #[must_use]
    pub fn addresses(mut self, mode: Mode, policy: AddressPolicy) -> Self {
        self.lane_mut(mode).policy = policy;
        self
    }

    /// Whether live webhooks leave by https only; if not said, they may leave by http.
    #[must_use]
    pub fn require_https(mut self, required: bool) -> Self {
        self.live_needs_https = required;
        self
    }

    /// Trusts these certificates in place of Mozilla's, each the DER of a root, for receivers with a
    /// certification authority of their own. What is no certificate is passed over.
    #[must_use]
    pub fn trust<T: AsRef<[u8]>>(mut self, roots: impl IntoIterator<Item = T>) -> Self {
        let roots = roots.into_iter();
        let roots: Vec<_> = roots
            .map(|root| Certificate::from_der(root.as_ref()).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        for mode in [Mode::Test, Mode::Live] {
            self.lane_mut(mode).tls = tls.clone();
        }
        self
    }

    fn lane_mut(&mut self, mode: Mode) -> &mut Lane {
        match mode {
            Mode::Test => &mut self.test,
            Mode::Live => &mut self.live,
        }
    }

    fn post(&self, signed: &SignedRequest) -> Result<Answered, String> {
        let request = request(signed)?;
        let is_live = signed.mode == Mode::Live;
        if is_live && self.live_needs_https && request.uri().scheme_str() != Some("https") {
            return Err("url: live webhooks leave by https only".to_owned());
        }
        let lane = if is_live { &self.live } else { &self.test };
        let agent = lane.agent(signed.timeout);
        let mut reply = match agent.run(request) {
            Ok(reply) => reply,
            Err(error) => {
                lane.give_back(agent, signed.timeout);
                return Err(why(&error, signed.timeout));
            }
        };
        let mut answer = Answered::status(reply.status().as_u16());
        let header = |name| reply.headers().get(name);
        if let Some(value) = header(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()) {
            answer = answer.retry_after(value);
        }
        let is_given_cookies = header(http::header::SET_COOKIE).is_some();
        // The status decides. If the body breaks off, the receiver has said all the same what it made of the
        // webhook.
        let mut body = Vec::new();
        let kept = reply.body_mut().as_reader().take(Answered::MAX_BODY as u64);
        let _: io::Result<usize> = io::BufReader::new(kept).read_to_end(&mut body);
        // If another crate of the program has switched ureq's cookies on, they are kept in the agent and nothing
        // can be done about it; so one that was given cookies is not used again.
        if !is_given_cookies {
            lane.give_back(agent, signed.timeout);
        }
        Ok(answer.body(body))
    }
}

impl Default for UreqTransport {
    fn default() -> Self {
        UreqTransport::new()
    }
}

impl Transport for UreqTransport {
    fn send(&self, request: &SignedRequest) -> TransportOutcome {
        match self.post(request) {
            Ok(answer) => TransportOutcome::Answered(answer),
            Err(why) => TransportOutcome::Failed { why },
        }
    }
}

/// How many agents wait for the next request, and so how many requests at the same time find a connection that
/// is open.
const IDLE_AGENTS: usize = 16;

/// How many connections an agent keeps open. It looks after them only when it is used, and those that were used in a
/// burst may rest long.
const IDLE_CONNECTIONS: usize = 2;

/// More than the head of any answer has.
const HEAD_MAX: usize = 16 * 1_024;

/// What the webhooks of one mode travel by. A connection that was dialled under one mode's policy never carries
/// the other's.
#[derive(Debug)]
struct Lane {
    policy: AddressPolicy,
    tls: TlsConfig,
    /// Each is one request's at a time, the last one that was used first: it has the open connections. With each
    /// stands the time that its requests have. It is the agent's and not the request's, since ureq keeps what TLS is
    /// set up with, the roots among it, for requests without settings of their own only.
    idle: Mutex<Vec<(Duration, Agent)>>,
}

impl Lane {
    fn new(policy: AddressPolicy) -> Lane {
        Lane {
            policy,
            tls: TlsConfig::default(),
            idle: Mutex::default(),
        }
    }

    /// An agent for requests that may take so long.
    fn agent(&self, timeout: Duration) -> Agent {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = idle.iter().rposition(|(known, _)| *known == timeout);
        let found = fits.map(|at| idle.remove(at).1);
        drop(idle);
        found.unwrap_or_else(|| {
            let guard = Guard {
                policy: self.policy,
                system: DefaultResolver::default(),
            };
            Agent::with_parts(self.config(timeout), DefaultConnector::default(), guard)
        })
    }

    fn give_back(&self, agent: Agent, timeout: Duration) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((timeout, agent));
        if idle.len() > IDLE_AGENTS {
            let oldest = idle.remove(0);
            // Its connections are closed while nobody waits for the lock.
            drop(idle);
            drop(oldest);
        }
    }

    /// Every status is an answer, redirects too; no header is sent but those that are given and those that HTTP
    /// needs.
    fn config(&self, timeout: Duration) -> Config {
        Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(1)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            // Beyond the greatest head, so that one that is too long is told from one that breaks off.
            .input_buffer_size(2 * HEAD_MAX)
            .output_buffer_size(HEAD_MAX)
            .max_response_header_size(HEAD_MAX)
            .tls_config(self.tls.clone())
            .build()
    }
}

/// Looks names up and lets nothing through that the policy forbids. What it answers is what is dialled.
#[derive(Debug)]
struct Guard<R> {
    policy: AddressPolicy,
    system: R,
}

impl<R: Resolver> Resolver for Guard<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let forbidden = |forbidden: Forbidden| ureq::Error::Other(Box::new(forbidden));
        self.policy
            .check_host(uri.host().unwrap_or_default())
            .map_err(forbidden)?;
        let found = self.system.resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(error) => ureq::Error::Other(Box::new(NotFound(error))),
            other => other,
        })?;
        for address in &found {
            self.policy.check(address.ip()).map_err(forbidden)?;
        }
        Ok(found)
    }
}

/// The system has no address for a name.
#[derive(Debug)]
struct NotFound(io::Error);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotFound {}

/// The request as it is given, or what of it cannot be sent.
fn request(signed: &SignedRequest) -> Result<Request<&[u8]>, String> {
    let uri: Uri = signed.url.parse().map_err(|_| "url: it is no URL".to_owned())?;
    // What stands before the host would become a header that nobody gave.
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("url: it has user information".to_owned());
    }
    let mut request = Request::new(&signed.body[..]);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = uri;
    for (name, value) in &signed.headers {
        let refused = || format!("header: {name:?} or its value has characters that no header has");
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let value = HeaderValue::from_str(value).map_err(|_| refused())?;
        request.headers_mut().append(known, value);
    }
    Ok(request)
}

/// Why nothing was answered, with its class first. Errors that repeat the URL are not quoted: it can hold a
/// receiver's secret.
fn why(error: &ureq::Error, timeout: Duration) -> String {
    use ureq::Error as E;

    if let E::Other(inner) = error
        && let Some(forbidden) = inner.downcast_ref::<Forbidden>()
    {
        return format!("address: {}", forbidden.why());
    }
    match error {
        E::Other(inner) if inner.is::<NotFound>() => format!("name: {inner}"),
        E::HostNotFound => "name: it has no address".to_owned(),
        E::Timeout(_) => format!("timeout: no answer within {} ms", timeout.as_millis()),
        E::Rustls(error) => tls(error),
        E::Tls(what) => format!("tls: {what}"),
        // So rustls speaks of a certificate, or of bytes that are no TLS; of the system's own errors none is that.
        E::Io(error) if error.kind() == io::ErrorKind::InvalidData => tls(error),
        E::Io(error) => format!("connection: {error}"),
        E::ConnectionFailed => "connection: it failed".to_owned(),
        E::Protocol(error) => format!("protocol: {error}"),
        E::LargeResponseHeader(..) => format!("protocol: the head of the answer is over {HEAD_MAX} bytes"),
        E::BadUri(_) => "url: it cannot be sent to".to_owned(),
        E::Http(_) => "header: the request cannot be written".to_owned(),
        other => format!("connection: {other}"),
    }
}

/// Why no connection of TLS came about. That a certificate is another's is said without its names and the one that was
/// wanted.
fn tls(error: &impl fmt::Display) -> String {
    let told = error.to_string();
    if told.contains("not valid for name") {
        return "tls: the certificate is for other names".to_owned();
    }
    format!("tls: {told}")
}

#[cfg(test)]
mod tests;
