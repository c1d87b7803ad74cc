//! The whole file as text: one line per row, in key order, for comparing two files.

use std::fmt::Write as _;

use super::Sql;
use crate::error::Result;

/// Every table with the columns that order its rows.
const TABLES: &[(&str, &str)] = &[
    ("tillite_schema", "only_row"),
    ("tillite_app", "app"),
    ("tillite_head", "app, mode"),
    ("tillite_api_key", "app, mode, id"),
    ("tillite_product", "app, mode, id"),
    ("tillite_price", "app, mode, id"),
    ("tillite_customer", "app, mode, id"),
    ("tillite_payment_method", "app, mode, id"),
    ("tillite_customer_reference", "app, mode, customer, processor"),
    ("tillite_setup", "app, mode, id"),
    ("tillite_session", "app, mode, id"),
    ("tillite_session_line", "app, mode, session, position"),
    ("tillite_payment_intent", "app, mode, id"),
    ("tillite_charge", "app, mode, id"),
    ("tillite_refund", "app, mode, id"),
    ("tillite_refund_line", "app, mode, refund, position"),
    ("tillite_dispute", "app, mode, id"),
    ("tillite_attempt", "app, mode, id"),
    ("tillite_evidence", "app, mode, attempt, number"),
    ("tillite_post", "app, mode, number"),
    ("tillite_notice", "app, mode, number"),
    ("tillite_grant", "app, mode, id"),
    ("tillite_entitlement", "app, mode, id"),
    ("tillite_entitlement_version", "app, mode, entitlement, version"),
    ("tillite_event", "app, mode, seq"),
    ("tillite_event_body", "app, mode, seq, format"),
    ("tillite_endpoint", "app, mode, number"),
    ("tillite_endpoint_secret", "app, mode, endpoint, number"),
    ("tillite_endpoint_flow", "app, mode, endpoint"),
    ("tillite_delivery", "app, mode, id"),
    ("tillite_delivery_attempt", "app, mode, delivery, number"),
    ("tillite_retention", "app, mode, what"),
    ("tillite_replay", "app, mode, id"),
    ("tillite_consumer", "app, mode, name"),
    ("tillite_idempotency", "app, mode, scope, key"),
];

/// Columns that hold a secret or what follows from one. They come from the operating system's
/// randomness, so they would make two runs of one program differ, and they are nobody's business.
const LEFT_OUT: &[(&str, &str)] = &[
    ("tillite_endpoint_secret", "sealed"),
    ("tillite_api_key", "hash"),
    ("tillite_api_key", "lookup"),
];

/// Whether a column is one of those.
pub(super) fn is_secret(table: &str, column: &str) -> bool {
    let is_it = |known: &&(&str, &str)| known.0.eq_ignore_ascii_case(table) && known.1.eq_ignore_ascii_case(column);
    LEFT_OUT.iter().any(|known| is_it(&known))
}

/// The dump.
pub(crate) fn dump(sql: &mut dyn Sql) -> Result<String> {
    let mut text = String::new();
    for (table, order) in TABLES {
        let names = sql.columns(table)?;
        sql.each(&format!("SELECT * FROM {table} ORDER BY {order}"), &[], &mut |row| {
            text.push_str(table);
            for (column, name) in names.iter().enumerate() {
                if !is_secret(table, name) {
                    // Writing to a string cannot fail.
                    let _ = write!(text, " {name}={}", row.shown(column)?);
                }
            }
            text.push('\n');
            Ok(())
        })?;
    }
    Ok(text)
}

#[cfg(test)]
pub(super) fn tables() -> Vec<&'static str> {
    TABLES.iter().map(|(table, _)| *table).collect()
}
