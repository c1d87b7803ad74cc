//! A transport on trial: how requests are sent by it, and what is noted of what comes back.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::server::{Manner, Received, Server, Step};
use super::{Found, TransportRule as Rule, TransportViolation};
use crate::hook::{Answered, SignedRequest, Transport, TransportOutcome};
use crate::id::Mode;
use crate::time::Timestamp;

/// The deadline of requests that are to end by it.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// How much later than its deadline a request may end before it counts as one that has none. Machines that test
/// are busy.
pub(super) const LATE: Duration = Duration::from_secs(3);

/// The deadline of all others.
pub(super) const PATIENT: Duration = Duration::from_secs(10);

const SIGNATURE: &str =
    "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5B";
const HEX_SIGNATURE: &str = "t=1700000000,v1=187fa68fb591cdee1668ab008795e53445eb0f7589433a23fd1910a021ceef15";
const BODY: &[u8] = br#"{"id":"evt_test_1","data":{"email":"ada@shop.example"}}"#;
const PRIVATE: &str = "ada@shop.example";

/// Whether a rule can be tried here.
pub(super) fn can_be_tried(rule: Rule) -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    rule != Rule::NoProxy
        || ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
            .into_iter()
            .any(is_set)
            && !["NO_PROXY", "no_proxy"].into_iter().any(is_set)
}

/// A transport at work, shared with the threads that send by it.
type Shared = Arc<dyn Transport>;

/// Where a transport is tried.
pub(super) struct Bench<'m> {
    make: Box<dyn Fn() -> Shared + 'm>,
    found: Found,
}

impl<'m> Bench<'m> {
    pub(super) fn new<T: Transport + 'static>(make: &'m impl Fn() -> T) -> Bench<'m> {
        Bench {
            make: Box::new(move || Arc::new(make())),
            found: Found::default(),
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        super::locked(&self.found.0).is_empty()
    }

    pub(super) fn into_violations(self) -> Vec<TransportViolation> {
        let found = self.found.0.into_inner();
        found.unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn try_rule(&self, rule: Rule) {
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)()));
        let Ok(transport) = made else {
            return self
                .found
                .add(Rule::NoPanic, "making the transport panicked".to_owned());
        };
        let trial = Trial {
            rule,
            transport,
            found: &self.found,
        };
        let tried = match rule {
            Rule::NoProxy => trial.no_proxy(),
            Rule::ExactRequest => trial.exact_request(),
            Rule::EveryStatus => trial.every_status(),
            Rule::InterimAnswers => trial.interim_answers(),
            Rule::NoRedirect => trial.no_redirect(),
            Rule::RetryAfter => trial.retry_after(),
            Rule::ShortReplies => trial.short_replies(),
            Rule::Deadline => trial.deadline(),
            Rule::StatusCounts => trial.status_counts(),
            Rule::BrokenConnections => trial.broken_connections(),
            Rule::NoCookies => trial.no_cookies(),
            Rule::NoInjection => trial.no_injection(),
            Rule::OwnAnswers => trial.own_answers(),
            Rule::Threads => trial.threads(),
            // Watched in every send.
            Rule::QuietFailures | Rule::NoPanic => Ok(()),
        };
        if let Err(error) = tried {
            self.found
                .add(rule, format!("it could not be tried: no server on 127.0.0.1: {error}"));
        }
    }
}

/// A transport and the rule that it is tried by.
pub(super) struct Trial<'b> {
    rule: Rule,
    transport: Shared,
    pub(super) found: &'b Found,
}

/// What an endpoint is told to do, and how that is called.
pub(super) type Told = (&'static str, fn() -> Vec<Step>);

/// What is said where something else was expected.
pub(super) fn shown(came: Option<&TransportOutcome>) -> String {
    match came {
        None => "nothing".to_owned(),
        Some(TransportOutcome::Answered(answer)) => format!("an answer, status {}", answer.status),
        Some(TransportOutcome::Failed { why }) => format!("a failure: {why:?}"),
    }
}

pub(super) fn status_of(came: Option<&TransportOutcome>) -> Option<u16> {
    match came {
        Some(TransportOutcome::Answered(answer)) => Some(answer.status),
        _ => None,
    }
}

impl Trial<'_> {
    pub(super) fn broken(&self, what: String) {
        self.found.add(self.rule, what);
    }

    /// Sends, in a thread of its own, so that one that never ends does not take the suite along. None if it did
    /// not end or panicked, which is noted.
    pub(super) fn send(&self, what: &str, request: SignedRequest) -> Option<TransportOutcome> {
        let limit = request.timeout + LATE;
        let private = private(&request);
        let (tell, told) = mpsc::channel();
        let transport = Arc::clone(&self.transport);
        let send = move || {
            let sent = catch_unwind(AssertUnwindSafe(|| transport.send(&request)));
            // Nobody listens any more if it came too late.
            tell.send(sent).unwrap_or_default();
        };
        if let Err(error) = thread::Builder::new().spawn(send) {
            self.broken(format!("{what}: it could not be tried: no thread: {error}"));
            return None;
        }
        let Ok(sent) = told.recv_timeout(limit) else {
            let over = LATE.as_secs();
            self.found.add(
                Rule::Deadline,
                format!("{what}: {over} s past its deadline there was no outcome"),
            );
            return None;
        };
        let Ok(outcome) = sent else {
            self.found.add(Rule::NoPanic, format!("{what}: it panicked"));
            return None;
        };
        if let TransportOutcome::Failed { why } = &outcome
            && private.iter().any(|part| why.contains(part))
        {
            self.found.add(
                Rule::QuietFailures,
                format!("{what}: the failure repeats a header's value or the body"),
            );
        }
        Some(outcome)
    }

    /// Sends to a path of a server, and expects this status.
    pub(super) fn expect(&self, what: &str, server: &Server, path: &str, status: u16) -> Option<Answered> {
        match self.send(what, to(server.address, path, PATIENT)) {
            Some(TransportOutcome::Answered(answer)) if answer.status == status => Some(answer),
            came => {
                self.broken(format!(
                    "{what}: expected status {status}, came {}",
                    shown(came.as_ref())
                ));
                None
            }
        }
    }

    /// Sends, and expects that it fails.
    pub(super) fn expect_failure(&self, what: &str, request: SignedRequest) {
        match self.send(what, request) {
            // What is missing then has been noted.
            Some(TransportOutcome::Failed { .. }) | None => {}
            came => self.broken(format!("{what}: expected a failure, came {}", shown(came.as_ref()))),
        }
    }
}

/// What no failure may repeat of a request: the beginning of each part of a header's value that is long enough to tell
/// it from a word, and what stands in the body.
fn private(request: &SignedRequest) -> Vec<String> {
    let values = request.headers.iter().flat_map(|(_, value)| value.split([' ', ',']));
    let told = values.filter(|part| part.len() >= 8);
    let beginning = |part: &str| part.chars().take(20).collect();
    told.map(beginning).chain([PRIVATE.to_owned()]).collect()
}

pub(super) fn answering(answer: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> io::Result<Server> {
    Server::start(Manner::Answering(Box::new(answer)))
}

/// A whole answer that leaves the connection open.
pub(super) fn say(status: &str, headers: &str, body: &str) -> Step {
    let length = match status.get(..3) {
        Some("204" | "304") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    Step::Say(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n{body}").into())
}

/// A request as the engine makes them.
pub(super) fn to(address: SocketAddr, path: &str, timeout: Duration) -> SignedRequest {
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "Tillite/conformance"),
        ("webhook-id", "evt_test_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", SIGNATURE),
        ("XPay-Signature", HEX_SIGNATURE),
    ];
    SignedRequest {
        url: format!("http://{address}{path}"),
        headers: headers.map(|(name, value)| (name, value.to_owned())).to_vec(),
        body: BODY.to_vec(),
        mode: Mode::Test,
        timeout,
        signed_at: Timestamp::from_millis_clamped(1_700_000_000_000),
    }
}
