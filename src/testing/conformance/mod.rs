//! Whether a transport does what the engine asks of one, tried against an endpoint that misbehaves.

mod answer;
mod connection;
mod request;
mod server;
mod trial;

use std::fmt;
use std::sync::Mutex;

use super::locked;
use crate::hook::Transport;
use trial::Bench;

/// Tries a transport against endpoints that behave well and badly, and says in what it breaks the contract of
/// [`Transport`]. `make` gives one anew for each rule.
///
/// ```no_run
/// use tillite::testing::transport_conformance;
/// use tillite::{SignedRequest, TransportOutcome};
///
/// # fn my_transport(_: &SignedRequest) -> TransportOutcome { TransportOutcome::Failed { why: "it is none".to_owned() } }
/// #[test]
/// fn my_transport_keeps_its_contract() {
///     let report = transport_conformance(|| my_transport);
///     assert!(report.is_clean(), "{report}");
/// }
/// ```
///
/// The endpoints are servers on 127.0.0.1 that this function starts and ends; the requests are of test mode. It
/// takes real time, a few seconds, since deadlines are among what it tries; a transport that keeps none is waited
/// for 3 seconds. It never panics: a panic of the transport is a violation. A send that never returns leaves its
/// thread behind.
///
/// Nothing is tried over https: whether certificates are checked, and by which roots, is the transport's own to test.
/// Names of headers are compared as HTTP does, small letters or not.
///
/// # Proxies
/// That no proxy is taken from the environment can only be tried where one stands in it. So
/// [`TransportRule::NoProxy`] is tried if `HTTP_PROXY`, `http_proxy`, `ALL_PROXY` or `all_proxy` is set and
/// `NO_PROXY` is not; run the test once more with `HTTP_PROXY=http://127.0.0.1:9`.
/// [`TransportReport::tried`] tells.
pub fn transport_conformance<T: Transport + 'static>(make: impl Fn() -> T) -> TransportReport {
    let bench = Bench::new(&make);
    let mut report = TransportReport {
        violations: Vec::new(),
        tried: Vec::new(),
    };
    for rule in TransportRule::ALL {
        if !trial::can_be_tried(*rule) {
            continue;
        }
        report.tried.push(*rule);
        bench.try_rule(*rule);
        // Through a proxy nothing arrives here, and everything else would be a consequence of it.
        if *rule == TransportRule::NoProxy && !bench.is_clean() {
            break;
        }
    }
    report.violations = bench.into_violations();
    report
}

/// What a transport is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TransportRule {
    /// No proxy is taken from the environment.
    NoProxy,
    /// One POST arrives, to the URL that was given, with the headers and the bytes that were given.
    ExactRequest,
    /// Every status is an answer, whatever it means.
    EveryStatus,
    /// Answers from 100 to 199 are waited past.
    InterimAnswers,
    /// A redirect is the answer.
    NoRedirect,
    /// `Retry-After` is handed on as it came.
    RetryAfter,
    /// A reply is not read much further than is kept of it, nor kept further than
    /// [`Answered::MAX_BODY`](crate::Answered::MAX_BODY).
    ShortReplies,
    /// The deadline ends whatever takes longer, what is sent and what is read.
    Deadline,
    /// The status counts, also if the body breaks off or does not come before the deadline.
    StatusCounts,
    /// A connection that breaks without an answer is a failure, and nothing is sent again.
    BrokenConnections,
    /// No cookie is sent.
    NoCookies,
    /// A name or a value with a line break, or with another character that no header has, is refused before
    /// anything is sent.
    NoInjection,
    /// What comes on a connection that is used again is never taken for the answer to a later request.
    OwnAnswers,
    /// Requests of several threads at the same time get the answers that are theirs.
    Threads,
    /// What is said of a failure repeats neither the value of a header nor the body.
    QuietFailures,
    /// It does not panic.
    NoPanic,
}

impl TransportRule {
    /// All of them, in the order in which they are tried.
    pub const ALL: &'static [TransportRule] = &[
        TransportRule::NoProxy,
        TransportRule::ExactRequest,
        TransportRule::EveryStatus,
        TransportRule::InterimAnswers,
        TransportRule::NoRedirect,
        TransportRule::RetryAfter,
        TransportRule::ShortReplies,
        TransportRule::Deadline,
        TransportRule::StatusCounts,
        TransportRule::BrokenConnections,
        TransportRule::NoCookies,
        TransportRule::NoInjection,
        TransportRule::OwnAnswers,
        TransportRule::Threads,
        TransportRule::QuietFailures,
        TransportRule::NoPanic,
    ];
}

/// In what a transport breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportViolation {
    /// The rule.
    pub rule: TransportRule,
    /// What was tried, what was expected and what came instead.
    pub what: String,
}

impl fmt::Display for TransportViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// What [`transport_conformance`] found; it prints one violation a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a report says nothing unless it is looked at"]
pub struct TransportReport {
    /// What the transport breaks, in the order in which it was tried.
    pub violations: Vec<TransportViolation>,
    /// The rules that it was tried by.
    pub tried: Vec<TransportRule>,
}

impl TransportReport {
    /// Whether nothing is broken of what was tried.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for TransportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.tried.len();
        if self.is_clean() {
            return write!(f, "the transport keeps the {rules} rules that it was tried by");
        }
        write!(f, "the transport breaks its contract:")?;
        self.violations
            .iter()
            .try_for_each(|violation| write!(f, "\n  {violation}"))
    }
}

/// Violations as they are found.
#[derive(Default)]
struct Found(Mutex<Vec<TransportViolation>>);

impl Found {
    fn add(&self, rule: TransportRule, what: String) {
        let violation = TransportViolation { rule, what };
        let mut found = locked(&self.0);
        if !found.contains(&violation) {
            found.push(violation);
        }
    }

    fn has(&self, rule: TransportRule) -> bool {
        locked(&self.0).iter().any(|found| found.rule == rule)
    }
}

#[cfg(test)]
mod tests;
