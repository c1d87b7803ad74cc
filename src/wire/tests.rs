use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::access::ApiKey;
use crate::catalog::{Price, Product, Terms};
use crate::customer::Customer;
use crate::entitlement::{Content, Grant, GrantSource, Status, Version};
use crate::event::Step;
use crate::hook::Action;
use crate::payment::{
    CaptureMethod, Charge, ChargeState, Dispute, DisputeState, GrantEffect, Hold, MethodState, PaymentIntent,
    PaymentMethod, Refund, RefundSource, RefundState, Setup, SetupState,
};
use crate::samples::{
    at, charge, customer, dispute, eur, grant, id, intent, line, metadata, method, refund, session,
    session_without_lines, setup, sums,
};
use crate::session::{Completion, ExpiredReason, Line, Session, SessionState};
use crate::text::Metadata;
use crate::time::Interval;
use crate::webhook::{DeliveryOrder, Endpoint, EndpointState};

const FORMATS: &[Format] = Format::ALL;

/// The object that an event of a kind is about, as it would be afterwards.
#[allow(clippy::too_many_lines, reason = "an arm for each kind of event")]
fn subject(kind: EventKind) -> Subject {
    match kind {
        EventKind::ProductCreated => Subject::Product(product()),
        EventKind::ProductUpdated => Subject::Product(Product {
            description: None,
            rank: -1,
            ..product()
        }),
        EventKind::PriceCreated => Subject::Price(price()),
        EventKind::PriceArchived => Subject::Price(Price {
            terms: Terms::OneTime {
                lasting: None,
                access_days: None,
            },
            archived_at: Some(at(120)),
            ..price()
        }),
        EventKind::CustomerCreated => Subject::Customer(customer()),
        EventKind::CustomerUpdated => Subject::Customer(Customer {
            uid: None,
            name: None,
            email: None,
            phone: Some("+49 30 1234567".to_owned()),
            metadata: Metadata::default(),
            ..customer()
        }),
        EventKind::CustomerDeleted => Subject::Customer(Customer {
            updated_at: at(90),
            deleted_at: Some(at(90)),
            ..customer()
        }),
        EventKind::SetupCreated => Subject::Setup(setup(SetupState::Initiated)),
        EventKind::SetupUpdated => Subject::Setup(setup(SetupState::Pending)),
        EventKind::SetupRequiresAction => Subject::Setup(Setup {
            action: Some(Action::Redirect("https://pay.example/3ds".to_owned())),
            action_deadline: Some(at(900)),
            ..setup(SetupState::RequiresAction)
        }),
        EventKind::SetupSucceeded => Subject::Setup(Setup {
            method: Some(id(13)),
            reference: Some("seti_1".to_owned()),
            ..setup(SetupState::Succeeded)
        }),
        EventKind::SetupFailed => Subject::Setup(setup(SetupState::Failed)),
        EventKind::SetupCanceled => Subject::Setup(setup(SetupState::Canceled)),
        EventKind::SetupUnresolved => Subject::Setup(Setup {
            mismatched: true,
            ..setup(SetupState::Unknown)
        }),
        EventKind::MethodAttached => Subject::PaymentMethod(method()),
        EventKind::MethodDetached => Subject::PaymentMethod(PaymentMethod {
            state: MethodState::Detached,
            brand: None,
            last4: None,
            expiry: None,
            updated_at: at(90),
            ..method()
        }),
        EventKind::SessionCreated => of_session(session_without_lines()),
        EventKind::SessionUpdated => of_session(session()),
        EventKind::SessionProcessing => of_session(paying(SessionState::Processing, charge(ChargeState::Initiated))),
        EventKind::SessionCompleted => of_session(Session {
            completed_at: Some(at(90)),
            ..paying(SessionState::Complete, succeeded())
        }),
        EventKind::SessionExpired => of_session(Session {
            completion: Completion::HostedConfirmation,
            customer: None,
            lines: vec![inline_line()],
            state: SessionState::Expired(ExpiredReason::Timeout),
            ..session()
        }),
        EventKind::SessionLatePayment => of_session(paying(SessionState::Open, held(Hold::Late))),
        EventKind::PaymentFailed => of_session(paying(SessionState::Open, charge(ChargeState::Failed))),
        EventKind::IntentCreated | EventKind::IntentProcessing => of_intent(charge(ChargeState::Initiated)),
        EventKind::IntentRequiresAction => of_intent(charge(ChargeState::RequiresAction)),
        EventKind::IntentCapturable => of_intent(charge(ChargeState::Authorized)),
        EventKind::IntentSucceeded => of_intent(succeeded()),
        EventKind::IntentCanceled => Subject::PaymentIntent(PaymentIntent {
            canceled_at: Some(at(90)),
            ..intent(vec![charge(ChargeState::Voided)])
        }),
        EventKind::ChargeCaptured => Subject::Charge(Charge {
            capture: CaptureMethod::Manual,
            captured: 333,
            ..succeeded()
        }),
        EventKind::IntentPaymentFailed => of_intent(charge(ChargeState::Failed)),
        EventKind::ChargeInitiated => Subject::Charge(charge(ChargeState::Initiated)),
        EventKind::ChargeUnknown | EventKind::ChargeUnresolved => Subject::Charge(charge(ChargeState::Unknown)),
        EventKind::ChargePending => Subject::Charge(charge(ChargeState::Pending)),
        EventKind::ChargeRequiresAction => Subject::Charge(charge(ChargeState::RequiresAction)),
        EventKind::ChargeAuthorized => Subject::Charge(Charge {
            authorized: 999,
            ..charge(ChargeState::Authorized)
        }),
        EventKind::ChargeSucceeded => Subject::Charge(succeeded()),
        EventKind::ChargeFailed => Subject::Charge(charge(ChargeState::Failed)),
        EventKind::ChargeContradicted => Subject::Charge(held(Hold::Surplus)),
        EventKind::ChargeMismatch => Subject::Charge(Charge {
            hold: Some(Hold::Mismatch),
            ..charge(ChargeState::Unknown)
        }),
        EventKind::ChargeVoided => Subject::Charge(charge(ChargeState::Voided)),
        EventKind::ChargeUpdated => Subject::Charge(Charge {
            refund_reserved: 333,
            ..succeeded()
        }),
        EventKind::ChargeRefunded => Subject::Charge(Charge {
            refunded: 999,
            ..succeeded()
        }),
        EventKind::RefundCreated => Subject::Refund(refund(RefundState::Pending)),
        EventKind::RefundUpdated => Subject::Refund(Refund {
            reference: Some("rr_1".to_owned()),
            lines: Vec::new(),
            reason: None,
            ..refund(RefundState::Succeeded)
        }),
        EventKind::RefundFailed => Subject::Refund(refund(RefundState::Failed)),
        EventKind::RefundContradicted => Subject::Refund(Refund {
            source: RefundSource::Late,
            effect: Some(GrantEffect::Keep),
            ..refund(RefundState::Succeeded)
        }),
        EventKind::DisputeCreated => Subject::Dispute(dispute(DisputeState::Open)),
        EventKind::DisputeWon => Subject::Dispute(dispute(DisputeState::Won)),
        EventKind::DisputeLost => Subject::Dispute(Dispute {
            reason: None,
            ..dispute(DisputeState::Lost)
        }),
        EventKind::RefundUnresolved => Subject::Refund(Refund {
            mismatched: true,
            ..refund(RefundState::Unknown)
        }),
        EventKind::GrantCreated => Subject::Grant(Grant {
            source: GrantSource::Sale("cs_test_1:0".to_owned()),
            limits: metadata(),
            ..grant(8, "member", 1, 0, Some(86_400))
        }),
        EventKind::GrantRevoked => Subject::Grant(Grant {
            revoked_at: Some(at(60)),
            revoke_reason: Some("a <chargeback> & \"more\"".to_owned()),
            ..grant(8, "member", 1, 0, None)
        }),
        EventKind::EntitlementGranted => of_entitlement(1, Status::Active, None),
        EventKind::EntitlementUpdated => of_entitlement(2, Status::Active, Some(86_400)),
        EventKind::EntitlementExpired => of_entitlement(3, Status::Expired, Some(86_400)),
        EventKind::EntitlementRevoked => of_entitlement(3, Status::Revoked, Some(60)),
        EventKind::EndpointCreated
        | EventKind::EndpointUpdated
        | EventKind::EndpointEnabled
        | EventKind::EndpointSecretRotated
        | EventKind::EndpointPing => Subject::Endpoint(endpoint()),
        EventKind::EndpointDisabled => Subject::Endpoint(endpoint_in(EndpointState::Disabled)),
        EventKind::EndpointSuspended => Subject::Endpoint(endpoint_in(EndpointState::Suspended)),
        EventKind::EndpointDeleted => Subject::Endpoint(endpoint_in(EndpointState::Deleted)),
        EventKind::ApiKeyCreated => Subject::ApiKey(api_key()),
        EventKind::ApiKeyRevoked => Subject::ApiKey(ApiKey {
            revoked_at: Some(at(60)),
            ..api_key()
        }),
    }
}

fn product() -> Product {
    Product {
        id: id(3),
        tier: "member".to_owned(),
        name: "Member’s area".to_owned(),
        description: Some("All of \"it\"\\".to_owned()),
        line: "main".to_owned(),
        rank: 1,
        created_at: at(0),
        archived_at: None,
        revision: 3,
    }
}

fn price() -> Price {
    Price {
        id: id(2),
        product: id(3),
        unit_amount: eur(999),
        exponent: 2,
        terms: Terms::Recurring {
            every: Interval::MONTH,
            trial_days: Some(7),
        },
        created_at: at(0),
        archived_at: None,
        revision: 3,
    }
}

/// A line that the caller named and priced.
fn inline_line() -> Line {
    Line {
        price: None,
        product: None,
        quantity: 3,
        totals: sums(999),
        grants: None,
        ..line("", 333)
    }
}

fn succeeded() -> Charge {
    Charge {
        captured: 999,
        reference: Some("r_1".to_owned()),
        settles: true,
        updated_at: at(90),
        ..charge(ChargeState::Succeeded)
    }
}

fn held(hold: Hold) -> Charge {
    Charge {
        hold: Some(hold),
        settles: false,
        ..succeeded()
    }
}

fn paying(state: SessionState, charge: Charge) -> Session {
    Session {
        state,
        payment_intent: Some(intent(vec![charge])),
        updated_at: at(90),
        ..session()
    }
}

fn of_session(session: Session) -> Subject {
    Subject::Session(Box::new(session))
}

fn of_intent(charge: Charge) -> Subject {
    Subject::PaymentIntent(PaymentIntent {
        revision: 3,
        ..intent(vec![charge])
    })
}

fn of_entitlement(number: i64, status: Status, expires: Option<i64>) -> Subject {
    Subject::Entitlement(Box::new(Step {
        id: id(7),
        app: "shop".to_owned(),
        uid: "u_1".to_owned(),
        line: "main".to_owned(),
        version: Version {
            number,
            content: Content {
                tier: "member".to_owned(),
                status,
                expires_at: expires.map(at),
                quantity: 1,
                limits: metadata(),
            },
            changed_at: at(60),
        },
    }))
}

fn endpoint_in(state: EndpointState) -> Endpoint {
    Endpoint { state, ..endpoint() }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: id(10),
        url: "https://shop.example/hook".to_owned(),
        format: Format::XPay,
        events: vec!["charge.failed".to_owned(), "charge.succeeded".to_owned()],
        state: EndpointState::Enabled,
        ordering: DeliveryOrder::Strict,
        max_in_flight: 4,
        min_gap: Duration::ZERO,
        suspend_after: None,
        created_at: at(0),
        number: 1,
        url_key: "https://shop.example/hook".to_owned(),
        revision: 3,
        fresh: None,
    }
}

fn api_key() -> ApiKey {
    ApiKey {
        id: id(11),
        prefix: "sk_test_0123456789".to_owned(),
        created_at: at(0),
        revoked_at: None,
        hash: [7; 32],
        revision: 3,
    }
}

/// The body of an event of a kind in a format, if the format knows it.
fn rendered(format: Format, kind: EventKind, subject: &Subject) -> Option<String> {
    let event = id(12);
    let envelope = Envelope {
        id: &event,
        kind,
        object_seq: 3,
        created_at: at(90),
        mode: Mode::Test,
        app: "shop",
        sale: Some(&Sale {
            uid: "u_1".to_owned(),
            tier: Some("member".to_owned()),
        }),
    };
    body(format, &envelope, subject, &native_object(&envelope, subject))
}

fn golden(format: Format, kind: EventKind) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema/events");
    root.join(format.as_str()).join(format!("{}.json", kind.as_str()))
}

/// Every body in the file of its format and event. `TILLITE_BLESS=1` writes the files anew; what
/// that changes, receivers see.
#[test]
fn every_body_is_its_golden_file_byte_for_byte() {
    let bless = std::env::var_os("TILLITE_BLESS").is_some();
    for format in FORMATS.iter().copied() {
        for kind in EventKind::ALL.iter().copied() {
            let path = golden(format, kind);
            let body = rendered(format, kind, &subject(kind));
            assert_eq!(body.is_some(), name(format, kind).is_some(), "{format:?} {kind:?}");
            if let (true, Some(body)) = (bless, &body) {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, body).unwrap();
            }
            let kept = std::fs::read_to_string(&path).ok();
            assert_eq!(body, kept, "{}", path.display());
        }
    }
}

#[test]
fn every_golden_file_is_of_an_event_that_its_format_knows() {
    for format in FORMATS.iter().copied() {
        let expected: usize = EventKind::ALL
            .iter()
            .filter(|kind| name(format, **kind).is_some())
            .count();
        let folder = golden(format, EventKind::ChargeFailed);
        let found = std::fs::read_dir(folder.parent().unwrap()).unwrap().count();
        assert_eq!(found, expected, "{format:?}");
    }
}

#[test]
fn each_format_has_its_own_names() {
    let xpay = [
        ("checkout.session.completed", "checkout.session.completed"),
        ("checkout.session.expired", "checkout.session.expired"),
        ("checkout.payment.failed", "payment_intent.payment_failed"),
        ("charge.succeeded", "charge.succeeded"),
        ("charge.failed", "charge.failed"),
        ("charge.refunded", "charge.refunded"),
        ("refund.created", "refund.created"),
        ("refund.failed", "refund.failed"),
        ("customer.created", "customer.created"),
        ("customer.updated", "customer.updated"),
        ("customer.deleted", "customer.deleted"),
    ];
    let jopay = [
        ("checkout.session.completed", "checkout.session.completed"),
        ("checkout.session.expired", "checkout.session.expired"),
        ("checkout.payment.failed", "checkout.payment.failed"),
    ];
    let elixpo = [
        ("charge.succeeded", "payment.captured"),
        ("entitlement.granted", "entitlement.updated"),
        ("entitlement.updated", "entitlement.updated"),
        ("entitlement.expired", "entitlement.updated"),
        ("entitlement.revoked", "entitlement.updated"),
    ];
    let lists: [(Format, &[(&str, &str)]); 4] = [
        (Format::XPay, &xpay),
        (Format::JoPay, &jopay),
        (Format::Elixpo, &elixpo),
        (Format::XPaySubscriptions, &[]),
    ];
    for kind in EventKind::ALL.iter().copied() {
        assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        if kind == EventKind::EndpointPing {
            for format in FORMATS.iter().copied() {
                assert_eq!(name(format, kind), Some("ping"), "{format:?}");
            }
            continue;
        }
        assert_eq!(name(Format::Standard, kind), Some(kind.as_str()));
        for (format, list) in lists {
            let listed = list.iter().find(|(native, _)| *native == kind.as_str());
            assert_eq!(name(format, kind), listed.map(|(_, name)| *name), "{format:?} {kind:?}");
        }
    }
    for (format, wanted, expected) in [
        (Format::XPay, "payment_intent.payment_failed", true),
        (Format::XPay, "checkout.payment.failed", false),
        (Format::XPay, "entitlement.granted", false),
        (Format::JoPay, "checkout.payment.failed", true),
        (Format::JoPay, "charge.succeeded", false),
        (Format::Elixpo, "payment.captured", true),
        (Format::Elixpo, "entitlement.granted", false),
        (Format::XPaySubscriptions, "subscription.cycle_charged", true),
        (Format::XPaySubscriptions, "subscription.renewed", false),
        (Format::Standard, "entitlement.granted", true),
        (Format::Standard, "payment_intent.payment_failed", true),
        (Format::Standard, "charge", false),
        (Format::Standard, "endpoint.ping", false),
        (Format::XPay, "ping", false),
        (Format::Standard, "ping", false),
    ] {
        assert_eq!(knows(format, wanted), expected, "{format:?} {wanted}");
    }
}

/// Every number in a JSON value.
fn numbers(value: &serde_json::Value) -> Vec<serde_json::Number> {
    match value {
        serde_json::Value::Number(number) => vec![number.clone()],
        serde_json::Value::Array(values) => values.iter().flat_map(numbers).collect(),
        serde_json::Value::Object(members) => members.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_body_is_one_line_of_json_with_integers_that_javascript_keeps_exact() {
    for format in FORMATS.iter().copied() {
        for kind in EventKind::ALL.iter().copied() {
            let Some(body) = rendered(format, kind, &subject(kind)) else {
                continue;
            };
            assert!(!body.chars().any(char::is_control), "{body}");
            let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
            for number in numbers(&parsed) {
                let number = number.as_i64().unwrap();
                assert!(number.abs() < 1 << 53, "{number}");
            }
        }
    }
}

/// Whether each text comes out of JavaScript as it went in, parsed and printed by one Node process; none
/// where there is no Node.
fn printed_again_by_node(texts: &[String]) -> Option<Vec<bool>> {
    const PROGRAM: &str = r#"
        for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
            const text = JSON.parse(line);
            console.log(JSON.stringify(JSON.parse(text)) === text);
        }"#;
    let mut command = Command::new("node");
    command
        .args(["-e", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut node = match command.spawn() {
        Ok(node) => node,
        Err(error) => {
            assert!(
                std::env::var_os("TILLITE_REQUIRE_ALL").is_none_or(|value| value != "1"),
                "node does not start, and TILLITE_REQUIRE_ALL=1: {error}"
            );
            println!("SKIPPED: bodies printed again by node, which does not start: {error}");
            return None;
        }
    };
    let lines: Vec<String> = texts.iter().map(json).collect();
    // It reads all before it writes anything.
    node.stdin
        .take()
        .unwrap()
        .write_all(lines.join("\n").as_bytes())
        .unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let verdicts: Vec<bool> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| line == "true")
        .collect();
    assert_eq!(verdicts.len(), texts.len());
    Some(verdicts)
}

/// Texts of every kind that a language could print otherwise: characters of one to four bytes, controls,
/// what separates lines, quotes, numbers of every form.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\\x00-\\x1f\\x7f\\\\\"/<>&é€\u{2028}\u{2029}\u{feff}\u{ffff}\u{1F600}]{0,12}",
        "-?[0-9]{1,12}(\\.[0-9]{1,3})?(e[0-9])?",
        "429496729[0-9]",
        Just("__proto__".to_owned()),
        Just("toString".to_owned()),
    ]
}

#[test]
fn a_jopay_body_comes_out_of_javascript_as_it_went_in() {
    let metadata = proptest::collection::btree_map(any_text(), any_text(), 0..12).prop_map(Metadata::from_stored);
    let session =
        (metadata, proptest::option::of(any_text()), 0..=(1_i64 << 53) - 1).prop_map(|(metadata, email, total)| {
            Session {
                metadata,
                email,
                totals: sums(total),
                ..session()
            }
        });
    let kinds = [
        EventKind::SessionCompleted,
        EventKind::SessionExpired,
        EventKind::PaymentFailed,
    ];
    let mut runner = TestRunner::deterministic();
    let mut bodies: Vec<String> = (0..2_000)
        .map(|at| {
            let session = session.new_tree(&mut runner).unwrap().current();
            rendered(Format::JoPay, kinds[at % kinds.len()], &of_session(session)).unwrap()
        })
        .collect();
    bodies.push(rendered(Format::JoPay, EventKind::EndpointPing, &Subject::Endpoint(endpoint())).unwrap());
    // What other printers of JSON write, so that it shows that the judge tells.
    let other = [
        r#"{"a": 1}"#,
        r#"{"b":1,"1":2}"#,
        r#"{"a":1.0}"#,
        r#"{"a":"\u00e9"}"#,
        r#"{"a":"\/"}"#,
    ];
    let judged = bodies
        .iter()
        .cloned()
        .chain(other.map(str::to_owned))
        .collect::<Vec<_>>();
    let Some(verdicts) = printed_again_by_node(&judged) else {
        return;
    };
    for (body, same) in judged.iter().zip(&verdicts).take(bodies.len()) {
        assert!(same, "{body}");
    }
    assert!(verdicts[bodies.len()..].iter().all(|same| !same));
}

#[test]
fn elixpo_hears_of_the_main_line_only_in_its_own_words() {
    let data = |step: Step| {
        let body = rendered(
            Format::Elixpo,
            EventKind::EntitlementUpdated,
            &Subject::Entitlement(Box::new(step)),
        )?;
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(parsed["id"].as_str().unwrap().starts_with("whd_test_"));
        Some(parsed["data"].clone())
    };
    let step = |status, expires| match of_entitlement(2, status, expires) {
        Subject::Entitlement(step) => *step,
        _ => panic!("an entitlement was asked for"),
    };
    for (status, word, active) in [
        (Status::Active, "active", true),
        (Status::Cancelled, "cancelled", true),
        (Status::Grace, "active", true),
        (Status::Expired, "expired", false),
        (Status::Revoked, "revoked", false),
    ] {
        let expected = serde_json::json!({
            "app": "shop", "uid": "u_1", "tier": "member", "status": word, "active": active,
            "expires_at": "2026-01-02 00:00:00", "version": 2,
        });
        assert_eq!(data(step(status, Some(86_400))), Some(expected));
    }
    let other_line = Step {
        line: "addons".to_owned(),
        ..step(Status::Active, None)
    };
    assert_eq!(data(other_line), None);
}

#[test]
fn no_body_holds_a_secret_or_what_follows_from_one() {
    let keys = ["secret", "sealed", "hash", "lookup", "clientSecret"];
    for kind in [
        EventKind::EndpointCreated,
        EventKind::EndpointSecretRotated,
        EventKind::ApiKeyCreated,
        EventKind::ApiKeyRevoked,
        EventKind::SessionCompleted,
    ] {
        for body in FORMATS
            .iter()
            .filter_map(|format| rendered(*format, kind, &subject(kind)))
        {
            let data = body.replace(kind.as_str(), "");
            for key in keys {
                assert!(!data.contains(key), "{key} in {body}");
            }
        }
    }
}

#[test]
fn the_xpay_object_is_the_session_as_it_reads_back_while_in_flight_it_is_open() {
    let status = |session: Session| {
        let body = rendered(Format::XPay, EventKind::SessionCompleted, &of_session(session)).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
        let object = &parsed["data"]["object"];
        (
            object["status"].as_str().unwrap().to_owned(),
            object["paymentStatus"].as_str().unwrap().to_owned(),
        )
    };
    for (state, total, expected) in [
        (SessionState::Open, 999, ("open", "unpaid")),
        (SessionState::Processing, 999, ("open", "unpaid")),
        (SessionState::Complete, 999, ("complete", "paid")),
        (SessionState::Complete, 0, ("complete", "no_payment_required")),
        (SessionState::Expired(ExpiredReason::Buyer), 999, ("expired", "unpaid")),
    ] {
        let session = Session {
            state,
            totals: sums(total),
            ..session()
        };
        let (status, payment) = status(session);
        assert_eq!((status.as_str(), payment.as_str()), expected, "{state:?}");
    }
}
