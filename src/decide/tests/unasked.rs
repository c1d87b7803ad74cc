use super::{setting, told};
use crate::change::Change;
use crate::decide::settlement::{Booked, Concerned, Heard, MadeThere, disputed, refund_made_there};
use crate::entitlement::{GrantSource, Holding};
use crate::event::Subject;
use crate::hook::DisputeState;
use crate::money::{Amount, Currency};
use crate::payment::{Charge, ChargeState, Dispute, MAX_DISPUTES, MAX_REFUNDS, Refund, RefundSource, RefundState};
use crate::samples::{at, charge, dispute, eur, grant, id, intent, mint, refund, session};
use crate::session::{Session, SessionState};

/// A charge that took 9.99 for its session.
fn paid() -> Charge {
    Charge {
        captured: 999,
        settles: true,
        ..charge(ChargeState::Succeeded)
    }
}

/// The session of a charge, with what it granted.
fn concerned(charge: Charge) -> Concerned {
    let session = Session {
        state: SessionState::Complete,
        payment_intent: Some(intent(vec![charge.clone()])),
        ..session()
    };
    let mut holding = Holding::empty(id(7), "u_1", "main", at(60));
    let mut granted = grant(1, "member", 1, 60, None);
    granted.source = GrantSource::of_line(&session.id, 0);
    holding.grants.push(granted);
    Concerned {
        charge,
        session,
        holdings: vec![holding],
    }
}

fn of_charge(change: &Change) -> Option<Charge> {
    let subjects = change.entries.iter().rev().map(|entry| &entry.subject);
    let mut charges = subjects.filter_map(|subject| match subject {
        Subject::Charge(charge) => Some(charge.clone()),
        _ => None,
    });
    charges.next()
}

fn made_there(charge: Charge, reference: &str, amount: Amount, refunds: &[Refund]) -> (Booked, Change) {
    let (mut mint, mut change) = (mint(4), Change::new());
    let made = MadeThere {
        reference: reference.to_owned(),
        amount,
        reason: None,
        // What the service calls a refund begins so in these tests.
        unnamed: refunds
            .iter()
            .filter(|refund| refund.reference.as_deref().is_none_or(|name| !name.starts_with("re_")))
            .map(|refund| refund.id.clone())
            .collect(),
    };
    let at = &mut setting(&mut mint, 200);
    let booked = refund_made_there(concerned(charge), made, refunds, at, &mut change);
    (booked, change)
}

/// One of ours over 3.33, under a name of the service or none.
fn ours(state: RefundState, reference: Option<&str>) -> Refund {
    Refund {
        reference: reference.map(str::to_owned),
        ..refund(state)
    }
}

#[test]
fn a_refund_made_there_is_booked_and_takes_back_with_the_last_of_the_charge() {
    let (booked, change) = made_there(paid(), "re_9", eur(998), &[]);
    assert_eq!(booked, Booked::Done);
    assert_eq!(told(&change), ["refund.created >succeeded", "charge.refunded"]);
    assert_eq!(of_charge(&change).unwrap().refunded, 998);
    let (booked, change) = made_there(paid(), "re_9", eur(999), &[]);
    assert_eq!(booked, Booked::Done);
    assert!(told(&change).iter().any(|kind| kind.starts_with("grant.revoked")));
    // What settled nothing has granted nothing.
    let surplus = Charge {
        settles: false,
        ..paid()
    };
    let (_, change) = made_there(surplus, "re_9", eur(999), &[]);
    assert!(!told(&change).iter().any(|kind| kind.starts_with("grant")));
}

#[test]
fn a_refund_that_is_known_counts_once_whoever_asked_for_it() {
    let theirs = Refund {
        source: RefundSource::Processor,
        ..ours(RefundState::Succeeded, Some("re_9"))
    };
    let ours = |state, reference| {
        let known = ours(state, reference);
        let expected = Booked::Ours(known.id.clone());
        (known, expected)
    };
    for (known, expected) in [
        (theirs, Booked::Done),
        ours(RefundState::Pending, Some("re_9")),
        ours(RefundState::Failed, Some("re_9")),
        // One that went through without a name, or under a person's, is told by its amount.
        ours(RefundState::Succeeded, None),
        ours(RefundState::Succeeded, Some("R-1")),
    ] {
        let (booked, change) = made_there(paid(), "re_9", eur(333), &[known]);
        assert_eq!(booked, expected);
        assert_eq!(told(&change), [""; 0]);
    }
    let nameless = refund(RefundState::Succeeded);
    let (booked, _) = made_there(paid(), "re_9", eur(334), &[nameless]);
    assert_eq!(booked, Booked::Done, "another amount is another refund");
    let named = self::ours(RefundState::Succeeded, Some("re_1"));
    let (booked, _) = made_there(paid(), "re_9", eur(333), &[named]);
    assert_eq!(booked, Booked::Done, "another name is another refund");
}

#[test]
fn a_refund_made_there_waits_while_one_of_ours_may_be_it_or_leave_room_for_it() {
    for state in [RefundState::Pending, RefundState::Unknown] {
        let (booked, change) = made_there(paid(), "re_9", eur(1), &[ours(state, None)]);
        assert!(matches!(booked, Booked::Later(_)), "{booked:?}");
        assert_eq!(told(&change), [""; 0]);
    }
    let reserved = Charge {
        refund_reserved: 333,
        ..paid()
    };
    let flying = [ours(RefundState::Pending, Some("re_1"))];
    let (booked, _) = made_there(reserved.clone(), "re_9", eur(667), &flying);
    assert!(matches!(booked, Booked::Later(_)), "{booked:?}");
    let (booked, _) = made_there(reserved, "re_9", eur(666), &flying);
    assert_eq!(booked, Booked::Done);
    let (booked, _) = made_there(charge(ChargeState::Unknown), "re_9", eur(1), &[]);
    assert!(matches!(booked, Booked::Later(_)), "{booked:?}");
}

#[test]
fn a_refund_made_there_that_fits_nowhere_is_held() {
    let mismatched = charge(ChargeState::Failed);
    let dollars = Amount::minor(1, Currency::USD).unwrap();
    let many: Vec<Refund> = (0..MAX_REFUNDS)
        .map(|_| ours(RefundState::Failed, Some("re_1")))
        .collect();
    for (charge, reference, amount, refunds, expected) in [
        (paid(), "", eur(1), &[][..], "name for the refund"),
        (paid(), "re_9", eur(1_000), &[], "more than is left"),
        (paid(), "re_9", Amount::zero(Currency::EUR), &[], "over nothing"),
        (paid(), "re_9", dollars, &[], "another currency"),
        (paid(), "re_9", eur(1), &many, "too many refunds"),
        (mismatched, "re_9", eur(1), &[], "took nothing"),
    ] {
        let (booked, change) = made_there(charge, reference, amount, refunds);
        assert!(
            matches!(booked, Booked::Held(why) if why.contains(expected)),
            "{booked:?}"
        );
        assert_eq!(told(&change), [""; 0]);
    }
}

fn heard(charge: Charge, state: DisputeState, amount: Amount, known: Vec<Dispute>) -> (Booked, Change) {
    let (mut mint, mut change) = (mint(4), Change::new());
    let heard = Heard {
        reference: "dp_1".to_owned(),
        state,
        amount,
        reason: None,
    };
    let at = &mut setting(&mut mint, 200);
    let booked = disputed(concerned(charge), heard, known, at, &mut change);
    (booked, change)
}

#[test]
fn a_dispute_moves_the_charge_by_what_it_takes_and_once() {
    use DisputeState::{Lost, Open, Won};
    let losing = |minor| Charge { lost: minor, ..paid() };
    // What it was, what is heard, and what the charge has lost before and after.
    for (before, now, lost) in [
        (None, Open, (0, None)),
        (None, Lost, (0, Some(999))),
        (None, Won, (0, None)),
        (Some(Open), Open, (0, None)),
        (Some(Open), Lost, (0, Some(999))),
        (Some(Open), Won, (0, None)),
        (Some(Lost), Lost, (999, None)),
        (Some(Lost), Open, (999, None)),
        (Some(Lost), Won, (999, Some(0))),
        (Some(Won), Lost, (0, None)),
    ] {
        let (booked, change) = heard(
            losing(lost.0),
            now,
            eur(1_100),
            before.map(dispute).into_iter().collect(),
        );
        assert_eq!(booked, Booked::Done);
        let after = of_charge(&change).map(|charge| charge.lost);
        assert_eq!(after, lost.1, "{before:?} {now:?}");
        let is_revoked = told(&change).iter().any(|kind| kind.starts_with("grant.revoked"));
        assert_eq!(is_revoked, lost.1 == Some(999), "{before:?} {now:?}");
    }
}

#[test]
fn a_lost_dispute_takes_back_what_was_sold_with_the_last_of_the_charge_only() {
    let refunded = |minor| Charge {
        refunded: minor,
        ..paid()
    };
    for (charge, lost, expected) in [
        (refunded(0), 998, false),
        (refunded(0), 999, true),
        (refunded(500), 498, false),
        (refunded(500), 499, true),
        (
            Charge {
                settles: false,
                ..paid()
            },
            999,
            false,
        ),
    ] {
        let (_, change) = heard(charge, DisputeState::Lost, eur(lost), Vec::new());
        let is_revoked = told(&change).iter().any(|kind| kind.starts_with("grant.revoked"));
        assert_eq!(is_revoked, expected, "{lost}");
    }
}

#[test]
fn however_many_disputes_are_lost_and_over_whatever_the_charge_loses_what_it_took() {
    let most = Amount::minor((1 << 53) - 1, Currency::EUR).unwrap();
    let many: Vec<Dispute> = (1..=MAX_DISPUTES)
        .map(|number| Dispute {
            number,
            reference: format!("dp_{number}"),
            amount: most,
            ..dispute(DisputeState::Lost)
        })
        .collect();
    let lost = |minor| Charge { lost: minor, ..paid() };
    let (booked, change) = heard(lost(999), DisputeState::Won, most, many.clone());
    assert_eq!((booked, of_charge(&change)), (Booked::Done, None));
    let others = many[1..].iter().cloned().map(|other| Dispute {
        amount: eur(4),
        ..other
    });
    let (_, change) = heard(lost(396), DisputeState::Lost, most, others.take(99).collect());
    assert_eq!(of_charge(&change).map(|charge| charge.lost), Some(999));
    let one_more = many.into_iter().map(|known| Dispute {
        reference: format!("{}x", known.reference),
        ..known
    });
    let (booked, change) = heard(lost(999), DisputeState::Lost, most, one_more.collect());
    assert!(matches!(booked, Booked::Held(_)), "{booked:?}");
    assert_eq!(told(&change), [""; 0]);
}

#[test]
fn a_dispute_that_fits_nowhere_is_held_and_one_that_comes_early_waits() {
    let dollars = Amount::minor(1, Currency::USD).unwrap();
    let (booked, change) = heard(paid(), DisputeState::Lost, dollars, Vec::new());
    assert!(matches!(booked, Booked::Held(_)), "{booked:?}");
    assert_eq!(told(&change), [""; 0]);
    let (booked, _) = heard(charge(ChargeState::Failed), DisputeState::Lost, eur(1), Vec::new());
    assert!(matches!(booked, Booked::Held(_)), "{booked:?}");
    let (booked, _) = heard(charge(ChargeState::Pending), DisputeState::Lost, eur(1), Vec::new());
    assert!(matches!(booked, Booked::Later(_)), "{booked:?}");
}
