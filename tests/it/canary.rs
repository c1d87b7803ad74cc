//! What signs webhooks, and what nobody may read, is in no byte of the file and in nothing that is said:
//! the secrets and Ed25519 keys of every format, replaced or in force, and card numbers and secrets that an
//! endpoint or a transport repeats.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rusqlite::Connection;
use tillite::webhook::{AddedEndpoint, DeliveryFilter, Format, NewEndpoint};
use tillite::{Answered, Budget, DeliveryState, Expect, Mode, Secret, TransportOutcome};

use crate::file::{Disk, sell};
use crate::kit::{SEAL_KEY, Shop, locked};

const CARD: &str = "4242424242424242";
const DAY: Duration = Duration::from_secs(86_400);

/// Every secret of the endpoints that is in a file, opened as its key allows: what the texts say, and the
/// bytes that they stand for.
fn opened(file: &Connection) -> BTreeSet<Vec<u8>> {
    const HEADER: usize = 1 + 8;
    let mut rows = file
        .prepare(
            "SELECT s.sealed, e.id FROM tillite_endpoint_secret s JOIN tillite_endpoint e \
             ON e.app = s.app AND e.mode = s.mode AND e.number = s.endpoint",
        )
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(Vec<u8>, String)> = rows.collect::<rusqlite::Result<_>>().unwrap();
    let mut found = BTreeSet::new();
    for (mut sealed, endpoint) in rows {
        let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &SEAL_KEY).unwrap());
        let (head, text) = sealed.split_at_mut(HEADER + NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&head[HEADER..]).unwrap();
        let text = key.open_in_place(nonce, Aad::from(endpoint.as_bytes()), text).unwrap();
        let (_, body) = std::str::from_utf8(text).unwrap().split_once('_').unwrap();
        let bytes = BASE64.decode(body.as_bytes()).unwrap();
        if text.starts_with(b"whsk_") {
            // The second half is the public key, which anybody may read.
            found.insert(bytes[..32].to_vec());
        } else {
            found.insert(bytes);
        }
        found.insert(body.as_bytes().to_vec());
    }
    found
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

fn failed(why: &str) -> TransportOutcome {
    TransportOutcome::Failed { why: why.to_owned() }
}

fn deliver(shop: &Shop) {
    while shop.engine.run_due(Budget::items(1_000)).unwrap().total() > 0 {}
}

/// What signs, in every format, with a key pair where there is one.
fn endpoints(shop: &Shop) -> Vec<AddedEndpoint> {
    let new = |format: &Format| {
        let new = NewEndpoint::new(format!("https://{}.example/hook", format.as_str()), *format);
        match format {
            Format::XPaySubscriptions => new,
            _ => new.ed25519(),
        }
    };
    let add = |format| shop.app.endpoints().add(new(format)).unwrap();
    Format::ALL.iter().map(add).collect()
}

/// What was said and shown, and what must be nowhere.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    shown: Vec<Secret>,
    canaries: BTreeSet<Vec<u8>>,
}

impl Heard {
    fn say(&mut self, what: impl std::fmt::Debug) {
        self.said.push(format!("{what:?}"));
    }

    /// The deliveries, page by page; how many of them are exhausted.
    fn deliveries(&mut self, shop: &Shop) -> usize {
        let (mut exhausted, mut before) = (0, None);
        loop {
            let page = shop
                .app
                .deliveries()
                .list(&DeliveryFilter::all(), 100, before.as_ref())
                .unwrap();
            before = page.data.last().map(|delivery| delivery.id.clone());
            let states = page.data.iter().map(|delivery| delivery.state);
            exhausted += states.filter(|state| *state == DeliveryState::Exhausted).count();
            self.say(&page);
            if !page.has_more {
                return exhausted;
            }
        }
    }

    /// Replaces every secret, and delivers with the old and the new ones.
    fn rotate(&mut self, disk: &Disk, shop: &Shop, added: &[AddedEndpoint], uid: &str) {
        for endpoint in added {
            let rotated = shop.app.endpoints().rotate(&endpoint.endpoint.id, None).unwrap();
            self.say(&rotated);
            self.shown.push(rotated.secret);
        }
        self.canaries.extend(opened(&disk.raw()));
        sell(shop, uid).unwrap();
        deliver(shop);
    }

    /// Whatever can be asked for.
    fn ask(&mut self, shop: &Shop) {
        let key = shop.app.keys().create().unwrap();
        self.say(&key);
        self.canaries.insert(key.secret.expose().as_bytes().to_vec());
        self.say(shop.app.endpoints().list(100, None).unwrap());
        self.say(shop.app.events(100, 0).unwrap());
        self.say(shop.engine.verify(&Expect::nothing()).unwrap());
        self.say(shop.engine.health().unwrap());
        self.said.push(shop.engine.dump().unwrap());
        for request in shop.receiver.take_requests() {
            self.say(&request);
            self.said.push(String::from_utf8(request.body).unwrap());
        }
    }
}

/// Has every attempt fail until none is left, each time with a card or a secret in what is said of it.
fn fail(shop: &Shop, added: &[AddedEndpoint]) {
    for round in 0..150 {
        let secret = added[round % added.len()].secret.expose();
        shop.receiver.answer(match round % 5 {
            0 => failed(&format!("the proxy said: {CARD} is not welcome")),
            1 => failed(&format!("{} 4242-4242-4242-4242", "x".repeat(485))),
            2 => failed(&format!("{} {secret}", "x".repeat(485))),
            3 => TransportOutcome::Answered(Answered::status(500).body(format!("{{\"key\":\"{secret}\"}}"))),
            _ => TransportOutcome::Answered(Answered::status(500).body(format!("card={CARD}&cvc=123"))),
        });
    }
    for _ in 0..6 {
        deliver(shop);
        shop.clock.turn(DAY / 4);
    }
}

#[test]
fn nothing_that_signs_and_no_card_is_in_the_file_or_in_what_is_said() {
    let disk = Disk::new();
    let alarms: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&alarms);
    let engine = disk
        .builder()
        .on_alarm(move |alarm| locked(&told).push(format!("{alarm} {alarm:?}")))
        .open(disk.path())
        .unwrap();
    let (clock, till, receiver) = (disk.clock.clone(), disk.till.clone(), disk.receiver.clone());
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let mut heard = Heard::default();

    let added = endpoints(&shop);
    sell(&shop, "u_1").unwrap();
    heard.say(shop.engine.claim_deliveries(3).unwrap());
    deliver(&shop);
    heard.canaries.extend(opened(&disk.raw()));
    sell(&shop, "u_2").unwrap();
    fail(&shop, &added);
    assert!(heard.deliveries(&shop) > 0, "nothing was tried to the end");
    // Replaced while the first still signs, and again after it has ended.
    for uid in ["u_3", "u_4"] {
        heard.rotate(&disk, &shop, &added, uid);
        shop.clock.turn(DAY * 2);
    }
    for endpoint in added {
        heard.say(&endpoint);
        heard.shown.push(endpoint.secret);
    }
    heard.ask(&shop);
    let alarms = locked(&alarms).clone();
    assert!(
        alarms.iter().any(|alarm| alarm.contains("DeliveryExhausted")),
        "{alarms:?}"
    );
    heard.said.extend(alarms);

    // What was shown is among what is looked for, and so is what was never shown.
    let Heard {
        said,
        shown,
        mut canaries,
    } = heard;
    for secret in &shown {
        let body = secret.expose().strip_prefix("whsec_").unwrap();
        assert!(canaries.contains(body.as_bytes()));
    }
    let pairs = Format::ALL.len() - 1;
    assert_eq!(canaries.len(), 2 * 3 * (Format::ALL.len() + pairs) + 1);
    canaries.insert(SEAL_KEY.to_vec());
    for card in [CARD, "4242-4242-4242-4242"] {
        canaries.insert(card.as_bytes().to_vec());
    }
    let copies = tempfile::tempdir().unwrap();
    shop.engine.backup(copies.path().join("copy.db")).unwrap();
    let mut places: Vec<(String, Vec<u8>)> = said
        .into_iter()
        .map(|text| (format!("what was said: {text:.60}"), text.into_bytes()))
        .collect();
    let files = contents(disk.dir.path());
    assert_eq!(files.len(), 3, "the file, its log and its index");
    places.extend(files);
    places.extend(contents(copies.path()));
    drop(shop);
    places.extend(contents(disk.dir.path()));
    search(&places, &canaries);
    // The search finds what is there: what was said beside a card.
    let file = &places[places.len() - 1].1;
    assert!(file.windows(13).any(|window| window == b"the proxy sai"));
}

/// None of these is in any of those.
fn search(places: &[(String, Vec<u8>)], canaries: &BTreeSet<Vec<u8>>) {
    // As text with a character per byte, which the standard library searches fast.
    let text = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect::<String>();
    let canaries: Vec<String> = canaries.iter().map(|canary| text(canary)).collect();
    for (place, bytes) in places {
        let bytes = text(bytes);
        for canary in &canaries {
            assert!(!bytes.contains(canary.as_str()), "{place} holds {canary:?}");
        }
    }
}
