//! A [`Processor`] over HTTP: the file to copy. What the service says is written down in `provider.rs`;
//! yours says it in other words, and the questions are the same: after this answer, is it certain that
//! the money moved? That it did not and will not? Everything in between is *unknown*, and a look-up
//! finds out.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tillite::{
    Action, Advice, Amount, Cancel, Capabilities, Clock, Currency, Lookup, LookupKey, Notice, NoticeKind, Operation,
    Outcome, Post, Processor, Receipt, Reception, Reply as Answer, Request, Secret, Timestamp,
};
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder, Timeout};

/// The longest answer that is read. A transaction is a few hundred bytes.
const MAX_ANSWER: u64 = 256 * 1_024;

/// How old a signature may be, either way, for clocks that differ. An older one is somebody's who heard it.
const SIGNED_WITHIN: Duration = Duration::from_secs(300);

/// How the service is reached.
pub(crate) struct Fickle {
    agent: Agent,
    url: String,
    /// The account's key, and the secret by which the service signs what it posts to the host.
    key: Secret,
    signing: Secret,
    /// How long one call may take.
    patience: Duration,
    /// The engine's clock: deadlines are told by it.
    clock: Arc<dyn Clock>,
}

impl Fickle {
    pub(crate) fn new(
        url: impl Into<String>,
        (key, signing): (Secret, Secret),
        patience: Duration,
        clock: Arc<dyn Clock>,
    ) -> Fickle {
        let config = Agent::config_builder()
            // A 402 is an answer to be read, not an error of the client.
            .http_status_as_error(false)
            // A redirect of a POST would be another request.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            // A connection that died while it lay idle breaks with the next request on it, and then
            // nobody knows whether that arrived. A new one for each costs less than a look-up.
            .max_idle_connections(0)
            .timeout_connect(Some(patience));
        Fickle {
            agent: config.build().new_agent(),
            url: url.into(),
            key,
            signing,
            patience,
            clock,
        }
    }
}

impl Processor for Fickle {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            // The service forgets keys after a day; the hour is for clocks and for requests on their way.
            .idempotency_window(Duration::from_secs(23 * 3_600))
            .lookup()
            // It says that what has arrived is in its lists within a minute.
            .not_found_final_after(Duration::from_secs(60))
            .call_timeout(self.patience)
    }

    fn execute(&self, request: &Request, deadline: Timestamp) -> Outcome {
        if request.mode != self.mode() {
            let why = format!("the account's key is for mode {}", self.mode());
            return Outcome::NotSent { why };
        }
        let Some(order) = Order::of(request) else {
            let why = format!("the service knows no {}", request.operation.as_str());
            return Outcome::NotSent { why };
        };
        let body = match serde_json::to_vec(&order) {
            Ok(body) => body,
            Err(error) => return Outcome::NotSent { why: error.to_string() },
        };
        let left = deadline.since(self.clock.now()).min(self.patience);
        let post = self
            .prepared(self.agent.post(self.at("/transactions")), left)
            .header("idempotency-key", &request.idempotency_key)
            .content_type("application/json");
        match received(post.send(&body[..])) {
            Ok(reply) => executed(&reply, request),
            Err(Broken::NeverLeft(why)) => Outcome::NotSent { why },
            Err(Broken::Anywhere(why)) => Outcome::Unknown { why },
        }
    }

    fn lookup(&self, key: &LookupKey<'_>) -> Lookup {
        let get = self.prepared(self.agent.get(self.at("/transactions")), self.patience);
        // The service's own name is exact. Without it, the attempt's id, which stands in every order.
        let get = match key.reference {
            Some(reference) => get.query("id", reference),
            None => get.query("attempt", &key.request.attempt),
        };
        match received(get.call()) {
            Ok(reply) => looked_up(&reply, key.request),
            Err(Broken::NeverLeft(why) | Broken::Anywhere(why)) => Lookup::CannotTell { why },
        }
    }

    fn cancel(&self, key: &LookupKey<'_>) -> Cancel {
        let post = self.prepared(self.agent.post(self.at("/cancel")), self.patience);
        match received(post.query("attempt", &key.request.attempt).send_empty()) {
            Ok(reply) => canceled(&reply, key.request),
            Err(Broken::NeverLeft(why) | Broken::Anywhere(why)) => Cancel::CannotTell { why },
        }
    }

    fn receive(&self, post: &Post<'_>) -> Reception {
        if !self.is_signed(post) {
            return Reception::refused("the signature is missing, wrong or too old");
        }
        // From here on it is the service that speaks, and a refusal would only make it say the same again.
        let notices = match serde_json::from_slice::<Event>(post.body) {
            Ok(event) if event.transaction.mode == self.mode() => vec![event.notice()],
            // Of another account's mode, or a kind of event that came to be after this was written.
            _ => Vec::new(),
        };
        Reception::Genuine {
            notices,
            // Fickle posts again until it is told this.
            reply: Answer::ok().body("text/plain", "taken"),
        }
    }
}

/// What became of an order that was sent once.
pub(crate) fn executed(reply: &Reply, request: &Request) -> Outcome {
    let unknown = |why: String| Outcome::Unknown { why };
    match reply.status {
        200 => match reply.read::<Transaction>().and_then(|found| outcome(&found, request)) {
            Ok(outcome) => outcome,
            Err(why) => unknown(why),
        },
        // Turned away before it was looked at, the service says; so nothing has begun. These are the only
        // refusals of which that is known, and only in the service's own words: what stands between
        // here and there has a 403 and a 429 of its own.
        status @ (400 | 401 | 403 | 422 | 429) => match reply.read::<Refusal>() {
            Ok(Refusal { error }) => Outcome::Declined {
                code: error.code,
                message: error.message,
                advice: (status == 429).then_some(Advice::Later),
            },
            Err(why) => unknown(why),
        },
        // 409 included: the key is known there with another order, and what came of that one is not said.
        status => unknown(format!("the service answered {status}")),
    }
}

pub(crate) fn looked_up(reply: &Reply, request: &Request) -> Lookup {
    let cannot_tell = |why: String| Lookup::CannotTell { why };
    if reply.status != 200 {
        return cannot_tell(format!("the service answered {}", reply.status));
    }
    let list = match reply.read::<List>() {
        Ok(list) => list,
        Err(why) => return cannot_tell(why),
    };
    match list.data.as_slice() {
        // Only a list that was read to its end says that something is not in it.
        _ if list.has_more => cannot_tell("the list goes on".to_owned()),
        [] => Lookup::NotFound,
        [found] => outcome(found, request).map_or_else(cannot_tell, Lookup::Found),
        several => {
            let names: Vec<&str> = several.iter().map(|found| found.id.as_str()).collect();
            cannot_tell(format!("several transactions of one attempt: {}", names.join(", ")))
        }
    }
}

pub(crate) fn canceled(reply: &Reply, request: &Request) -> Cancel {
    let cannot_tell = |why: String| Cancel::CannotTell { why };
    match reply.status {
        200 => match reply.read::<Transaction>().and_then(|found| outcome(&found, request)) {
            Ok(Outcome::Canceled { .. }) => Cancel::Canceled,
            Ok(outcome) => Cancel::TooLate(outcome),
            Err(why) => cannot_tell(why),
        },
        // A 404 of anybody else, for an address that is wrong, says nothing about the payment.
        404 => match reply.read::<Refusal>() {
            Ok(Refusal { error }) if error.code == "no_such_transaction" => Cancel::NotFound,
            _ => cannot_tell("a 404 that is not about the transaction".to_owned()),
        },
        status => cannot_tell(format!("the service answered {status}")),
    }
}

/// What a transaction says about the request. An error is whatever makes no sense.
fn outcome(found: &Transaction, request: &Request) -> Result<Outcome, String> {
    if found.attempt != request.attempt {
        return Err(format!("{} is another attempt's", found.id));
    }
    // Money that was taken for a test, or a sale for which none was: somebody has to look at it.
    if found.mode != request.mode {
        return Err(format!("{} is in mode {}", found.id, found.mode));
    }
    said(found)
}

fn said(found: &Transaction) -> Result<Outcome, String> {
    let (id, minor) = (found.id.as_str(), found.amount);
    // The service counts as ISO 4217 does. One that does not is understood by `Units`.
    let currency = Currency::parse(&found.currency).map_err(|error| error.to_string())?;
    let amount = |minor| Amount::minor(minor, currency).map_err(|error| error.to_string());
    // What the service says it took, not what it was asked for: another amount is held for somebody to
    // decide, and this is where that would show.
    let receipt = Receipt::new(id, amount(minor)?);
    Ok(match found.status.as_str() {
        "succeeded" => Outcome::Succeeded(match found.fee {
            Some(fee) => receipt.fee(amount(fee)?),
            None => receipt,
        }),
        "authorized" => Outcome::Authorized {
            receipt,
            expires_at: found.held_until.map(Timestamp::from_millis_clamped),
        },
        "processing" => Outcome::Pending { reference: id.into() },
        "requires_action" => Outcome::RequiresAction {
            reference: id.into(),
            action: Action::Redirect(found.url.clone().ok_or("an action without an address")?),
            within: Duration::from_secs(900),
        },
        "declined" => Outcome::Declined {
            code: found.decline_code.clone().unwrap_or_default(),
            message: found.message.clone().unwrap_or_default(),
            advice: found.advice.as_deref().and_then(advice),
        },
        "canceled" => Outcome::Canceled {
            why: format!("{id} was called off"),
        },
        // Services add words. Whatever this one means, nobody here knows it.
        other => return Err(format!("{id} is {other:?}")),
    })
}

fn advice(word: &str) -> Option<Advice> {
    match word {
        "never" => Some(Advice::Never),
        "later" => Some(Advice::Later),
        "other_card" => Some(Advice::OtherMethod),
        // A guess is worse than nothing.
        _ => None,
    }
}

/// What is asked for. Nothing in it changes when it is asked for again.
#[derive(Serialize)]
struct Order<'a> {
    kind: &'static str,
    /// The attempt: look-ups go by it.
    attempt: &'a str,
    /// The checkout session, for the service's own lists.
    session: &'a str,
    mode: &'a str,
    amount: i64,
    currency: &'a str,
    card: Option<&'a str>,
    /// The attempt that made the payment which is captured, voided or refunded.
    of: Option<&'a str>,
    return_url: Option<&'a str>,
}

impl<'a> Order<'a> {
    fn of(request: &'a Request) -> Option<Order<'a>> {
        let kind = match request.operation {
            Operation::Charge => "charge",
            Operation::Authorize => "authorize",
            Operation::Capture => "capture",
            Operation::Void => "void",
            Operation::Refund => "refund",
            _ => return None,
        };
        Some(Order {
            kind,
            attempt: &request.attempt,
            session: &request.session,
            mode: &request.mode,
            amount: request.amount,
            currency: &request.currency,
            card: request.method.as_deref(),
            of: request.related.as_ref().map(|related| related.attempt.as_str()),
            return_url: request.return_url.as_deref(),
        })
    }
}

#[derive(Deserialize)]
struct Transaction {
    id: String,
    attempt: String,
    mode: String,
    status: String,
    amount: i64,
    currency: String,
    fee: Option<i64>,
    url: Option<String>,
    held_until: Option<i64>,
    decline_code: Option<String>,
    message: Option<String>,
    advice: Option<String>,
}

/// What the service posts when a transaction has changed.
#[derive(Deserialize)]
struct Event {
    id: String,
    /// As it was at that moment: others may have overtaken it.
    transaction: Transaction,
}

impl Event {
    /// That money was taken or is held is certain from the post alone, and stays true however late it comes.
    /// Anything else may have changed since: the engine asks.
    fn notice(&self) -> Notice {
        let kind = match said(&self.transaction) {
            Ok(outcome @ (Outcome::Succeeded(_) | Outcome::Authorized { .. })) => NoticeKind::Evidence(outcome),
            _ => NoticeKind::Changed,
        };
        Notice::new(&self.id, kind)
            .attempt(&self.transaction.attempt)
            .reference(&self.transaction.id)
    }
}

#[derive(Deserialize)]
struct List {
    data: Vec<Transaction>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Refusal {
    error: Problem,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
}

/// An answer that came whole.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the answer is not the service's: {error}"))
    }
}

/// Where a call broke off.
enum Broken {
    /// Before the first byte left this machine, for certain.
    NeverLeft(String),
    /// Somewhere: it may have arrived.
    Anywhere(String),
}

impl Fickle {
    /// `live` or `test`: the account's key says it.
    fn mode(&self) -> &'static str {
        let is_live = self.key.expose().starts_with("fk_live_");
        if is_live { "live" } else { "test" }
    }

    /// Whether a post is signed with the secret that the service and the host share: the header is
    /// `t=<seconds>,v1=<hex>`, the HMAC is over `<seconds>.<body>`, the bytes of the body as they came.
    fn is_signed(&self, post: &Post<'_>) -> bool {
        let signed = || -> Option<bool> {
            let (time, signature) = post
                .header("fickle-signature")?
                .strip_prefix("t=")?
                .split_once(",v1=")?;
            let at = Timestamp::from_millis(time.parse::<i64>().ok()?.checked_mul(1_000)?).ok()?;
            let apart = at.since(post.received_at).max(post.received_at.since(at));
            let mut mac = Hmac::<Sha256>::new_from_slice(self.signing.expose().as_bytes()).ok()?;
            mac.update(time.as_bytes());
            mac.update(b".");
            mac.update(post.body);
            let signature = HEXLOWER.decode(signature.as_bytes()).ok()?;
            // This compares in constant time.
            Some(apart <= SIGNED_WITHIN && mac.verify_slice(&signature).is_ok())
        };
        signed().unwrap_or(false)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A request with the account's key, and one deadline for everything: the name, the connection, the
    /// last byte of the answer.
    fn prepared<Kind>(&self, request: RequestBuilder<Kind>, within: Duration) -> RequestBuilder<Kind> {
        let request = request.header("authorization", format!("Bearer {}", self.key.expose()));
        request.config().timeout_global(Some(within)).build()
    }
}

/// What came back of a request that was sent once. This client repeats none by itself; where yours does,
/// switch that off, since the refusal of a repetition says nothing about what it repeats.
fn received(sent: Result<Response<Body>, ureq::Error>) -> Result<Reply, Broken> {
    let reply = sent.and_then(|mut response| {
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Reply { status, body })
    });
    reply.map_err(|error| {
        let why = error.to_string();
        match error {
            // There was no connection, so nothing was written to one.
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => Broken::NeverLeft(why),
            ureq::Error::Io(io) if io.kind() == ErrorKind::ConnectionRefused => Broken::NeverLeft(why),
            _ => Broken::Anywhere(why),
        }
    })
}
