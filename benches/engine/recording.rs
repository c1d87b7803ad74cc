//! A baseline that is recorded: what one turn of the engine wrote into its file, row by row, to be
//! written again by the bare library with fresh ids.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::shop::run;

/// The columns that hold positions of events; each turn's lie behind those of the turn before.
const POSITIONS: [(&str, &str); 4] = [
    ("tillite_head", "seq"),
    ("tillite_event", "seq"),
    ("tillite_event_body", "seq"),
    ("tillite_delivery", "event"),
];

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A file as it was, until it is compared with what it became.
pub(crate) struct Recording {
    connection: Connection,
    before: BTreeMap<String, Table>,
    names: Vec<String>,
}

struct Table {
    columns: Vec<String>,
    /// Which columns are the primary key.
    key: Vec<usize>,
    /// The rows by the text of their key.
    rows: BTreeMap<String, Vec<Value>>,
}

/// What one transaction wrote.
pub(crate) struct Writes {
    statements: Vec<Statement>,
    /// Everything that another turn has to call by another name.
    names: Vec<String>,
    events: i64,
}

struct Statement {
    sql: String,
    values: Vec<Value>,
    /// Which values are positions of events.
    positions: Vec<usize>,
}

impl Recording {
    pub(crate) fn begin(path: &Path) -> Recording {
        Recording::after(path, Vec::new())
    }

    fn after(path: &Path, names: Vec<String>) -> Recording {
        let connection = Connection::open(path).unwrap();
        let before = tables(&connection);
        Recording {
            connection,
            before,
            names,
        }
    }

    /// What was written since. Ids that were made are found by themselves; `names` are others that
    /// are new in each turn.
    pub(crate) fn end(self, names: &[&str]) -> Writes {
        let after = tables(&self.connection);
        let mut all = self.names;
        all.extend(names.iter().map(|name| (*name).to_owned()));
        let mut statements = Vec::new();
        // The engine moves the head's time before it writes, and its position and hash after.
        statements.push(Statement {
            sql: "UPDATE tillite_head SET now = now + 1 WHERE app = 1 AND mode = 0".to_owned(),
            values: Vec::new(),
            positions: Vec::new(),
        });
        for name in in_order(&self.connection) {
            let (before, after) = (&self.before[&name], &after[&name]);
            for (key, row) in &after.rows {
                match before.rows.get(key) {
                    None => {
                        all.extend(after.id_of(row));
                        statements.push(after.insert(&name, row));
                    }
                    Some(old) if old != row => statements.push(after.update(&name, old, row)),
                    Some(_) => {}
                }
            }
        }
        let events = after["tillite_event"].rows.len() - self.before["tillite_event"].rows.len();
        Writes {
            statements,
            names: all,
            events: i64::try_from(events).unwrap(),
        }
    }
}

impl Writes {
    /// A recording of what comes next about the same objects.
    pub(crate) fn then(&self, path: &Path) -> Recording {
        Recording::after(path, self.names.clone())
    }
}

impl Table {
    fn id_of(&self, row: &[Value]) -> Option<String> {
        let column = self.columns.iter().position(|column| column == "id")?;
        match &row[column] {
            Value::Text(id) => Some(id.clone()),
            _ => None,
        }
    }

    fn insert(&self, name: &str, row: &[Value]) -> Statement {
        let places: Vec<String> = (1..=row.len()).map(|place| format!("?{place}")).collect();
        Statement {
            sql: format!(
                "INSERT INTO {name} ({}) VALUES ({})",
                self.columns.join(", "),
                places.join(", ")
            ),
            values: row.to_vec(),
            positions: self.positions(name, 0..row.len()),
        }
    }

    fn update(&self, name: &str, old: &[Value], row: &[Value]) -> Statement {
        let changed: Vec<usize> = (0..row.len()).filter(|column| old[*column] != row[*column]).collect();
        let assigned = |place: usize, column: usize| format!("{} = ?{}", self.columns[column], place + 1);
        let sets: Vec<String> = changed.iter().enumerate().map(|(at, c)| assigned(at, *c)).collect();
        let key = self.key.iter().enumerate();
        let wheres: Vec<String> = key.map(|(at, c)| assigned(changed.len() + at, *c)).collect();
        let columns: Vec<usize> = changed.iter().chain(&self.key).copied().collect();
        Statement {
            sql: format!("UPDATE {name} SET {} WHERE {}", sets.join(", "), wheres.join(" AND ")),
            values: columns.iter().map(|column| row[*column].clone()).collect(),
            positions: self.positions(name, columns),
        }
    }

    fn positions(&self, name: &str, columns: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let is_position = |column: usize| POSITIONS.contains(&(name, self.columns[column].as_str()));
        let columns = columns.into_iter().enumerate();
        columns.filter(|(_, c)| is_position(*c)).map(|(at, _)| at).collect()
    }
}

/// The turns of a baseline, one after the other.
pub(crate) struct Turns {
    writes: Vec<Writes>,
    names: Vec<String>,
    events: i64,
    turn: u64,
    random: u64,
}

/// One turn: every statement of every transaction with its values.
pub(crate) struct Turn(Vec<Vec<(String, Vec<Value>)>>);

impl Turns {
    pub(crate) fn of(writes: Vec<Writes>) -> Turns {
        let names = writes.last().map(|last| last.names.clone()).unwrap_or_default();
        Turns {
            events: writes.iter().map(|writes| writes.events).sum(),
            writes,
            names,
            turn: 0,
            random: 1,
        }
    }

    /// The next turn, with names that no turn had before.
    pub(crate) fn next(&mut self) -> Turn {
        self.turn += 1;
        let names: Vec<(String, String)> = self.names.clone().into_iter().map(|n| (self.rename(&n), n)).collect();
        let shift = self.events * i64::try_from(self.turn).unwrap();
        let mut transactions = Vec::new();
        for writes in &self.writes {
            let statements = writes.statements.iter();
            transactions.push(statements.map(|s| (s.sql.clone(), s.renamed(&names, shift))).collect());
        }
        Turn(transactions)
    }

    /// A new name as long as the old one. An id keeps its shape: a head that grows with time, so
    /// that it lands at the same end of the index as the engine's, and a random tail.
    fn rename(&mut self, name: &str) -> String {
        match name.split_once("_test_") {
            Some((prefix, body)) => {
                let (mut head, mut rest) = (vec![b'1'], self.turn);
                head.extend([0; 7]);
                for digit in head[1..].iter_mut().rev() {
                    *digit = DIGITS[usize::try_from(rest % 62).unwrap()];
                    rest /= 62;
                }
                let mut text = String::from_utf8(head).unwrap();
                while text.len() < body.len() {
                    text.push(char::from(DIGITS[usize::try_from(self.draw() % 62).unwrap()]));
                }
                format!("{prefix}_test_{text}")
            }
            None => format!("{:>width$}", self.turn, width = name.len()),
        }
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Turn {
    pub(crate) fn write(&self, connection: &Connection) {
        for transaction in &self.0 {
            run(connection, "BEGIN IMMEDIATE");
            write(transaction, connection);
            run(connection, "COMMIT");
        }
    }

    /// Writes into a transaction that is open already.
    pub(crate) fn write_open(&self, connection: &Connection) {
        self.0.iter().for_each(|transaction| write(transaction, connection));
    }
}

fn write(transaction: &[(String, Vec<Value>)], connection: &Connection) {
    for (sql, values) in transaction {
        let mut statement = connection.prepare_cached(sql).unwrap();
        assert_eq!(statement.execute(params_from_iter(values)).unwrap(), 1);
    }
}

impl Statement {
    fn renamed(&self, names: &[(String, String)], shift: i64) -> Vec<Value> {
        let rename = |text: &str| {
            names
                .iter()
                .fold(text.to_owned(), |text, (new, old)| text.replace(old, new))
        };
        let values = self.values.iter().enumerate();
        values
            .map(|(at, value)| match value {
                Value::Integer(position) if self.positions.contains(&at) => Value::Integer(position + shift),
                Value::Text(text) => Value::Text(rename(text)),
                Value::Blob(bytes) => match std::str::from_utf8(bytes) {
                    Ok(text) => Value::Blob(rename(text).into_bytes()),
                    Err(_) => value.clone(),
                },
                other => other.clone(),
            })
            .collect()
    }
}

/// Every table of the engine with all its rows.
fn tables(connection: &Connection) -> BTreeMap<String, Table> {
    names(connection)
        .into_iter()
        .map(|name| (name.clone(), table(connection, &name)))
        .collect()
}

fn names(connection: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tillite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn table(connection: &Connection, name: &str) -> Table {
    let mut info = connection.prepare(&format!("PRAGMA table_info({name})")).unwrap();
    let found = info.query_map([], |row| Ok((row.get(1)?, row.get(5)?))).unwrap();
    let columns: Vec<(String, i64)> = found.collect::<rusqlite::Result<_>>().unwrap();
    let key: Vec<usize> = (0..columns.len()).filter(|column| columns[*column].1 > 0).collect();
    let mut rows = BTreeMap::new();
    let mut all = connection.prepare(&format!("SELECT * FROM {name}")).unwrap();
    let mut found = all.query([]).unwrap();
    while let Some(row) = found.next().unwrap() {
        let values: Vec<Value> = (0..columns.len()).map(|column| row.get(column).unwrap()).collect();
        let key: Vec<&Value> = key.iter().map(|column| &values[*column]).collect();
        rows.insert(format!("{key:?}"), values);
    }
    Table {
        columns: columns.into_iter().map(|(column, _)| column).collect(),
        key,
        rows,
    }
}

/// The tables in an order in which foreign keys find what they point to; the head comes last.
fn in_order(connection: &Connection) -> Vec<String> {
    fn depth(connection: &Connection, table: &str) -> usize {
        if table == "tillite_head" {
            return usize::MAX;
        }
        let mut keys = connection
            .prepare(&format!("PRAGMA foreign_key_list({table})"))
            .unwrap();
        let found = keys.query_map([], |row| row.get::<_, String>(2)).unwrap();
        let targets: Vec<String> = found.collect::<rusqlite::Result<_>>().unwrap();
        let deepest = targets.iter().map(|target| depth(connection, target)).max();
        deepest.map_or(0, |deepest| deepest + 1)
    }

    let mut names = names(connection);
    names.sort_by_key(|name| depth(connection, name));
    names
}
