//! A buyer who disputes a payment is written down; what a lost dispute takes cannot be given back again.

use tillite::{
    Alarm, Charge, Currency, Dispute, DisputeState, Error, NewSession, Notice, NoticeKind, NotificationState,
    RefundState, Session,
};

use crate::kit::{Shop, euro, locked};
use crate::notification::paid;

const PRICE: i64 = 199_00;

fn dispute(id: &str, state: DisputeState, minor: i64) -> Notice {
    let kind = NoticeKind::Dispute {
        reference: "dp_1".to_owned(),
        state,
        amount: euro(minor),
        reason: Some("fraudulent".to_owned()),
    };
    Notice::new(id, kind).reference("pi_1")
}

impl Shop {
    fn disputed(&self) -> (Session, Charge) {
        let (session, _) = self.answered("u_1", paid("pi_1"));
        let charge = self.newest_charge(&session);
        (session, charge)
    }

    fn disputes(&self, charge: &Charge) -> Vec<Dispute> {
        self.app.disputes().of(&charge.id).unwrap()
    }

    fn is_active(&self) -> bool {
        self.app.entitlements().get("u_1").unwrap().active
    }
}

#[test]
fn a_dispute_that_opens_is_written_down_and_told_of_and_takes_nothing() {
    let (shop, heard) = Shop::heard();
    let (session, charge) = shop.disputed();
    for id in ["n_1", "n_2"] {
        shop.hears(dispute(id, DisputeState::Open, PRICE));
        shop.run();
    }
    let known = shop.disputes(&charge);
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].state, known[0].amount, known[0].reference.as_str()),
        (DisputeState::Open, euro(PRICE), "dp_1")
    );
    assert_eq!(shop.kinds(&known[0].id), ["dispute.created"]);
    let told = locked(&heard).clone();
    assert!(
        matches!(&told[..], [Alarm::DisputeOpened { dispute, .. }] if *dispute == known[0].id),
        "{told:?}"
    );
    assert_eq!(shop.newest_charge(&session).refundable(), PRICE);
    assert!(shop.is_active());
    assert_eq!(shop.app.disputes().get(&known[0].id).unwrap(), known[0]);
    assert_eq!(shop.app.disputes().list(10, None).unwrap().data, known);
    shop.clean();
}

#[test]
fn what_a_lost_dispute_took_cannot_be_given_back_and_comes_free_where_it_is_won_after_all() {
    let shop = Shop::open();
    let (session, charge) = shop.disputed();
    let left = || shop.newest_charge(&session).refundable();
    shop.hears(dispute("n_1", DisputeState::Open, 50_00));
    shop.hears(dispute("n_2", DisputeState::Lost, 50_00));
    shop.run();
    assert_eq!((shop.newest_charge(&session).lost, left()), (50_00, PRICE - 50_00));
    assert!(shop.is_active(), "a part of it is left");
    let all = tillite::NewRefund::charge(&charge.id).amount(euro(PRICE));
    let refused = shop.app.refunds().create(all).unwrap_err();
    assert!(matches!(refused, Error::RefundTooLarge { .. }), "{refused}");
    shop.hears(dispute("n_3", DisputeState::Won, 50_00));
    shop.run();
    assert_eq!((shop.newest_charge(&session).lost, left()), (0, PRICE));
    // It was lost before it was won, whatever comes late.
    shop.hears(dispute("n_4", DisputeState::Lost, 50_00));
    shop.hears(dispute("n_5", DisputeState::Open, 50_00));
    shop.run();
    assert_eq!(left(), PRICE);
    assert_eq!(
        shop.kinds(&shop.disputes(&charge)[0].id),
        ["dispute.created", "dispute.lost", "dispute.won"]
    );
    shop.clean();
}

#[test]
fn a_lost_dispute_that_leaves_nothing_takes_back_what_was_sold_be_it_larger_than_the_payment() {
    let shop = Shop::open();
    let (session, charge) = shop.disputed();
    shop.till.answer(tillite::Outcome::succeeded("re_1", euro(99_00)));
    let part = tillite::NewRefund::charge(&charge.id).amount(euro(99_00));
    assert_eq!(shop.app.refunds().create(part).unwrap().state, RefundState::Succeeded);
    shop.hears(dispute("n_1", DisputeState::Lost, PRICE + 15_00));
    shop.run();
    let after = shop.newest_charge(&session);
    assert_eq!((after.lost, after.refunded, after.refundable()), (PRICE, 99_00, 0));
    assert!(!shop.is_active());
    shop.clean();
}

#[test]
fn disputes_of_a_charge_are_read_in_the_order_in_which_they_came_and_take_no_more_than_it_took() {
    let shop = Shop::open();
    let (session, charge) = shop.disputed();
    let names: Vec<String> = (0..8).map(|number| format!("dp_{number}")).collect();
    for name in &names {
        let kind = NoticeKind::Dispute {
            reference: name.clone(),
            state: DisputeState::Lost,
            amount: euro((1 << 53) - 1),
            reason: None,
        };
        shop.hears(Notice::new(name, kind).reference("pi_1"));
    }
    shop.run();
    let known: Vec<_> = shop
        .disputes(&charge)
        .into_iter()
        .map(|dispute| (dispute.number, dispute.reference))
        .collect();
    assert_eq!(known, (1..).zip(names).collect::<Vec<_>>());
    assert_eq!(shop.newest_charge(&session).lost, PRICE);
    shop.clean();
}

#[test]
fn a_dispute_that_the_service_tells_of_about_two_charges_waits_for_somebody_to_look() {
    let shop = Shop::open();
    let (_, charge) = shop.disputed();
    let (_, ask) = shop.answered("u_2", paid("pi_2"));
    shop.hears(dispute("n_1", DisputeState::Open, PRICE));
    shop.hears(dispute("n_2", DisputeState::Lost, PRICE).attempt(&ask.request.attempt));
    shop.run();
    let states = [NotificationState::Applied, NotificationState::Held];
    assert_eq!(shop.states(), states);
    let why = "the service has told of this dispute about another charge";
    assert_eq!(shop.notices()[1].why.as_deref(), Some(why));
    assert_eq!(shop.disputes(&charge)[0].state, DisputeState::Open);
    shop.clean();
}

#[test]
fn a_dispute_in_another_currency_waits_for_somebody_to_look() {
    let shop = Shop::open();
    let (_, charge) = shop.disputed();
    let kind = NoticeKind::Dispute {
        reference: "dp_1".to_owned(),
        state: DisputeState::Lost,
        amount: tillite::Amount::minor(PRICE, Currency::USD).unwrap(),
        reason: None,
    };
    shop.hears(Notice::new("n_1", kind).reference("pi_1"));
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Held]);
    assert!(shop.disputes(&charge).is_empty());
    shop.clean();
}

#[test]
fn a_dispute_that_overtakes_its_capture_is_written_down_as_soon_as_that_is_known() {
    let shop = Shop::open();
    let later = NewSession::tier("member", Currency::EUR).for_uid("u_1").capture_later();
    let session = shop.app.sessions().create(later).unwrap();
    shop.pay(&session).unwrap();
    let reference = shop.newest_charge(&session).reference.unwrap();
    shop.hears(dispute("n_1", DisputeState::Open, PRICE).reference(reference));
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Waiting]);
    shop.app.sessions().capture(&session.id, None).unwrap();
    shop.run();
    assert_eq!(shop.states(), [NotificationState::Applied]);
    assert_eq!(shop.disputes(&shop.newest_charge(&session)).len(), 1);
    shop.clean();
}
