use rusqlite::{Connection, StatementStatus, params_from_iter};

use super::*;
use crate::id::{Id, Mode};
use crate::store::EachRow;

pub(in crate::store) const WORLD: World = World {
    app: 1,
    mode: Mode::Test,
};

/// A database that counts how much its statements do.
pub(in crate::store) struct Counting {
    connection: Connection,
    /// Steps of the virtual machine, of all statements since it was made.
    pub(in crate::store) steps: i64,
}

impl Counting {
    /// Three endpoints, to the first two of which so many deliveries go in turn, each of an event of its own.
    /// `state` says of the position of the event in which state its delivery is.
    pub(in crate::store) fn with_deliveries(count: u32, state: &str) -> Counting {
        let of = Counting::with_endpoints(3);
        let numbers = numbers_to(count);
        of.write(&format!(
            "{numbers} INSERT INTO tillite_event (app, mode, seq, id, type, object_id, object_seq, cause, actor, \
             created_at, body_hash, hash) SELECT 1, 0, n, printf('evt_test_%030d', n), 'customer.created', n, 1, '', '', \
             0, zeroblob(32), zeroblob(32) FROM n"
        ));
        of.write(&format!(
            "{numbers} INSERT INTO tillite_delivery (app, mode, id, endpoint, event, generation, state, attempts, \
             due_at, token, lane) SELECT 1, 0, printf('dl_test_%030d', n), 1 + n % 2, n, 1, {state}, 0, n, 0, n FROM n"
        ));
        of
    }

    /// So many endpoints.
    pub(in crate::store) fn with_endpoints(count: u32) -> Counting {
        let connection = Connection::open_in_memory().unwrap();
        let of = Counting { connection, steps: 0 };
        of.write("PRAGMA foreign_keys = OFF");
        of.write(include_str!("../../../schema/current.sql"));
        of.write(&format!(
            "{} INSERT INTO tillite_endpoint (app, mode, number, id, url, url_key, format, types, state, created_at, \
             revision, ordering) SELECT 1, 0, n, printf('we_test_%030d', n), '', n, 'standard', '[]', 'enabled', 0, 1, \
             'strict' FROM n",
            numbers_to(count)
        ));
        of
    }

    pub(in crate::store) fn write(&self, statements: &str) {
        for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            let mut statement = self.connection.prepare(statement).unwrap();
            let mut rows = statement.query([]).unwrap();
            while rows.next().unwrap().is_some() {}
        }
    }

    /// How many steps some reading or writing takes.
    pub(in crate::store) fn steps<T>(&mut self, run: impl FnOnce(&mut dyn Sql) -> Result<T>) -> (i64, T) {
        let before = self.steps;
        let value = run(self).unwrap();
        (self.steps - before, value)
    }
}

impl Sql for Counting {
    fn exec(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        let mut statement = self.connection.prepare(sql).unwrap();
        let changed = statement.execute(params_from_iter(values)).unwrap();
        self.steps += i64::from(statement.get_status(StatementStatus::VmStep));
        Ok(changed as u64)
    }

    fn each(&mut self, sql: &str, values: &[Value<'_>], row: EachRow<'_>) -> Result<()> {
        let mut statement = self.connection.prepare(sql).unwrap();
        let mut rows = statement.query(params_from_iter(values)).unwrap();
        while let Some(found) = rows.next().unwrap() {
            row(found)?;
        }
        drop(rows);
        self.steps += i64::from(statement.get_status(StatementStatus::VmStep));
        Ok(())
    }

    fn columns(&mut self, _table: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn numbers_to(last: u32) -> String {
    format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {last})")
}

pub(in crate::store) fn numbered<T: Id>(number: u32) -> T {
    T::parse_text(&format!("{}_test_{number:030}", T::PREFIX)).unwrap()
}

/// Of each state a sixth, mixed, to each endpoint.
const MIXED: &str = "CASE n / 2 % 6 WHEN 0 THEN 'pending' WHEN 1 THEN 'blocked' WHEN 2 THEN 'in_flight' \
                     WHEN 3 THEN 'delivered' WHEN 4 THEN 'exhausted' ELSE 'canceled' END";
const FEW: u32 = 120;
const MANY: u32 = 6_000;

/// A filter for each way in which one can be made up.
fn filters() -> Vec<DeliveryFilter> {
    let mut filters = Vec::new();
    for state in DeliveryState::ALL.map(Some).into_iter().chain([None]) {
        for (endpoint, event) in [(false, false), (true, false), (false, true), (true, true)] {
            filters.push(DeliveryFilter {
                state,
                endpoint: endpoint.then(|| numbered(1)),
                event: event.then(|| numbered(30)),
            });
        }
    }
    filters
}

/// Steps of a page and how much is on it, the newest page and a later one.
fn pages(of: &mut Counting, filter: &DeliveryFilter, count: u32) -> [(i64, usize); 2] {
    [None, Some(numbered(count / 2))].map(|before: Option<DeliveryId>| {
        let (steps, page) = of.steps(|sql| list(sql, WORLD, filter, before.as_ref(), 3));
        (steps, page.len())
    })
}

#[test]
fn a_page_of_deliveries_costs_the_same_however_many_there_are() {
    use DeliveryState::{InFlight, Pending};
    let mut few = Counting::with_deliveries(FEW, MIXED);
    let mut many = Counting::with_deliveries(MANY, MIXED);
    // What waits or is on its way costs as much as there is of it, and no more the more there is of all else.
    let fewer =
        |other: &str| Counting::with_deliveries(MANY, &format!("CASE WHEN n > {FEW} THEN '{other}' ELSE {MIXED} END"));
    let (mut few_wait, mut few_leave) = (fewer("delivered"), fewer("pending"));
    for filter in filters() {
        let (other, count) = match (filter.state, &filter.event) {
            (Some(Pending), None) => (&mut few_wait, FEW),
            (Some(InFlight), None) => (&mut few_leave, FEW),
            _ => (&mut many, MANY),
        };
        let (cheap, dear) = (pages(&mut few, &filter, FEW), pages(other, &filter, count));
        for ((cheap, on_it), (dear, on_other)) in cheap.into_iter().zip(dear) {
            assert_eq!(on_it, on_other, "{filter:?}");
            assert!(
                dear <= cheap + cheap / 4,
                "{filter:?}: {cheap} steps, {dear} where there are many"
            );
        }
    }
}

#[test]
fn canceling_some_costs_the_same_however_many_wait() {
    // In lanes of which some have another one that waits, and in lanes of which none has.
    for state in [
        "'pending'",
        "CASE WHEN n > 100 THEN 'pending' ELSE 'blocked' END",
        "'blocked'",
    ] {
        let [cheap, dear] = [FEW, MANY].map(|count| {
            let mut of = Counting::with_deliveries(count, state);
            of.write("UPDATE tillite_endpoint SET state = 'deleted', canceling = 1 WHERE number = 1");
            let (steps, canceled) = of.steps(|sql| cancel(sql, WORLD, 20));
            assert_eq!(canceled, 20);
            steps
        });
        assert!(
            dear <= cheap + cheap / 4,
            "{state}: {cheap} steps, {dear} where there are many"
        );
    }
}

#[test]
fn finding_that_nothing_is_blocked_costs_the_same_however_much_is_held_up_or_waits() {
    for state in ["'pending'", "'in_flight'", "'delivered'", "'exhausted'", "'canceled'"] {
        let [cheap, dear] = [FEW, MANY].map(|count| {
            let mut of = Counting::with_deliveries(count, state);
            let (steps, found) = of.steps(|sql| waiting(sql, WORLD, 1, 20));
            assert!(found.is_empty() || found.len() == 20);
            steps
        });
        assert!(
            dear <= cheap + cheap / 4,
            "{state}: {cheap} steps, {dear} where there are many"
        );
    }
}
