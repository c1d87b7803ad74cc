use super::*;
use crate::payment::{ChargeState, RefundSource};
use crate::samples::{charge, customer, refund};

#[test]
fn only_money_that_is_to_be_held_or_booked_nowhere_and_charges_that_stay_unresolved_are_worth_an_alarm() {
    for hold in Hold::ALL.into_iter().map(Some).chain([None]) {
        let mut charge = charge(ChargeState::Unknown);
        charge.hold = hold;
        charge.captured = 999;
        let (app, session, id) = ("shop".to_owned(), charge.session.clone(), charge.id.clone());
        let subject = Subject::Charge(charge);
        for kind in EventKind::ALL {
            let raised = raised_by("shop", &subject, &[Happening::plain(*kind)]);
            let wanted = match (kind, hold) {
                (EventKind::ChargeSucceeded | EventKind::ChargeMismatch, Some(why)) => Some(Alarm::ChargeHeld {
                    app: app.clone(),
                    session: session.clone(),
                    charge: id.clone(),
                    why,
                }),
                (EventKind::ChargeUnresolved, None) => Some(Alarm::ChargeUnresolved {
                    app: app.clone(),
                    session: session.clone(),
                    charge: id.clone(),
                }),
                // Beside what has arrived before.
                (EventKind::ChargeContradicted, _) => Some(Alarm::ChargeContradicted {
                    app: app.clone(),
                    session: session.clone(),
                    charge: id.clone(),
                }),
                _ => None,
            };
            assert_eq!(raised, wanted, "{kind:?} {hold:?}");
            let other = Subject::Customer(customer());
            assert_eq!(raised_by("shop", &other, &[Happening::plain(*kind)]), None);
        }
    }
}

#[test]
fn money_that_is_on_its_way_back_waits_for_nobody_and_another_amount_until_that_is_decided() {
    let waits = |charge: Charge, kind| {
        let happened = [Happening::plain(kind)];
        raised_by("shop", &Subject::Charge(charge), &happened).is_some()
    };
    for hold in Hold::ALL {
        let mut charge = charge(ChargeState::Succeeded);
        (charge.hold, charge.captured, charge.refund_reserved) = (Some(hold), 999, 999);
        assert!(!waits(charge, EventKind::ChargeSucceeded), "{hold:?}");
    }
    let mut undecided = charge(ChargeState::Failed);
    undecided.hold = Some(Hold::Mismatch);
    assert!(waits(undecided.clone(), EventKind::ChargeMismatch));
    undecided.hold_closed = true;
    assert!(!waits(undecided, EventKind::ChargeMismatch));
}

#[test]
fn of_refunds_only_what_somebody_has_to_look_at_is_worth_an_alarm() {
    let failed = |from: RefundState| Happening::moved(EventKind::RefundFailed, from.as_str(), "failed");
    let updated = |to: RefundState| Happening::moved(EventKind::RefundUpdated, "pending", to.as_str());
    let plain = Happening::plain;
    let (requested, late, surplus) = (RefundSource::Requested, RefundSource::Late, RefundSource::Surplus);
    let contradicted = plain(EventKind::RefundContradicted);
    let unresolved = plain(EventKind::RefundUnresolved);
    for (source, happenings, alarm) in [
        (requested, vec![plain(EventKind::RefundCreated)], ""),
        (late, vec![plain(EventKind::RefundUpdated)], ""),
        (late, vec![updated(RefundState::Succeeded)], ""),
        (requested, vec![failed(RefundState::Pending)], ""),
        (requested, vec![updated(RefundState::Canceled)], ""),
        (requested, vec![failed(RefundState::Succeeded)], "failed"),
        (late, vec![failed(RefundState::Pending)], "failed"),
        (surplus, vec![failed(RefundState::Unknown)], "failed"),
        (surplus, vec![updated(RefundState::Canceled)], "failed"),
        (requested, vec![unresolved], "unresolved"),
        (requested, vec![updated(RefundState::Unknown), unresolved], "unresolved"),
        (requested, vec![contradicted], "contradicted"),
        // One case for one person.
        (
            requested,
            vec![contradicted, updated(RefundState::Succeeded)],
            "contradicted",
        ),
        (late, vec![contradicted, unresolved], "contradicted"),
    ] {
        let mut refund = refund(RefundState::Failed);
        refund.source = source;
        let about = ("shop".to_owned(), refund.charge.clone(), refund.id.clone());
        let raised = raised_by("shop", &Subject::Refund(refund), &happenings);
        let (word, told) = match raised {
            None => ("", about.clone()),
            Some(Alarm::RefundFailed { app, charge, refund }) => ("failed", (app, charge, refund)),
            Some(Alarm::RefundUnresolved { app, charge, refund }) => ("unresolved", (app, charge, refund)),
            Some(Alarm::RefundContradicted { app, charge, refund }) => ("contradicted", (app, charge, refund)),
            Some(other) => panic!("{other:?}"),
        };
        assert_eq!((word, told), (alarm, about), "{source:?} {happenings:?}");
    }
}
