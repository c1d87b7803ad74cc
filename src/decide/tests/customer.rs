use super::{assert_repeatable, setting, told};
use crate::change::Change;
use crate::customer::{Customer, CustomerUpdate, NewCustomer};
use crate::decide::customer::{create, delete, not_deleted, set, update};
use crate::error::Error;
use crate::event::Subject;
use crate::samples::{at, customer, id, metadata, mint};
use crate::text::Metadata;

/// A customer that nothing is known of but its id.
fn guest() -> Customer {
    Customer {
        uid: None,
        name: None,
        email: None,
        phone: None,
        metadata: Metadata::default(),
        ..customer()
    }
}

fn deleted() -> Customer {
    Customer {
        updated_at: at(70),
        deleted_at: Some(at(70)),
        ..customer()
    }
}

/// Another customer with the uid of [`customer`].
fn namesake() -> Customer {
    Customer {
        id: id(9),
        ..customer()
    }
}

fn taken() -> Error {
    Error::UidTaken {
        uid: "u_1".to_owned(),
        customer: namesake().id.to_string(),
    }
}

/// Changes a customer a hundred seconds after the start; answers what is known then and what happened.
fn updated(known: Customer, wanted: CustomerUpdate, namesake: Option<&Customer>) -> (Result<Customer, Error>, Change) {
    let mut change = Change::new();
    let mut mint = mint(1);
    let at = setting(&mut mint, 100);
    let answer = update(known, wanted.checked().unwrap(), namesake, &at, &mut change);
    (answer, change)
}

/// What is written is what is answered.
fn written(change: &Change, answer: &Customer) {
    let [entry] = &change.entries[..] else {
        panic!("{} entries", change.entries.len());
    };
    assert_eq!(entry.subject, Subject::Customer(answer.clone()));
}

#[test]
fn a_customer_is_made_of_what_is_given_unless_somebody_has_the_uid() {
    let make = |new: NewCustomer, namesake: Option<&Customer>, change: &mut Change| {
        create(new, namesake, &mut setting(&mut mint(3), 100), change)
    };
    let details = |new: NewCustomer| new.name("Ada").email("ada@example.com").phone("1").metadata(metadata());
    for (new, uid) in [
        (NewCustomer::uid("u_1"), Some("u_1".to_owned())),
        (NewCustomer::guest(), None),
    ] {
        let mut change = Change::new();
        let made = make(details(new), None, &mut change).unwrap();
        let expected = Customer {
            id: id(3),
            uid,
            name: Some("Ada".to_owned()),
            email: Some("ada@example.com".to_owned()),
            phone: Some("1".to_owned()),
            metadata: metadata(),
            created_at: at(100),
            updated_at: at(100),
            deleted_at: None,
            revision: 1,
        };
        assert_eq!(made, expected);
        assert_eq!(told(&change), ["customer.created"]);
        written(&change, &made);
    }
    let mut change = Change::new();
    let refused = make(NewCustomer::uid("u_1"), Some(&namesake()), &mut change);
    assert_eq!(refused, Err(taken()));
    assert!(change.is_empty());
}

#[test]
fn setting_keeps_what_is_not_given_and_makes_who_is_not_known() {
    let work = |known: Option<Customer>, new: NewCustomer| {
        let mut change = Change::new();
        let after = set(known, new, &mut setting(&mut mint(3), 100), &mut change);
        (after, change)
    };
    let (made, change) = work(None, NewCustomer::uid("u_1"));
    assert_eq!((made.id.clone(), made.revision), (id(3), 1));
    assert_eq!(told(&change), ["customer.created"]);
    let (after, change) = work(Some(customer()), NewCustomer::uid("u_1").phone("1"));
    let expected = Customer {
        phone: Some("1".to_owned()),
        updated_at: at(100),
        revision: 1,
        ..customer()
    };
    assert_eq!(after, expected);
    assert_eq!(told(&change), ["customer.updated"]);
    written(&change, &after);
    let same = NewCustomer::uid("u_1").email("ada@example.com").metadata(metadata());
    let (after, change) = work(Some(customer()), same);
    assert_eq!(after, customer());
    assert!(change.is_empty());
}

#[test]
fn an_update_keeps_replaces_or_removes_each_field_and_no_other() {
    let known = Customer {
        phone: Some("1".to_owned()),
        ..customer()
    };
    let text = |text: &str| Some(text.to_owned());
    let is = |name, email, phone| Customer {
        name,
        email,
        phone,
        ..known.clone()
    };
    let (name, email, phone) = (known.name.clone(), known.email.clone(), known.phone.clone());
    let new = CustomerUpdate::new;
    for (what, wanted, mut expected) in [
        ("nothing", new(), known.clone()),
        (
            "name",
            new().name(text("B")),
            is(text("B"), email.clone(), phone.clone()),
        ),
        ("no name", new().name(None), is(None, email.clone(), phone.clone())),
        (
            "email",
            new().email(text("b@b")),
            is(name.clone(), text("b@b"), phone.clone()),
        ),
        ("no email", new().email(None), is(name.clone(), None, phone.clone())),
        (
            "phone",
            new().phone(text("2")),
            is(name.clone(), email.clone(), text("2")),
        ),
        ("no phone", new().phone(None), is(name, email, None)),
        (
            "metadata",
            new().metadata(Metadata::default()),
            Customer {
                metadata: Metadata::default(),
                ..known.clone()
            },
        ),
    ] {
        let (after, change) = updated(known.clone(), wanted.clone(), None);
        let after = after.unwrap();
        if expected == known {
            assert_eq!((after, change.is_empty()), (known.clone(), true), "{what}");
            continue;
        }
        expected.updated_at = at(100);
        expected.revision += 1;
        assert_eq!(after, expected, "{what}");
        assert_eq!(told(&change), ["customer.updated"], "{what}");
        written(&change, &after);
        let (again, change) = updated(after.clone(), wanted, None);
        assert_eq!((again, change.is_empty()), (Ok(after), true), "{what} again");
    }
}

#[test]
fn a_uid_is_given_once_and_only_if_nobody_has_it() {
    let wanted = |uid: &str| CustomerUpdate::new().uid(uid);
    let (after, change) = updated(guest(), wanted("u_1"), None);
    assert_eq!(after.unwrap().uid.as_deref(), Some("u_1"));
    assert_eq!(told(&change), ["customer.updated"]);
    // Its own uid, which the look for namesakes finds too.
    let (after, change) = updated(customer(), wanted("u_1"), Some(&customer()));
    assert_eq!((after, change.is_empty()), (Ok(customer()), true));
    let (refused, change) = updated(guest(), wanted("u_1"), Some(&namesake()));
    assert_eq!((refused, change.is_empty()), (Err(taken()), true));
    for namesake in [None, Some(namesake())] {
        let (refused, change) = updated(customer(), wanted("u_2"), namesake.as_ref());
        assert_eq!(refused.unwrap_err().field(), Some("uid"));
        assert!(change.is_empty());
    }
}

#[test]
fn who_was_deleted_stays_deleted_and_takes_part_in_nothing_new() {
    let remove = |known: Customer| {
        let mut change = Change::new();
        let after = delete(known, Vec::new(), &setting(&mut mint(1), 70), &mut change);
        (after, change)
    };
    let (after, change) = remove(customer());
    let expected = Customer {
        revision: 1,
        ..deleted()
    };
    assert_eq!(after, expected);
    assert_eq!(told(&change), ["customer.deleted"]);
    written(&change, &after);
    let (again, change) = remove(after.clone());
    assert_eq!((again, change.is_empty()), (after, true));

    let gone = Error::Deleted {
        what: "customer",
        id: customer().id.to_string(),
    };
    for wanted in [CustomerUpdate::new(), CustomerUpdate::new().name(None)] {
        let (refused, change) = updated(deleted(), wanted, None);
        assert_eq!((refused, change.is_empty()), (Err(gone.clone()), true));
    }
    assert_eq!(not_deleted(deleted()), Err(gone));
    assert_eq!(not_deleted(customer()), Ok(customer()));
}

#[test]
fn the_same_decision_twice_is_the_same_change() {
    assert_repeatable(|change| {
        let mut mint = mint(4);
        let at = &mut setting(&mut mint, 100);
        let made = create(NewCustomer::uid("u_2").name("Ada"), None, at, change).unwrap();
        let named = CustomerUpdate::new().name(None).checked().unwrap();
        let named = update(made, named, None, at, change).unwrap();
        delete(named, Vec::new(), at, change)
    });
}
