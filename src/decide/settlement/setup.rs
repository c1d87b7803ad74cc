//! What was learned about saving a payment method without taking money.

use super::naming::{self, Told};
use super::{Case, Learned, Stake, Standing, count, failure};
use crate::change::{Change, Setting};
use crate::customer::Customer;
use crate::decide::methods;
use crate::event::{EventKind, Happening, Subject};
use crate::hook::Outcome;
use crate::money::Amount;
use crate::payment::{News, PaymentMethod, Setup, SetupState, Source, Verdict};

/// An attempt to save a method, with everything that its outcome may move.
pub(crate) struct UnsettledSetup {
    pub(crate) case: Case,
    pub(crate) setup: Setup,
    pub(crate) customer: Customer,
    /// The customer's payment method under the token that the finding names, if it is known.
    pub(crate) known_method: Option<PaymentMethod>,
}

/// Works a finding into a setup and the payment methods of its customer.
pub(crate) fn settle_setup(
    found: UnsettledSetup,
    learned: &Learned<'_>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Setup {
    let UnsettledSetup {
        mut case,
        setup: before,
        customer,
        known_method,
    } = found;
    let Some(verdict) = case.weigh(learned, Amount::zero(before.currency), at) else {
        return before;
    };
    let stake = match before.state {
        SetupState::RequiresAction => Stake::OneTry,
        state if state.is_live() => Stake::Outcome,
        _ => Stake::Nothing,
    };
    let mut verdict = case.doubt(verdict, learned, stake);
    verdict.event = verdict.event.map(|news| match news {
        // Without a method there is nothing that succeeded; and to hold nothing is to have saved it.
        News::Authorized | News::Succeeded if verdict.saved_method.is_none() => News::Mismatched,
        News::Authorized => News::Succeeded,
        News::LeaseEnded if planted!(LostSetupIsFailed) => News::Failed,
        news => news,
    });
    let known = known_method.as_ref().map(|method| method.id.clone());
    let saved = methods::learn(
        &mut verdict,
        (&case.attempt, before.created_at),
        Some(&customer),
        known_method,
        at,
        change,
    );
    let is_named = before.state == SetupState::Succeeded
        && naming::told(&case, before.reference.as_deref(), &verdict) == Told::Name;
    let took_money = verdict.is_told_success() && verdict.amount.is_some_and(|amount| !amount.is_zero());
    let took_too = took_money && !before.state.is_live() && !case.past.successes.money;
    let counts = |news: &News| match news {
        // A success without a method waits for a decision, or for one that brings it after all.
        _ if before.mismatched => *news == News::Succeeded || verdict.source == Source::Operator,
        News::Failed | News::Canceled => !case.is_superseded(learned, &verdict),
        _ => true,
    };
    let news = verdict.event.filter(counts);
    let mut setup = before.clone();
    let moved = news.filter(|news| setup.step(*news, at.now).is_ok());
    let mut moves = Vec::new();
    if let Some(news) = moved {
        describe(&mut setup, news, &verdict, learned, at);
        let method = saved.map(|method| method.id).or(known);
        setup.method = method.filter(|_| setup.state == SetupState::Succeeded);
        moves.push(Happening::moved(
            kind_of(&setup),
            before.state.as_str(),
            setup.state.as_str(),
        ));
    }
    if is_named {
        setup.reference.clone_from(&verdict.reference);
        setup.updated_at = at.now;
        moves.push(Happening::plain(EventKind::SetupUpdated));
    }
    let standing = match (setup.mismatched, setup.state.is_live()) {
        (true, _) => Standing::Held,
        (false, true) => Standing::Open,
        (false, false) => Standing::Settled,
    };
    if case.schedule(standing, learned, &verdict, at.host_now) || took_too {
        setup.updated_at = at.now;
        moves.push(Happening::plain(EventKind::SetupUnresolved));
    }
    case.note(verdict, moved.is_some() || is_named, learned, at, change);
    let counted = count(&moves);
    change.record_all(Subject::Setup(setup.clone()), moves);
    setup.revision += counted;
    setup
}

/// Puts into the setup what was learned beside its state.
fn describe(setup: &mut Setup, news: News, verdict: &Verdict, learned: &Learned<'_>, at: &Setting<'_>) {
    if verdict.reference.is_some() {
        setup.reference.clone_from(&verdict.reference);
    }
    setup.mismatched = news == News::Mismatched;
    setup.failure = (setup.state == SetupState::Failed).then(|| failure(learned.finding));
    setup.action = None;
    setup.action_deadline = None;
    if let (News::ActionRequired, Some(Outcome::RequiresAction { action, within, .. })) =
        (news, learned.finding.outcome())
    {
        setup.action = action.keepable();
        setup.action_deadline = Some(at.now.plus(*within));
    }
}

fn kind_of(setup: &Setup) -> EventKind {
    match setup.state {
        SetupState::RequiresAction => EventKind::SetupRequiresAction,
        SetupState::Succeeded => EventKind::SetupSucceeded,
        SetupState::Failed => EventKind::SetupFailed,
        SetupState::Canceled => EventKind::SetupCanceled,
        SetupState::Initiated | SetupState::Unknown | SetupState::Pending => EventKind::SetupUpdated,
    }
}
