//! One function a rule. Each starts the endpoint that it needs.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::server::{FLOOD, Manner, Received, Server, Step};
use super::{Found, TransportRule as Rule, TransportViolation};
use crate::hook::{Answered, SignedRequest, Transport, TransportOutcome};
use crate::id::Mode;
use crate::time::Timestamp;

/// The deadline of requests that are to end by it.
const SHORT: Duration = Duration::from_millis(300);

/// How much later than its deadline a request may end before it counts as one that has none. Machines that test
/// are busy.
const LATE: Duration = Duration::from_secs(3);

/// The deadline of all others.
const PATIENT: Duration = Duration::from_secs(10);

/// How much of a flood a transport may have let come: the buffers of the system take megabytes by themselves.
const FLOOD_MAX: u64 = FLOOD / 2;

/// A request that no network carries before somebody reads.
const UNREAD: usize = 32 << 20;

const SIGNATURE: &str =
    "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4= v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5B";
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
struct Trial<'b> {
    rule: Rule,
    transport: Shared,
    found: &'b Found,
}

/// What is said where something else was expected.
fn shown(came: Option<&TransportOutcome>) -> String {
    match came {
        None => "nothing".to_owned(),
        Some(TransportOutcome::Answered(answer)) => format!("an answer, status {}", answer.status),
        Some(TransportOutcome::Failed { why }) => format!("a failure: {why:?}"),
    }
}

fn status_of(came: Option<&TransportOutcome>) -> Option<u16> {
    match came {
        Some(TransportOutcome::Answered(answer)) => Some(answer.status),
        _ => None,
    }
}

impl Trial<'_> {
    fn broken(&self, what: String) {
        self.found.add(self.rule, what);
    }

    /// Sends, in a thread of its own, so that one that never ends does not take the suite along. None if it did
    /// not end or panicked, which is noted.
    fn send(&self, what: &str, request: SignedRequest) -> Option<TransportOutcome> {
        let limit = request.timeout + LATE;
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
        if let TransportOutcome::Failed { why } = &outcome {
            let secrets = [SIGNATURE, &SIGNATURE[..20], PRIVATE];
            if secrets.iter().any(|secret| why.contains(secret)) {
                self.found.add(
                    Rule::QuietFailures,
                    format!("{what}: the failure repeats the signature or the body"),
                );
            }
        }
        Some(outcome)
    }

    /// Sends to a path of a server, and expects this status.
    fn expect(&self, what: &str, server: &Server, path: &str, status: u16) -> Option<Answered> {
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
    fn expect_failure(&self, what: &str, request: SignedRequest) {
        match self.send(what, request) {
            // What is missing then has been noted.
            Some(TransportOutcome::Failed { .. }) | None => {}
            came => self.broken(format!("{what}: expected a failure, came {}", shown(came.as_ref()))),
        }
    }

    fn no_proxy(&self) -> io::Result<()> {
        let server = answering(|_| vec![say("204 No Content", "", "")])?;
        self.expect("a proxy stands in the environment", &server, "/", 204);
        if server.requests().is_empty() {
            self.broken("a proxy stands in the environment: nothing arrived at the endpoint itself".to_owned());
        }
        Ok(())
    }

    fn exact_request(&self) -> io::Result<()> {
        let all_bytes: Vec<u8> = (0..=255).chain(*b"\r\n\r\n0\r\n\r\n").collect();
        let bodies = [
            ("an empty body", Vec::new()),
            ("a body of every byte", all_bytes),
            (
                "a body of 200 KiB",
                (0..200 << 10).map(|n: u32| n.to_le_bytes()[0]).collect(),
            ),
        ];
        for (what, body) in bodies {
            let server = answering(|_| vec![say("200 OK", "", "ok")])?;
            let path = "/hook/a%2Fb/?x=1&y=%20z&t=a+b;c";
            let request = SignedRequest {
                body,
                ..to(server.address, path, PATIENT)
            };
            let came = self.send(what, request.clone());
            if status_of(came.as_ref()) != Some(200) {
                self.broken(format!("{what}: expected status 200, came {}", shown(came.as_ref())));
            }
            match server.requests().as_slice() {
                [received] => self.compare(what, &request, received, path, server.address),
                received => self.broken(format!("{what}: expected one request, came {}", received.len())),
            }
        }
        Ok(())
    }

    fn compare(&self, what: &str, sent: &SignedRequest, received: &Received, path: &str, address: SocketAddr) {
        if received.method != "POST" {
            self.broken(format!("{what}: expected POST, came {:?}", received.method));
        }
        if received.target != path {
            self.broken(format!(
                "{what}: expected the path {path:?}, came {:?}",
                received.target
            ));
        }
        if received.body != sent.body {
            let (expected, came) = (sent.body.len(), received.body.len());
            self.broken(format!(
                "{what}: expected its {expected} bytes, came {came} that differ"
            ));
        }
        let host = address.to_string();
        let given = sent.headers.iter().map(|(name, value)| (*name, value));
        for (name, value) in given.chain([("host", &host)]) {
            let lower = name.to_ascii_lowercase();
            let came: Vec<&str> = received.header(&lower).collect();
            if came != [value] {
                self.broken(format!("{what}: expected {name}: {value:?} once, came {came:?}"));
            }
        }
        for unasked in [
            "cookie",
            "authorization",
            "proxy-authorization",
            "content-encoding",
            "referer",
        ] {
            if received.header(unasked).next().is_some() {
                self.broken(format!("{what}: the header {unasked} came, which was not given"));
            }
        }
    }

    fn every_status(&self) -> io::Result<()> {
        let server = answering(|received| {
            let status = received.target.trim_start_matches('/');
            let body = if ["204", "304"].contains(&status) { "" } else { "said" };
            vec![say(status, "", body)]
        })?;
        for status in [
            200, 201, 202, 204, 304, 400, 401, 403, 404, 409, 410, 413, 429, 500, 502, 503, 504, 599,
        ] {
            let what = format!("the endpoint answers {status}");
            let answer = self.expect(&what, &server, &format!("/{status}"), status);
            let expected: &[u8] = if [204, 304].contains(&status) { b"" } else { b"said" };
            if answer.is_some_and(|answer| answer.body != expected) {
                self.broken(format!("{what}: the reply's body was not handed on"));
            }
        }
        Ok(())
    }

    fn interim_answers(&self) -> io::Result<()> {
        let server = answering(|received| {
            let first = match received.target.as_str() {
                "/100" => "HTTP/1.1 100 Continue\r\n\r\n",
                "/102" => "HTTP/1.1 102 Processing\r\n\r\n",
                _ => "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
            };
            vec![Step::Say(first.into()), say("410 Gone", "", "")]
        })?;
        for path in ["/100", "/102", "/103"] {
            let what = format!("the endpoint answers {} before 410", &path[1..]);
            self.expect(&what, &server, path, 410);
        }
        Ok(())
    }

    fn no_redirect(&self) -> io::Result<()> {
        for status in [301, 302, 303, 307, 308] {
            let elsewhere = answering(|_| vec![say("200 OK", "", "")])?;
            let there = elsewhere.address;
            let server = answering(move |received| match received.target.as_str() {
                "/far" => vec![say(
                    &status.to_string(),
                    &format!("Location: http://{there}/x\r\n"),
                    "moved",
                )],
                "/near" => vec![say(&status.to_string(), "Location: /x\r\n", "")],
                _ => vec![say("200 OK", "", "")],
            })?;
            for path in ["/far", "/near"] {
                let what = format!("the endpoint answers {status} with a Location");
                self.expect(&what, &server, path, status);
            }
            let followed = server.requests().iter().any(|received| received.target == "/x");
            if followed || !elsewhere.requests().is_empty() {
                self.broken(format!(
                    "the endpoint answers {status} with a Location: it was followed"
                ));
            }
        }
        Ok(())
    }

    fn retry_after(&self) -> io::Result<()> {
        let server = answering(|received| {
            let header = match received.target.as_str() {
                "/seconds" => "retry-after: 120\r\n",
                "/date" => "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
                _ => "",
            };
            vec![say("429 Too Many Requests", header, "")]
        })?;
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        for (path, expected) in [("/seconds", Some("120")), ("/date", Some(date)), ("/none", None)] {
            let what = format!("the endpoint answers 429 with Retry-After {expected:?}");
            if let Some(answer) = self.expect(&what, &server, path, 429)
                && answer.retry_after.as_deref() != expected
            {
                self.broken(format!("{what}: handed on was {:?}", answer.retry_after));
            }
        }
        Ok(())
    }

    fn short_replies(&self) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
        let plain = vec![b'x'; 16 << 10];
        let chunk = [b"4000\r\n", &plain[..], b"\r\n"].concat();
        let header = [b"X-More: ", &plain[..1_000], b"\r\n"].concat();
        let replies = [
            (
                "a body of a terabyte",
                format!("{head}Content-Length: 1099511627776\r\n\r\n"),
                plain.clone(),
            ),
            (
                "a body without an end, in chunks",
                format!("{head}Transfer-Encoding: chunked\r\n\r\n"),
                chunk,
            ),
            (
                "a body until the connection closes",
                format!("{head}Connection: close\r\n\r\n"),
                plain,
            ),
            ("headers without an end", head.to_owned(), header),
        ];
        for (what, head, piece) in replies {
            let has_body = head.ends_with("\r\n\r\n");
            let server = answering(move |_| vec![Step::Say(head.clone().into()), Step::Flood(piece.clone())])?;
            if has_body {
                if let Some(answer) = self.expect(what, &server, "/", 200) {
                    let (kept, most) = (answer.body.len(), Answered::MAX_BODY);
                    if kept > most || !answer.body.iter().all(|byte| *byte == b'x') {
                        self.broken(format!("{what}: expected the first bytes, at most {most}, came {kept}"));
                    }
                }
            } else {
                self.expect_failure(what, to(server.address, "/", PATIENT));
            }
            let read = server.flooded();
            if read > FLOOD_MAX {
                self.broken(format!("{what}: it was read on, {} MiB of it", read >> 20));
            }
        }
        Ok(())
    }

    fn deadline(&self) -> io::Result<()> {
        let deaf = Server::start(Manner::Deaf)?;
        let much = SignedRequest {
            body: vec![b'x'; UNREAD],
            ..to(deaf.address, "/", SHORT)
        };
        self.expect_failure("the endpoint does not read the request", much);
        let endings: [(&str, fn() -> Vec<Step>); 3] = [
            ("the endpoint does not answer", || {
                vec![Step::Wait(SHORT * 4 + LATE), Step::HangUp]
            }),
            ("the headers of the answer drip", || {
                vec![Step::Say(b"HTTP/1.1 200 OK\r\nX-Drip: ".to_vec()), Step::Drip(b"x")]
            }),
            ("the endpoint says that it is working on it, on and on", || {
                vec![Step::Drip(b"HTTP/1.1 102 Processing\r\n\r\n")]
            }),
        ];
        for (what, steps) in endings {
            // One that keeps no deadline is waited for once.
            if !self.found.has(Rule::Deadline) {
                let server = answering(move |_| steps())?;
                self.expect_failure(what, to(server.address, "/", SHORT));
            }
        }
        // Whether the answer counts whose body drips is the matter of another rule.
        self.dripping_body()?;
        Ok(())
    }

    fn dripping_body(&self) -> io::Result<Option<TransportOutcome>> {
        if self.found.has(Rule::Deadline) {
            return Ok(None);
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nslow";
        let dripping = answering(|_| vec![Step::Say(head.to_vec()), Step::Drip(b"x")])?;
        Ok(self.send("the body of the answer drips", to(dripping.address, "/", SHORT)))
    }

    fn status_counts(&self) -> io::Result<()> {
        let server = answering(|received| {
            let reply = match received.target.as_str() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                "/chunks" => "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n10\r\n",
                _ => "HTTP/1.1 202 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nno chunk\r\n",
            };
            vec![Step::Say(reply.into()), Step::HangUp]
        })?;
        for (path, status) in [("/length", 200), ("/chunks", 500), ("/garbage", 202)] {
            let what = format!("the body of a {status} breaks off");
            if let Some(answer) = self.expect(&what, &server, path, status)
                && !b"half".starts_with(&answer.body)
            {
                self.broken(format!(
                    "{what}: expected what came of it, came {} bytes",
                    answer.body.len()
                ));
            }
        }
        let came = self.dripping_body()?;
        // One that does not end has been noted.
        if came.is_some() && status_of(came.as_ref()) != Some(200) {
            let came = shown(came.as_ref());
            self.broken(format!(
                "the body of a 200 does not come before the deadline: expected status 200, came {came}"
            ));
        }
        Ok(())
    }

    fn broken_connections(&self) -> io::Result<()> {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        self.expect_failure("nobody listens", to(nobody, "/", PATIENT));
        let at_once = Server::start(Manner::HangingUp)?;
        self.expect_failure(
            "the endpoint hangs up before it reads",
            to(at_once.address, "/", PATIENT),
        );
        let endings: [(&str, &[u8]); 4] = [
            ("the endpoint hangs up without an answer", b""),
            ("the endpoint hangs up in the status line", b"HTTP/1.1 20"),
            ("the endpoint hangs up in the headers", b"HTTP/1.1 200 OK\r\nContent-Le"),
            ("the endpoint speaks another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        ];
        for (what, said) in endings {
            let server = answering(move |_| vec![Step::Say(said.to_vec()), Step::HangUp])?;
            self.expect_failure(what, to(server.address, "/", PATIENT));
            let requests = server.requests().len();
            if requests != 1 {
                self.broken(format!("{what}: expected one request, came {requests}"));
            }
        }
        // A connection that is used again is where clients repeat by themselves.
        let server = answering(|received| match received.index {
            0 => vec![say("204 No Content", "", "")],
            _ => vec![Step::HangUp],
        })?;
        let what = "the endpoint hangs up on the second request of a connection";
        self.expect(what, &server, "/1", 204);
        self.expect_failure(what, to(server.address, "/2", PATIENT));
        let repeated = server
            .requests()
            .iter()
            .filter(|received| received.target == "/2")
            .count();
        if repeated > 1 {
            self.broken(format!("{what}: it was sent {repeated} times"));
        }
        Ok(())
    }

    fn no_cookies(&self) -> io::Result<()> {
        let server = answering(|received| {
            let status = if received.index == 0 {
                "302 Found"
            } else {
                "204 No Content"
            };
            vec![say(status, "Set-Cookie: session=1; Path=/\r\nLocation: /x\r\n", "")]
        })?;
        for index in 0..4 {
            self.send(
                "the endpoint sets a cookie",
                to(server.address, &format!("/{index}"), PATIENT),
            );
        }
        if server
            .requests()
            .iter()
            .any(|received| received.header("cookie").next().is_some())
        {
            self.broken("the endpoint sets a cookie: it came back".to_owned());
        }
        Ok(())
    }

    fn no_injection(&self) -> io::Result<()> {
        let injections = [
            ("X-Plain", "a\r\nX-Injected: 1"),
            ("X-Plain", "a\nX-Injected: 1"),
            ("X-Plain", "a\rX-Injected: 1"),
            (
                "X-Plain",
                "a\r\n\r\nPOST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            ),
            ("X-Plain", "a\0b"),
            ("X-Plain\r\nX-Injected", "1"),
            ("X-Plain: 1\r\nX-Injected", "1"),
            ("X Plain", "1"),
        ];
        for (name, value) in injections {
            let server = answering(|_| vec![say("200 OK", "", "")])?;
            let mut request = to(server.address, "/", PATIENT);
            request.headers.push((name, value.to_owned()));
            let what = format!("the header {name:?} with the value {value:?}");
            self.expect_failure(&what, request);
            if !server.requests().is_empty() {
                self.broken(format!("{what}: a request was sent"));
            }
        }
        Ok(())
    }

    fn own_answers(&self) -> io::Result<()> {
        const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let long = "x".repeat(100 << 10);
        let firsts: [(&str, Box<dyn Fn() -> Vec<Step> + Send + Sync>); 5] = [
            (
                "an answer with a long body",
                Box::new(move || vec![say("410 Gone", "", &long)]),
            ),
            (
                "an answer with another behind it",
                Box::new(|| {
                    vec![Step::Say(
                        format!("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n{ACCEPTED}").into(),
                    )]
                }),
            ),
            (
                "an answer with a body and another answer behind it",
                Box::new(|| {
                    vec![Step::Say(
                        format!("HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\nno{ACCEPTED}").into(),
                    )]
                }),
            ),
            (
                "an answer, and the connection is closed",
                Box::new(|| vec![say("410 Gone", "", ""), Step::HangUp]),
            ),
            (
                "an answer that comes after the deadline",
                Box::new(|| vec![Step::Wait(SHORT * 2), Step::Say(ACCEPTED.into())]),
            ),
        ];
        for (what, first) in firsts {
            let server = answering(move |received| match received.index {
                0 => first(),
                _ => vec![say("500 Oh", "", "")],
            })?;
            self.send(what, to(server.address, "/1", SHORT));
            let came = self.send(what, to(server.address, "/2", PATIENT));
            // A connection that is closed under the request is a failure, and an honest one.
            if status_of(came.as_ref()).is_some_and(|status| status != 500) {
                self.broken(format!(
                    "{what}: expected the next request's own 500, came {}",
                    shown(came.as_ref())
                ));
            }
            let repeated = server
                .requests()
                .iter()
                .filter(|received| received.target == "/2")
                .count();
            if repeated > 1 {
                self.broken(format!("{what}: the next request was sent {repeated} times"));
            }
        }
        Ok(())
    }

    fn threads(&self) -> io::Result<()> {
        const EACH: usize = 10;
        let server = answering(|received| {
            let (status, body) = received.target[1..].split_once('/').unwrap_or_default();
            vec![say(status, "", body)]
        })?;
        thread::scope(|scope| {
            for status in [200, 404, 410, 503] {
                let server = &server;
                scope.spawn(move || {
                    for count in 0..EACH {
                        let said = format!("{status}-{count}");
                        let what = "requests of four threads at the same time";
                        let answer = self.expect(what, server, &format!("/{status}/{said}"), status);
                        if answer.is_some_and(|answer| answer.body != said.as_bytes()) {
                            self.broken(format!("{what}: one got the body of another's answer"));
                        }
                    }
                });
            }
        });
        Ok(())
    }
}

fn answering(answer: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static) -> io::Result<Server> {
    Server::start(Manner::Answering(Box::new(answer)))
}

/// A whole answer that leaves the connection open.
fn say(status: &str, headers: &str, body: &str) -> Step {
    let length = match status.get(..3) {
        Some("204" | "304") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    Step::Say(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n{body}").into())
}

/// A request as the engine makes them.
fn to(address: SocketAddr, path: &str, timeout: Duration) -> SignedRequest {
    let headers = [
        ("Content-Type", "application/json"),
        ("User-Agent", "Tillite/conformance"),
        ("webhook-id", "evt_test_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", SIGNATURE),
        ("XPay-Signature", "t=1700000000,v1=00ff"),
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
