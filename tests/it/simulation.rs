//! The simulation: many seeds hold, a seed repeats itself, what fails is made small, and a host can
//! bring calls of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tillite::testing::sim::{Invariant, Program, Simulation, Violation};
use tillite::{
    Amount, App, Currency, Customer, CustomerId, CustomerUpdate, Error, NewCustomer, NewGrant, NewLine, NewSession,
    Result,
};

use crate::kit::locked;

fn hold(engines: usize, seeds: impl IntoIterator<Item = u64>) {
    let simulation = Simulation::new().engines(engines);
    for seed in seeds {
        if let Err(violation) = simulation.run(seed) {
            panic!("{engines} engine(s): {violation}");
        }
    }
}

#[test]
fn with_one_engine_every_invariant_holds() {
    hold(1, 0..20);
}

#[test]
fn with_two_engines_on_the_file_every_invariant_holds() {
    hold(2, 0..20);
}

#[test]
fn the_payment_service_of_a_run_tells_of_what_it_was_asked_for_and_of_what_it_was_not() {
    let runs = (0..60).map(|seed| {
        Simulation::new()
            .run(seed)
            .unwrap_or_else(|violation| panic!("{violation}"))
    });
    let lines: Vec<String> = runs.flat_map(|report| report.trace).collect();
    let came = |call: &str, answer: &str| {
        let answers = lines.iter().filter_map(|line| line.split_once(" -> "));
        answers
            .filter(|(made, _)| made.contains(call))
            .any(|(_, answered)| answered.contains(answer))
    };
    for what in ["TakenAgain", "GivenBack", "Disputed"] {
        assert!(came(what, "true"), "{what} never happened");
    }
    for what in [
        "Evidence(Succeeded",
        "Evidence(Declined",
        "Changed",
        "ExternalRefund",
        "Dispute",
    ] {
        assert!(came("Tell", what), "{what} was never told");
    }
    assert!(came("Tell", "error storage"), "nothing fails while it is told");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for (seed, engines) in (100..110).zip([1, 2].into_iter().cycle()) {
        let simulation = Simulation::new().engines(engines);
        let (first, second) = (simulation.run(seed).unwrap(), simulation.run(seed).unwrap());
        let differs = first.trace.iter().zip(&second.trace).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn what_a_fuzzer_draws_is_a_run_that_repeats_itself_and_holds() {
    let bytes: Vec<u8> = (0..600_u32).map(|at| (at * at % 251) as u8).collect();
    for simulation in [Simulation::new(), Simulation::new().engines(2)] {
        for drawn in [&bytes[..], &bytes[..100], &[]] {
            assert_eq!(
                simulation.run_bytes(drawn).unwrap(),
                simulation.run_bytes(drawn).unwrap()
            );
        }
    }
}

/// Keeps the customers that it has made.
#[derive(Default)]
struct Readers {
    known: Mutex<Vec<(String, CustomerId)>>,
    /// Whether it counts on what it has only asked for.
    counts_on_it: bool,
    counted_on: Mutex<Vec<String>>,
}

impl Program for Readers {
    fn act(&self, app: &App, draw: u64) -> Result<String> {
        let uid = format!("reader-{}", draw % 100_000);
        if self.counts_on_it {
            locked(&self.counted_on).push(uid.clone());
        }
        let customer = app
            .customers()
            .set(NewCustomer::uid(&uid).email("reader@paper.example"))?;
        locked(&self.known).push((uid.clone(), customer.id));
        Ok(uid)
    }

    fn check(&self, app: &App) -> std::result::Result<(), String> {
        let found = |uid: &str| app.customers().by_uid(uid).map_err(|error| format!("{uid}: {error}"));
        for (uid, id) in locked(&self.known).iter() {
            if found(uid)?.id != *id {
                return Err(format!("{uid} was {id}"));
            }
        }
        locked(&self.counted_on).iter().try_for_each(|uid| found(uid).map(drop))
    }
}

#[test]
fn a_hosts_own_program_that_believes_what_it_was_told_holds() {
    let simulation = Simulation::new().engines(2).program(Readers::default);
    let reports = (0..5).map(|seed| simulation.run(seed).unwrap_or_else(|violation| panic!("{violation}")));
    let made = reports.flat_map(|report| report.trace);
    assert!(made.filter(|line| line.contains("-> reader-")).count() >= 5);
    assert_eq!(simulation.shrink(0), None);
}

/// Makes, names and deletes customers, and keeps each as it was last answered.
#[derive(Default)]
struct Members(Mutex<BTreeMap<CustomerId, Customer>>);

impl Members {
    /// Whom a call is about, who is in doubt until it is answered; none: another one is made.
    fn chosen(&self, draw: u64) -> Option<Customer> {
        let mut known = locked(&self.0);
        let place = usize::try_from(draw / 16).unwrap_or(0) % known.len().max(1);
        let id = known.keys().nth(place).filter(|_| draw % 8 > 3).cloned();
        id.and_then(|id| known.remove(&id))
    }
}

impl Program for Members {
    fn act(&self, app: &App, draw: u64) -> Result<String> {
        let customers = app.customers();
        let chosen = self.chosen(draw);
        let told = match &chosen {
            None if draw % 8 == 3 => customers.create(NewCustomer::guest()),
            None => customers.create(NewCustomer::uid(format!("member-{}", draw / 8 % 2))),
            Some(known) if draw % 8 < 6 => customers.delete(&known.id),
            Some(known) => {
                let named = CustomerUpdate::new().name(Some(format!("name {}", draw % 1_000)));
                customers.update(&known.id, named)
            }
        };
        let is_gone = chosen.as_ref().is_some_and(|known| known.deleted_at.is_some());
        match told {
            Err(Error::Deleted { .. }) if !is_gone => panic!("{chosen:?} was deleted by nobody"),
            // What is in doubt is not counted on.
            Err(error @ Error::Storage(_)) => Err(error),
            answer => {
                let stands = answer.as_ref().ok().or(chosen.as_ref());
                locked(&self.0).extend(stands.map(|known| (known.id.clone(), known.clone())));
                answer.map(|known| format!("member {known:?}"))
            }
        }
    }

    fn check(&self, app: &App) -> std::result::Result<(), String> {
        let mut listed = Vec::new();
        loop {
            let last = listed.last().map(|customer: &Customer| customer.id.clone());
            let page = app.customers().list(3, last.as_ref());
            let page = page.map_err(|error| error.to_string())?;
            listed.extend(page.data);
            if !page.has_more {
                break;
            }
        }
        for known in locked(&self.0).values() {
            let read = app.customers().get(&known.id).map_err(|error| error.to_string())?;
            if read != *known || known.deleted_at.is_none() != listed.contains(known) {
                return Err(format!("{known:?} reads as {read:?}, in a list of {}", listed.len()));
            }
        }
        let uids: Vec<&String> = listed.iter().filter_map(|customer| customer.uid.as_ref()).collect();
        let distinct: BTreeSet<&&String> = uids.iter().collect();
        if distinct.len() < uids.len() {
            return Err(format!("one uid of two: {uids:?}"));
        }
        Ok(())
    }
}

#[test]
fn what_was_answered_of_a_customer_is_read_whatever_fails() {
    let run = |(engines, seed)| {
        let simulation = Simulation::new().engines(engines).program(Members::default);
        simulation.run(seed).unwrap_or_else(|violation| panic!("{violation}"))
    };
    let reports = [1, 2]
        .into_iter()
        .flat_map(|engines| (0..10).map(move |seed| (engines, seed)));
    let lines: Vec<String> = reports.flat_map(|run_of| run(run_of).trace).collect();
    for words in ["-> member", "-> uid_taken", "-> deleted"] {
        assert!(lines.iter().any(|line| line.contains(words)), "{words} never came");
    }
}

#[test]
fn what_fails_is_made_small_and_names_the_invariant() {
    let simulation = Simulation::new().program(|| Readers {
        counts_on_it: true,
        ..Readers::default()
    });
    let found = (0..200)
        .find_map(|seed| simulation.run(seed).err())
        .expect("a seed that fails");
    let smallest = simulation.shrink(found.seed).expect("it fails again");
    println!("{found}\n{smallest}");
    assert_eq!(
        (found.invariant, smallest.invariant),
        (Invariant::Program, Invariant::Program)
    );
    // A call that is asked for, the fault that it fails by, and little more.
    assert!(smallest.steps <= 5 && smallest.steps < found.steps, "{smallest}");
    assert!(smallest.to_string().contains("Host("), "{smallest}");
}

/// Makes one call after the other with whatever arguments it has.
struct Calls(fn(&App, u64) -> Result<String>);

impl Program for Calls {
    fn act(&self, app: &App, draw: u64) -> Result<String> {
        (self.0)(app, draw)
    }

    fn check(&self, _: &App) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// The first violation of a few seeds with calls beside them.
fn first_violation(calls: fn(&App, u64) -> Result<String>) -> Option<Box<Violation>> {
    let simulation = Simulation::new().program(move || Calls(calls));
    (0..10).find_map(|seed| simulation.run(seed).err())
}

#[test]
fn an_error_that_a_program_should_have_seen_to_is_called_the_programs() {
    let found = first_violation(|app, _| app.customers().set(NewCustomer::uid("")).map(|_| String::new()));
    let found = found.expect("an empty uid is refused");
    assert_eq!(found.invariant, Invariant::ProgramsErrors, "{found}");
    assert!(
        found.found.contains("uid") && found.to_string().contains("the host's program"),
        "{found}"
    );
    let found = first_violation(|app, _| app.customers().by_uid("nobody").map(|_| String::new()));
    assert_eq!(found.unwrap().invariant, Invariant::ProgramsErrors);
}

#[test]
fn what_the_state_of_a_thing_forbids_a_program_may_pass_on() {
    let found = first_violation(|app, _| {
        let gift = NewLine::inline("A gift", Amount::minor(0, Currency::EUR)?);
        let session = app.sessions().create(NewSession::empty().line(gift))?;
        app.sessions().expire(&session.id)?;
        Ok(session.id.to_string())
    });
    if let Some(found) = found {
        panic!("{found}");
    }
}

#[test]
fn a_program_and_the_simulation_do_not_share_a_name() {
    let found = first_violation(|app, draw| {
        let (who, what) = (draw % 3, draw % 4);
        let gift = NewLine::inline("A gift", Amount::minor(0, Currency::EUR)?);
        let new = NewSession::empty().line(gift).for_uid(format!("buyer-{who}"));
        match what {
            0 => app
                .entitlements()
                .revoke(&format!("buyer-{who}"), None, "it was asked for")?,
            1 => app
                .sessions()
                .create(new.order_key(format!("order-{who}")))
                .map(|_| Vec::new())?,
            2 => app
                .sessions()
                .create(new.idempotency_key(format!("create-{}", draw % 6)))
                .map(|_| Vec::new())?,
            _ => {
                let grant = NewGrant::tier(format!("buyer-{who}"), "gold").days(3);
                vec![app.entitlements().grant(grant)?]
            }
        };
        Ok(format!("buyer-{who}: {what}"))
    });
    if let Some(found) = found {
        panic!("{found}");
    }
}

#[test]
fn what_a_program_answers_stands_in_the_trace_with_its_draw() {
    let simulation = Simulation::new().program(|| Calls(|_, draw| Ok(format!("drew {draw}"))));
    let lines = (0..5).flat_map(|seed| simulation.run(seed).unwrap().trace);
    let lines: Vec<String> = lines.filter(|line| line.contains("Host(")).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let (_, draw) = line.split_once("Host(").unwrap();
        let (draw, answer) = draw.split_once(") -> ").unwrap();
        assert_eq!(answer, format!("drew {draw}"), "{line}");
    }
}
