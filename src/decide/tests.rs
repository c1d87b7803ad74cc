//! Decisions on loaded values: what they write, in which order, and what they leave alone.

mod access;
mod catalog;
mod checkout;
mod customer;
mod followup;
mod methods;
mod notices;
mod pricing;
mod refund_settlement;
mod refunding;
mod resolution;
mod settlement;
mod surplus;
mod unasked;

use crate::change::{Change, Setting};
use crate::decide::attempt::Payer;
use crate::event::Subject;
use crate::hook::Initiator;
use crate::id::{Mint, Mode};
use crate::payment::{Evidence, Known, Refund};
use crate::samples::at;

/// How far host time is ahead of engine time in these tests, so that mixing them up shows.
const HOST_AHEAD: i64 = 1_000_000;

/// A setting at a second of engine time.
fn setting(mint: &mut Mint, seconds: i64) -> Setting<'_> {
    Setting {
        app: "shop",
        mode: Mode::Test,
        now: at(seconds),
        host_now: at(seconds + HOST_AHEAD),
        mint,
    }
}

/// A buyer who is there and whom no service knows.
fn payer() -> Payer {
    Payer {
        initiator: Initiator::BuyerPresent,
        save_method: false,
        customer_ref: None,
    }
}

/// What a change says happened, in order: `charge.succeeded initiated>succeeded`.
fn told(change: &Change) -> Vec<String> {
    let happenings = change.entries.iter().flat_map(|entry| &entry.happenings);
    happenings
        .map(|happening| match (happening.from, happening.to) {
            (None, None) => happening.kind.as_str().to_owned(),
            (from, to) => format!(
                "{} {}>{}",
                happening.kind.as_str(),
                from.unwrap_or_default(),
                to.unwrap_or_default()
            ),
        })
        .collect()
}

/// A piece of evidence as it is read again.
fn known(evidence: &Evidence) -> Known {
    Known {
        source: evidence.verdict.source,
        said: evidence.verdict.said(),
        amount: evidence.verdict.amount,
        moved: evidence.moved,
    }
}

/// The decisions of one kind are the same however often they are taken.
fn assert_repeatable<T: std::fmt::Debug>(decide: impl Fn(&mut Change) -> T) {
    let decided = || {
        let mut change = Change::new();
        let answer = decide(&mut change);
        format!("{answer:?} {change:?}")
    };
    assert_eq!(decided(), decided());
}

/// The newest refund that a change writes.
fn refund_of(change: &Change) -> Option<Refund> {
    let subjects = change.entries.iter().rev().map(|entry| &entry.subject);
    let mut refunds = subjects.filter_map(|subject| match subject {
        Subject::Refund(refund) => Some(refund.clone()),
        _ => None,
    });
    refunds.next()
}
