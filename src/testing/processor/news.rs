//! What a payment service has to tell by itself, and what is done there that nobody asked for.

use super::Taken;
use super::ledger::Ledger;
use crate::hook::{DisputeState, Notice, NoticeKind, Operation, Outcome};
use crate::money::{Amount, Currency};

/// How the names begin of what the service tells of things that it was not asked for: nobody who is not told hears
/// of them.
const UNASKED: &str = "there_";

/// A dispute at the service.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Disputed {
    pub(in crate::testing) session: String,
    pub(in crate::testing) amount: i64,
    pub(in crate::testing) state: DisputeState,
    /// The key of the payment, and the service's own name for it.
    of: String,
    reference: String,
}

impl Ledger {
    /// Something came of a request, which the service may tell of: what came of it, or that something did, with the
    /// attempt or under its own name only.
    pub(super) fn came(&mut self, reference: &str, outcome: Outcome) {
        let nth = self.news.len();
        let kind = if nth % 4 == 1 {
            NoticeKind::Changed
        } else {
            NoticeKind::Evidence(outcome)
        };
        let notice = Notice::new(format!("own_{nth}"), kind).reference(reference);
        let notice = match reference.strip_prefix("till_") {
            Some(attempt) if nth % 4 != 3 => notice.attempt(attempt),
            _ => notice,
        };
        self.news.push(notice);
    }

    /// Money was moved, which the service may tell of. That some went back it also tells as news of the payment.
    pub(super) fn booked(&mut self, taken: &Taken) {
        let outcome = taken.outcome();
        let of = taken.of.as_deref();
        let paid = of.filter(|_| taken.operation == Operation::Refund && !self.news.len().is_multiple_of(3));
        let paid = paid.filter(|key| !self.was_taken_again(key));
        match (paid.and_then(|key| self.booked.get(key)), &outcome) {
            (Some(paid), Outcome::Succeeded(receipt)) => {
                let said = NoticeKind::ExternalRefund {
                    reference: taken.reference.clone(),
                    amount: receipt.amount,
                    reason: None,
                };
                let notice = Notice::new(format!("own_{}", self.news.len()), said).reference(&paid.reference);
                self.news.push(notice);
            }
            _ => self.came(&taken.reference, outcome),
        }
    }

    fn tell_unasked(&mut self, about: &str, said: NoticeKind) {
        let nth = self.news.len();
        let notice = Notice::new(format!("{UNASKED}{nth}"), said);
        self.news.push(match about.strip_prefix("till_") {
            Some(attempt) if nth.is_multiple_of(2) => notice.attempt(attempt),
            _ => notice.reference(about),
        });
    }

    /// What was taken in a session: the charge, or the capture of what was held.
    fn paid_in(&self, session: &str) -> Option<&Taken> {
        let is_payment = |taken: &&Taken| {
            let is_first = taken.operation == Operation::Charge && taken.of.is_none();
            taken.session == session && (is_first || taken.operation == Operation::Capture)
        };
        self.booked.values().find(is_payment)
    }

    fn was_taken_again(&self, key: &str) -> bool {
        let is_again = |taken: &Taken| taken.is_again() && taken.of.as_deref() == Some(key);
        self.booked.values().any(is_again)
    }

    /// Takes once more what was taken in a session, and tells of it twice, as of a payment and of its charge. Of
    /// the first one it tells too: who hears of one name only takes that for the money.
    pub(super) fn take_again(&mut self, session: &str) -> Option<Taken> {
        let first = self.paid_in(session).filter(|taken| taken.of.is_none())?.clone();
        let (count, key) = (self.news.len(), &first.idempotency_key);
        let again = Taken {
            idempotency_key: format!("{key}-again-{count}"),
            of: Some(key.clone()),
            reference: format!("{}-again-{count}", first.reference),
            ..first.clone()
        };
        self.booked.insert(again.idempotency_key.clone(), again.clone());
        for taken in [&first, &again, &again] {
            let nth = self.news.len();
            let notice = Notice::new(format!("{UNASKED}{nth}"), NoticeKind::Evidence(taken.outcome()));
            self.news
                .push(notice.attempt(first.reference.trim_start_matches("till_")));
        }
        Some(again)
    }

    /// Takes once more what was taken in a session of which nothing went back and nothing is disputed: the service
    /// can then tell by itself which of both is given back.
    pub(super) fn lose_count(&mut self, session: &str) -> bool {
        let is_back = |taken: &Taken| taken.session == session && taken.operation == Operation::Refund;
        let is_disputed = self.disputes.values().any(|disputed| disputed.session == session);
        let is_again = |taken: &Taken| taken.session == session && taken.is_again();
        let is_plain = !is_disputed && !self.booked.values().any(|taken| is_back(taken) || is_again(taken));
        is_plain && self.take_again(session).is_some()
    }

    /// The payment of a session that was taken once, its key, and what is left of it, at most `part`.
    fn troubled(&self, session: &str, part: i64) -> Option<(Taken, String, Amount)> {
        let paid = self.paid_in(session)?.clone();
        let key = paid.of.clone().unwrap_or_else(|| paid.idempotency_key.clone());
        let left = self.left_of(Some(&key)).min(part);
        if self.was_taken_again(&key) || left <= 0 {
            return None;
        }
        let amount = Amount::minor(left, Currency::parse(&paid.currency).ok()?).ok()?;
        Some((paid, key, amount))
    }

    /// Somebody gives back by hand what was taken in a session, or a part.
    pub(super) fn refund_by_hand(&mut self, session: &str, part: i64) -> bool {
        let Some((paid, key, amount)) = self.troubled(session, part) else {
            return false;
        };
        // What was told is never taken back, so no name is given twice; what is booked may be called off.
        let name = format!("by-hand-{}", self.news.len());
        let back = Taken {
            idempotency_key: name.clone(),
            operation: Operation::Refund,
            reference: name.clone(),
            of: Some(key),
            amount: amount.as_minor(),
            ..paid.clone()
        };
        self.booked.insert(name.clone(), back);
        let said = NoticeKind::ExternalRefund {
            reference: name,
            amount,
            reason: Some("asked for by telephone".to_owned()),
        };
        self.tell_unasked(&paid.reference, said);
        true
    }

    /// The buyer disputes what was taken in a session, or a part; or the bank decides.
    pub(super) fn dispute(&mut self, session: &str, part: i64, decided: DisputeState) -> bool {
        let open = self.disputes.iter().find(|(_, disputed)| {
            let is_open = disputed.state == DisputeState::Open;
            is_open && disputed.session == session
        });
        let (name, disputed) = match (open, self.troubled(session, part)) {
            (Some((name, disputed)), _) => {
                // The bank takes no more than there is.
                let is_there = disputed.amount <= self.left_of(Some(&disputed.of));
                if !is_there && decided == DisputeState::Lost {
                    return false;
                }
                let after = Disputed {
                    state: decided,
                    ..disputed.clone()
                };
                (name.clone(), after)
            }
            (None, Some((paid, of, amount))) => {
                let opened = Disputed {
                    session: session.to_owned(),
                    amount: amount.as_minor(),
                    state: DisputeState::Open,
                    of,
                    reference: paid.reference,
                };
                (format!("dispute-{}", self.disputes.len()), opened)
            }
            (None, None) => return false,
        };
        let currency = self.booked.get(&disputed.of).map(|taken| taken.currency.clone());
        let currency = currency.and_then(|code| Currency::parse(&code).ok());
        let amount = currency.and_then(|currency| Amount::minor(disputed.amount, currency).ok());
        let Some(amount) = amount else {
            return false;
        };
        let said = NoticeKind::Dispute {
            reference: name.clone(),
            state: disputed.state,
            amount,
            reason: None,
        };
        let about = disputed.reference.clone();
        self.disputes.insert(name, disputed);
        self.tell_unasked(&about, said);
        true
    }

    /// How much of the payment under a key was lost in disputes.
    pub(super) fn lost_of(&self, key: Option<&str>) -> i64 {
        let lost = self.disputes.values().filter(|disputed| {
            let is_lost = disputed.state == DisputeState::Lost;
            is_lost && Some(disputed.of.as_str()) == key
        });
        lost.map(|disputed| disputed.amount).sum()
    }
}

impl Taken {
    /// Whether the service took it by mistake, once more.
    pub(in crate::testing) fn is_again(&self) -> bool {
        self.operation == Operation::Charge && self.of.is_some()
    }
}

/// Whether somebody has to be told of it to know.
pub(in crate::testing) fn is_unasked(notice: &Notice) -> bool {
    notice.id.starts_with(UNASKED)
}
