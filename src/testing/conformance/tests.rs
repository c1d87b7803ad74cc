//! The suite against a client that is written out here and can be told to be bad at one thing.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::trial::Bench;
use super::{TransportRule as Rule, TransportViolation, transport_conformance};
use crate::hook::{Answered, SignedRequest, Transport, TransportOutcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    TakesProxies,
    TrimsBodies,
    LosesQueries,
    Gets,
    DoublesHeaders,
    AddsReferer,
    ErrorsFail,
    TakesInterimAnswers,
    FollowsRedirects,
    LosesRetryAfter,
    TrimsRetryAfter,
    ReadsAll,
    KeepsAll,
    HasNoDeadline,
    TimesReadsOnly,
    BodiesDecide,
    SendsAgain,
    BelievesGarbage,
    KeepsCookies,
    WritesHeadersRaw,
    CleansHeaders,
    MixesAnswers,
    MixesThreads,
    RepeatsSecrets,
    RepeatsHeader(usize),
    Panics,
}

/// A client over the standard library, with nothing but what the rules need.
struct Client {
    fault: Fault,
    cookie: Mutex<Option<String>>,
    /// The connection that is used again by a client that should not.
    kept: Mutex<BTreeMap<String, Connection>>,
    answered: Mutex<Vec<Answered>>,
}

struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
    deadline: Option<Instant>,
    per_read: bool,
}

impl Client {
    fn new(fault: Fault) -> Client {
        Client {
            fault,
            cookie: Mutex::default(),
            kept: Mutex::default(),
            answered: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn post(&self, request: &SignedRequest) -> io::Result<Answered> {
        let no_header = |text: &str| text.contains(['\r', '\n', '\0']);
        let is_bad = |(name, value): &(&str, String)| no_header(name) || name.contains([' ', ':']) || no_header(value);
        let is_raw = self.is(Fault::WritesHeadersRaw) || self.is(Fault::CleansHeaders);
        if !is_raw && request.headers.iter().any(is_bad) {
            return Err(io::Error::other("a header with a line break"));
        }
        let rest = request.url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        self.exchange(request, host, path)
    }

    fn connect(&self, host: &str, timeout: Duration) -> io::Result<Connection> {
        let proxy = env::var("HTTP_PROXY").ok().filter(|_| self.is(Fault::TakesProxies));
        let dialled = proxy
            .as_deref()
            .map_or(host, |proxy| proxy.trim_start_matches("http://"));
        let stream = TcpStream::connect_timeout(&dialled.to_socket_addrs()?.next().unwrap(), timeout)?;
        Ok(Connection {
            stream,
            ahead: Vec::new(),
            deadline: (!self.is(Fault::HasNoDeadline)).then(|| Instant::now() + timeout),
            per_read: self.is(Fault::TimesReadsOnly),
        })
    }

    fn exchange(&self, request: &SignedRequest, host: &str, path: &str) -> io::Result<Answered> {
        let kept = self.kept.lock().unwrap().remove(host);
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect(host, request.timeout)?,
        };
        connection.write(&self.written(request, host, path))?;
        let (status, headers) = loop {
            let head = connection.head()?;
            let mut lines = head.split("\r\n");
            let first = lines.next().unwrap_or_default();
            let status = first
                .strip_prefix("HTTP/1.1 ")
                .and_then(|rest| rest.get(..3)?.parse().ok());
            let status: u16 = match status {
                Some(status) => status,
                None if self.is(Fault::BelievesGarbage) => 200,
                None => return Err(io::Error::other("not HTTP")),
            };
            let headers = lines.filter_map(|line| line.split_once(": "));
            let headers: BTreeMap<String, String> = headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            if status >= 200 || self.is(Fault::TakesInterimAnswers) {
                break (status, headers);
            }
        };
        if self.is(Fault::KeepsCookies) {
            *self.cookie.lock().unwrap() = headers.get("set-cookie").cloned();
        }
        if self.is(Fault::FollowsRedirects)
            && let Some(place) = headers.get("location")
        {
            let there = place.strip_prefix("http://").unwrap_or(host);
            let host = there.split('/').next().unwrap();
            return self.exchange(request, host, "/x");
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok());
        let wanted: usize = match length {
            _ if headers.contains_key("transfer-encoding") => 0,
            Some(length) if self.is(Fault::ReadsAll) || self.is(Fault::KeepsAll) => length,
            None if matches!(status, ..200 | 204 | 304) => 0,
            length => length.unwrap_or(usize::MAX).min(Answered::MAX_BODY),
        };
        let (mut body, broken) = connection.body(wanted);
        if self.is(Fault::BodiesDecide) {
            broken?;
        }
        if !self.is(Fault::KeepsAll) {
            body.truncate(Answered::MAX_BODY);
        }
        if self.is(Fault::ErrorsFail) && status >= 400 {
            return Err(io::Error::other(format!("status {status}")));
        }
        if self.is(Fault::MixesAnswers) {
            self.kept.lock().unwrap().insert(host.to_owned(), connection);
        }
        let answer = Answered::status(status).body(body);
        Ok(match headers.get("retry-after") {
            Some(value) if self.is(Fault::TrimsRetryAfter) => answer.retry_after(&value[..3]),
            Some(value) if !self.is(Fault::LosesRetryAfter) => answer.retry_after(value),
            _ => answer,
        })
    }

    fn written(&self, request: &SignedRequest, host: &str, path: &str) -> Vec<u8> {
        let method = if self.is(Fault::Gets) { "GET" } else { "POST" };
        let path = if self.is(Fault::LosesQueries) {
            path.split('?').next().unwrap()
        } else {
            path
        };
        let body = if self.is(Fault::TrimsBodies) {
            request.body.trim_ascii()
        } else {
            &request.body
        };
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n",
            body.len()
        );
        let mut header = |name: &str, value: &str| {
            let is_cleaned = self.is(Fault::CleansHeaders);
            let clean = |text: &str| {
                if is_cleaned {
                    text.replace(['\r', '\n', ' ', '\0'], "")
                } else {
                    text.to_owned()
                }
            };
            head += &[&clean(name), ": ", &clean(value), "\r\n"].concat();
        };
        for (name, value) in &request.headers {
            header(name, value);
            if self.is(Fault::DoublesHeaders) {
                header(name, value);
            }
        }
        if let Some(cookie) = self.cookie.lock().unwrap().as_deref() {
            header("Cookie", cookie);
        }
        if self.is(Fault::AddsReferer) {
            header("Referer", "shop.example");
        }
        [head.as_bytes(), b"\r\n", body].concat()
    }
}

impl Connection {
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        if self.per_read {
            return Ok(Some(Duration::from_millis(400)));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(left))
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(self.left()?)?;
            let count = self.stream.write(bytes)?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.stream.set_read_timeout(self.left()?)?;
        let mut piece = [0; 16 << 10];
        let count = self.stream.read(&mut piece)?;
        self.ahead.extend_from_slice(&piece[..count]);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if self.ahead.len() > 64 << 10 {
                return Err(io::Error::other("a head without an end"));
            }
            self.read_on()?;
        }
    }

    /// What came of a body, and whether it came whole.
    fn body(&mut self, wanted: usize) -> (Vec<u8>, io::Result<()>) {
        let mut read = Ok(());
        while self.ahead.len() < wanted && read.is_ok() {
            read = self.read_on();
        }
        let length = self.ahead.len().min(wanted);
        (self.ahead.drain(..length).collect(), read)
    }
}

impl Transport for Client {
    fn send(&self, request: &SignedRequest) -> TransportOutcome {
        assert!(!self.is(Fault::Panics), "told to panic");
        let mut sent = self.post(request);
        if self.is(Fault::SendsAgain) && sent.is_err() {
            sent = self.post(request);
        }
        match sent {
            Ok(answer) if self.is(Fault::MixesThreads) => {
                let mut answered = self.answered.lock().unwrap();
                answered.push(answer);
                TransportOutcome::Answered(answered[answered.len() / 2].clone())
            }
            Ok(answer) => TransportOutcome::Answered(answer),
            Err(error) if self.is(Fault::RepeatsSecrets) => TransportOutcome::Failed {
                why: format!("{error}: {request:?}"),
            },
            Err(error) => TransportOutcome::Failed {
                why: match self.fault {
                    Fault::RepeatsHeader(at) => format!("{error}: {}", request.headers[at].1),
                    _ => error.to_string(),
                },
            },
        }
    }
}

/// What is found of a client that is tried by one rule.
fn violations(fault: Fault, rule: Rule) -> Vec<TransportViolation> {
    let make = move || Client::new(fault);
    let bench = Bench::new(&make);
    bench.try_rule(rule);
    bench.into_violations()
}

#[test]
fn a_client_that_does_what_is_asked_is_found_clean() {
    let report = transport_conformance(|| Client::new(Fault::None));
    assert!(report.is_clean(), "{report}");
    assert!(report.tried.len() >= Rule::ALL.len() - 1);
}

#[test]
fn what_a_client_is_bad_at_is_found() {
    let faults = [
        (Fault::TrimsBodies, Rule::ExactRequest),
        (Fault::LosesQueries, Rule::ExactRequest),
        (Fault::Gets, Rule::ExactRequest),
        (Fault::DoublesHeaders, Rule::ExactRequest),
        (Fault::AddsReferer, Rule::ExactRequest),
        (Fault::ErrorsFail, Rule::EveryStatus),
        (Fault::TakesInterimAnswers, Rule::InterimAnswers),
        (Fault::FollowsRedirects, Rule::NoRedirect),
        (Fault::LosesRetryAfter, Rule::RetryAfter),
        (Fault::TrimsRetryAfter, Rule::RetryAfter),
        (Fault::ReadsAll, Rule::ShortReplies),
        (Fault::KeepsAll, Rule::ShortReplies),
        (Fault::HasNoDeadline, Rule::Deadline),
        (Fault::TimesReadsOnly, Rule::Deadline),
        (Fault::BodiesDecide, Rule::StatusCounts),
        (Fault::SendsAgain, Rule::BrokenConnections),
        (Fault::BelievesGarbage, Rule::BrokenConnections),
        (Fault::KeepsCookies, Rule::NoCookies),
        (Fault::WritesHeadersRaw, Rule::NoInjection),
        (Fault::CleansHeaders, Rule::NoInjection),
        (Fault::MixesAnswers, Rule::OwnAnswers),
        (Fault::MixesThreads, Rule::Threads),
    ];
    for (fault, rule) in faults {
        let found = violations(fault, rule);
        assert!(
            found.iter().any(|violation| violation.rule == rule),
            "{fault:?}: {found:?}"
        );
        assert!(
            found.iter().all(|violation| !violation.what.is_empty()),
            "{fault:?}: {found:?}"
        );
    }
}

#[test]
fn what_every_send_is_watched_for_is_found_in_any_of_them() {
    let found = violations(Fault::Panics, Rule::EveryStatus);
    assert!(
        found.iter().any(|violation| violation.rule == Rule::NoPanic),
        "{found:?}"
    );
    let found = violations(Fault::RepeatsSecrets, Rule::BrokenConnections);
    assert!(
        found.iter().any(|violation| violation.rule == Rule::QuietFailures),
        "{found:?}"
    );
    for at in 0..6 {
        let found = violations(Fault::RepeatsHeader(at), Rule::BrokenConnections);
        assert!(
            found.iter().any(|violation| violation.rule == Rule::QuietFailures),
            "header {at}: {found:?}"
        );
    }
    let report = transport_conformance(|| -> Client { panic!("told to panic") });
    assert_eq!(report.violations.len(), 1, "{report}");
    assert_eq!(report.violations[0].rule, Rule::NoPanic);
}

#[test]
fn a_report_says_what_is_broken_a_line_each() {
    let found = violations(Fault::LosesRetryAfter, Rule::RetryAfter);
    let report = super::TransportReport {
        violations: found,
        tried: vec![Rule::RetryAfter],
    };
    let said = report.to_string();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("RetryAfter: the endpoint answers 429 with Retry-After Some(\"120\"): handed on was None"));
}

#[test]
fn a_proxy_of_the_environment_is_found_and_ends_the_trial() {
    const NAME: &str = "testing::conformance::tests::a_proxy_of_the_environment_is_found_and_ends_the_trial";
    if env::var_os("TILLITE_PROXIED").is_some() {
        let report = transport_conformance(|| Client::new(Fault::TakesProxies));
        assert_eq!(report.tried, [Rule::NoProxy]);
        assert!(
            report
                .violations
                .iter()
                .all(|violation| violation.rule == Rule::NoProxy)
        );
        assert!(!report.is_clean());
        let report = transport_conformance(|| Client::new(Fault::None));
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.tried, Rule::ALL);
        return;
    }
    let child = std::process::Command::new(env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env("TILLITE_PROXIED", "1")
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(
        String::from_utf8_lossy(&child.stdout).contains("1 passed"),
        "the other process ran no test"
    );
}
