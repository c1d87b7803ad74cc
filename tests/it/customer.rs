//! A customer is one of its kind: found by id and by uid, changed and deleted by those whose it is, and
//! named by what was sold for as long as that is kept.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::Duration;

use proptest::prelude::*;
use tillite::webhook::Format;
use tillite::{
    App, Currency, Customer, CustomerId, CustomerUpdate, Error, Metadata, Mode, NewCustomer, NewSession, Session,
    SessionState, Status, WhatNow,
};

use crate::kit::{ManualClock, Receiver, SeededEntropy, Shop, Till, builder, clean};

const SECOND: Duration = Duration::from_secs(1);

fn create(shop: &Shop, new: NewCustomer) -> Customer {
    shop.app.customers().create(new).unwrap()
}

fn ada() -> NewCustomer {
    let tag = Metadata::new([("tier", "gold")]).unwrap();
    let named = NewCustomer::uid("u_ada").name("Ada Lovelace").email("ada@example.com");
    named.phone("+44 20 7946").metadata(tag)
}

fn member() -> NewSession {
    NewSession::tier("member", Currency::EUR)
}

fn taken(by: &Customer) -> Error {
    Error::UidTaken {
        uid: by.uid.clone().unwrap(),
        customer: by.id.to_string(),
    }
}

fn deleted(customer: &CustomerId) -> Error {
    Error::Deleted {
        what: "customer",
        id: customer.to_string(),
    }
}

/// Everybody who is listed, page by page.
fn listed(app: &App, limit: u32) -> Vec<Customer> {
    let mut found: Vec<Customer> = Vec::new();
    loop {
        let last = found.last().map(|customer| customer.id.clone());
        let page = app.customers().list(limit, last.as_ref()).unwrap();
        assert!(page.data.len() <= limit as usize);
        assert!(found.len() < 1_000, "the pages never end");
        found.extend(page.data);
        if !page.has_more {
            return found;
        }
    }
}

#[test]
fn a_customer_is_kept_with_a_uid_or_as_a_guest() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    assert_eq!(
        (made.uid.as_deref(), made.name.as_deref()),
        (Some("u_ada"), Some("Ada Lovelace"))
    );
    assert_eq!(
        (made.email.as_deref(), made.phone.as_deref()),
        (Some("ada@example.com"), Some("+44 20 7946"))
    );
    assert_eq!((made.metadata.get("tier"), made.deleted_at), (Some("gold"), None));
    assert_eq!(
        (made.created_at, made.updated_at),
        (shop.app.now().unwrap(), made.created_at)
    );
    assert_eq!(customers.get(&made.id).unwrap(), made);
    assert_eq!(customers.by_uid("u_ada").unwrap(), made);
    let guest = || NewCustomer::guest().email("ada@example.com");
    let (first, second) = (create(&shop, guest()), create(&shop, guest()));
    assert_ne!(first.id, second.id);
    for customer in [&made, &first, &second] {
        assert_eq!(customers.get(&customer.id).unwrap(), *customer);
        assert_eq!(shop.kinds(&customer.id), ["customer.created"]);
    }
    shop.clean();
}

#[test]
fn a_repeated_create_makes_one_customer_wherever_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let open = |seed| {
        let setup = builder(&clock, &till, &receiver).entropy(SeededEntropy::new(seed));
        setup.open(&path).unwrap()
    };
    let shop = Shop::with(open(1), Mode::Test, clock.clone(), till.clone(), receiver.clone());
    let other = open(2);
    let elsewhere = other.app("lixblogs", Mode::Test).unwrap();
    let requests = || {
        [
            ada().idempotency_key("k"),
            NewCustomer::guest().name("B").idempotency_key("g"),
        ]
    };
    let first = requests().map(|new| create(&shop, new));
    let before = shop.engine.dump().unwrap();
    for app in [&shop.app, &elsewhere] {
        assert_eq!(requests().map(|new| app.customers().create(new).unwrap()), first);
        for changed in [
            NewCustomer::guest(),
            NewCustomer::uid("u_ada"),
            NewCustomer::uid("u_b"),
            ada().name("B"),
            ada().email("b@example.com"),
            ada().phone("1"),
            ada().metadata(Metadata::default()),
        ] {
            let refused = app.customers().create(changed.idempotency_key("k"));
            assert_eq!(refused, Err(Error::IdempotencyConflict { key: "k".to_owned() }));
        }
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    drop((shop, other, elsewhere));
    // It is the customer as it is by then that is answered, also when nothing else finds it.
    let reopened = open(3);
    let app = reopened.app("lixblogs", Mode::Test).unwrap();
    let gone = app.customers().delete(&first[0].id).unwrap();
    let [again, _] = requests();
    assert_eq!(app.customers().create(again).unwrap(), gone);
    clean(&reopened);
}

#[test]
fn a_uid_that_is_taken_is_refused_by_the_id_of_who_has_it() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    let guest = create(&shop, NewCustomer::guest());
    let before = shop.engine.dump().unwrap();
    let refusals = [
        customers.create(NewCustomer::uid("u_ada")).unwrap_err(),
        customers.create(ada().idempotency_key("k")).unwrap_err(),
        customers
            .update(&guest.id, CustomerUpdate::new().uid("u_ada"))
            .unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused, taken(&made));
        assert_eq!((refused.what_now(), refused.code()), (WhatNow::FixInput, "uid_taken"));
        let said = refused.to_string();
        assert!(
            said.contains(made.id.as_str()) && said.contains("`set`") && said.contains("`update`"),
            "{said}"
        );
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    // The key that was refused stands for nothing, so it is as good as new.
    customers.delete(&made.id).unwrap();
    assert_ne!(create(&shop, ada().idempotency_key("k")).id, made.id);
    shop.clean();
}

#[test]
fn of_those_who_want_a_uid_at_the_same_moment_one_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let (clock, till, receiver) = (ManualClock::new(), Till::new(), Receiver::new());
    let engines = [1, 2].map(|seed| {
        let setup = builder(&clock, &till, &receiver).entropy(SeededEntropy::new(seed));
        setup.open(&path).unwrap()
    });
    let apps = engines
        .each_ref()
        .map(|engine| engine.app("lixblogs", Mode::Test).unwrap());
    let start = Barrier::new(4);
    for round in 0..10 {
        let uid = format!("u_{round}");
        let answers: Vec<Result<Customer, Error>> = std::thread::scope(|scope| {
            let threads = [0, 1, 0, 1].map(|number: usize| {
                let (app, start, uid) = (&apps[number], &start, &uid);
                scope.spawn(move || {
                    start.wait();
                    app.customers().create(NewCustomer::uid(uid))
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let made: Vec<&Customer> = answers.iter().flatten().collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
        assert_eq!(
            refused.filter(|error| **error == taken(made[0])).count(),
            3,
            "{answers:?}"
        );
    }
    clean(&engines[0]);
}

#[test]
fn an_update_changes_what_is_given_and_writes_nothing_where_nothing_changes() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    shop.clock.turn(SECOND);
    let update = || {
        CustomerUpdate::new()
            .name(Some("Ada King".to_owned()))
            .phone(None)
            .metadata(Metadata::default())
    };
    let after = customers.update(&made.id, update()).unwrap();
    assert_eq!(
        (after.name.as_deref(), after.phone.as_deref()),
        (Some("Ada King"), None)
    );
    assert!(after.metadata.is_empty());
    assert_eq!(
        (&after.uid, &after.email, after.created_at),
        (&made.uid, &made.email, made.created_at)
    );
    assert_eq!(after.updated_at, made.updated_at.plus(SECOND));
    assert_eq!(customers.get(&made.id).unwrap(), after);
    let kinds = ["customer.created", "customer.updated"];
    assert_eq!(shop.kinds(&made.id), kinds);
    let before = shop.engine.dump().unwrap();
    for same in [update(), CustomerUpdate::new(), CustomerUpdate::new().uid("u_ada")] {
        assert_eq!(customers.update(&made.id, same).unwrap(), after);
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    shop.clean();
}

#[test]
fn a_guest_can_be_given_a_uid_and_nobody_another() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let guest = create(&shop, NewCustomer::guest().email("ada@example.com"));
    let early = shop.app.sessions().create(member().payer(&guest.id)).unwrap();
    assert_eq!(early.for_uid, None);
    let named = customers.update(&guest.id, CustomerUpdate::new().uid("u_ada")).unwrap();
    assert_eq!(customers.by_uid("u_ada").unwrap(), named);
    assert_eq!((&named.id, &named.email), (&guest.id, &guest.email));
    let before = shop.engine.dump().unwrap();
    let refused = customers
        .update(&guest.id, CustomerUpdate::new().uid("u_other"))
        .unwrap_err();
    assert_eq!((refused.field(), refused.what_now()), (Some("uid"), WhatNow::FixInput));
    assert!(refused.to_string().contains("u_ada"), "{refused}");
    assert_eq!(shop.engine.dump().unwrap(), before);
    // Whom a sale entitles was settled when its session was made.
    assert!(shop.pay(&early).unwrap().is_complete());
    assert_eq!(shop.app.entitlements().get("u_ada").unwrap().status, Status::None);
    let late = shop.app.sessions().create(member().payer(&guest.id)).unwrap();
    assert_eq!(late.for_uid.as_deref(), Some("u_ada"));
    shop.clean();
}

#[test]
fn a_deleted_customer_can_be_read_and_that_is_all() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    shop.clock.turn(SECOND);
    let gone = customers.delete(&made.id).unwrap();
    assert_eq!(gone.deleted_at, Some(shop.app.now().unwrap()));
    assert_eq!((gone.updated_at, &gone.email), (shop.app.now().unwrap(), &made.email));
    assert_eq!(customers.get(&made.id).unwrap(), gone);
    shop.clock.turn(SECOND);
    assert_eq!(customers.delete(&made.id).unwrap(), gone);
    let before = shop.engine.dump().unwrap();
    assert!(matches!(customers.by_uid("u_ada"), Err(Error::NotFound { .. })));
    assert_eq!(listed(&shop.app, 100), []);
    let refusals = [
        customers.update(&made.id, CustomerUpdate::new()).unwrap_err(),
        customers
            .update(&made.id, CustomerUpdate::new().uid("u_b"))
            .unwrap_err(),
        shop.app.sessions().create(member().payer(&made.id)).unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused, deleted(&made.id));
        assert_eq!((refused.what_now(), refused.code()), (WhatNow::FixInput, "deleted"));
        assert!(refused.to_string().contains("deleted"), "{refused}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    assert_eq!(shop.kinds(&made.id), ["customer.created", "customer.deleted"]);
    shop.clean();
}

#[test]
fn the_uid_of_a_deleted_customer_is_free_for_another() {
    let makers: [fn(&Shop) -> Customer; 4] = [
        |shop| create(shop, NewCustomer::uid("u_ada")),
        |shop| shop.app.customers().set(NewCustomer::uid("u_ada")).unwrap(),
        |shop| shop.session("u_ada").customer.unwrap(),
        |shop| {
            let guest = create(shop, NewCustomer::guest());
            let named = CustomerUpdate::new().uid("u_ada");
            shop.app.customers().update(&guest.id, named).unwrap()
        },
    ];
    let shop = Shop::open();
    let customers = shop.app.customers();
    let mut gone: Vec<Customer> = Vec::new();
    for maker in makers {
        let made = maker(&shop);
        assert_eq!(customers.by_uid("u_ada").unwrap(), made);
        assert!(gone.iter().all(|old| old.id != made.id));
        for old in &gone {
            assert_eq!(customers.get(&old.id).unwrap(), *old);
        }
        gone.push(customers.delete(&made.id).unwrap());
    }
    shop.clean();
}

#[test]
fn what_was_sold_to_a_deleted_customer_stays_and_an_open_session_can_be_paid() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    let new = || member().payer(&made.id);
    let paid = shop.app.sessions().create(new()).unwrap();
    let charged = shop.pay(&paid).unwrap();
    let open = shop.app.sessions().create(new().idempotency_key("k")).unwrap();
    let held = shop.app.entitlements().get("u_ada").unwrap();
    assert!(held.active);
    let gone = customers.delete(&made.id).unwrap();

    let kept = shop.read(&paid);
    assert_eq!(
        (kept.state, kept.customer.as_ref()),
        (SessionState::Complete, Some(&gone))
    );
    assert_eq!(kept.payment_intent, charged.session.payment_intent);
    assert_eq!(shop.app.entitlements().get("u_ada").unwrap(), held);
    // The same request is not a new one.
    let again = shop.app.sessions().create(new().idempotency_key("k")).unwrap();
    assert_eq!((&again.id, again.customer.as_ref()), (&open.id, Some(&gone)));
    let late = shop.pay(&open).unwrap();
    assert!(late.is_complete());
    assert_eq!(late.session.customer, Some(gone));
    assert_eq!(shop.app.entitlements().get("u_ada").unwrap().version, 2);
    assert_eq!(shop.till.charges().len(), 2);
    // Whoever comes to the uid afterwards has what the uid may use, and bought none of it.
    let heir = create(&shop, NewCustomer::uid("u_ada"));
    assert!(shop.app.entitlements().get("u_ada").unwrap().active);
    let sessions = shop.app.sessions().list(100, None).unwrap().data;
    let of = |customer: &CustomerId| {
        let names = |session: &&Session| session.customer.as_ref().is_some_and(|payer| payer.id == *customer);
        sessions.iter().filter(names).count()
    };
    assert_eq!((of(&made.id), of(&heir.id)), (2, 0));
    shop.clean();
}

#[test]
fn a_listing_by_pages_misses_nobody_while_customers_come_and_go() {
    let check = |limit: u32, turn: Duration| {
        let shop = Shop::open();
        for number in 0..13 {
            let made = create(&shop, NewCustomer::uid(format!("u_{number}")));
            if number % 4 == 0 {
                shop.app.customers().delete(&made.id).unwrap();
            }
            shop.clock.turn(turn);
        }
        let full = shop.app.customers().list(100, None).unwrap();
        assert_eq!((full.data.len(), full.has_more), (9, false));
        assert!(full.data.is_sorted_by(|one, next| one.id > next.id));
        let mut paged: Vec<Customer> = Vec::new();
        for number in 0.. {
            let last = paged.last().map(|customer| customer.id.clone());
            let page = shop.app.customers().list(limit, last.as_ref()).unwrap();
            paged.extend(page.data);
            assert!(paged.len() < 100, "the pages never end");
            if !page.has_more {
                break;
            }
            // One who comes, and one who was shown and goes, now and then the one to go on from.
            create(&shop, NewCustomer::guest());
            if number % 2 == 1 {
                shop.app.customers().delete(&paged.last().unwrap().id).unwrap();
            }
            shop.clock.turn(turn);
        }
        // Within one millisecond ids have no order, so a new one may turn up.
        assert!(turn.is_zero() || paged.iter().all(|customer| customer.uid.is_some()));
        paged.retain(|customer| customer.uid.is_some());
        assert_eq!(paged, full.data, "pages of {limit}");
        if !turn.is_zero() {
            assert!(paged.is_sorted_by(|one, next| one.created_at > next.created_at));
        }
    };
    for limit in [1, 2, 8, 9, 10, 100] {
        check(limit, Duration::from_millis(1));
        check(limit, Duration::ZERO);
    }
}

#[test]
fn a_customer_is_found_by_its_own_app_and_mode_only() {
    type Call = fn(&App, &CustomerId) -> Error;
    let calls: [Call; 5] = [
        |app, id| app.customers().get(id).unwrap_err(),
        |app, id| app.customers().update(id, CustomerUpdate::new()).unwrap_err(),
        |app, id| app.customers().delete(id).unwrap_err(),
        |app, id| app.sessions().create(NewSession::empty().payer(id)).unwrap_err(),
        |app, id| match app.customers().list(10, Some(id)) {
            // A cursor of another app is a place in the order and shows nothing of it.
            Ok(page) => {
                assert_eq!(page.data, []);
                app.customers().get(id).unwrap_err()
            }
            Err(refused) => refused,
        },
    ];
    let shop = Shop::open();
    let made = create(&shop, ada());
    let other = shop.engine.app("otherblogs", Mode::Test).unwrap();
    let live = shop.engine.app("lixblogs", Mode::Live).unwrap();
    let before = shop.engine.dump().unwrap();
    for (at, call) in calls.iter().enumerate() {
        let missing = Error::NotFound {
            what: "customer",
            id: made.id.to_string(),
        };
        assert_eq!(call(&other, &made.id), missing, "{at}");
        let wrong = Error::WrongMode {
            id: made.id.to_string(),
            found: "test",
            handle: "live",
        };
        assert_eq!(call(&live, &made.id), wrong, "{at}");
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
    // A uid is somebody else's in every app and mode.
    for app in [&other, &live] {
        assert_eq!(listed(app, 100), []);
        assert_ne!(app.customers().create(ada()).unwrap().id, made.id);
    }
    shop.clean();
}

#[test]
fn a_payer_named_by_id_pays_for_its_own_uid_unless_another_is_named() {
    let shop = Shop::open();
    let payer = create(&shop, ada());
    let guest = create(&shop, NewCustomer::guest());
    for (new, customer, beneficiary) in [
        (member().payer(&payer.id), &payer, Some("u_ada")),
        (member().payer(&payer.id).for_uid("u_friend"), &payer, Some("u_friend")),
        (member().payer(&guest.id).for_uid("u_other"), &guest, Some("u_other")),
        (member().payer(&guest.id), &guest, None),
    ] {
        let versions = || {
            let of = |uid| shop.app.entitlements().get(uid).unwrap().version;
            ["u_ada", "u_friend", "u_other"].map(of)
        };
        let before = versions();
        let session = shop.app.sessions().create(new).unwrap();
        assert_eq!(
            (session.customer.as_ref(), session.for_uid.as_deref()),
            (Some(customer), beneficiary)
        );
        assert_eq!(shop.read(&session), session);
        assert!(shop.pay(&session).unwrap().is_complete());
        let raised = ["u_ada", "u_friend", "u_other"].map(|uid| i64::from(beneficiary == Some(uid)));
        let expected: Vec<i64> = before.iter().zip(raised).map(|(version, one)| version + one).collect();
        assert_eq!(versions().to_vec(), expected, "{beneficiary:?}");
    }
    // To be named changes nobody.
    for customer in [&payer, &guest] {
        assert_eq!(shop.kinds(&customer.id), ["customer.created"]);
    }
    shop.clean();
}

#[test]
fn two_payers_are_refused() {
    let shop = Shop::open();
    let payer = create(&shop, ada());
    let before = shop.engine.dump().unwrap();
    for new in [
        member().payer(&payer.id).customer("u_ada"),
        member().customer("u_other").payer(&payer.id),
        member().customer_details(NewCustomer::guest()).payer(&payer.id),
    ] {
        let refused = shop.app.sessions().create(new).unwrap_err();
        assert_eq!(
            (refused.field(), refused.what_now()),
            (Some("payer"), WhatNow::FixInput)
        );
    }
    assert_eq!(shop.engine.dump().unwrap(), before);
}

#[test]
fn a_key_of_a_session_knows_its_payer() {
    let shop = Shop::open();
    let (one, other) = (create(&shop, ada()), create(&shop, NewCustomer::guest()));
    let of = |payer: &Customer| member().payer(&payer.id).idempotency_key("k");
    let first = shop.app.sessions().create(of(&one)).unwrap();
    assert_eq!(shop.app.sessions().create(of(&one)).unwrap(), first);
    let conflict = Err(Error::IdempotencyConflict { key: "k".to_owned() });
    for changed in [
        of(&other),
        member().customer("u_ada").idempotency_key("k"),
        member().for_uid("u_ada").idempotency_key("k"),
    ] {
        assert_eq!(shop.app.sessions().create(changed), conflict);
    }
    shop.clean();
}

#[test]
fn a_deleted_customer_is_told_of_as_it_was() {
    let shop = Shop::open();
    shop.endpoint(Format::XPay);
    let made = create(&shop, ada());
    shop.app.customers().delete(&made.id).unwrap();
    shop.app.customers().delete(&made.id).unwrap();
    shop.run();
    let bodies: Vec<serde_json::Value> = shop
        .receiver
        .requests()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let types: Vec<&str> = bodies.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["customer.created", "customer.deleted"]);
    assert_eq!(bodies[1]["data"]["object"], bodies[0]["data"]["object"]);
    let history = shop.app.history(made.id.as_str(), 10, 0).unwrap().data;
    let body: serde_json::Value = serde_json::from_str(history[1].body.as_deref().unwrap()).unwrap();
    assert_eq!(body["deleted_at"], shop.app.now().unwrap().to_string());
    assert_eq!(
        (&body["uid"], &body["email"]),
        (&"u_ada".into(), &"ada@example.com".into())
    );
}

#[test]
fn every_event_with_a_payers_data_in_it_says_whose_it_is() {
    let shop = Shop::open();
    let customers = shop.app.customers();
    let made = create(&shop, ada());
    let gift = member()
        .payer(&made.id)
        .for_uid("u_friend")
        .email("ada+receipts@example.com");
    let session = shop.app.sessions().create(gift).unwrap();
    shop.pay(&session).unwrap();
    let left = shop.app.sessions().create(member().payer(&made.id)).unwrap();
    shop.app.sessions().expire(&left.id).unwrap();
    customers
        .update(&made.id, CustomerUpdate::new().name(Some("Ada King".to_owned())))
        .unwrap();
    customers.delete(&made.id).unwrap();
    let dump = shop.engine.dump().unwrap();
    let events: Vec<&str> = dump.lines().filter(|line| line.starts_with("tillite_event ")).collect();
    let personal = ["Lovelace", "Ada King", "ada@example.com", "ada+receipts", "7946"];
    let holds = |line: &str| personal.iter().any(|words| line.contains(words));
    let marked = |line: &str| line.contains(&format!(" customer={:?} ", made.id.as_str()));
    for line in &events {
        assert_eq!(holds(line), marked(line), "{line}");
    }
    let kinds = [
        "customer.created",
        "customer.updated",
        "customer.deleted",
        "checkout.session.completed",
    ];
    for kind in kinds {
        assert!(events.iter().any(|line| line.contains(kind) && marked(line)), "{kind}");
    }
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug)]
enum Name {
    Stays,
    Goes,
    Is(u8),
}

/// What is done in a shop. A uid is a small number; a customer is one of those that were made.
#[derive(Clone, Debug)]
enum Step {
    Create { uid: Option<u8>, key: Option<u8> },
    Set { uid: u8, name: Option<u8> },
    Update { who: usize, uid: Option<u8>, name: Name },
    Delete { who: usize },
    Sell { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let uid = || 0..3_u8;
    let name = || proptest::option::of(0..3_u8);
    let becomes = || prop_oneof![Just(Name::Stays), Just(Name::Goes), (0..3_u8).prop_map(Name::Is)];
    let who = || 0..6_usize;
    prop_oneof![
        4 => (proptest::option::weighted(0.7, uid()), proptest::option::of(0..2_u8))
            .prop_map(|(uid, key)| Step::Create { uid, key }),
        2 => (uid(), name()).prop_map(|(uid, name)| Step::Set { uid, name }),
        4 => (who(), proptest::option::of(uid()), becomes())
            .prop_map(|(who, uid, name)| Step::Update { who, uid, name }),
        3 => who().prop_map(|who| Step::Delete { who }),
        1 => who().prop_map(|who| Step::Sell { who }),
    ]
}

/// A customer as a host would keep it in its head.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    id: CustomerId,
    uid: Option<u8>,
    name: Option<u8>,
    is_deleted: bool,
    events: usize,
}

/// What the host believes to be there, in the order in which it was made.
#[derive(Default)]
struct Model {
    made: Vec<Known>,
    keys: BTreeMap<u8, (Option<u8>, usize)>,
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq)]
enum Came {
    /// To a customer that was made before, by its number.
    To(usize),
    New,
    Taken(usize),
    Deleted(usize),
    Conflict,
    OtherUid,
}

fn uid_of(uid: u8) -> String {
    format!("u_{uid}")
}

fn name_of(name: u8) -> String {
    format!("name {name}")
}

impl Model {
    fn who_has(&self, uid: u8) -> Option<usize> {
        let has = |known: &Known| known.uid == Some(uid) && !known.is_deleted;
        assert!(self.made.iter().filter(|known| has(known)).count() <= 1);
        self.made.iter().position(has)
    }

    /// Who is meant, if anybody was made yet.
    fn meant(&self, who: usize) -> Option<usize> {
        (!self.made.is_empty()).then(|| who % self.made.len())
    }

    /// Works something into a customer; an event follows if it changed.
    fn change(&mut self, at: usize, work: impl FnOnce(&mut Known)) -> Came {
        let before = self.made[at].clone();
        work(&mut self.made[at]);
        self.made[at].events += usize::from(self.made[at] != before);
        Came::To(at)
    }

    fn create(&mut self, uid: Option<u8>, key: Option<u8>) -> Came {
        if let Some((asked, at)) = key.and_then(|key| self.keys.get(&key)) {
            return if *asked == uid { Came::To(*at) } else { Came::Conflict };
        }
        match uid.and_then(|uid| self.who_has(uid)) {
            Some(at) => Came::Taken(at),
            None => Came::New,
        }
    }

    fn update(&mut self, at: usize, uid: Option<u8>, name: Name) -> Came {
        let known = &self.made[at];
        if known.is_deleted {
            return Came::Deleted(at);
        }
        match (known.uid, uid, uid.and_then(|uid| self.who_has(uid))) {
            (Some(has), Some(wanted), _) if has != wanted => return Came::OtherUid,
            (None, Some(_), Some(other)) => return Came::Taken(other),
            _ => {}
        }
        self.change(at, |known| {
            known.uid = uid.or(known.uid);
            known.name = match name {
                Name::Stays => known.name,
                Name::Goes => None,
                Name::Is(name) => Some(name),
            };
        })
    }
}

/// Does a step in the shop and in the head, and holds the one against the other.
fn live(shop: &Shop, model: &mut Model, step: &Step) {
    let customers = shop.app.customers();
    let named = |new: NewCustomer, name: Option<u8>| match name {
        Some(name) => new.name(name_of(name)),
        None => new,
    };
    let (expected, answer) = match *step {
        Step::Create { uid, key } => {
            let new = uid.map_or_else(NewCustomer::guest, |uid| NewCustomer::uid(uid_of(uid)));
            let new = match key {
                Some(key) => new.idempotency_key(format!("key_{key}")),
                None => new,
            };
            let expected = model.create(uid, key);
            let answer = customers.create(new);
            if expected == Came::New {
                add(model, &answer, uid, None);
                if let Some(key) = key {
                    model.keys.insert(key, (uid, model.made.len() - 1));
                }
            }
            (expected, answer)
        }
        Step::Set { uid, name } => {
            let expected = match model.who_has(uid) {
                Some(at) => model.change(at, |known| known.name = name.or(known.name)),
                None => Came::New,
            };
            let answer = customers.set(named(NewCustomer::uid(uid_of(uid)), name));
            if expected == Came::New {
                add(model, &answer, Some(uid), name);
            }
            (expected, answer)
        }
        Step::Update { who, uid, name } => {
            let Some(at) = model.meant(who) else {
                return;
            };
            let mut update = CustomerUpdate::new();
            if let Some(uid) = uid {
                update = update.uid(uid_of(uid));
            }
            update = match name {
                Name::Stays => update,
                Name::Goes => update.name(None),
                Name::Is(name) => update.name(Some(name_of(name))),
            };
            (
                model.update(at, uid, name),
                customers.update(&model.made[at].id, update),
            )
        }
        Step::Delete { who } => {
            let Some(at) = model.meant(who) else {
                return;
            };
            let answer = customers.delete(&model.made[at].id);
            (model.change(at, |known| known.is_deleted = true), answer)
        }
        Step::Sell { who } => {
            let Some(at) = model.meant(who) else {
                return;
            };
            let expected = if model.made[at].is_deleted {
                Came::Deleted(at)
            } else {
                Came::To(at)
            };
            let sold = shop.app.sessions().create(member().payer(&model.made[at].id));
            if let Ok(session) = &sold {
                assert_eq!(session.for_uid, model.made[at].uid.map(uid_of));
            }
            (expected, sold.map(|session| session.customer.unwrap()))
        }
    };
    let id = |at: usize| model.made[at].id.clone();
    match expected {
        Came::To(at) => assert_eq!(answer.unwrap().id, id(at)),
        Came::New => drop(answer.unwrap()),
        Came::Taken(at) => assert_eq!(answer.unwrap_err(), taken(&customers.get(&id(at)).unwrap())),
        Came::Deleted(at) => assert_eq!(answer.unwrap_err(), deleted(&id(at))),
        Came::Conflict => assert!(matches!(answer, Err(Error::IdempotencyConflict { .. }))),
        Came::OtherUid => assert_eq!(answer.unwrap_err().field(), Some("uid")),
    }
}

fn add(model: &mut Model, answer: &Result<Customer, Error>, uid: Option<u8>, name: Option<u8>) {
    let id = answer.as_ref().unwrap().id.clone();
    assert!(model.made.iter().all(|known| known.id != id), "one id for two");
    model.made.push(Known {
        id,
        uid,
        name,
        is_deleted: false,
        events: 1,
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_what_is_read_is_what_was_answered(
        steps in proptest::collection::vec(step(), 1..30),
        limit in 1..5_u32,
    ) {
        let shop = Shop::open();
        let mut model = Model::default();
        for step in &steps {
            live(&shop, &mut model, step);
            // Within one millisecond ids have no order.
            shop.clock.turn(Duration::from_millis(1));
            for uid in 0..3 {
                let found = shop.app.customers().by_uid(&uid_of(uid)).ok().map(|customer| customer.id);
                prop_assert_eq!(found, model.who_has(uid).map(|at| model.made[at].id.clone()));
            }
        }
        let shown = |customer: &Customer| (customer.id.clone(), customer.uid.clone(), customer.name.clone());
        let believed = |known: &Known| (known.id.clone(), known.uid.map(uid_of), known.name.map(name_of));
        let newest_first = model.made.iter().rev().filter(|known| !known.is_deleted);
        prop_assert_eq!(
            listed(&shop.app, limit).iter().map(shown).collect::<Vec<_>>(),
            newest_first.map(believed).collect::<Vec<_>>()
        );
        for known in &model.made {
            let customer = shop.app.customers().get(&known.id).unwrap();
            prop_assert_eq!(shown(&customer), believed(known));
            prop_assert_eq!(customer.deleted_at.is_some(), known.is_deleted);
            // What changed nothing wrote nothing.
            prop_assert_eq!(shop.kinds(&known.id).len(), known.events);
        }
        shop.clean();
    }
}
