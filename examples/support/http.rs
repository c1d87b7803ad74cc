//! As much HTTP as a webhook needs, over `std::net` alone: one POST out, and a receiver on the
//! loopback device. A real host uses its own client and server; what it has to keep is said here.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tillite::{Answered, SignedRequest, TransportOutcome};

/// The longest head that either side reads.
const MAX_HEAD: u64 = 16 * 1_024;

/// The longest body that the receiver reads.
const MAX_BODY: u64 = 1_024 * 1_024;

/// Sends one webhook. A function of this shape is a `Transport`.
pub(crate) fn send(request: &SignedRequest) -> TransportOutcome {
    match post(request) {
        Ok(answer) => TransportOutcome::Answered(answer),
        Err(error) => TransportOutcome::Failed { why: error.to_string() },
    }
}

/// POSTs the request and reads the answer: no redirect is followed, nothing is added that could
/// change what was signed, and one deadline covers everything from the connection to the last
/// byte of the answer.
fn post(request: &SignedRequest) -> io::Result<Answered> {
    let until = Instant::now() + request.timeout;
    let rest = match request.url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        _ => return Err(invalid("this transport speaks http without TLS only")),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let slash = if path.starts_with('/') { "" } else { "/" };

    let mut head = Vec::new();
    write!(head, "POST {slash}{path} HTTP/1.1\r\nHost: {authority}\r\n")?;
    for (name, value) in &request.headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    write!(head, "Content-Length: {}\r\n", request.body.len())?;
    write!(head, "Connection: close\r\n\r\n")?;

    let mut stream = Timed {
        stream: connect(authority, until)?,
        until,
    };
    stream.write_all(&head)?;
    stream.write_all(&request.body)?;

    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader)?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| invalid("the answer is not HTTP"))?;
    // The status decides. The body is for the log: it is read where its length is announced, as
    // far as the engine keeps it.
    let length = content_length(&headers)?.min(Answered::MAX_BODY as u64);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Answered::status(status).body(body))
}

fn connect(authority: &str, until: Instant) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let addresses = if has_port {
        authority.to_socket_addrs()?
    } else {
        format!("{authority}:80").to_socket_addrs()?
    };
    let mut failed = invalid("the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A connection whose every read and write ends by one instant. A timeout per call would let a
/// peer that sends a byte now and then hold the caller for ever.
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "the deadline has passed")),
        left => Ok(left),
    }
}

/// What a receiver got: the headers by lower-case name, and the body exactly as it came.
pub(crate) struct Received {
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The value of a header, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A thread that answers POSTs.
pub(crate) struct Receiver {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Receiver {
    /// Starts it. The handler is called for one request after the other and answers the status.
    pub(crate) fn start(
        listener: TcpListener,
        handler: impl FnMut(&Received) -> u16 + Send + 'static,
    ) -> io::Result<Receiver> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("receiver".to_owned()).spawn({
            let stopping = Arc::clone(&stopping);
            move || serve(&listener, &stopping, handler)
        })?;
        Ok(Receiver {
            address,
            stopping,
            thread,
        })
    }

    /// Ends it and waits until it has ended.
    pub(crate) fn stop(self) -> Result<(), Box<dyn Error>> {
        self.stopping.store(true, Ordering::Release);
        // The thread waits for a connection; this one is the last.
        drop(TcpStream::connect(self.address)?);
        self.thread.join().map_err(|_| "the receiver's thread panicked".into())
    }
}

fn serve(listener: &TcpListener, stopping: &AtomicBool, mut handler: impl FnMut(&Received) -> u16) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        // A connection that breaks is its sender's affair: the engine tries again.
        let _ = stream.and_then(|stream| answer(stream, &mut handler));
    }
}

fn answer(stream: TcpStream, handler: &mut impl FnMut(&Received) -> u16) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut reader = BufReader::new(Timed { stream, until });
    let status = match receive(&mut reader) {
        Ok(received) => handler(&received),
        Err(_) => 400,
    };
    let reason = if status < 300 { "No Content" } else { "Bad Request" };
    let length = if status == 204 { "" } else { "Content-Length: 0\r\n" };
    let head = format!("HTTP/1.1 {status} {reason}\r\n{length}Connection: close\r\n\r\n");
    reader.get_mut().write_all(head.as_bytes())
}

fn receive(reader: &mut BufReader<Timed>) -> io::Result<Received> {
    let (first, headers) = read_head(reader)?;
    let length = content_length(&headers)?;
    if !first.starts_with("POST ") || length > MAX_BODY {
        return Err(invalid("not a webhook"));
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if body.len() as u64 != length {
        return Err(invalid("the body ends early"));
    }
    Ok(Received { headers, body })
}

type Headers = Vec<(String, String)>;

/// The first line and the headers, names in lower case.
fn read_head(reader: &mut impl BufRead) -> io::Result<(String, Headers)> {
    let mut lines = reader.take(MAX_HEAD).lines();
    let first = lines.next().ok_or_else(|| invalid("nothing came"))??;
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return Ok((first, headers));
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Err(invalid("the head ends early or is too long"))
}

fn content_length(headers: &Headers) -> io::Result<u64> {
    let found = headers.iter().find(|(name, _)| name == "content-length");
    match found {
        Some((_, value)) => value.parse().map_err(|_| invalid("a length that is no number")),
        None => Ok(0),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
