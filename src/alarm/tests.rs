use super::*;
use crate::payment::ChargeState;
use crate::samples::{charge, customer};

#[test]
fn only_money_that_arrives_to_be_held_and_charges_that_stay_unresolved_are_worth_an_alarm() {
    for hold in Hold::ALL.into_iter().map(Some).chain([None]) {
        let mut charge = charge(ChargeState::Unknown);
        charge.hold = hold;
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
