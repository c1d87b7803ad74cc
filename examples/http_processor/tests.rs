//! What the processor makes of each way in which a service can answer, or not. Whoever copies the
//! processor copies this table too, with what their own service says.

use tillite::{
    Advice, Begun, Cancel, Lookup, LookupKey, NoticeKind, Outcome, Post, Processor as _, Reception, Request,
};

use super::processor::{Reply, canceled, executed, looked_up};
use super::provider::signature;
use super::*;

/// Enough for whoever answers at all.
const LONG: Duration = Duration::from_secs(60);

/// Some, for who does not.
const SHORT: Duration = Duration::from_millis(50);

struct Stage {
    provider: Provider,
    shop: App,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let provider = Provider::start(KEY, Arc::new(SystemClock)).unwrap();
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
    let secrets = (Secret::new(KEY), Secret::new(SIGNING));
    Fickle::new(url, secrets, patience, Arc::new(SystemClock))
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
        (Secret::new("fk_test_old"), Secret::new(SIGNING)),
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

#[test]
fn a_key_of_the_other_mode_is_used_for_nothing() {
    let stage = Stage::new();
    let request = stage.request("card_good");
    let secrets = (Secret::new("fk_live_1"), Secret::new(SIGNING));
    let live = Fickle::new(stage.provider.url(), secrets, LONG, Arc::new(SystemClock));
    assert_eq!(word(&live.execute(&request, Timestamp::MAX)), "not_sent");
    assert_eq!(stage.taken(&request), 0);
}

/// What the service says by itself of a charge in this status.
fn event(status: &str, mode: &str) -> String {
    let transaction = serde_json::json!({
        "id": "tx_1", "attempt": "at_test_1", "mode": mode, "status": status, "amount": 2500, "currency": "EUR",
    });
    serde_json::json!({ "id": "ev_1", "transaction": transaction }).to_string()
}

#[test]
fn only_what_the_service_signed_a_moment_ago_is_heard() {
    let fickle = fickle("http://127.0.0.1:1", LONG);
    let now = SystemClock.now();
    let body = event("succeeded", "test");
    let good = signature(SIGNING, now, body.as_bytes());
    let check = |signature: &str, body: &str, received_at: Timestamp, expected: bool| {
        let headers = [("Fickle-Signature", signature)];
        let heard = fickle.receive(&Post::new(&headers, body.as_bytes(), received_at));
        let is_genuine = matches!(heard, Reception::Genuine { .. });
        assert_eq!(is_genuine, expected, "{signature} {heard:?}");
    };
    check(&good, &body, now, true);
    let span = Duration::from_secs(290);
    check(&good, &body, now.plus(span), true);
    check(&signature(SIGNING, now.plus(span), body.as_bytes()), &body, now, true);
    check(&good, &body, now.plus(span * 2), false);
    check(
        &signature(SIGNING, now.plus(span * 2), body.as_bytes()),
        &body,
        now,
        false,
    );
    check(&good, &format!("{body} "), now, false);
    check(&signature("fs_test_2", now, body.as_bytes()), &body, now, false);
    for nothing in [
        "",
        "t=,v1=",
        "t=1",
        "v1=00",
        "t=9223372036854775807,v1=00",
        &good[..good.len() - 2],
    ] {
        check(nothing, &body, now, false);
    }
    let unsigned = fickle.receive(&Post::new(&[], body.as_bytes(), now));
    assert!(matches!(unsigned, Reception::Refused { .. }));
}

#[test]
fn what_is_not_certain_from_a_notification_alone_is_asked_for() {
    let fickle = fickle("http://127.0.0.1:1", LONG);
    let now = SystemClock.now();
    let heard = |body: &str| {
        let signature = signature(SIGNING, now, body.as_bytes());
        let headers = [("fickle-signature", signature.as_str())];
        match fickle.receive(&Post::new(&headers, body.as_bytes(), now)) {
            Reception::Genuine { notices, reply } => {
                assert_eq!((reply.status, reply.body.as_slice()), (200, &b"taken"[..]));
                notices
            }
            other => panic!("{other:?}"),
        }
    };
    for (status, expected) in [
        ("succeeded", "succeeded"),
        ("authorized", "authorized"),
        ("declined", "changed"),
        ("canceled", "changed"),
        ("processing", "changed"),
        ("requires_action", "changed"),
        ("quasi_settled", "changed"),
    ] {
        let notice = heard(&event(status, "test")).remove(0);
        assert_eq!(
            (notice.id.as_str(), notice.attempt.as_deref()),
            ("ev_1", Some("at_test_1"))
        );
        assert_eq!(notice.reference.as_deref(), Some("tx_1"));
        let kind = match &notice.kind {
            NoticeKind::Evidence(outcome) => word(outcome),
            NoticeKind::Changed => "changed",
            _ => "another",
        };
        assert_eq!(kind, expected, "{status}");
    }
    assert_eq!(heard(&event("succeeded", "live")), []);
    assert_eq!(heard("{\"id\":\"ev_1\",\"payout\":{}}"), []);
}
