//! What is held: whatever is learned of its captures and voids, in whichever order, no more is taken than
//! was held, no capture counts twice, and nothing stays in doubt that was answered.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{HOST_AHEAD, known, payer, setting};
use crate::change::Change;
use crate::decide::capturing::{self, Of};
use crate::decide::checkout::{Begun, Means, begin};
use crate::decide::settlement::{About, Case, Learned, Unsettled, finding, settle, settle_followup};
use crate::error::Error;
use crate::hook::{Cancel, Capabilities, Lookup, Operation, Outcome, Receipt, Request};
use crate::id::Mint;
use crate::money::Amount;
use crate::payment::{
    Attempt, Await, CaptureMethod, Charge, ChargeState, Evidence, Finding, Followup, Hold, LatePayments, Resolution,
};
use crate::samples::{at, eur, mint, session};
use crate::session::{Session, SessionState};

const HELD: i64 = 999;
const LEASE: i64 = 40;

/// A session for which an amount is held.
struct Held {
    session: Session,
    /// What made the charge, and then what was asked about it, with all evidence of each.
    attempts: Vec<(Attempt, Vec<Evidence>)>,
    mint: Mint,
    seconds: i64,
}

impl Held {
    fn new() -> Held {
        let mut sale = session();
        sale.capture = CaptureMethod::Manual;
        let mut mint = mint(8);
        let means = Means {
            processor: "main".to_owned(),
            method: None,
            context: None,
            payer: payer(),
            lease_until: at(100 + HOST_AHEAD + LEASE),
        };
        let mut at_now = setting(&mut mint, 100);
        let begun = begin(sale, Ok(means), Vec::new(), &mut at_now, &mut Change::new()).unwrap();
        let (session, Begun::Attempt(attempt)) = begun else {
            panic!("nothing to pay");
        };
        let mut held = Held {
            session,
            attempts: vec![(*attempt, Vec::new())],
            mint,
            seconds: 100,
        };
        let receipt = Receipt::new("r_1", eur(HELD));
        held.hear(
            0,
            &Finding::Executed(Outcome::Authorized {
                receipt,
                expires_at: None,
            }),
        );
        assert_eq!(held.charge().state, ChargeState::Authorized);
        held
    }

    fn charge(&self) -> &Charge {
        &self.session.payment_intent.as_ref().unwrap().charges[0]
    }

    /// Asks what becomes of the amount, if that can be asked now.
    fn ask(&mut self, followup: Followup, amount: Option<Amount>) -> Result<(), Error> {
        let Some(charge) = capturing::held(&self.session, followup, amount)?.cloned() else {
            return Ok(());
        };
        let of = Of {
            session: &self.session,
            charge: &charge,
            made_by: &self.attempts[0].0,
            number: u32::try_from(self.attempts.len()).unwrap(),
        };
        let next = (Await::Answer, at(self.seconds + HOST_AHEAD + LEASE));
        let mut mint = self.mint.clone();
        let mut at_now = setting(&mut mint, self.seconds);
        let session = self.session.clone();
        let (session, attempt) =
            capturing::begin(session, &of, followup, amount, next, &mut at_now, &mut Change::new())?;
        (self.session, self.mint) = (session, mint);
        self.attempts.push((attempt, Vec::new()));
        Ok(())
    }

    /// Learns something about an attempt.
    fn hear(&mut self, of: usize, finding: &Finding) -> Vec<String> {
        let (attempt, evidence) = &self.attempts[of];
        let operation = attempt.operation;
        let found = Unsettled {
            case: Case::of(attempt.clone(), evidence.iter().rev().map(known).collect()),
            session: self.session.clone(),
            holdings: Vec::new(),
            late_payments: LatePayments::Hold,
            known_method: None,
        };
        let capabilities = Capabilities::new()
            .lookup()
            .not_found_final_after(std::time::Duration::from_secs(60));
        let learned = Learned {
            finding,
            actor: "processor:main".to_owned(),
            token: attempt.token,
            asked_at: at(self.seconds + HOST_AHEAD),
            capabilities: Some(&capabilities),
        };
        let made_by = self.attempts[0].0.clone();
        let mut change = Change::new();
        let mut mint = self.mint.clone();
        let mut at_now = setting(&mut mint, self.seconds);
        let session = match Followup::of(operation) {
            Some(followup) => {
                settle_followup(found, followup, &made_by, &learned, &mut at_now, &mut change)
                    .unwrap()
                    .0
            }
            None => settle(found, &learned, &mut at_now, &mut change).unwrap(),
        };
        (self.session, self.mint) = (session, mint);
        let told = super::told(&change);
        for entry in change.ledger {
            let known = self.attempts.iter_mut().find(|(known, _)| known.id == entry.attempt.id);
            let (attempt, said) = known.unwrap();
            *attempt = entry.attempt;
            said.extend(entry.evidence);
        }
        told
    }

    /// What somebody says, as it is learned; none where it is so already or cannot be.
    fn word(&self, of: usize, resolution: Resolution) -> Option<Finding> {
        let (attempt, evidence) = &self.attempts[of];
        let case = Case::of(attempt.clone(), evidence.iter().rev().map(known).collect());
        finding(resolution, "seen".to_owned(), &case, &About::Charge(self.charge()))
            .ok()
            .flatten()
    }

    fn asked_for(&self, of: usize) -> Amount {
        Request::from_bytes(&self.attempts[of].0.request)
            .unwrap()
            .money()
            .unwrap()
    }

    /// Whether a piece of evidence that moved the charge says that money was taken.
    fn counted(&self) -> Vec<usize> {
        let takes = |evidence: &&Evidence| evidence.moved && evidence.verdict.outcome == "succeeded";
        let counted = self.attempts.iter().enumerate().flat_map(|(of, (attempt, said))| {
            let is_void = attempt.operation == Operation::Void;
            said.iter().filter(takes).filter(move |_| !is_void).map(move |_| of)
        });
        counted.collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let charge = self.charge();
        prop_assert!(charge.captured + charge.authorized <= HELD, "{:?}", charge);
        prop_assert!(charge.authorized == 0 || charge.state == ChargeState::Authorized);
        prop_assert_eq!(charge.captured > 0, charge.state == ChargeState::Succeeded);
        prop_assert!(charge.asked.is_none() || charge.state == ChargeState::Authorized);
        prop_assert_eq!(charge.settles, self.session.state == SessionState::Complete);
        prop_assert_eq!(charge.state.is_live(), self.session.state == SessionState::Processing);
        prop_assert_eq!(charge.failure.is_some(), charge.state == ChargeState::Failed);
        let mismatches = usize::from(charge.hold == Some(Hold::Mismatch));
        let counted = self.counted();
        if charge.state == ChargeState::Succeeded {
            let is_asked = |of: &usize| charge.captured == self.asked_for(*of).as_minor();
            prop_assert!(counted.iter().any(is_asked), "{:?} {:?}", counted, charge);
        } else {
            prop_assert!(counted.len() <= mismatches, "{:?} {:?}", counted, charge);
        }
        // What is asked is asked by one attempt, and what is over waits for nothing.
        let open = |attempt: &Attempt| attempt.next.is_some() || attempt.unresolved;
        let asking = self.attempts[1..].iter().filter(|(attempt, _)| open(attempt)).count();
        if charge.asked.is_some() {
            prop_assert_eq!(asking, 1);
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Capture(Option<i64>),
    Void,
    /// About an attempt, counted from the newest: 0.
    Hear(usize, Said),
    Pass(i64),
}

#[derive(Clone, Debug)]
enum Said {
    Outcome(u8, Word),
    NotFound,
    CannotTell,
    Canceled,
    LeaseEnded,
    Resolved(bool),
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Succeeded,
    Another,
    Declined,
    NotSent,
    Canceled,
    Pending,
    Unknown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let word = prop_oneof![
        3 => Just(Word::Succeeded),
        1 => Just(Word::Another),
        2 => Just(Word::Declined),
        1 => Just(Word::NotSent),
        1 => Just(Word::Canceled),
        1 => Just(Word::Pending),
        3 => Just(Word::Unknown),
    ];
    let said = prop_oneof![
        8 => (0..3_u8, word).prop_map(|(way, word)| Said::Outcome(way, word)),
        1 => Just(Said::NotFound),
        1 => Just(Said::CannotTell),
        1 => Just(Said::Canceled),
        1 => Just(Said::LeaseEnded),
        1 => any::<bool>().prop_map(Said::Resolved),
    ];
    let step = prop_oneof![
        3 => prop::option::of(1..=HELD).prop_map(Step::Capture),
        1 => Just(Step::Void),
        7 => (0..4_usize, said).prop_map(|(of, said)| Step::Hear(of, said)),
        2 => (0..200_i64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..24)
}

fn outcome(word: Word, asked: Amount) -> Outcome {
    let why = || "why".to_owned();
    match word {
        Word::Succeeded => Outcome::succeeded("r_2", asked),
        Word::Another => Outcome::succeeded("r_3", eur(asked.as_minor() + 1)),
        Word::Declined => Outcome::Declined {
            code: "no".to_owned(),
            message: why(),
            advice: None,
        },
        Word::NotSent => Outcome::NotSent { why: why() },
        Word::Canceled => Outcome::Canceled { why: why() },
        Word::Pending => Outcome::Pending {
            reference: "r_4".to_owned(),
        },
        Word::Unknown => Outcome::Unknown { why: why() },
    }
}

fn take(held: &mut Held, step: &Step) {
    match step {
        Step::Capture(part) => {
            let _ = held.ask(Followup::Capture, part.map(eur));
        }
        Step::Void => {
            let _ = held.ask(Followup::Void, None);
        }
        Step::Pass(seconds) => held.seconds += seconds,
        Step::Hear(back, said) => {
            let of = held.attempts.len() - 1 - back.min(&(held.attempts.len() - 1));
            let asked = held.asked_for(of);
            let finding = match said {
                Said::Outcome(0, word) => Some(Finding::Executed(outcome(*word, asked))),
                Said::Outcome(1, word) => Some(Finding::LookedUp(Lookup::Found(outcome(*word, asked)))),
                Said::Outcome(_, word) => Some(Finding::Canceled(Cancel::TooLate(outcome(*word, asked)))),
                Said::NotFound => Some(Finding::LookedUp(Lookup::NotFound)),
                Said::CannotTell => Some(Finding::LookedUp(Lookup::CannotTell { why: String::new() })),
                Said::Canceled => Some(Finding::Canceled(Cancel::Canceled)),
                Said::LeaseEnded => Some(Finding::LeaseEnded),
                Said::Resolved(true) => held.word(of, Resolution::succeeded()),
                Said::Resolved(false) => held.word(of, Resolution::Failed),
            };
            if let Some(finding) = finding {
                held.hear(of, &finding);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_learned_of_what_is_held_no_more_is_taken_and_no_capture_counts_twice(steps in steps()) {
        let mut held = Held::new();
        let mut captured = 0;
        for step in &steps {
            take(&mut held, step);
            held.check()?;
            // What was taken stays as it is.
            prop_assert!(captured == 0 || held.charge().captured == captured, "{:?}", held.charge());
            captured = held.charge().captured;
        }
        // In the end the service answers for all of it, and nothing is left in doubt.
        for of in (0..held.attempts.len()).rev() {
            if held.attempts[of].0.next.is_some() {
                held.seconds += 3_600;
                held.hear(of, &Finding::LookedUp(Lookup::Found(outcome(Word::Declined, eur(1)))));
                held.check()?;
            }
        }
        let charge = held.charge();
        prop_assert!(charge.asked.is_none());
        let stays = charge.state == ChargeState::Authorized || charge.hold == Some(Hold::Mismatch);
        prop_assert!(!charge.state.is_live() || stays, "{:?}", charge);
        // Held on, it can be taken yet, once.
        if charge.state == ChargeState::Authorized {
            held.ask(Followup::Capture, None).unwrap();
            let newest = held.attempts.len() - 1;
            held.hear(newest, &Finding::Executed(outcome(Word::Succeeded, eur(HELD))));
            prop_assert_eq!(held.charge().captured, HELD);
            held.check()?;
        }
    }
}

fn taken_as(name: &str) -> Finding {
    Finding::Notified(Outcome::succeeded(name, eur(HELD)))
}

#[test]
fn a_capture_takes_the_services_first_name_and_another_is_for_somebody_to_see_once() {
    for first in ["", "PAY-77"] {
        let mut held = Held::new();
        held.ask(Followup::Capture, None).unwrap();
        let word = held.word(1, Resolution::succeeded_as(first)).unwrap();
        held.hear(1, &word);
        assert_eq!(held.charge().state, ChargeState::Succeeded);
        assert_eq!(held.hear(1, &taken_as("c_1")), ["charge.updated"], "{first:?}");
        assert_eq!(held.charge().reference.as_deref(), Some("c_1"));
        assert_eq!(held.hear(1, &taken_as("c_1")), [""; 0]);
        assert_eq!(held.hear(1, &taken_as("c_2")), ["charge.contradicted"]);
        assert_eq!(held.hear(1, &taken_as("c_2")), [""; 0]);
        assert_eq!(held.charge().reference.as_deref(), Some("c_1"));
    }
}

#[test]
fn what_an_authorisation_tells_of_after_its_capture_is_for_somebody_to_see_once() {
    let mut held = Held::new();
    held.ask(Followup::Capture, None).unwrap();
    held.hear(1, &Finding::Executed(Outcome::succeeded("c_1", eur(HELD))));
    let captured = held.charge().clone();
    for known in ["r_1", "c_1", ""] {
        assert_eq!(held.hear(0, &taken_as(known)), [""; 0], "{known:?}");
    }
    assert_eq!(held.hear(0, &taken_as("r_2")), ["charge.contradicted"]);
    assert_eq!(held.hear(0, &taken_as("r_2")), [""; 0]);
    assert_eq!(held.charge().reference, captured.reference);
    assert_eq!(held.charge().captured, captured.captured);
}
