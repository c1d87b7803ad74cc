//! What is made of the endpoint's answer.

use std::io;

use super::TransportRule as Rule;
use super::server::{FLOOD, Manner, Server, Step};
use super::trial::{LATE, PATIENT, SHORT, Told, Trial, answering, say, shown, status_of, to};
use crate::hook::{Answered, SignedRequest, TransportOutcome};

/// How much of a flood a transport may have let come: the buffers of the system take megabytes by themselves.
const FLOOD_MAX: u64 = FLOOD / 2;

/// A request that no network carries before somebody reads.
const UNREAD: usize = 32 << 20;

impl Trial<'_> {
    pub(super) fn every_status(&self) -> io::Result<()> {
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

    pub(super) fn interim_answers(&self) -> io::Result<()> {
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

    pub(super) fn no_redirect(&self) -> io::Result<()> {
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

    pub(super) fn retry_after(&self) -> io::Result<()> {
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

    pub(super) fn short_replies(&self) -> io::Result<()> {
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

    pub(super) fn deadline(&self) -> io::Result<()> {
        let deaf = Server::start(Manner::Deaf)?;
        let much = SignedRequest {
            body: vec![b'x'; UNREAD],
            ..to(deaf.address, "/", SHORT)
        };
        self.expect_failure("the endpoint does not read the request", much);
        let endings: [Told; 3] = [
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

    pub(super) fn status_counts(&self) -> io::Result<()> {
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

    fn dripping_body(&self) -> io::Result<Option<TransportOutcome>> {
        if self.found.has(Rule::Deadline) {
            return Ok(None);
        }
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nslow";
        let dripping = answering(|_| vec![Step::Say(head.to_vec()), Step::Drip(b"x")])?;
        Ok(self.send("the body of the answer drips", to(dripping.address, "/", SHORT)))
    }
}
