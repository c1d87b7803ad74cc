//! The life of a sale in one process, on a file that stays behind for inspection.
//!
//! `cargo run --example quickstart` sets up a shop, declines a card, finds out what became of another that
//! never answered, takes a third through 3-D Secure, sends the signed webhooks over a real loopback
//! connection to a receiver that verifies them, reads what the buyer may use now, gives a part of the
//! money back, and checks every invariant of the file.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use tillite::sandbox::Challenge;
use tillite::webhook::{self, Format, NewEndpoint};
use tillite::{
    Amount, App, Budget, Clock as _, Currency, Engine, Entitlement, Expect, Interval, Mode, NewPrice, NewProduct,
    NewRefund, NewSession, Payment, Secret, Session, SessionState, SystemClock, TransportOutcome, Work, sandbox,
};

#[path = "support/http.rs"]
mod http;
#[path = "support/transport.rs"]
mod transport;

use http::{Received, Reply, Server};

/// Seals webhook secrets in the file. A real host draws 32 random bytes once and keeps them apart
/// from the file and its backups.
const SEAL_KEY: [u8; 32] = *b"an example's key, known to all!!";

fn main() -> Result<(), Box<dyn Error>> {
    let timeline = Timeline::start();
    let path = fresh_file("quickstart.db")?;

    // The host says how webhooks travel. In test mode the built-in sandbox is the processor.
    let engine = Engine::builder()
        .seal_key(SEAL_KEY)
        .transport(transport::send)
        .open(&path)?;
    timeline.say("engine", "opened", "quickstart.db");

    let app = engine.app("lixblogs", Mode::Test)?;
    set_catalogue(&app, timeline)?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/webhooks", listener.local_addr()?);
    let endpoint = NewEndpoint::new(url, Format::Standard).events([
        "charge.failed",
        "charge.refunded",
        "checkout.session.completed",
        "entitlement.granted",
    ]);
    let added = app.endpoints().add(endpoint)?;
    timeline.say("shop", "endpoint added", &added.endpoint.url);
    // The receiver stands for another program: it has a port and the secret, and nothing else.
    let receiver = start_receiver(listener, added.secret, timeline)?;

    let session = sell(&engine, &app, timeline)?;
    deliver(&engine, timeline)?;

    let held = app.entitlements().get("u_ada")?;
    show(&held, timeline);
    ensure(
        held.active && held.tier == "member",
        "the sale did not raise the entitlement",
    )?;
    ensure(
        app.sessions().get(&session.id)?.is_complete(),
        "the session is not complete",
    )?;

    refund(&engine, &app, &session, timeline)?;
    receiver.stop()?;
    timeline.say("receiver", "stopped", "");

    check(&engine, timeline)?;
    // The app's handle is a handle on the file too; without one left, the file is let go.
    drop(app);
    engine.close()?;
    println!("\nThe file is left for inspection: {}", path.display());
    Ok(())
}

fn set_catalogue(app: &App, timeline: Timeline) -> Result<(), Box<dyn Error>> {
    // Amounts are minor units. One purchase lasts a month, which is 30 days for a one-time price.
    let price = NewPrice::new("member", Amount::minor(12_00, Currency::EUR)?).lasting(Interval::MONTH);
    let product = app
        .catalog()
        .set(NewProduct::new("member", "Membership").rank(1).price(price))?;
    timeline.say("shop", "on sale", &format!("{}, 12.00 EUR a month", product.name));
    Ok(())
}

/// Takes a buyer through checkout: one card is declined, one never answers, and one asks for 3-D Secure.
fn sell(engine: &Engine, app: &App, timeline: Timeline) -> Result<Session, Box<dyn Error>> {
    // The same key gives the same session, after a retry and after a crash.
    let order = NewSession::tier("member", Currency::EUR)
        .customer("u_ada")
        .return_to("https://shop.example/thanks?session={CHECKOUT_SESSION_ID}")
        .idempotency_key("order-1001");
    let session = app.sessions().create(order.clone())?;
    timeline.say("shop", "session", session.id.as_str());
    ensure(
        app.sessions().create(order)?.id == session.id,
        "a repeated order made another session",
    )?;
    timeline.say("shop", "order repeated", "the same session");

    // A declined card is an answer, not an error: the session is open again.
    let paid = pay(app, &session, ("5123 4500 0000 0008", "05/39"), timeline)?;
    ensure(paid.session.state == SessionState::Open, "a decline closed the session")?;

    // An answer that never comes is none: until somebody has asked again, nobody may pay a second time.
    pay(app, &session, ("5123 4500 0000 0008", "08/28"), timeline)?;
    let impatient = app.sessions().pay(&session.id, sandbox::card::APPROVED);
    let refused = impatient.err().ok_or("a second payment began beside an unknown one")?;
    timeline.say("buyer", "another card", &format!("refused: {}", refused.code()));
    let ran = engine.run_due(Budget::items(100).work(Work::PAYMENTS))?;
    timeline.say("engine", "run_due", &format!("{} looked up", ran.looked_up));
    // This one never arrived at all. Where it had, the session would be complete now.
    let found = app.sessions().get(&session.id)?;
    let failure = found.payment_intent.as_ref().and_then(|intent| intent.last_failure());
    let failure = failure.ok_or("the look-up found nothing out")?;
    let found = format!("failed: {}; session {}", failure.code, found.state.as_str());
    timeline.say("engine", "found out", &found);

    // The buyer has to act first. The hosted page asks for it; the host's own may as well.
    pay(app, &session, ("4000 0000 0000 3220", "01/39"), timeline)?;
    let paid = app.sessions().answer_challenge(&session.id, Challenge::Approve)?;
    timeline.say("buyer", "approves 3-D Secure", &said(&paid));
    Ok(paid.session)
}

fn pay(app: &App, session: &Session, card: (&str, &str), timeline: Timeline) -> Result<Payment, Box<dyn Error>> {
    let (number, expiry) = card;
    // The engine never sees a card number, only a token that stands for the method.
    let payment = app.sessions().pay(&session.id, sandbox::method(number, expiry)?)?;
    let last = number.rsplit(' ').next().unwrap_or(number);
    timeline.say("buyer", &format!("card …{last} {expiry}"), &said(&payment));
    Ok(payment)
}

/// What came of a payment, in a line.
fn said(payment: &Payment) -> String {
    let session = payment.session.state.as_str();
    match &payment.charge {
        Some(charge) => match &charge.failure {
            Some(failure) => format!("{}: {}; session {session}", charge.state.as_str(), failure.code),
            None => format!("{}: {}; session {session}", charge.state.as_str(), charge.amount),
        },
        None => format!("nothing to collect; session {session}"),
    }
}

/// Gives back a part of what was paid. What it bought stays, unless the refund says otherwise.
fn refund(engine: &Engine, app: &App, session: &Session, timeline: Timeline) -> Result<(), Box<dyn Error>> {
    let part = Amount::minor(5_00, Currency::EUR)?;
    let refund = NewRefund::session(&session.id)
        .amount(part)
        .reason("the first week was down")
        .idempotency_key("refund-1001");
    let refund = app.refunds().create(refund)?;
    timeline.say(
        "shop",
        "refund",
        &format!("{}: {}", refund.state.as_str(), refund.amount),
    );
    let ran = engine.run_due(Budget::items(100))?;
    timeline.say("engine", "run_due", &format!("{} delivered", ran.delivered));
    let session = app.sessions().get(&session.id)?;
    let charges = session.payment_intent.iter().flat_map(|intent| &intent.charges);
    let kept: i64 = charges.map(|charge| charge.captured - charge.refunded).sum();
    ensure(kept == 7_00, "the refund and the charge do not add up")?;
    timeline.say("shop", "kept", &Amount::minor(kept, Currency::EUR)?.to_string());
    Ok(())
}

/// Sends what is due. The first delivery is taken by hand, to show what a receiver must cope with;
/// a host leaves all of it to `run_due`.
fn deliver(engine: &Engine, timeline: Timeline) -> Result<(), Box<dyn Error>> {
    for delivery in engine.claim_deliveries(1)? {
        let mut forged = delivery.request.clone();
        forged.body.push(b' ');
        timeline.say("stranger", "POST, one byte more", &status(&transport::send(&forged)));

        let lost = transport::send(&delivery.request);
        timeline.say("engine", "POST, answer lost", &status(&lost));
        let answer = transport::send(&delivery.request);
        timeline.say("engine", "POST once more", &status(&answer));
        engine.acknowledge(&delivery, &answer)?;
    }
    let ran = engine.run_due(Budget::items(100))?;
    timeline.say("engine", "run_due", &format!("{} delivered", ran.delivered));
    ensure(ran.delivered > 0 && ran.undelivered == 0, "a webhook was not accepted")
}

fn status(outcome: &TransportOutcome) -> String {
    match outcome {
        TransportOutcome::Answered(answer) => answer.status.to_string(),
        TransportOutcome::Failed { why } => why.clone(),
        _ => "no answer".to_owned(),
    }
}

/// Starts a program that receives webhooks: 400 for what it cannot believe, 204 for the rest, and
/// each event only once, however often it comes.
fn start_receiver(listener: TcpListener, secret: Secret, timeline: Timeline) -> io::Result<Server> {
    // A real receiver keeps the ids in the transaction in which it acts on the event.
    let seen = Mutex::new(BTreeSet::new());
    Server::start(listener, move |request: &Received| {
        // The signature is over the bytes as they came; nothing has parsed them yet.
        let header = |name: &str| request.header(name);
        if let Err(refused) = webhook::verify(Format::Standard, &secret, header, &request.body, SystemClock.now()) {
            timeline.say("receiver", "refused", &refused.reason().to_string());
            return Reply::status(400);
        }
        let id = request.header("webhook-id").unwrap_or_default();
        let is_new = seen.lock().is_ok_and(|mut seen| seen.insert(id.to_owned()));
        if is_new {
            timeline.say("receiver", "verified", &kind(&request.body));
        } else {
            timeline.say("receiver", "seen before", id);
        }
        Reply::status(204)
    })
}

/// The `type` of a body that has been verified.
fn kind(body: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    event["type"].as_str().unwrap_or("no type").to_owned()
}

fn show(held: &Entitlement, timeline: Timeline) {
    let expires_at = held.expires_at.map_or("never".to_owned(), |at| at.to_string());
    timeline.say("shop", "entitlement", "");
    for (name, value) in [
        ("app", held.app.clone()),
        ("uid", held.uid.clone()),
        ("tier", held.tier.clone()),
        ("status", held.status.as_str().to_owned()),
        ("active", held.active.to_string()),
        ("expires_at", expires_at),
        ("version", held.version.to_string()),
    ] {
        timeline.say("", &format!("  {name}"), &value);
    }
}

fn check(engine: &Engine, timeline: Timeline) -> Result<(), Box<dyn Error>> {
    let report = engine.verify(&Expect::nothing())?;
    let rows: u64 = report.checked.values().sum();
    let said = format!("{} invariants over {rows} rows", report.checked.len());
    timeline.say("engine", "verify", &said);
    match report.failed.first() {
        None => Ok(()),
        Some(broken) => Err(format!("invariant {} is broken by {:?}", broken.invariant, broken.ids).into()),
    }
}

/// The file of this run. One of an earlier run is replaced, with the log and the index that SQLite
/// keeps beside it: either of them next to another file would damage that one.
fn fresh_file(name: &str) -> io::Result<PathBuf> {
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(format!("{name}{suffix}")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::path::absolute(Path::new(name))
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// Prints what happens, with the time since the start.
#[derive(Clone, Copy)]
struct Timeline {
    started: Instant,
}

impl Timeline {
    fn start() -> Timeline {
        println!("{:>7}  {:<9} {:<20} what came of it", "time", "who", "did what");
        Timeline {
            started: Instant::now(),
        }
    }

    fn say(self, who: &str, what: &str, detail: &str) {
        let line = format!("{who:<9} {what:<20} {detail}");
        println!("{:>4} ms  {}", self.started.elapsed().as_millis(), line.trim_end());
    }
}
