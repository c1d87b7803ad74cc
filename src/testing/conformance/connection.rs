//! What becomes of connections, and what they carry.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::server::{Manner, Server, Step};
use super::trial::{PATIENT, SHORT, Told, Trial, answering, say, shown, status_of, to};

impl Trial<'_> {
    pub(super) fn broken_connections(&self) -> io::Result<()> {
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

    pub(super) fn own_answers(&self) -> io::Result<()> {
        const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let firsts: [Told; 5] = [
            ("an answer with a long body", || {
                vec![say("410 Gone", "", &"x".repeat(100 << 10))]
            }),
            ("an answer with another behind it", || {
                vec![Step::Say(
                    format!("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n{ACCEPTED}").into(),
                )]
            }),
            ("an answer with a body and another answer behind it", || {
                vec![Step::Say(
                    format!("HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\nno{ACCEPTED}").into(),
                )]
            }),
            ("an answer, and the connection is closed", || {
                vec![say("410 Gone", "", ""), Step::HangUp]
            }),
            ("an answer that comes after the deadline", || {
                vec![Step::Wait(SHORT * 2), Step::Say(ACCEPTED.into())]
            }),
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

    pub(super) fn threads(&self) -> io::Result<()> {
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
