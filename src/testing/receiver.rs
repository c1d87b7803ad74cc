use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::chance::Chance;
use super::locked;
use super::sim::Outside;
use crate::hook::{Answered, SignedRequest, Transport, TransportOutcome};
use crate::secret::Secret;
use crate::webhook::{self, Format};

/// An endpoint in memory: keeps every request, checks its signature where it has the secret, and
/// answers as it is told; untold, 204. Clones are the same endpoint.
#[derive(Clone, Default)]
pub struct FakeReceiver {
    received: Arc<Mutex<Received>>,
    outside: Option<Arc<dyn Outside>>,
}

/// What the endpoint has.
#[derive(Default)]
struct Received {
    requests: Vec<SignedRequest>,
    /// What it is told to answer to the next requests.
    answers: VecDeque<TransportOutcome>,
    /// What it checks signatures by.
    secret: Option<(Format, Secret)>,
    unsigned: usize,
    /// What it draws from when it is not told.
    mood: Option<Chance>,
}

impl FakeReceiver {
    /// An endpoint that accepts whatever comes.
    #[must_use]
    pub fn new() -> FakeReceiver {
        FakeReceiver::default()
    }

    /// An endpoint of varying temper, by a seed: it is down at times, and at times its answer is
    /// lost.
    #[must_use]
    pub fn moody(seed: u64) -> FakeReceiver {
        let receiver = FakeReceiver::new();
        receiver.received().mood = Some(Chance::new(seed));
        receiver
    }

    /// The same endpoint, reached through a world that may be gone.
    pub(super) fn within(mut self, outside: Arc<dyn Outside>) -> FakeReceiver {
        self.outside = Some(outside);
        self
    }

    /// Ends its varying temper.
    pub(super) fn calm(&self) {
        self.received().mood = None;
    }

    /// Says what to answer to the next request that nothing was said about yet.
    pub fn answer(&self, outcome: TransportOutcome) {
        self.received().answers.push_back(outcome);
    }

    /// Has it check signatures by this secret, and answer 401 to a request that has no good one.
    pub fn check_signatures(&self, format: Format, secret: Secret) {
        self.received().secret = Some((format, secret));
    }

    /// Every request that came, in order, those that were not accepted included.
    #[must_use]
    pub fn requests(&self) -> Vec<SignedRequest> {
        self.received().requests.clone()
    }

    /// The same, and forgets them.
    #[must_use]
    pub fn take_requests(&self) -> Vec<SignedRequest> {
        std::mem::take(&mut self.received().requests)
    }

    /// How many requests had no good signature.
    #[must_use]
    pub fn unsigned(&self) -> usize {
        self.received().unsigned
    }

    /// Nobody outside gets it: who held it over a call into an engine would wait for itself.
    fn received(&self) -> MutexGuard<'_, Received> {
        locked(&self.received)
    }

    fn is_reached(&self) -> bool {
        self.outside.as_ref().is_none_or(|outside| outside.is_reached())
    }
}

impl Transport for FakeReceiver {
    fn send(&self, request: &SignedRequest) -> TransportOutcome {
        let nobody = || TransportOutcome::Failed {
            why: "nobody is there".to_owned(),
        };
        if !self.is_reached() {
            return nobody();
        }
        let answer = self.received().take_in(request);
        if !self.is_reached() {
            return nobody();
        }
        answer
    }
}

impl Received {
    fn take_in(&mut self, request: &SignedRequest) -> TransportOutcome {
        let status = |status| TransportOutcome::Answered(Answered::status(status));
        self.requests.push(request.clone());
        if let Some((format, secret)) = &self.secret {
            let header = |name: &str| {
                let mut headers = request.headers.iter();
                let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.as_str())
            };
            if webhook::verify(*format, secret, header, &request.body, request.signed_at).is_err() {
                self.unsigned += 1;
                return status(401);
            }
        }
        if let Some(told) = self.answers.pop_front() {
            return told;
        }
        match self.mood.as_mut().map_or(0, |mood| mood.below(100)) {
            0..=79 => status(204),
            80..=89 => status(500),
            _ => TransportOutcome::Failed {
                why: "the connection broke".to_owned(),
            },
        }
    }
}

impl fmt::Debug for FakeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.received().requests.len();
        f.debug_struct("FakeReceiver")
            .field("requests", &requests)
            .finish_non_exhaustive()
    }
}
