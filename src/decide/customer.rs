//! Making a customer, changing one, deleting one, and who may pay.

use crate::change::{Change, Setting};
use crate::customer::{Customer, CustomerUpdate, NewCustomer};
use crate::decide::methods;
use crate::error::{Error, Invalid, shortened};
use crate::event::{EventKind, Happening, Subject};
use crate::payment::PaymentMethod;

/// Makes a customer. `namesake` is whoever has the uid already.
///
/// # Errors
/// `UidTaken` if somebody has.
pub(crate) fn create(
    new: NewCustomer,
    namesake: Option<&Customer>,
    at: &mut Setting<'_>,
    change: &mut Change,
) -> Result<Customer, Error> {
    match namesake {
        Some(namesake) => Err(taken(namesake)),
        None => Ok(make(new, at, change)),
    }
}

/// The customer after `new` was worked into what is known; what changes nothing writes nothing.
pub(crate) fn set(known: Option<Customer>, new: NewCustomer, at: &mut Setting<'_>, change: &mut Change) -> Customer {
    let Some(before) = known else {
        return make(new, at, change);
    };
    let after = Customer {
        name: new.name.or_else(|| before.name.clone()),
        email: new.email.or_else(|| before.email.clone()),
        phone: new.phone.or_else(|| before.phone.clone()),
        metadata: new.metadata.unwrap_or_else(|| before.metadata.clone()),
        ..before.clone()
    };
    changed(before, after, at, change)
}

/// Changes a customer; what changes nothing writes nothing. `namesake` is whoever has the uid that is
/// to be given.
///
/// # Errors
/// `Deleted`; `Invalid` for another uid than the customer has; `UidTaken`.
pub(crate) fn update(
    known: Customer,
    update: CustomerUpdate,
    namesake: Option<&Customer>,
    at: &Setting<'_>,
    change: &mut Change,
) -> Result<Customer, Error> {
    let before = not_deleted(known)?;
    let uid = match (before.uid.clone(), update.uid, namesake) {
        (known, None, _) => known,
        (None, Some(_), Some(namesake)) => return Err(taken(namesake)),
        (None, given, None) => given,
        (Some(known), Some(given), _) if known == given => Some(known),
        (Some(known), Some(given), _) => {
            let allowed = format!("{:?}, which the customer has: a uid is given once", shortened(&known));
            return Err(Invalid::new("uid", given, allowed).into());
        }
    };
    let after = Customer {
        uid,
        name: update.name.apply(before.name.clone()),
        email: update.email.apply(before.email.clone()),
        phone: update.phone.apply(before.phone.clone()),
        metadata: update.metadata.unwrap_or_else(|| before.metadata.clone()),
        ..before.clone()
    };
    Ok(changed(before, after, at, change))
}

/// Deletes a customer and detaches its payment methods. One that is deleted already stays as it is, so
/// asking twice is harmless.
pub(crate) fn delete(known: Customer, methods: Vec<PaymentMethod>, at: &Setting<'_>, change: &mut Change) -> Customer {
    if known.deleted_at.is_some() {
        return known;
    }
    for method in methods {
        methods::detach(method, false, at, change);
    }
    let after = Customer {
        updated_at: at.now,
        deleted_at: Some(at.now),
        ..known
    };
    recorded(after, EventKind::CustomerDeleted, change)
}

/// The customer, if it can take part in something new.
///
/// # Errors
/// `Deleted`.
pub(crate) fn not_deleted(known: Customer) -> Result<Customer, Error> {
    match known.deleted_at {
        None => Ok(known),
        Some(_) => Err(Error::Deleted {
            what: "customer",
            id: known.id.to_string(),
        }),
    }
}

fn make(new: NewCustomer, at: &mut Setting<'_>, change: &mut Change) -> Customer {
    let made = Customer {
        id: at.id(),
        uid: new.uid,
        name: new.name,
        email: new.email,
        phone: new.phone,
        metadata: new.metadata.unwrap_or_default(),
        created_at: at.now,
        updated_at: at.now,
        deleted_at: None,
        revision: 0,
    };
    recorded(made, EventKind::CustomerCreated, change)
}

fn changed(before: Customer, mut after: Customer, at: &Setting<'_>, change: &mut Change) -> Customer {
    if after == before {
        return before;
    }
    after.updated_at = at.now;
    recorded(after, EventKind::CustomerUpdated, change)
}

fn recorded(mut after: Customer, kind: EventKind, change: &mut Change) -> Customer {
    change.record(Subject::Customer(after.clone()), [Happening::plain(kind)]);
    after.revision += 1;
    after
}

fn taken(namesake: &Customer) -> Error {
    Error::UidTaken {
        uid: shortened(namesake.uid.as_deref().unwrap_or_default()),
        customer: namesake.id.to_string(),
    }
}
