use super::*;
use crate::payment::{ChargeState, RefundSource};
use crate::samples::{charge, customer, refund};

#[test]
fn only_money_that_arrives_to_be_held_and_charges_that_stay_unresolved_are_worth_an_alarm() {
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
                _ => None,
            };
            assert_eq!(raised, wanted, "{kind:?} {hold:?}");
            let other = Subject::Customer(customer());
            assert_eq!(raised_by("shop", &other, &[Happening::plain(*kind)]), None);
        }
    }
}

#[test]
fn money_that_is_on_its_way_back_waits_for_nobody_unless_it_is_another_amount() {
    for hold in Hold::ALL {
        let mut charge = charge(ChargeState::Succeeded);
        (charge.hold, charge.captured, charge.refund_reserved) = (Some(hold), 999, 999);
        let succeeded = Happening::plain(EventKind::ChargeSucceeded);
        let raised = raised_by("shop", &Subject::Charge(charge), &[succeeded]);
        assert_eq!(raised.is_some(), hold == Hold::Mismatch, "{hold:?}");
    }
}

#[test]
fn of_refunds_only_what_somebody_has_to_look_at_is_worth_an_alarm() {
    let failed = |from: RefundState| Happening::moved(EventKind::RefundFailed, from.as_str(), "failed");
    let plain = Happening::plain;
    for (source, happening, alarming) in [
        (RefundSource::Requested, plain(EventKind::RefundCreated), false),
        (RefundSource::Late, plain(EventKind::RefundUpdated), false),
        (RefundSource::Requested, failed(RefundState::Pending), false),
        (RefundSource::Requested, failed(RefundState::Succeeded), true),
        (RefundSource::Late, failed(RefundState::Pending), true),
        (RefundSource::Surplus, failed(RefundState::Unknown), true),
        (RefundSource::Requested, plain(EventKind::RefundUnresolved), true),
        (RefundSource::Requested, plain(EventKind::RefundContradicted), true),
    ] {
        let mut refund = refund(RefundState::Failed);
        refund.source = source;
        let raised = raised_by("shop", &Subject::Refund(refund), &[happening]);
        assert_eq!(raised.is_some(), alarming, "{source:?} {happening:?}");
    }
}
