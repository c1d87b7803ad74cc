//! As much of an HTTP server as the examples need, on the loopback device and over `std::net` alone: what
//! receives webhooks in one of them, and what stands in for a payment service in another. A real host
//! uses its own server, and so does a real service: this one can also break connections on purpose.

#![allow(dead_code, reason = "each example uses a part of it")]

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest head that is read.
const MAX_HEAD: u64 = 16 * 1_024;

/// The longest body that is read.
const MAX_BODY: u64 = 1_024 * 1_024;

/// How long one connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came: the headers by lower-case name, and the body exactly as it was sent.
pub(crate) struct Received {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The value of a header, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Names and values of all headers.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// What a server says to a request.
pub(crate) enum Reply {
    /// An answer with this status and body.
    Answer(u16, Vec<u8>),
    /// The same, of which only the first half is sent.
    Half(u16, Vec<u8>),
    /// Nothing: the connection is closed.
    HangUp,
    /// Nothing, for as long as somebody waits for it.
    Silence,
}

impl Reply {
    /// An answer without a body.
    pub(crate) fn status(status: u16) -> Reply {
        Reply::Answer(status, Vec::new())
    }
}

/// Threads that answer requests: one that waits for them, and one for each until it is answered.
pub(crate) struct Server {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts it.
    pub(crate) fn start(
        listener: TcpListener,
        handler: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Server> {
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("server".to_owned()).spawn({
            let stopping = Arc::clone(&stopping);
            move || serve(&listener, &stopping, &handler)
        })?;
        Ok(Server {
            address,
            stopping,
            thread,
        })
    }

    /// Where it listens, such as `http://127.0.0.1:4242`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it, and waits until every request that came was answered.
    pub(crate) fn stop(self) -> Result<(), Box<dyn Error>> {
        self.stopping.store(true, Ordering::Release);
        // The thread waits for a connection; this one is the last.
        drop(TcpStream::connect(self.address)?);
        self.thread.join().map_err(|_| "a server's thread panicked".into())
    }
}

fn serve(listener: &TcpListener, stopping: &AtomicBool, handler: &(impl Fn(&Received) -> Reply + Sync)) {
    thread::scope(|scope| {
        for stream in listener.incoming() {
            if stopping.load(Ordering::Acquire) {
                return;
            }
            // A connection that breaks is its sender's affair: who wants an answer asks again.
            scope.spawn(move || stream.and_then(|stream| answer(stream, handler)));
        }
    });
}

fn answer(stream: TcpStream, handler: &impl Fn(&Received) -> Reply) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut reader = BufReader::new(Timed { stream, until });
    let reply = match receive(&mut reader) {
        Ok(received) => handler(&received),
        Err(_) => Reply::status(400),
    };
    match reply {
        Reply::Answer(status, body) => reader.get_mut().write_all(&rendered(status, &body)),
        Reply::Half(status, body) => {
            let whole = rendered(status, &body);
            reader.get_mut().write_all(&whole[..whole.len() - body.len() / 2])
        }
        Reply::HangUp => Ok(()),
        // The other side says nothing more either: this returns when it has given up.
        Reply::Silence => reader.read(&mut [0]).map(drop),
    }
}

fn rendered(status: u16, body: &[u8]) -> Vec<u8> {
    let length = match status {
        204 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    // The reason is for people; nobody has to read it.
    let head = format!("HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{length}Connection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A connection whose every read and write ends by one instant. A timeout per call would let a
/// peer that sends a byte now and then hold the thread for ever.
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

fn receive(reader: &mut BufReader<Timed>) -> io::Result<Received> {
    let mut lines = reader.by_ref().take(MAX_HEAD).lines();
    let first = lines.next().ok_or_else(|| invalid("nothing came"))??;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let line = lines
            .next()
            .ok_or_else(|| invalid("the head ends early or is too long"))??;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: u64 = match length {
        Some((_, value)) => value.parse().map_err(|_| invalid("a length that is no number"))?,
        None => 0,
    };
    if length > MAX_BODY {
        return Err(invalid("the body is too long"));
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if body.len() as u64 != length {
        return Err(invalid("the body ends early"));
    }
    let mut words = first.split(' ').map(str::to_owned);
    match (words.next(), words.next()) {
        (Some(method), Some(target)) => Ok(Received {
            method,
            target,
            headers,
            body,
        }),
        _ => Err(invalid("the first line is not HTTP")),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
