//! An endpoint on the loopback that behaves as it is told, well or badly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::super::locked;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Received {
    pub(super) method: String,
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// How many came before it, of this server.
    pub(super) index: usize,
}

impl Received {
    /// The values of a header, by its lower-case name.
    pub(super) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// What the server does next with a connection.
pub(super) enum Step {
    /// Writes it.
    Say(Vec<u8>),
    /// Writes it again and again while it is read, up to so many bytes.
    Flood(Vec<u8>),
    /// Writes it again and again, with a pause before each.
    Drip(&'static [u8]),
    Wait(Duration),
    HangUp,
}

/// What to do with a request that came whole.
pub(super) type Answering = dyn Fn(&Received) -> Vec<Step> + Send + Sync;

/// How the server meets who connects.
pub(super) enum Manner {
    /// Reads requests and answers each.
    Answering(Box<Answering>),
    /// Hangs up before it has read anything.
    HangingUp,
    /// Never reads.
    Deaf,
}

/// The most that a flood has.
pub(super) const FLOOD: u64 = 64 << 20;

const DRIP_PAUSE: Duration = Duration::from_millis(20);

/// How long a connection is kept that nobody ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than the head of any request has that is meant well.
const HEAD_MAX: usize = 64 << 10;

/// It serves until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Manner,
    requests: Mutex<Vec<Received>>,
    flooded: AtomicU64,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Server {
    pub(super) fn start(manner: Manner) -> io::Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            manner,
            requests: Mutex::default(),
            flooded: AtomicU64::new(0),
            is_over: Mutex::new(false),
            over: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_over() {
                    break;
                }
                let serving = Arc::clone(&accepting);
                // A connection that breaks off is what many of the rules are about.
                let serve = move || stream.and_then(|stream| serving.serve(stream)).unwrap_or_default();
                if thread::Builder::new().spawn(serve).is_err() {
                    break;
                }
            }
        })?;
        Ok(Server { address, shared })
    }

    /// The requests that came whole.
    pub(super) fn requests(&self) -> Vec<Received> {
        locked(&self.shared.requests).clone()
    }

    /// How many bytes of floods were written.
    pub(super) fn flooded(&self) -> u64 {
        self.shared.flooded.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *locked(&self.shared.is_over) = true;
        self.shared.over.notify_all();
        // Whoever waits for connections gets one and sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        *locked(&self.is_over)
    }

    /// Waits, or until the server is dropped.
    fn pause(&self, length: Duration) {
        let waited = self
            .over
            .wait_timeout_while(locked(&self.is_over), length, |is_over| !*is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(Duration::from_secs(5)))?;
        let answer = match &self.manner {
            Manner::HangingUp => return Ok(()),
            Manner::Deaf => {
                self.pause(PATIENCE);
                return Ok(());
            }
            Manner::Answering(answer) => answer,
        };
        let mut ahead = Vec::new();
        while let Some(mut received) = self.read_request(&mut stream, &mut ahead)? {
            {
                let mut requests = locked(&self.requests);
                received.index = requests.len();
                requests.push(received.clone());
            }
            for step in answer(&received) {
                match step {
                    Step::Say(bytes) => stream.write_all(&bytes)?,
                    Step::Flood(piece) => {
                        while !self.is_over() && self.flooded.load(Ordering::SeqCst) < FLOOD {
                            stream.write_all(&piece)?;
                            self.flooded.fetch_add(piece.len() as u64, Ordering::SeqCst);
                        }
                        return Ok(());
                    }
                    Step::Drip(piece) => {
                        while !self.is_over() {
                            self.pause(DRIP_PAUSE);
                            stream.write_all(piece)?;
                        }
                        return Ok(());
                    }
                    Step::Wait(length) => self.pause(length),
                    Step::HangUp => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// The next request of a connection; none when its other end closes it, or when what comes is none.
    fn read_request(&self, stream: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<Option<Received>> {
        let head = loop {
            if let Some(end) = find(ahead, b"\r\n\r\n") {
                let head: Vec<u8> = ahead.drain(..end + 4).collect();
                break String::from_utf8_lossy(&head).into_owned();
            }
            if ahead.len() > HEAD_MAX || !self.read_more(stream, ahead)? {
                return Ok(None);
            }
        };
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut received = Received {
            method,
            target,
            headers: headers.collect(),
            ..Received::default()
        };
        if received.header("transfer-encoding").any(|value| value == "chunked") {
            loop {
                let Some(line) = self.read_line(stream, ahead)? else {
                    return Ok(None);
                };
                let Ok(length) = usize::from_str_radix(line.trim(), 16) else {
                    return Ok(None);
                };
                let Some(chunk) = self.read_exactly(stream, ahead, length + 2)? else {
                    return Ok(None);
                };
                if length == 0 {
                    break;
                }
                received.body.extend_from_slice(&chunk[..length]);
            }
        } else {
            let length = received.header("content-length").find_map(|value| value.parse().ok());
            let Some(body) = self.read_exactly(stream, ahead, length.unwrap_or(0))? else {
                return Ok(None);
            };
            received.body = body;
        }
        Ok(Some(received))
    }

    fn read_line(&self, stream: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = find(ahead, b"\r\n") {
                let line: Vec<u8> = ahead.drain(..end + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            if ahead.len() > HEAD_MAX || !self.read_more(stream, ahead)? {
                return Ok(None);
            }
        }
    }

    fn read_exactly(&self, stream: &mut TcpStream, ahead: &mut Vec<u8>, length: usize) -> io::Result<Option<Vec<u8>>> {
        while ahead.len() < length {
            if !self.read_more(stream, ahead)? {
                return Ok(None);
            }
        }
        Ok(Some(ahead.drain(..length).collect()))
    }

    /// Reads on; false when nothing more will come.
    fn read_more(&self, stream: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<bool> {
        // Short waits, so that a connection that the client keeps does not outlive the server for long.
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut piece = [0; 16 << 10];
        while !self.is_over() {
            match stream.read(&mut piece) {
                Ok(count) => {
                    ahead.extend_from_slice(&piece[..count]);
                    return Ok(count > 0);
                }
                Err(error) if is_impatience(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Whether a read gave up because nothing had come yet; systems call that by two names.
fn is_impatience(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
