//! What the payment service tells by itself, and whether it is heard.

use std::collections::BTreeSet;

use super::act::{Host, Seen};
use super::lists::all;
use super::plan::There;
use super::world::World;
use super::{Broken, Invariant, violated};
use crate::engine::{App, Budget};
use crate::error::Result;
use crate::hook::{DisputeState, Notice, NoticeKind, Outcome};
use crate::payment::{Notification, NotificationState};
use crate::testing::processor::is_unasked;

/// How many notices come in one post when everything is told.
const IN_A_POST: usize = 3;

/// Has the service post something, and counts on it once that was answered.
fn post(world: &World, app: &App, notices: &[Notice]) -> Result<()> {
    let posted = world.till.post(notices.iter().cloned());
    app.notifications().receive("till", &posted.headers(), &posted.body)?;
    let names = notices.iter().map(|notice| notice.id.clone());
    world.beliefs().told.extend(names);
    Ok(())
}

/// The service goes on until it was heard, with what only it knows; of the rest it tells a part. It begins with
/// the newest.
pub(super) fn tell_the_rest(world: &World, app: &App) -> std::result::Result<(), Broken> {
    let told = world.beliefs().told.clone();
    let news = world.till.news().into_iter().enumerate().rev();
    let is_told = |(at, notice): &(usize, Notice)| !told.contains(&notice.id) && (is_unasked(notice) || at % 2 == 0);
    let rest: Vec<Notice> = news.filter(is_told).map(|(_, notice)| notice).collect();
    for notices in rest.chunks(IN_A_POST) {
        post(world, app, notices)?;
    }
    Ok(())
}

fn notifications(app: &App) -> Result<Vec<Notification>> {
    all(|last: Option<&Notification>| app.notifications().list(100, last.map(|notice| &notice.id)))
}

/// What the service was answered for is there, and everything is there once.
pub(super) fn is_heard(app: &App, told: &BTreeSet<String>) -> std::result::Result<(), Broken> {
    let kept = notifications(app)?;
    let names: BTreeSet<&str> = kept.iter().map(|notice| notice.key.as_str()).collect();
    if let Some(missing) = told.iter().find(|name| !names.contains(name.as_str())) {
        return violated(Invariant::NoticesAreApplied, format!("{missing} is lost"));
    }
    if names.len() != kept.len() {
        let what = format!("{} notices with {} names", kept.len(), names.len());
        return violated(Invariant::NoticesAreApplied, what);
    }
    Ok(())
}

/// Nothing that was told waits, and nothing needs a person: but what is told under a name that nobody here was
/// ever given, because nothing was taken under
/// it in the end.
pub(super) fn is_applied(world: &World, app: &App) -> std::result::Result<(), Broken> {
    let took =
        |kind: &NoticeKind| !matches!(kind, NoticeKind::Evidence(outcome) if !matches!(outcome, Outcome::Succeeded(_)));
    let news = world.till.news();
    let named: BTreeSet<&str> = news
        .iter()
        .filter(|notice| notice.attempt.is_some() || took(&notice.kind))
        .map(|notice| notice.id.as_str())
        .collect();
    let may_be_unknown = |notice: &Notification| {
        let is_unknown = matches!(notice.state, NotificationState::Parked | NotificationState::Unmatched);
        is_unknown && !named.contains(notice.key.as_str())
    };
    let kept = notifications(app)?;
    let mut waiting = kept.iter().filter(|notice| notice.state != NotificationState::Applied);
    match waiting.find(|notice| !may_be_unknown(notice)) {
        Some(notice) => violated(Invariant::NoticesAreApplied, format!("{notice:?}")),
        None => Ok(()),
    }
}

impl Host<'_> {
    /// The service posts so many of the newest of what it has to tell, but for some, the newest first.
    pub(super) fn hear(&self, but: u64, count: usize) -> Seen {
        let news = self.world.till.news();
        let but = usize::try_from(but).unwrap_or(0) % news.len().max(1);
        let some: Vec<Notice> = news.into_iter().rev().skip(but).take(count).collect();
        if some.is_empty() {
            return Ok("nothing is to be told".to_owned());
        }
        let names: Vec<String> = some
            .iter()
            .map(|notice| format!("{} {:?}", notice.id, notice.kind))
            .collect();
        self.answered(post(self.world, &self.app, &some), |()| Ok(names.join(", ")))
    }

    /// The service posts the newest, and what is due is done at once.
    pub(super) fn hear_at_once(&self, count: usize) -> Seen {
        self.hear(0, count)?;
        self.answered(self.engine.run_due(Budget::items(20)), |ran| Ok(format!("{ran:?}")))
    }

    /// Something happens at the service with one of the payments that it took.
    pub(super) fn happen(&self, payment: u64, part: i64, what: There) -> String {
        let till = &self.world.till;
        let taken = till.charges();
        let at = usize::try_from(payment).unwrap_or(0) % taken.len().max(1);
        let Some(session) = taken.get(at).map(|taken| taken.session.as_str()) else {
            return "nothing was paid".to_owned();
        };
        let happened = match what {
            There::TakenAgain => till.lose_count(session),
            There::GivenBack => till.refund_by_hand(session, part),
            There::Disputed { is_lost } => {
                let decided = if is_lost { DisputeState::Lost } else { DisputeState::Won };
                till.dispute(session, part, decided)
            }
        };
        format!("{session}: {happened}")
    }
}
