//! What the processor makes of each way in which a service can answer, or not. Whoever copies the
//! processor copies this table too, with what their own service says.

use std::net::TcpListener;

use tillite::{Advice, Begun, Cancel, Lookup, LookupKey, Outcome, Processor as _, Request};

use super::processor::{Reply, canceled, executed, looked_up};
use super::*;

/// Enough for whoever answers at all.
const LONG: Duration = Duration::from_secs(60);

/// Some, for who does not.
const SHORT: Duration = Duration::from_millis(50);

const KEY: &str = "fk_test_tests";

struct Stage {
    provider: Provider,
    shop: App,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let provider = Provider::start(KEY).unwrap();
        let fickle = fickle(&provider.url(), LONG);
        let engine = Engine::builder().test_processor("fickle", fickle);
        let engine = engine.open(directory.path().join("shop.db")).unwrap();
        Stage {
            shop: engine.app("shop", Mode::Test).unwrap(),
            provider,
            _directory: directory,
        }
    }

    /// What the engine asks for when a new session is paid.
    fn request(&self, card: &str) -> Request {
        let sessions = self.shop.sessions().list(100, None).unwrap().data;
        let session = open_session(&self.shop, 4 * u32::try_from(sessions.len()).unwrap()).unwrap();
        match self.shop.sessions().begin_payment(&session, card).unwrap() {
            Begun::Ask(ask) => ask.request,
            Begun::Done(_) => panic!("there is nothing to pay"),
        }
    }

    /// The service, met with this trouble.
    fn meets(&self, trouble: Trouble) -> Fickle {
        self.provider.misbehave(&[trouble]);
        let patience = if trouble == Trouble::SaysNothing { SHORT } else { LONG };
        fickle(&self.provider.url(), patience)
    }

    fn execute(&self, trouble: Trouble, request: &Request) -> Outcome {
        self.meets(trouble).execute(request, Timestamp::MAX)
    }

    fn taken(&self, request: &Request) -> usize {
        let entries = self.provider.entries();
        entries.iter().filter(|entry| entry.session == request.session).count()
    }
}

fn fickle(url: &str, patience: Duration) -> Fickle {
    Fickle::new(url, Secret::new(KEY), patience, Arc::new(SystemClock))
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::Authorized { .. } => "authorized",
        Outcome::Pending { .. } => "pending",
        Outcome::RequiresAction { .. } => "requires_action",
        Outcome::Declined { .. } => "declined",
        Outcome::NotSent { .. } => "not_sent",
        Outcome::Canceled { .. } => "canceled",
        Outcome::Unknown { .. } => "unknown",
        _ => "another",
    }
}

fn learned(lookup: &Lookup) -> &'static str {
    match lookup {
        Lookup::Found(outcome) => word(outcome),
        Lookup::NotFound => "not_found",
        _ => "cannot_tell",
    }
}

fn called_off(cancel: &Cancel) -> &'static str {
    match cancel {
        Cancel::Canceled => "canceled",
        Cancel::TooLate(outcome) => word(outcome),
        Cancel::NotFound => "not_found",
        _ => "cannot_tell",
    }
}

#[test]
fn after_trouble_a_charge_is_unknown_and_a_look_up_tells_whether_it_was_made() {
    let stage = Stage::new();
    for trouble in Trouble::ALL {
        let (said, was) = match trouble {
            Trouble::None => ("succeeded", "succeeded"),
            Trouble::TooMany => ("declined", "not_found"),
            Trouble::FailsBefore | Trouble::HangsUpBefore => ("unknown", "not_found"),
            _ => ("unknown", "succeeded"),
        };
        let request = stage.request("card_good");
        assert_eq!(word(&stage.execute(trouble, &request)), said, "{trouble:?}");
        let found = stage.meets(Trouble::None).lookup(&LookupKey::of(&request));
        assert_eq!(learned(&found), was, "{trouble:?}");
        // Under its key, the same order is carried out once, however often it is sent.
        assert_eq!(word(&stage.execute(Trouble::None, &request)), "succeeded");
        assert_eq!(stage.taken(&request), 1, "{trouble:?}");
    }
}

#[test]
fn a_look_up_or_a_cancellation_that_meets_trouble_has_learned_nothing() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    stage.execute(Trouble::None, &request);
    let key = LookupKey::of(&request);
    for trouble in Trouble::ALL {
        let expected = match trouble {
            Trouble::None => "succeeded",
            _ => "cannot_tell",
        };
        assert_eq!(learned(&stage.meets(trouble).lookup(&key)), expected, "{trouble:?}");
        assert_eq!(called_off(&stage.meets(trouble).cancel(&key)), expected, "{trouble:?}");
    }
}

#[test]
fn what_is_looked_up_is_found_by_either_name() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    let Outcome::Succeeded(receipt) = stage.execute(Trouble::None, &request) else {
        panic!("it was not paid");
    };
    let fickle = stage.meets(Trouble::None);
    let by_attempt = fickle.lookup(&LookupKey::of(&request));
    let by_reference = fickle.lookup(&LookupKey::of(&request).reference(&receipt.reference));
    assert_eq!(by_attempt, Lookup::Found(Outcome::Succeeded(receipt)));
    assert_eq!(by_reference, by_attempt);
    let of_nobody = LookupKey::of(&request).reference("tx_999&attempt=x");
    assert_eq!(fickle.lookup(&of_nobody), Lookup::NotFound);
}

#[test]
fn a_payment_in_the_middle_can_be_called_off_and_a_made_one_cannot() {
    let stage = Stage::new();
    for (card, said, after) in [
        ("card_good", "succeeded", "succeeded"),
        ("card_empty", "declined", "declined"),
        ("card_challenge", "requires_action", "canceled"),
        ("card_bank", "pending", "canceled"),
    ] {
        let request = stage.request(card);
        let fickle = stage.meets(Trouble::None);
        let key = LookupKey::of(&request);
        assert_eq!(called_off(&fickle.cancel(&key)), "not_found", "{card}");
        assert_eq!(word(&fickle.execute(&request, Timestamp::MAX)), said, "{card}");
        assert_eq!(called_off(&fickle.cancel(&key)), after, "{card}");
        assert_eq!(learned(&fickle.lookup(&key)), after, "{card}");
    }
}

#[test]
fn where_nobody_listens_nothing_was_sent() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = fickle(&format!("http://{address}"), LONG);
    assert_eq!(word(&nobody.execute(&request, Timestamp::MAX)), "not_sent");
    let key = LookupKey::of(&request);
    assert_eq!(learned(&nobody.lookup(&key)), "cannot_tell");
    assert_eq!(called_off(&nobody.cancel(&key)), "cannot_tell");
}

#[test]
fn a_key_that_the_service_does_not_know_is_a_refusal() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    let stranger = Fickle::new(
        stage.provider.url(),
        Secret::new("fk_test_old"),
        LONG,
        Arc::new(SystemClock),
    );
    let Outcome::Declined { code, .. } = stranger.execute(&request, Timestamp::MAX) else {
        panic!("nothing was begun, and the buyer may go on");
    };
    assert_eq!(code, "wrong_key");
    // It may not look, either: that says nothing about what there is.
    assert_eq!(learned(&stranger.lookup(&LookupKey::of(&request))), "cannot_tell");
}

#[test]
fn an_answer_that_nobody_expects_settles_nothing() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    let transaction = |change: &str, to: serde_json::Value| {
        let mut said = serde_json::json!({
            "id": "tx_1", "attempt": request.attempt, "mode": "test", "status": "succeeded",
            "amount": request.amount, "currency": "EUR",
        });
        said[change] = to;
        said
    };
    let refusal = |code: &str| serde_json::json!({ "error": { "code": code, "message": "" } }).to_string();
    let check = |status: u16, body: String, expected: [&str; 3]| {
        let reply = Reply {
            status,
            body: body.clone().into_bytes(),
        };
        let found = [
            word(&executed(&reply, &request)),
            learned(&looked_up(&reply, &request)),
            called_off(&canceled(&reply, &request)),
        ];
        assert_eq!(found, expected, "{status} {body}");
    };
    let nothing = ["unknown", "cannot_tell", "cannot_tell"];
    // The service's own refusals speak of an order; of a payment that may exist they say nothing.
    for status in [400, 401, 403, 422, 429] {
        check(status, refusal("no"), ["declined", "cannot_tell", "cannot_tell"]);
        check(status, "<html>Blocked</html>".to_owned(), nothing);
    }
    check(
        404,
        refusal("no_such_transaction"),
        ["unknown", "cannot_tell", "not_found"],
    );
    check(404, refusal("no_such_address"), nothing);
    for status in [201, 204, 302, 402, 404, 408, 409, 500, 502, 503, 504] {
        check(status, String::new(), nothing);
        check(status, "{}".to_owned(), nothing);
    }
    // Another's transaction, real money in a test, an amount that cannot be.
    for (change, to) in [
        ("attempt", "at_test_of_another".into()),
        ("mode", "live".into()),
        ("currency", "XQQ".into()),
        ("amount", i64::MIN.into()),
        ("amount", "2500".into()),
        ("status", "settled".into()),
        ("status", "requires_action".into()),
    ] {
        let body = transaction(change, to).to_string();
        check(200, body.clone(), nothing);
        let list = format!("{{\"data\":[{body}],\"has_more\":false}}");
        check(200, list, nothing);
    }
    let [one, two] = ["tx_1", "tx_2"].map(|id| transaction("id", id.into()).to_string());
    let list = |data: String, more: bool| format!("{{\"data\":[{data}],\"has_more\":{more}}}");
    check(200, list(one.clone(), false), ["unknown", "succeeded", "cannot_tell"]);
    check(200, list(format!("{one},{two}"), false), nothing);
    check(200, list(String::new(), true), nothing);
    check(200, list(String::new(), false), ["unknown", "not_found", "cannot_tell"]);
}

#[test]
fn a_refusal_says_whether_trying_again_can_help() {
    let stage = Stage::new();
    for (trouble, card, expected) in [
        (Trouble::TooMany, "card_good", Advice::Later),
        (Trouble::None, "card_empty", Advice::OtherMethod),
    ] {
        match stage.execute(trouble, &stage.request(card)) {
            Outcome::Declined { advice, .. } => assert_eq!(advice, Some(expected)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_call_whose_time_is_over_is_given_up() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    let late = stage.meets(Trouble::None).execute(&request, Timestamp::MIN);
    assert_eq!(word(&late), "unknown");
}

/// The example itself: its own comparisons fail it.
#[test]
fn the_whole_story_ends_well() {
    main().unwrap();
}
