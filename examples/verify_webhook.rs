//! A program that receives webhooks, in each format, while and after a secret is replaced.
//!
//! `cargo run --example verify_webhook` starts a receiver per format on the loopback device, lets an
//! engine sell something and send what happened, over real HTTP, the last first, once as it is and twice, with a
//! stranger who changes a byte or adds headers; then replaces every secret and does it all again with receivers that hold the old
//! secret, the new one, or both.
//!
//! What to copy is [`Shop`]. A program of its own needs `tillite` without default features for it, a
//! database and an HTTP server; nothing of the engine.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tillite::webhook::{
    AddedEndpoint, Arrival, Arrived, DeliveryOrder, Format, Inbox, InboxStore, NewEndpoint, Verifier,
};
use tillite::{
    Amount, App, Budget, Clock as _, Currency, Engine, Interval, Mode, NewPrice, NewRefund, NewSession, Secret,
    SignedRequest, SystemClock, TransportOutcome, sandbox,
};

#[path = "support/http.rs"]
mod http;
#[path = "support/transport.rs"]
mod transport;

use http::{Received, Reply, Server};

/// The receiving program: one endpoint of one format, and a database.
struct Shop {
    format: Format,
    /// The app and mode of the endpoint. Bodies need not name both, so a buyer of test mode would pass for the same
    /// one of live mode.
    source: String,
    /// Each of them has to accept what comes.
    verifiers: Vec<Verifier>,
    database: Connection,
}

impl Shop {
    fn new(format: Format, verifiers: Vec<Verifier>) -> rusqlite::Result<Shop> {
        let database = Connection::open_in_memory()?;
        for table in [
            "CREATE TABLE seen_event (source TEXT, id TEXT, at INTEGER NOT NULL, PRIMARY KEY (source, id))",
            "CREATE TABLE newest (source TEXT, object TEXT, sequence INTEGER NOT NULL, PRIMARY KEY (source, object))",
            "CREATE TABLE shipped (source TEXT, sale TEXT, PRIMARY KEY (source, sale))",
            "CREATE TABLE known (source TEXT, object TEXT, status TEXT, PRIMARY KEY (source, object))",
        ] {
            database.execute(table, [])?;
        }
        Ok(Shop {
            format,
            source: "lixblogs/test".to_owned(),
            verifiers,
            database,
        })
    }

    /// Answers a request: 400 to what it cannot believe, 500 if it could not write it down, else 204.
    fn answer(&mut self, received: &Received) -> u16 {
        // The raw bytes, before anything parses them; headers by their lower-case names.
        let header = |name: &str| once(received, name);
        for verifier in &self.verifiers {
            if let Err(refused) = verifier.verify(header, &received.body, SystemClock.now()) {
                // For the log here, not for whoever sent it.
                println!("      {:<18} 400  {refused}", self.format.as_str());
                return 400;
            }
        }
        match self.take(received) {
            Ok(()) => 204,
            Err(error) => {
                println!("      {:<18} 500  {error}", self.format.as_str());
                500
            }
        }
    }

    /// Acts on an event in the transaction that notes it as seen.
    fn take(&mut self, received: &Received) -> Result<(), Box<dyn Error>> {
        let event: serde_json::Value = serde_json::from_slice(&received.body)?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        // By the format: what the event is called, and what tells it from all others. Only what is signed
        // will do; where the body names no event, the headers of Standard Webhooks were verified as well.
        let (name, id) = match self.format {
            Format::XPay | Format::Elixpo => (&event["type"], text(&event["id"])),
            Format::XPaySubscriptions => (&event["eventType"], text(&event["eventId"])),
            Format::JoPay => (&event["event"], once(received, "webhook-id").map(str::to_owned)),
            _ => (&event["type"], once(received, "webhook-id").map(str::to_owned)),
        };
        let (name, id) = text(name).zip(id).ok_or("an event without a name or an id")?;
        let object = match self.format {
            Format::Standard => (text(&event["data"]["id"]), event["data"]["sequence"].as_i64()),
            Format::Elixpo => (text(&event["data"]["uid"]), event["data"]["version"].as_i64()),
            _ => (None, None),
        };
        let mut arrival = Arrival::new(&id);
        if let (Some(object), Some(sequence)) = &object {
            arrival = arrival.about(object, *sequence);
        }

        let mut transaction = self.database.transaction()?;
        let arrived = Inbox::new(Book(&mut transaction, &self.source)).take(arrival)?;
        println!("      {:<18} 204  {arrived:<8?} {name}", self.format.as_str());
        // That something happened counts whenever it is heard of, so what was bought is shipped also if it is known
        // already that some of it was refunded. The sale is written down beside the event and for good: ids of events
        // are forgotten some day, and an old event that came again then would be new.
        if arrived != Arrived::Repeated
            && let Some(sale) = sale(self.format, &name, &event["data"])
        {
            transaction.execute(
                "INSERT INTO shipped (source, sale) VALUES (?1, ?2) ON CONFLICT (source, sale) DO NOTHING",
                (&self.source, sale),
            )?;
        }
        // How an object is counts only while nothing newer is known of it.
        if arrived == Arrived::Newest
            && let ((Some(object), Some(_)), Some(status)) = (&object, event["data"]["status"].as_str())
        {
            transaction.execute(
                "INSERT INTO known (source, object, status) VALUES (?1, ?2, ?3) ON CONFLICT (source, object) \
                 DO UPDATE SET status = excluded.status",
                (&self.source, object, status),
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// How many rows there are that a query counts.
    fn count(&self, of: &str) -> rusqlite::Result<u32> {
        let mut counting = self.database.prepare(&format!("SELECT 1 FROM {of}"))?;
        counting.query_map([], |_| Ok(1_u32))?.sum()
    }
}

/// The value of a header that stands there once. One that stands there twice is none: of two ids, the one that is
/// read here could be another than the one that was checked.
fn once<'r>(received: &'r Received, name: &str) -> Option<&'r str> {
    let headers = received.headers().into_iter();
    let mut values = headers.filter(|(known, _)| *known == name).map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none())
}

/// What was sold, if an event says that something was.
fn sale<'e>(format: Format, name: &str, data: &'e serde_json::Value) -> Option<&'e str> {
    let sale = match (format, name) {
        (Format::XPay, "charge.succeeded") => &data["object"]["id"],
        (Format::JoPay, "checkout.session.completed") | (Format::Standard, "charge.succeeded") => &data["id"],
        (Format::Elixpo, "payment.captured") => &data["transaction_id"],
        _ => return None,
    };
    sale.as_str()
}

/// What the shop remembers of a source, on a transaction.
struct Book<'t, 'c>(&'t mut Transaction<'c>, &'t str);

impl InboxStore for Book<'_, '_> {
    type Error = rusqlite::Error;

    fn seen(&mut self, event_id: &str) -> rusqlite::Result<bool> {
        let added = self.0.execute(
            "INSERT INTO seen_event (source, id, at) VALUES (?1, ?2, ?3) ON CONFLICT (source, id) DO NOTHING",
            (self.1, event_id, SystemClock.now().as_secs()),
        )?;
        Ok(added == 0)
    }

    fn newest(&mut self, object_id: &str, sequence: i64) -> rusqlite::Result<bool> {
        let changed = self.0.execute(
            "INSERT INTO newest (source, object, sequence) VALUES (?1, ?2, ?3) ON CONFLICT (source, object) \
             DO UPDATE SET sequence = excluded.sequence WHERE newest.sequence < excluded.sequence",
            (self.1, object_id, sequence),
        )?;
        Ok(changed > 0)
    }
}

/// What a receiver of an endpoint checks by. Bodies of JoPay name no event, so the id comes from a header
/// that only Standard Webhooks sign; they go with the same secret.
fn verifiers(format: Format, secrets: &[&Secret]) -> Vec<Verifier> {
    let of = |format: Format| {
        let verifier = Verifier::new(format, secrets[0].clone());
        secrets[1..]
            .iter()
            .fold(verifier, |verifier, secret| verifier.also((*secret).clone()))
    };
    match format {
        Format::JoPay => vec![of(format), of(Format::Standard)],
        format => vec![of(format)],
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::builder()
        .seal_key(*b"an example's key, known to all!!")
        .transport(transport::send)
        .open_in_memory()?;
    let app = engine.app("lixblogs", Mode::Test)?;
    let price = NewPrice::new("member", Amount::minor(12_00, Currency::EUR)?).lasting(Interval::MONTH);
    app.catalog().set_price(price)?;

    let mut endpoints = Vec::new();
    for format in Format::ALL.iter().copied() {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/webhooks", listener.local_addr()?);
        // In no order and all at once, so that events about one object can come the last first.
        let new = NewEndpoint::new(url, format)
            .ordering(DeliveryOrder::None)
            .max_in_flight(64);
        // An Ed25519 key for one of them: whoever has its public half can check and not sign.
        let new = if format == Format::Standard { new.ed25519() } else { new };
        endpoints.push((listener, app.endpoints().add(new)?));
    }

    println!("Each receiver holds its endpoint's secret.");
    round(&engine, &app, &endpoints, |added| {
        verifiers(added.endpoint.format, &[&added.secret])
    })?;

    println!("\nAn Ed25519 public key in the secret's place.");
    let (_, standard) = endpoints.last().ok_or("no endpoint")?;
    let public = app
        .endpoints()
        .public_key(&standard.endpoint.id)?
        .ok_or("no public key")?;
    let by_public_key = Secret::new(public);
    round(&engine, &app, &endpoints[endpoints.len() - 1..], |_| {
        verifiers(Format::Standard, &[&by_public_key])
    })?;

    // For a day both secrets sign; nothing has to happen at the same moment.
    let mut rotated = Vec::new();
    for (listener, old) in endpoints {
        let new = app.endpoints().rotate(&old.endpoint.id, None)?;
        rotated.push((listener, new, old.secret));
    }
    let endpoints: Vec<(TcpListener, AddedEndpoint)> = rotated
        .iter()
        .map(|(listener, new, _)| Ok((listener.try_clone()?, new.clone())))
        .collect::<std::io::Result<_>>()?;
    let old_of = |added: &AddedEndpoint| {
        let found = rotated.iter().find(|(_, new, _)| new.endpoint.id == added.endpoint.id);
        found.map_or_else(|| added.secret.clone(), |(_, _, old)| old.clone())
    };
    println!("\nThe secrets were replaced; the receivers still hold the old ones.");
    round(&engine, &app, &endpoints, |added| {
        verifiers(added.endpoint.format, &[&old_of(added)])
    })?;
    println!("\nThey take the new ones, and keep the old ones until the overlap ends.");
    round(&engine, &app, &endpoints, |added| {
        verifiers(added.endpoint.format, &[&added.secret, &old_of(added)])
    })?;
    println!("\nThey hold the new ones alone; xpay-subscriptions has room for one signature, the old one's.");
    let others: Vec<_> = endpoints
        .into_iter()
        .filter(|(_, added)| added.endpoint.format != Format::XPaySubscriptions)
        .collect();
    round(&engine, &app, &others, |added| {
        verifiers(added.endpoint.format, &[&added.secret])
    })?;
    println!(
        "\nEverything was accepted once, and nothing that was changed; each sale was shipped once, though it came late."
    );
    Ok(())
}

/// Starts the receivers, sells something and gives back a part of it, and sends what happened to each endpoint, the
/// last first: changed on its way in two ways, as it is, and once more because the answer was lost.
fn round(
    engine: &Engine,
    app: &App,
    endpoints: &[(TcpListener, AddedEndpoint)],
    verifiers: impl Fn(&AddedEndpoint) -> Vec<Verifier>,
) -> Result<(), Box<dyn Error>> {
    let mut receivers = Vec::new();
    let mut shops = Vec::new();
    for (listener, added) in endpoints {
        // One webhook after the other: a shop has one connection to its database.
        let shop = Arc::new(Mutex::new(Shop::new(added.endpoint.format, verifiers(added))?));
        shops.push(Arc::clone(&shop));
        receivers.push(Server::start(listener.try_clone()?, move |received| {
            let mut shop = shop.lock().unwrap_or_else(PoisonError::into_inner);
            Reply::status(shop.answer(received))
        })?);
        app.endpoints().ping(&added.endpoint.id)?;
    }
    let order = NewSession::tier("member", Currency::EUR).customer("u_ada");
    let session = app.sessions().create(order)?;
    app.sessions().pay(&session.id, sandbox::card::APPROVED)?;
    let some = Amount::minor(2_00, Currency::EUR)?;
    app.refunds().create(NewRefund::session(&session.id).amount(some))?;

    let here = |request: &SignedRequest| {
        endpoints
            .iter()
            .position(|(_, added)| added.endpoint.url == request.url)
    };
    let mut sent = vec![0_u32; endpoints.len()];
    loop {
        let claimed = engine.claim_deliveries(100)?;
        if claimed.is_empty() {
            break;
        }
        for delivery in claimed.into_iter().rev() {
            let answer = match here(&delivery.request) {
                // A receiver that does not run in this round.
                None => TransportOutcome::Answered(tillite::Answered::status(204)),
                Some(at) => {
                    let mut changed = delivery.request.clone();
                    changed.body.push(b' ');
                    ensure(status(&transport::send(&changed)) == 400, "a changed body was accepted")?;
                    let mut doubled = delivery.request.clone();
                    doubled.headers.extend(delivery.request.headers.clone());
                    ensure(
                        status(&transport::send(&doubled)) == 400,
                        "a header that stands twice was accepted",
                    )?;
                    transport::send(&delivery.request);
                    sent[at] += 1;
                    transport::send(&delivery.request)
                }
            };
            ensure(status(&answer) == 204, "a webhook was refused")?;
            engine.acknowledge(&delivery, &answer)?;
        }
    }
    engine.run_due(Budget::items(100))?;
    for receiver in receivers {
        receiver.stop()?;
    }
    for ((sent, shop), (_, added)) in sent.iter().zip(shops).zip(endpoints) {
        let shop = shop.lock().unwrap_or_else(PoisonError::into_inner);
        let format = added.endpoint.format.as_str();
        let (taken, shipped) = (shop.count("seen_event")?, shop.count("shipped")?);
        ensure(
            *sent > 0 && taken == *sent,
            &format!("{format}: {taken} of {sent} taken"),
        )?;
        let sold = u32::from(added.endpoint.format != Format::XPaySubscriptions);
        ensure(shipped == sold, &format!("{format}: {shipped} shipped"))?;
        let pending = shop.count("known WHERE object LIKE 'ch_%' AND status <> 'succeeded'")?;
        ensure(
            pending == 0,
            &format!("{format}: what is old was kept over what is new"),
        )?;
        println!("    {format:<20} {sent} sent twice, {taken} taken, {shipped} shipped");
    }
    Ok(())
}

fn status(outcome: &TransportOutcome) -> u16 {
    match outcome {
        TransportOutcome::Answered(answer) => answer.status,
        _ => 0,
    }
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}
