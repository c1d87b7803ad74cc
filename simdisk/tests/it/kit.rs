//! What the tests share.

use rusqlite::{Connection, TransactionBehavior};
use tillite_simdisk::Disk;

/// Numbers that are the same for the same seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`, by xorshift.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What decides what a commit is worth.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub journal: &'static str,
    pub synchronous: &'static str,
}

pub const SAFE: Settings = Settings {
    journal: "WAL",
    synchronous: "FULL",
};

impl Settings {
    /// Opens a database with them. The journal mode is asked for in a way that sees errors.
    pub fn open(self, disk: &Disk, name: &str) -> rusqlite::Result<Connection> {
        let connection = disk.open(name)?;
        run(&connection, &format!("PRAGMA journal_mode={}", self.journal))?;
        run(&connection, &format!("PRAGMA synchronous={}", self.synchronous))?;
        run(&connection, "PRAGMA cell_size_check=ON")?;
        Ok(connection)
    }
}

/// Runs a statement to its end and gives the first column of its first row, as text.
pub fn run(connection: &Connection, sql: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut first = None;
    while let Some(row) = rows.next()? {
        if first.is_none() {
            let value: rusqlite::types::Value = row.get(0)?;
            first = Some(match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            });
        }
    }
    Ok(first)
}

/// A row in a transaction of its own, which commits by a statement of its own.
pub fn insert(connection: &mut Connection, id: u64, text: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached("INSERT INTO note VALUES (?1, ?2)")?
        .execute(rusqlite::params![id.cast_signed(), text])?;
    transaction.commit()
}

/// Every row, in order.
pub fn notes(connection: &Connection) -> rusqlite::Result<Vec<(u64, String)>> {
    let mut statement = connection.prepare_cached("SELECT id, text FROM note ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)))?;
    rows.collect()
}

pub const TABLE: &str = "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)";
