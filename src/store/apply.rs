//! The one place that writes domain rows.
//!
//! Each entry of a change is written as a row, an event per happening, a body per format that an
//! enabled endpoint wants, and a delivery per such endpoint, all in the transaction that is open.

use sha2::{Digest as _, Sha256};

use super::codec::{self, mode_number};
use super::head::Tx;
use super::{
    app, attempt, catalog, customer, dispute, endpoint, entitlement, idempotency, method, outbox, payment, refund,
    session, setup,
};
use crate::alarm;
use crate::change::{Change, Entry};
use crate::digest::Fields;
use crate::error::Result;
use crate::event::{EventKind, Happening, Subject};
use crate::id::{DeliveryId, EventId, World};
use crate::payment::Charge;
use crate::webhook::{Endpoint, Format};
use crate::wire::{self, Envelope, Sale};

/// Writes a change.
pub(crate) fn apply(tx: &mut Tx<'_>, change: &Change) -> Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    debug_assert!(
        every_grant_is_folded(change),
        "a reader may remember what is written here"
    );
    let mut endpoints = endpoint::listening(tx.sql, tx.world)?;
    for entry in &change.entries {
        put(tx, entry)?;
        for (at, happening) in entry.happenings.iter().enumerate() {
            let behind = i64::try_from(entry.happenings.len() - 1 - at).unwrap_or(0);
            put_event(
                tx,
                &entry.subject,
                *happening,
                entry.subject.revision() - behind,
                &endpoints,
            )?;
        }
        tx.alarms
            .extend(alarm::raised_by(&tx.app, &entry.subject, &entry.happenings));
        if let Subject::Endpoint(_) = entry.subject {
            endpoints = endpoint::listening(tx.sql, tx.world)?;
        }
    }
    for entry in &change.ledger {
        let fresh = entry.evidence.is_none();
        attempt::put_attempt(tx.sql, tx.world, &entry.attempt, fresh)?;
        if let Some(evidence) = &entry.evidence {
            attempt::put_evidence(tx.sql, tx.world, &entry.attempt.id, evidence)?;
        }
    }
    for reference in &change.references {
        method::put_reference(tx.sql, tx.world, reference)?;
    }
    for folded in &change.folded {
        entitlement::put_folded(tx.sql, tx.world, folded)?;
        tx.touched.push((folded.uid.clone(), folded.line.clone()));
    }
    match &change.remember {
        Some(remember) if !planted!(KeyForgotten) => idempotency::put(tx, remember),
        _ => Ok(()),
    }
}

/// Whether every entitlement of which something visible is written stands among those into which
/// time has been folded: that is how it is known whose entitlements a write touched.
fn every_grant_is_folded(change: &Change) -> bool {
    let folded = |id: &str| change.folded.iter().any(|folded| folded.entitlement == id);
    change.entries.iter().all(|entry| match &entry.subject {
        Subject::Grant(grant) => folded(grant.entitlement.as_str()),
        Subject::Entitlement(step) => folded(step.id.as_str()),
        _ => true,
    })
}

fn put(tx: &mut Tx<'_>, entry: &Entry) -> Result<()> {
    let (sql, world) = (&mut *tx.sql, tx.world);
    let events = i64::try_from(entry.happenings.len()).unwrap_or(i64::MAX);
    let before = entry.subject.revision() - events;
    match &entry.subject {
        Subject::Product(product) => catalog::put_product(sql, world, product, before),
        Subject::Price(price) => catalog::put_price(sql, world, price, before),
        Subject::Customer(customer) => customer::put(sql, world, customer, before),
        Subject::Setup(wanted) => setup::put(sql, world, wanted, before),
        Subject::PaymentMethod(saved) => method::put(sql, world, saved, before),
        Subject::Session(session) => session::put(sql, world, session, before),
        Subject::PaymentIntent(intent) => payment::put_intent(sql, world, intent, before),
        Subject::Charge(charge) => payment::put_charge(sql, world, charge, before),
        Subject::Refund(refund) => refund::put(sql, world, refund, before),
        Subject::Dispute(dispute) => dispute::put(sql, world, dispute, before),
        Subject::Grant(grant) => entitlement::put_grant(sql, world, grant, before),
        Subject::Entitlement(step) => entitlement::put_step(sql, world, step),
        Subject::Endpoint(endpoint) => endpoint::put(sql, world, endpoint, before),
        Subject::ApiKey(key) => app::put_key(sql, world, key, before),
    }
}

fn put_event(
    tx: &mut Tx<'_>,
    subject: &Subject,
    happening: Happening,
    object_seq: i64,
    endpoints: &[Endpoint],
) -> Result<()> {
    let World { app, mode } = tx.world;
    let id: EventId = tx.mint.id(mode);
    let mut wanting: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| hears(endpoint, subject.id(), happening.kind))
        .collect();
    let app_slug = tx.app.clone();
    let sale = match subject {
        Subject::Charge(charge) if wanting.iter().any(|endpoint| endpoint.format == Format::Elixpo) => {
            sale(tx, charge)?
        }
        _ => None,
    };
    let envelope = Envelope {
        id: &id,
        kind: happening.kind,
        object_seq,
        created_at: tx.now,
        mode,
        app: &app_slug,
        sale: sale.as_ref(),
    };
    let object = wire::native_object(&envelope, subject);
    let bodies = bodies(&wanting, &envelope, subject, &object);
    wanting.retain(|endpoint| bodies.iter().any(|body| body.format == endpoint.format));

    let seq = tx.seq + 1;
    let body_hash: [u8; 32] = Sha256::digest(object.as_bytes()).into();
    let hash = Link {
        previous: &tx.hash,
        seq,
        id: id.as_str(),
        kind: happening.kind.as_str(),
        object_id: subject.id(),
        object_seq,
        from: happening.from,
        to: happening.to,
        cause: tx.cause,
        actor: &tx.actor,
        created_at: tx.now.as_millis(),
        body_hash: &body_hash,
    }
    .hash(bodies.iter().map(|body| (body.format.as_str(), body.hash)));

    codec::one(tx.sql.exec(
        "INSERT INTO tillite_event (app, mode, seq, id, type, object_id, object_seq, from_state, to_state, cause, \
         actor, created_at, customer, body, body_hash, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &[
            app.into(),
            mode_number(mode).into(),
            seq.into(),
            id.as_str().into(),
            happening.kind.as_str().into(),
            subject.id().into(),
            object_seq.into(),
            happening.from.into(),
            happening.to.into(),
            tx.cause.into(),
            (&tx.actor).into(),
            tx.now.as_millis().into(),
            subject.customer().into(),
            (&object).into(),
            (&body_hash).into(),
            (&hash).into(),
        ],
    )?)?;
    tx.seq = seq;
    tx.hash = hash;
    for body in &bodies {
        codec::one(tx.sql.exec(
            "INSERT INTO tillite_event_body (app, mode, seq, format, bytes, hash) VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                app.into(),
                mode_number(mode).into(),
                seq.into(),
                body.format.as_str().into(),
                body.text.as_bytes().into(),
                (&body.hash).into(),
            ],
        )?)?;
    }
    if planted!(EventWithoutDelivery) && object_seq > 1 && object_seq == subject.revision() {
        return Ok(());
    }
    for endpoint in wanting {
        put_delivery(tx, endpoint, seq, subject.id(), 1)?;
    }
    Ok(())
}

/// Whether an endpoint is told of an event about an object.
pub(super) fn hears(endpoint: &Endpoint, object: &str, kind: EventKind) -> bool {
    let own = endpoint.id.as_str() == object;
    match wire::name(endpoint.format, kind) {
        // A test event is for the endpoint that it is about.
        Some(_) if kind == EventKind::EndpointPing => own,
        // Else it hears nothing of itself: of a new secret it could not check the signature.
        Some(name) => !own && endpoint.wants(name),
        None => false,
    }
}

/// What a charge paid for, if that entitles anybody.
fn sale(tx: &mut Tx<'_>, charge: &Charge) -> Result<Option<Sale>> {
    let session = session::get(tx.sql, tx.world, &charge.session)?;
    let grants = session.lines.into_iter().find_map(|line| line.grants);
    let tier = grants.map(|grants| grants.tier);
    Ok(session.for_uid.map(|uid| Sale { uid, tier }))
}

struct Body {
    format: Format,
    text: String,
    hash: [u8; 32],
}

/// One body per format that somebody wants, in the order of the formats' names.
fn bodies(wanting: &[&Endpoint], envelope: &Envelope<'_>, subject: &Subject, object: &str) -> Vec<Body> {
    let mut formats: Vec<Format> = wanting.iter().map(|endpoint| endpoint.format).collect();
    formats.sort_unstable_by_key(|format| format.as_str());
    formats.dedup();
    formats
        .into_iter()
        .filter_map(|format| {
            let text = wire::body(format, envelope, subject, object)?;
            let hash = Sha256::digest(text.as_bytes()).into();
            Some(Body { format, text, hash })
        })
        .collect()
}

/// Puts a delivery of an event into the queue. `object` is the id of what the event is about, and the
/// generation is 1 with the event itself and more each time that it is sent again.
pub(super) fn put_delivery(
    tx: &mut Tx<'_>,
    endpoint: &Endpoint,
    event: i64,
    object: &str,
    generation: i64,
) -> Result<DeliveryId> {
    let id: DeliveryId = tx.mint.id(tx.world.mode);
    let new = outbox::New {
        id: &id,
        endpoint,
        event,
        object,
        generation,
        due_at: tx.queued_at,
    };
    outbox::enqueue(tx.sql, tx.world, &new)?;
    Ok(id)
}

/// What the hash of an event covers. Bodies are covered by their own hashes, so that the chain can
/// be checked after a body was erased.
pub(super) struct Link<'a> {
    pub(super) previous: &'a [u8; 32],
    pub(super) seq: i64,
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    pub(super) object_id: &'a str,
    pub(super) object_seq: i64,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    pub(super) cause: &'a str,
    pub(super) actor: &'a str,
    pub(super) created_at: i64,
    pub(super) body_hash: &'a [u8; 32],
}

impl Link<'_> {
    /// The hash over the previous hash, the position, every field and every body's hash.
    pub(super) fn hash<'f>(&self, bodies: impl Iterator<Item = (&'f str, [u8; 32])>) -> [u8; 32] {
        let own = Fields::new()
            .bytes(self.previous)
            .int(self.seq)
            .text(self.id)
            .text(self.kind)
            .text(self.object_id)
            .int(self.object_seq)
            .maybe(self.from)
            .maybe(self.to)
            .text(self.cause)
            .text(self.actor)
            .int(self.created_at)
            .bytes(self.body_hash);
        bodies
            .fold(own, |fields, (format, body)| fields.text(format).bytes(&body))
            .finish()
    }
}
