//! Making a customer, or changing one.

use crate::change::{Change, Setting};
use crate::customer::{Customer, NewCustomer};
use crate::event::{EventKind, Happening, Subject};

/// The customer after `new` was worked into what is known; what changes nothing writes nothing.
pub(crate) fn set(known: Option<Customer>, new: NewCustomer, at: &mut Setting<'_>, change: &mut Change) -> Customer {
    let (before, kind) = match known {
        Some(known) => (known, EventKind::CustomerUpdated),
        None => (
            Customer {
                id: at.id(),
                uid: new.uid.clone(),
                name: None,
                email: None,
                phone: None,
                metadata: crate::text::Metadata::default(),
                created_at: at.now,
                updated_at: at.now,
                revision: 0,
            },
            EventKind::CustomerCreated,
        ),
    };
    let mut after = Customer {
        name: new.name.or_else(|| before.name.clone()),
        email: new.email.or_else(|| before.email.clone()),
        phone: new.phone.or_else(|| before.phone.clone()),
        metadata: new.metadata.unwrap_or_else(|| before.metadata.clone()),
        ..before.clone()
    };
    if kind == EventKind::CustomerCreated || after != before {
        after.updated_at = at.now;
        change.record(Subject::Customer(after.clone()), [Happening::plain(kind)]);
        after.revision += 1;
    }
    after
}
