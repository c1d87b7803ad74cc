//! Fickle, a payment service that misbehaves. It keeps its books in memory, and this is its interface:
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /transactions` with an order and an `Idempotency-Key` | the transaction, 200; the same for the same key |
//! | `GET /transactions?id=…` or `?attempt=…` | a list of transactions, and whether it goes on |
//! | `POST /cancel?attempt=…` | the transaction, called off or not; 404 `no_such_transaction` |
//! | `POST /act/{id}` with `challenge=approve` or `fail` | the page on which a buyer acts: 204 |
//!
//! Whenever a transaction has changed it posts that to the host, `{"id": "ev_…", "transaction": …}`, signed in
//! `Fickle-Signature: t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>">`, until it hears 200 and `taken`:
//! out of order, some of it twice, and some of it late.
//!
//! A card named `card_empty` is declined, `card_challenge` has the buyer act first, `card_bank` is accepted
//! and decided later, and every other one pays.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tillite::{Clock, Timestamp};

use super::http::{Received, Reply, Server};

/// How long an amount is held.
const HELD_FOR: Duration = Duration::from_secs(7 * 86_400);

/// How the service misbehaves in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Not at all.
    None,
    /// Turns it away before it looks at it: 429.
    TooMany,
    /// Fails before it does anything: 500.
    FailsBefore,
    /// Does it, then fails: 500.
    FailsAfter,
    /// Closes the connection before it does anything.
    HangsUpBefore,
    /// Does it, then closes the connection.
    HangsUpAfter,
    /// Does it, and never answers.
    SaysNothing,
    /// Does it, and somebody in between answers 200 with a page for people.
    SaysGarbage,
    /// Does it, and only half of the answer arrives.
    SaysHalf,
    /// Does it, and answers with a status that nobody has heard of.
    SaysNewWords,
}

impl Trouble {
    pub(crate) const ALL: [Trouble; 10] = [
        Trouble::None,
        Trouble::TooMany,
        Trouble::FailsBefore,
        Trouble::FailsAfter,
        Trouble::HangsUpBefore,
        Trouble::HangsUpAfter,
        Trouble::SaysNothing,
        Trouble::SaysGarbage,
        Trouble::SaysHalf,
        Trouble::SaysNewWords,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Trouble::None => "answered as they should be",
            Trouble::TooMany => "turned away unread: 429",
            Trouble::FailsBefore => "not carried out: 500",
            Trouble::FailsAfter => "carried out: 500",
            Trouble::HangsUpBefore => "not carried out: the connection closed",
            Trouble::HangsUpAfter => "carried out: the connection closed",
            Trouble::SaysNothing => "carried out: no answer",
            Trouble::SaysGarbage => "carried out: 200 with a page for people",
            Trouble::SaysHalf => "carried out: half of an answer",
            Trouble::SaysNewWords => "carried out: a status that nobody knows",
        }
    }
}

/// One row of the service's books.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) status: &'static str,
    /// The host's checkout session.
    pub(crate) session: String,
    pub(crate) amount: i64,
    /// The host's attempt, and the one that made the payment that this is about.
    attempt: String,
    of: Option<String>,
    currency: String,
    mode: String,
}

#[derive(Default)]
struct Books {
    /// By the service's own name, which is `tx_` and the place.
    entries: Vec<Entry>,
    /// The order and the entry that a key stands for.
    keys: BTreeMap<String, (Vec<u8>, usize)>,
    /// What goes wrong, one request after the other.
    in_turn: Vec<Trouble>,
    met: BTreeMap<Trouble, usize>,
    requests: usize,
    /// How many changes there were, and where they go.
    events: usize,
    postman: Option<Sender<Value>>,
}

/// The service, on a port of its own.
pub(crate) struct Provider {
    books: Arc<Mutex<Books>>,
    server: Server,
    clock: Arc<dyn Clock>,
}

/// Who carries what the service has to say to the host.
pub(crate) struct Postman(JoinHandle<usize>);

impl Postman {
    /// Waits until everything was said; answers how often something was posted.
    pub(crate) fn finish(self, provider: &Provider) -> Result<usize, Box<dyn std::error::Error>> {
        provider.books().postman = None;
        self.0.join().map_err(|_| "the postman panicked".into())
    }
}

impl Provider {
    pub(crate) fn start(key: &str, clock: Arc<dyn Clock>) -> io::Result<Provider> {
        let books = Arc::new(Mutex::new(Books::default()));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let authorization = format!("Bearer {key}");
        let server = Server::start(listener, {
            let (books, clock) = (Arc::clone(&books), Arc::clone(&clock));
            move |received| {
                let desk = Desk {
                    url: &url,
                    now: clock.now(),
                };
                serve(&books, desk, &authorization, received)
            }
        })?;
        Ok(Provider { books, server, clock })
    }

    /// Posts what changes from now on to a host, signed with this secret.
    pub(crate) fn notify(&self, host: String, secret: &'static str) -> Postman {
        let (postman, events) = mpsc::channel();
        self.books().postman = Some(postman);
        let clock = Arc::clone(&self.clock);
        Postman(thread::spawn(move || {
            let mut posted = 0;
            let mut held: Vec<Value> = Vec::new();
            for event in events {
                held.push(event);
                if held.len() == 4 {
                    for place in [1, 0, 0, 3] {
                        posted += post(&host, secret, clock.as_ref(), &held[place]);
                    }
                    held = vec![held.swap_remove(2)];
                }
            }
            let late = held.iter().map(|event| post(&host, secret, clock.as_ref(), event));
            posted + late.sum::<usize>()
        }))
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Says what goes wrong from now on, one request after the other.
    pub(crate) fn misbehave(&self, in_turn: &[Trouble]) {
        self.books().in_turn = in_turn.to_vec();
    }

    /// How often it met which request how.
    pub(crate) fn met(&self) -> BTreeMap<Trouble, usize> {
        self.books().met.clone()
    }

    /// Every row of the books.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.books().entries.clone()
    }

    pub(crate) fn stop(self) -> Result<(), Box<dyn std::error::Error>> {
        self.server.stop()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        locked(&self.books)
    }
}

fn locked(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Posts until it is heard, a few times at most; answers how often.
fn post(host: &str, secret: &str, clock: &dyn Clock, event: &Value) -> usize {
    let body = event.to_string();
    for times in 1..=5 {
        let signature = signature(secret, clock.now(), body.as_bytes());
        let sent = ureq::post(host).header("fickle-signature", signature).send(&body);
        let heard = sent.and_then(|mut reply| reply.body_mut().read_to_string());
        if heard.is_ok_and(|heard| heard == "taken") {
            return times;
        }
    }
    5
}

/// What the service puts under what it posts.
pub(crate) fn signature(secret: &str, now: Timestamp, body: &[u8]) -> String {
    let time = now.as_secs();
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mut mac| {
        mac.update(format!("{time}.").as_bytes());
        mac.update(body);
        HEXLOWER.encode(&mac.finalize().into_bytes())
    });
    format!("t={time},v1={}", mac.unwrap_or_default())
}

/// Where and when a request is answered.
#[derive(Clone, Copy)]
struct Desk<'a> {
    url: &'a str,
    now: Timestamp,
}

fn serve(books: &Mutex<Books>, desk: Desk<'_>, authorization: &str, received: &Received) -> Reply {
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let mut books = locked(books);
    // The page for the buyer works: it is the buyer who does not always come.
    if let Some(id) = path.strip_prefix("/act/") {
        return Reply::status(books.act(id, &received.body, desk));
    }
    let trouble = books.next_trouble();
    match trouble {
        Trouble::TooMany => return refusal(429, "rate_limit", "Too many requests."),
        Trouble::FailsBefore => return Reply::status(500),
        Trouble::HangsUpBefore => return Reply::HangUp,
        _ if received.header("authorization") != Some(authorization) => {
            return refusal(401, "wrong_key", "This key is not known.");
        }
        _ => {}
    }
    let reply = match (received.method.as_str(), path) {
        ("POST", "/transactions") => books.order(received, desk),
        ("GET", "/transactions") => books.list(query, desk),
        ("POST", "/cancel") => books.cancel(query, desk),
        _ => refusal(404, "no_such_address", "There is nothing here."),
    };
    match (trouble, reply) {
        (Trouble::FailsAfter, _) => Reply::status(500),
        (Trouble::HangsUpAfter, _) => Reply::HangUp,
        (Trouble::SaysNothing, _) => Reply::Silence,
        (Trouble::SaysGarbage, _) => Reply::Answer(200, b"<html>We will be back soon.</html>".to_vec()),
        (Trouble::SaysHalf, Reply::Answer(status, body)) => Reply::Half(status, body),
        (Trouble::SaysNewWords, Reply::Answer(status, body)) => {
            let body = String::from_utf8_lossy(&body).replace("\"status\":\"", "\"status\":\"quasi_");
            Reply::Answer(status, body.into_bytes())
        }
        (_, reply) => reply,
    }
}

fn answer(status: u16, body: &Value) -> Reply {
    Reply::Answer(status, body.to_string().into_bytes())
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    answer(status, &json!({ "error": { "code": code, "message": message } }))
}

impl Books {
    fn next_trouble(&mut self) -> Trouble {
        let turn = self.requests;
        self.requests += 1;
        let in_turn = self.in_turn.get(turn % self.in_turn.len().max(1)).copied();
        let trouble = in_turn.unwrap_or(Trouble::None);
        *self.met.entry(trouble).or_default() += 1;
        trouble
    }

    /// Carries an order out, once per key.
    fn order(&mut self, received: &Received, desk: Desk<'_>) -> Reply {
        let Some(key) = received.header("idempotency-key") else {
            return refusal(400, "no_key", "An order needs an Idempotency-Key.");
        };
        if let Some((known, place)) = self.keys.get(key) {
            if *known != received.body {
                return refusal(409, "key_reused", "This key stands for another order.");
            }
            return answer(200, &self.shown(*place, desk));
        }
        let order: Value = serde_json::from_slice(&received.body).unwrap_or_default();
        let text = |name: &str| order[name].as_str().map(str::to_owned);
        let (Some(kind), Some(attempt), Some(amount)) = (text("kind"), text("attempt"), order["amount"].as_i64())
        else {
            return refusal(422, "incomplete", "An order names its kind, its attempt and an amount.");
        };
        let of = text("of");
        let status = self.decide(&kind, amount, of.as_deref(), text("card").as_deref());
        self.entries.push(Entry {
            kind,
            status,
            session: text("session").unwrap_or_default(),
            amount,
            attempt,
            of,
            currency: text("currency").unwrap_or_default(),
            mode: text("mode").unwrap_or_default(),
        });
        let place = self.entries.len() - 1;
        self.keys.insert(key.to_owned(), (received.body.clone(), place));
        self.tell(place, desk);
        answer(200, &self.shown(place, desk))
    }

    /// What comes of an order, and what it moves elsewhere in the books.
    fn decide(&mut self, kind: &str, amount: i64, of: Option<&str>, card: Option<&str>) -> &'static str {
        let left = of.map_or(0, |of| self.left(of));
        let held = self
            .entries
            .iter_mut()
            .find(|entry| Some(entry.attempt.as_str()) == of && entry.status == "authorized");
        match (kind, card) {
            ("charge" | "authorize", Some("card_empty")) => "declined",
            ("charge" | "authorize", Some("card_challenge")) => "requires_action",
            ("charge" | "authorize", Some("card_bank")) => "processing",
            ("charge", _) => "succeeded",
            ("authorize", _) => "authorized",
            ("capture", _) => match held {
                Some(held) if amount <= held.amount => {
                    held.status = "captured";
                    "succeeded"
                }
                _ => "declined",
            },
            ("void", _) => match held {
                Some(held) => {
                    held.status = "canceled";
                    "succeeded"
                }
                None => "declined",
            },
            ("refund", _) if amount <= left => "succeeded",
            _ => "declined",
        }
    }

    /// How much of what was taken for a payment has not gone back.
    fn left(&self, of: &str) -> i64 {
        let done = self.entries.iter().filter(|entry| entry.status == "succeeded");
        done.map(|entry| match entry.kind.as_str() {
            "charge" if entry.attempt == of => entry.amount,
            "capture" if entry.of.as_deref() == Some(of) => entry.amount,
            "refund" if entry.of.as_deref() == Some(of) => -entry.amount,
            _ => 0,
        })
        .sum()
    }

    fn list(&mut self, query: &str, desk: Desk<'_>) -> Reply {
        let mut found = Vec::new();
        for place in 0..self.entries.len() {
            let by = match query.split_once('=') {
                Some(("id", id)) => name(place) == id,
                Some(("attempt", attempt)) => self.entries[place].attempt == attempt,
                _ => false,
            };
            if by {
                found.push(self.shown(place, desk));
                // The bank has made up its mind by the time that somebody asks again.
                self.finish(place, "processing", true, desk);
            }
        }
        answer(200, &json!({ "data": found, "has_more": false }))
    }

    /// Sees to it that nothing comes of a payment any more, if it is not too late for that.
    fn cancel(&mut self, query: &str, desk: Desk<'_>) -> Reply {
        let wanted = query.strip_prefix("attempt=").unwrap_or_default();
        let Some(place) = self.entries.iter().position(|entry| entry.attempt == wanted) else {
            return refusal(404, "no_such_transaction", "No transaction has this attempt.");
        };
        let entry = &mut self.entries[place];
        if matches!(entry.status, "authorized" | "processing" | "requires_action") {
            entry.status = "canceled";
            self.tell(place, desk);
        }
        answer(200, &self.shown(place, desk))
    }

    /// The buyer acts; answers an HTTP status.
    fn act(&mut self, id: &str, form: &[u8], desk: Desk<'_>) -> u16 {
        match (0..self.entries.len()).find(|place| name(*place) == id) {
            Some(place) => {
                self.finish(place, "requires_action", form == b"challenge=approve", desk);
                204
            }
            None => 404,
        }
    }

    fn finish(&mut self, place: usize, from: &str, approved: bool, desk: Desk<'_>) {
        let entry = &mut self.entries[place];
        if entry.status == from {
            entry.status = match entry.kind.as_str() {
                _ if !approved => "declined",
                "authorize" => "authorized",
                _ => "succeeded",
            };
            self.tell(place, desk);
        }
    }

    /// Has the host told of a change.
    fn tell(&mut self, place: usize, desk: Desk<'_>) {
        let event = json!({ "id": format!("ev_{}", self.events), "transaction": self.shown(place, desk) });
        self.events += 1;
        if let Some(postman) = &self.postman {
            // Where he has gone home, nobody wants to know.
            let _ = postman.send(event);
        }
    }

    fn shown(&self, place: usize, desk: Desk<'_>) -> Value {
        let entry = &self.entries[place];
        let mut shown = json!({
            "id": name(place),
            "attempt": entry.attempt,
            "mode": entry.mode,
            "status": entry.status,
            "amount": entry.amount,
            "currency": entry.currency,
        });
        match entry.status {
            "succeeded" if entry.kind != "refund" => shown["fee"] = json!(entry.amount / 50),
            "authorized" => shown["held_until"] = json!(desk.now.plus(HELD_FOR).as_millis()),
            "requires_action" => shown["url"] = json!(format!("{}/act/{}", desk.url, name(place))),
            "declined" => {
                shown["decline_code"] = json!("insufficient_funds");
                shown["message"] = json!("There is not enough on this card.");
                shown["advice"] = json!("other_card");
            }
            _ => {}
        }
        shown
    }
}

fn name(place: usize) -> String {
    format!("tx_{place}")
}
