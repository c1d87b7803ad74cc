//! What the engine tells of itself through `tracing`: what it does, and nothing of what it is about.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use ::tracing::field::{Field, Visit};
use ::tracing::span::{Attributes, Id, Record};
use ::tracing::{Event, Metadata, Subscriber};
use tillite::webhook::{Format, NewEndpoint};
use tillite::{
    Budget, Event as LogEvent, HostTx, Mode, NewCustomer, NewLine, NewPayment, NewSession, Outcome, TransportOutcome,
};

use crate::kit::{ManualClock, Receiver, Till, Told, another_process, builder, euro, is_another_process, locked};

/// Writes down everything that is told, with every field.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<String>>);

struct Fields<'t>(&'t mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Collected {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = locked(&self.0);
        text.push_str(span.metadata().name());
        span.record(&mut Fields(&mut text));
        text.push('\n');
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut locked(&self.0)));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = locked(&self.0);
        text.push_str(event.metadata().target());
        event.record(&mut Fields(&mut text));
        text.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_sale_tells_what_was_done_and_nothing_of_the_buyer_or_a_secret() {
    const TEST: &str = "tracing::a_sale_tells_what_was_done_and_nothing_of_the_buyer_or_a_secret";
    // Where another thread that nobody listens to tells of something first, the library remembers that nobody does.
    if !is_another_process(TEST) {
        let told = another_process(TEST, &[]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        return;
    }
    let collected = Collected::default();
    ::tracing::subscriber::with_default(collected.clone(), || {
        let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
        let canary = |_: &mut HostTx<'_>, _: &LogEvent| Err("canary-consumer".into());
        let engine = builder(&clock, &till, &receiver)
            .consumer("revenue", canary)
            .open_in_memory()
            .unwrap();
        let app = engine.app("lixblogs", Mode::Live).unwrap();
        let endpoint = NewEndpoint::new("https://canary-url.example/hooks?canary-query", Format::Standard);
        let secret = app.endpoints().add(endpoint).unwrap().secret;
        let customer = NewCustomer::uid("canary-uid")
            .email("canary-mail@shop.example")
            .name("canary-name");
        app.customers().create(customer).unwrap();
        let metadata = tillite::Metadata::new([("canary-key", "canary-value")]).unwrap();
        let line = NewLine::inline("canary-line", euro(5_00));
        let new = NewSession::empty().line(line).customer("canary-uid").metadata(metadata);
        let new = new.idempotency_key("canary-idempotency");
        let session = app.sessions().create(new).unwrap();
        till.answer(Outcome::Declined {
            code: "canary-code".to_owned(),
            message: "canary-message".to_owned(),
            advice: None,
        });
        app.sessions().pay(&session.id, "canary-token").unwrap();
        till.tell(Told::LoseRequest);
        app.sessions()
            .pay(&session.id, NewPayment::with("canary-token-2"))
            .unwrap();
        let refused = app.sessions().pay(&session.id, "4242424242424242");
        assert!(refused.is_err());
        let failed = TransportOutcome::Failed {
            why: "canary-why".to_owned(),
        };
        let delivery = engine.claim_deliveries(1).unwrap().remove(0);
        engine.acknowledge(&delivery, &failed).unwrap();
        clock.turn(std::time::Duration::from_secs(3_600));
        engine.run_due(Budget::items(1_000)).unwrap();
        let told = locked(&collected.0);
        assert!(!told.contains("canary"), "{told}");
        assert!(!told.contains("4242") && !told.contains(secret.expose()), "{told}");
    });
    let told = locked(&collected.0);
    for line in [
        "tillite::verb",
        "tillite::processor processor=\"till\" operation=\"charge\"",
        "outcome=\"declined\"",
        "tillite::delivery endpoint=\"we_live_",
        "tillite::consumer consumer=\"revenue\" app=1 mode=\"live\" events=1 outcome=\"failed\"",
        "tillite::run_due items=",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}
