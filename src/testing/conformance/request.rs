//! What arrives at the endpoint.

use std::io;
use std::net::SocketAddr;

use super::server::Received;
use super::trial::{PATIENT, Trial, answering, say, shown, status_of, to};
use crate::hook::SignedRequest;

impl Trial<'_> {
    pub(super) fn exact_request(&self) -> io::Result<()> {
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

    pub(super) fn no_proxy(&self) -> io::Result<()> {
        let server = answering(|_| vec![say("204 No Content", "", "")])?;
        self.expect("a proxy stands in the environment", &server, "/", 204);
        if server.requests().is_empty() {
            self.broken("a proxy stands in the environment: nothing arrived at the endpoint itself".to_owned());
        }
        Ok(())
    }

    pub(super) fn no_cookies(&self) -> io::Result<()> {
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

    pub(super) fn no_injection(&self) -> io::Result<()> {
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
}
