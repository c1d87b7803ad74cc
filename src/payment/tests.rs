use std::time::Duration;

use proptest::prelude::*;

use super::dispute::next as next_of_dispute;
use super::state::next;
use super::*;
use crate::error::ECHO_LIMIT;
use crate::hook::{Lookup, Outcome, Receipt, SavedMethod};
use crate::money::Currency;
use crate::samples::{at, charge, check_machine, eur, intent};
use crate::text::kept;

#[test]
fn every_event_in_every_state_moves_as_listed_or_is_refused() {
    use ChargeState::{Authorized, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown, Voided};
    use News as On;
    let listed = [
        (Initiated, On::LeaseEnded, Unknown),
        (Initiated, On::Unclear, Unknown),
        (Initiated, On::Pending, Pending),
        (Initiated, On::ActionRequired, RequiresAction),
        (Initiated, On::Authorized, Authorized),
        (Initiated, On::Succeeded, Succeeded),
        (Initiated, On::Mismatched, Unknown),
        (Initiated, On::Failed, Failed),
        (Unknown, On::Pending, Pending),
        (Unknown, On::ActionRequired, RequiresAction),
        (Unknown, On::Authorized, Authorized),
        (Unknown, On::Succeeded, Succeeded),
        (Unknown, On::Mismatched, Unknown),
        (Unknown, On::Failed, Failed),
        (Pending, On::Succeeded, Succeeded),
        (Pending, On::Mismatched, Unknown),
        (Pending, On::Failed, Failed),
        (RequiresAction, On::Pending, Pending),
        (RequiresAction, On::Succeeded, Succeeded),
        (RequiresAction, On::Mismatched, Unknown),
        (RequiresAction, On::Failed, Failed),
        (Pending, On::Authorized, Authorized),
        (RequiresAction, On::Authorized, Authorized),
        (Authorized, On::Succeeded, Succeeded),
        (Authorized, On::Mismatched, Unknown),
        (Authorized, On::Failed, Failed),
        (Failed, On::Succeeded, Succeeded),
        (Failed, On::Mismatched, Failed),
        (Initiated, On::Canceled, Failed),
        (Unknown, On::Canceled, Failed),
        (Pending, On::Canceled, Failed),
        (RequiresAction, On::Canceled, Failed),
        (Authorized, On::Canceled, Voided),
        (Voided, On::Succeeded, Succeeded),
        (Voided, On::Mismatched, Voided),
    ];
    check_machine(&ChargeState::ALL, &News::ALL, &listed, next, |state, event| Refused {
        object: "charge",
        state: state.as_str(),
        event: event.as_str(),
    });
}

#[test]
fn a_dispute_ends_once_but_a_lost_one_may_be_won_after_all() {
    use DisputeState::{Lost, Open, Won};
    let listed = [(Open, Won, Won), (Open, Lost, Lost), (Lost, Won, Won)];
    let all = DisputeState::ALL;
    check_machine(&all, &all, &listed, next_of_dispute, |state, heard| Refused {
        object: "dispute",
        state: state.as_str(),
        event: heard.as_str(),
    });
}

proptest! {
    #[test]
    fn knowledge_only_grows(
        start in prop::sample::select(ChargeState::ALL.to_vec()),
        events in prop::collection::vec(prop::sample::select(News::ALL.to_vec()), 0..20),
    ) {
        let mut charge = charge(start);
        for event in events {
            let before = charge.state;
            let _ = charge.step(event, at(1));
            if !before.is_live() && charge.state != before {
                prop_assert!(matches!(before, ChargeState::Failed | ChargeState::Voided));
                prop_assert_eq!(charge.state, ChargeState::Succeeded);
            }
            if before != ChargeState::Initiated {
                prop_assert_ne!(charge.state, ChargeState::Initiated);
            }
        }
    }
}

const ASKED: i64 = 999;

/// What a finding weighs, for an attempt that asked for 9.99 EUR.
fn weighed(finding: &Finding, age: impl Into<Option<u64>>, settled: Option<u64>) -> Verdict {
    let seconds = |count: Option<u64>| count.map(Duration::from_secs);
    finding.weigh(eur(ASKED), seconds(age.into()), seconds(settled))
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn every_outcome_weighs_the_same_from_an_answer_and_from_a_look_up() {
    use News as On;
    let usd = Amount::minor(ASKED, Currency::USD).unwrap();
    let succeeded = |amount| Outcome::succeeded(text("r"), amount);
    let authorized = |amount| Outcome::Authorized {
        receipt: Receipt::new(text("r"), amount),
        expires_at: None,
    };
    let action = Outcome::RequiresAction {
        reference: text("r"),
        action: Action::Client(text("x")),
        within: Duration::from_secs(1),
    };
    let declined = Outcome::Declined {
        code: text("no"),
        message: text("The card was declined."),
        advice: None,
    };
    for (outcome, event, name, detail) in [
        (succeeded(eur(ASKED)), On::Succeeded, "succeeded", None),
        (succeeded(eur(ASKED - 1)), On::Mismatched, "succeeded", None),
        (succeeded(eur(ASKED + 1)), On::Mismatched, "succeeded", None),
        (succeeded(usd), On::Mismatched, "succeeded", None),
        (authorized(eur(ASKED)), On::Authorized, "authorized", None),
        (authorized(eur(0)), On::Mismatched, "authorized", None),
        (authorized(usd), On::Mismatched, "authorized", None),
        (Outcome::Pending { reference: text("r") }, On::Pending, "pending", None),
        (action, On::ActionRequired, "requires_action", None),
        (declined, On::Failed, "declined", Some("no")),
        (
            Outcome::NotSent { why: text("dns") },
            On::Failed,
            "not_sent",
            Some("dns"),
        ),
        (
            Outcome::Canceled { why: text("by hand") },
            On::Canceled,
            "canceled",
            Some("by hand"),
        ),
        (
            Outcome::Unknown { why: text("cut") },
            On::Unclear,
            "unknown",
            Some("cut"),
        ),
    ] {
        let verdict = |source| Verdict {
            source,
            event: Some(event),
            outcome: name,
            reference: detail.is_none().then(|| text("r")),
            amount: match &outcome {
                Outcome::Succeeded(receipt) | Outcome::Authorized { receipt, .. } => Some(receipt.amount),
                _ => None,
            },
            detail: detail.map(text),
            saved_method: None,
            customer_ref: None,
        };
        let answer = Finding::Executed(outcome.clone());
        let lookup = Finding::LookedUp(Lookup::Found(outcome.clone()));
        assert_eq!(weighed(&answer, 0, None), verdict(Source::Answer));
        assert_eq!(weighed(&lookup, 0, None), verdict(Source::Lookup));
    }
}

#[test]
fn a_verdict_is_silent_exactly_if_it_teaches_no_more_than_doubt() {
    let found = |outcome| Finding::LookedUp(Lookup::Found(outcome));
    let unclear = || Outcome::Unknown { why: text("cut") };
    for (finding, silent) in [
        (Finding::LeaseEnded, true),
        (Finding::Executed(unclear()), true),
        (found(unclear()), true),
        (Finding::LookedUp(Lookup::CannotTell { why: text("403") }), true),
        (Finding::LookedUp(Lookup::NotFound), true),
        (found(Outcome::Pending { reference: text("r") }), false),
        (found(Outcome::succeeded("r", eur(ASKED))), false),
        (found(Outcome::succeeded("r", eur(1))), false),
        (found(Outcome::NotSent { why: text("dns") }), false),
    ] {
        let verdict = weighed(&finding, 0, None);
        assert_eq!(verdict.is_silent(), silent, "{finding:?}");
        let doubt = matches!(verdict.event, None | Some(News::Unclear | News::LeaseEnded));
        assert_eq!(doubt, silent, "{finding:?}");
    }
    assert!(!weighed(&Finding::LookedUp(Lookup::NotFound), 1, Some(0)).is_silent());
}

#[test]
fn not_found_counts_only_once_the_processor_says_that_it_is_final() {
    for (age, settled, is_final) in [
        (Some(0), None, false),
        (Some(1_000_000), None, false),
        (Some(59), Some(60), false),
        (Some(60), Some(60), true),
        (Some(61), Some(60), true),
        (Some(0), Some(0), true),
        // The call may still be made.
        (None, Some(0), false),
        (None, Some(60), false),
    ] {
        let verdict = weighed(&Finding::LookedUp(Lookup::NotFound), age, settled);
        let event = is_final.then_some(News::Failed);
        let outcome = if is_final { "never_arrived" } else { "not_found" };
        assert_eq!(
            (verdict.event, verdict.outcome),
            (event, outcome),
            "{age:?} {settled:?}"
        );
    }
}

#[test]
fn what_teaches_nothing_moves_nothing_and_the_end_of_a_lease_teaches_only_doubt() {
    let forbidden = Finding::LookedUp(Lookup::CannotTell { why: text("403") });
    let verdict = weighed(&forbidden, 1_000, Some(0));
    assert_eq!(
        (verdict.event, verdict.outcome, verdict.detail.as_deref()),
        (None, "cannot_tell", Some("403"))
    );
    let verdict = weighed(&Finding::LeaseEnded, 1_000, Some(0));
    assert_eq!((verdict.event, verdict.outcome), (Some(News::LeaseEnded), "no_answer"));
}

#[test]
fn a_processors_text_is_kept_bounded_and_without_card_numbers_or_controls() {
    let card = "4242424242424242";
    for (given, max, expected) in [
        (text("insufficient_funds"), 500, text("insufficient_funds")),
        (text("a\r\nb\0c"), 500, text("a  b c")),
        ("é".repeat(20), 10, "é".repeat(10)),
        (format!("card {card}."), 500, text("card ****************.")),
        (text("4242 4242-4242 4242"), 500, text("**** ****-**** ****")),
        // A number that the bound cuts is no less a number: its last digit follows from the others.
        (
            format!("{}{card}", "x".repeat(5)),
            20,
            format!("xxxxx{}", "*".repeat(15)),
        ),
        (
            format!("x {card} {card}"),
            30,
            format!("x {} {}", "*".repeat(16), "*".repeat(11)),
        ),
    ] {
        assert_eq!(kept(&given, max), expected, "{given:?}");
    }
    assert!(kept(&"4".repeat(100_000), ECHO_LIMIT).len() <= ECHO_LIMIT);
}

#[test]
fn a_reference_is_kept_to_the_byte_or_not_at_all() {
    let longest = "é".repeat(255);
    for reference in ["r", " a b ", "pay/ü=?", &longest] {
        let verdict = weighed(&Finding::Executed(Outcome::succeeded(reference, eur(ASKED))), 0, None);
        assert_eq!((verdict.reference.as_deref(), verdict.detail), (Some(reference), None));
    }
    let too_long = "é".repeat(256);
    for reference in [
        "",
        "a\0",
        "r\n",
        "pi_4242424242424242",
        "4242 4242 4242 4242",
        &too_long,
    ] {
        let outcomes = [
            (Outcome::succeeded(reference, eur(ASKED)), News::Succeeded),
            (Outcome::succeeded(reference, eur(1)), News::Mismatched),
            (
                Outcome::Pending {
                    reference: text(reference),
                },
                News::Pending,
            ),
        ];
        for (outcome, event) in outcomes {
            let verdict = weighed(&Finding::LookedUp(Lookup::Found(outcome)), 0, None);
            assert_eq!((verdict.event, verdict.reference), (Some(event), None), "{reference:?}");
            let why = verdict.detail.unwrap();
            assert!(why.starts_with("not kept: ") && !why.contains("4242"), "{why}");
        }
    }
}

#[test]
fn the_intents_status_follows_from_its_charges() {
    use ChargeState::{Authorized, Failed, Initiated, Pending, RequiresAction, Succeeded, Unknown, Voided};
    let check = |states: &[ChargeState], settles: bool, canceled: bool, expected: IntentStatus| {
        let mut charges: Vec<Charge> = states.iter().copied().map(charge).collect();
        if let Some(last) = charges.last_mut() {
            last.settles = settles;
        }
        let intent = PaymentIntent {
            canceled_at: canceled.then(|| at(0)),
            ..intent(charges)
        };
        assert_eq!(intent.status(), expected, "{states:?}");
    };
    for (states, expected) in [
        (&[][..], IntentStatus::RequiresPaymentMethod),
        (&[Failed], IntentStatus::RequiresPaymentMethod),
        (&[Voided], IntentStatus::RequiresPaymentMethod),
        // Money that settles nothing does not make the wish come true.
        (&[Succeeded], IntentStatus::RequiresPaymentMethod),
        (&[Failed, Initiated], IntentStatus::Processing),
        (&[Failed, Unknown], IntentStatus::Processing),
        (&[Pending], IntentStatus::Processing),
        (&[Succeeded, Pending], IntentStatus::Processing),
        (&[Failed, RequiresAction], IntentStatus::RequiresAction),
        (&[Authorized], IntentStatus::RequiresCapture),
    ] {
        check(states, false, false, expected);
    }
    check(&[Failed, Succeeded], true, false, IntentStatus::Succeeded);
    check(&[Failed, Succeeded], true, true, IntentStatus::Succeeded);
    check(&[Failed], false, true, IntentStatus::Canceled);
    check(&[Pending], false, true, IntentStatus::Processing);
}

#[test]
fn the_last_failure_is_the_newest_charges_own() {
    let failed = charge(ChargeState::Failed);
    assert!(intent(vec![failed.clone()]).last_failure().is_some());
    assert!(
        intent(vec![failed, charge(ChargeState::Initiated)])
            .last_failure()
            .is_none()
    );
}

/// What is kept of a saved method, and what the evidence says of the rest.
fn saved(method: SavedMethod) -> (Option<SavedMethod>, Option<String>) {
    let receipt = Receipt::new("r_1", eur(999)).saved_method(method);
    let verdict = Finding::Executed(Outcome::Succeeded(receipt)).weigh(eur(999), None, None);
    assert_eq!(verdict.event, Some(News::Succeeded), "the success counts all the same");
    (verdict.saved_method, verdict.detail)
}

#[test]
fn a_saved_method_is_kept_field_by_field_and_its_token_to_the_byte_or_the_method_not_at_all() {
    let whole = SavedMethod::new("tok \"ü\"")
        .brand("visa")
        .last4("0042")
        .expiry(12, 2199);
    assert_eq!(saved(whole.clone()), (Some(whole.clone()), None));
    let long = "x".repeat(256);
    for token in ["", &long, "a\nb", "4242424242424242"] {
        let (kept, detail) = saved(SavedMethod {
            token: token.to_owned(),
            ..whole.clone()
        });
        let detail = detail.unwrap();
        assert!(
            kept.is_none() && detail.starts_with("not kept: saved_method.token"),
            "{detail}"
        );
        assert!(!detail.contains("4242"), "{detail}");
    }
    for (part, bad) in [
        ("brand", whole.clone().brand("two words")),
        ("brand", whole.clone().brand("4242424242424242")),
        ("brand", whole.clone().brand("")),
        ("last4", whole.clone().last4("42")),
        ("last4", whole.clone().last4("4242424242424242")),
        ("last4", whole.clone().last4("42٤2")),
        ("expiry", whole.clone().expiry(0, 2030)),
        ("expiry", whole.clone().expiry(13, 2030)),
        ("expiry", whole.clone().expiry(1, 30)),
    ] {
        let expected = SavedMethod {
            brand: whole.brand.clone().filter(|_| part != "brand"),
            last4: whole.last4.clone().filter(|_| part != "last4"),
            expiry: whole.expiry.filter(|_| part != "expiry"),
            ..whole.clone()
        };
        assert_eq!(
            saved(bad),
            (Some(expected), Some(format!("not kept: saved_method.{part}")))
        );
    }
}

#[test]
fn a_customer_s_name_at_the_service_is_kept_to_the_byte_or_not_at_all() {
    for (given, is_kept) in [
        ("cus_1", true),
        ("", false),
        ("a\tb", false),
        ("4242 4242 4242 4242", false),
    ] {
        let receipt = Receipt::new("r_1", eur(999)).customer_ref(given);
        let verdict = Finding::Executed(Outcome::Succeeded(receipt)).weigh(eur(999), None, None);
        assert_eq!(verdict.event, Some(News::Succeeded));
        assert_eq!(verdict.customer_ref.as_deref(), is_kept.then_some(given));
        assert_eq!(verdict.detail.is_some(), !is_kept, "{given}");
    }
}

/// Evidence of any source and outcome, some of it the same again.
fn any_known() -> impl Strategy<Value = Known> {
    let outcomes = prop::sample::select(vec![
        "succeeded",
        "pending",
        "declined",
        "unknown",
        "cannot_tell",
        "not_sent",
        "canceled",
        "settled_outside",
    ]);
    let source = prop::sample::select(&Source::ALL[..]);
    (source, outcomes, 0..3_i64, any::<bool>()).prop_map(|(source, outcome, minor, moved)| Known {
        source,
        said: Said {
            outcome: outcome.to_owned(),
            reference: None,
            amount: (minor > 0).then(|| (minor, "EUR".to_owned())),
            detail: None,
        },
        amount: (minor > 0).then(|| eur(minor)),
        moved,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_a_service_repeats_by_itself_adds_nothing_to_what_is_known(
        newest_first in prop::collection::vec(any_known(), 0..24),
    ) {
        let mut seen = Vec::new();
        let mut some = newest_first.clone();
        some.retain(|known| {
            let is_news = known.source != Source::Notification || !seen.contains(known);
            seen.push(known.clone());
            is_news
        });
        prop_assert_eq!(Past::of(&newest_first), Past::of(&some));
    }
}
