//! A file of any bytes is opened, or refused with an error: no panic, no hang. What was opened can be
//! read, checked and sold in, or says what is wrong with it.
//!
//! The bytes are edits of files that are in order, so that most of them get past the header: what to
//! start from, how long it is left, then four bytes an edit: where, and what stands there instead.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tillite::testing::{Disk, FakeProcessor, FakeReceiver, ManualClock, SeededEntropy};
use tillite::webhook::{DeliveryFilter, Format, NewEndpoint};
use tillite::{
    Amount, Budget, Builder, Currency, Engine, EventFilter, Expect, Mode, NewGrant, NewLine, NewPrice, NewProduct,
    NewSession, Result,
};

const FILE: &str = "shop.db";
const LOG: &str = "shop.db-wal";

/// A file that was sold in: closed, and with its log.
static TEMPLATES: LazyLock<[(Vec<u8>, Option<Vec<u8>>); 2]> = LazyLock::new(|| made().expect("a shop is made"));

fn builder() -> Builder {
    Engine::builder()
        .clock(ManualClock::new())
        .entropy(SeededEntropy::new(1))
        .processor("till", FakeProcessor::new())
        .transport(FakeReceiver::new())
        .seal_key([7; 32])
}

fn made() -> Result<[(Vec<u8>, Option<Vec<u8>>); 2]> {
    let disk = Disk::new(1);
    let engine = builder().open_on(&disk, FILE)?;
    let shop = engine.app("shop", Mode::Live)?;
    let gold = NewPrice::new("gold", Amount::minor(9_00, Currency::EUR)?).access_days(10);
    shop.catalog().set(NewProduct::new("gold", "Gold").price(gold))?;
    shop.endpoints()
        .add(NewEndpoint::new("https://shop.example/hooks", Format::Standard))?;
    sell(&engine)?;
    let with_log = (disk.file(FILE).unwrap_or_default(), disk.file(LOG));
    engine.close()?;
    Ok([(disk.file(FILE).unwrap_or_default(), None), with_log])
}

fn sell(engine: &Engine) -> Result<()> {
    let shop = engine.app("shop", Mode::Live)?;
    let pen = NewLine::inline("A pen", Amount::minor(1_20, Currency::EUR)?);
    let order = NewSession::tier("gold", Currency::EUR).for_uid("ada").line(pen);
    let session = shop.sessions().create(order)?;
    shop.sessions().pay(&session.id, "tok_1")?;
    shop.entitlements().grant(NewGrant::tier("ada", "gold").days(3))?;
    Ok(())
}

/// Reads everything that there is to read.
fn read(engine: &Engine) -> Result<()> {
    engine.dump()?;
    let shop = engine.find_app("shop", Mode::Live)?;
    for session in shop.sessions().list(100, None)?.data {
        shop.history(session.id.as_str(), 100, 0)?;
    }
    shop.catalog().list(100, None)?;
    shop.events(100, 0)?;
    shop.pull(&EventFilter::all(), 100, 0)?;
    for delivery in shop.deliveries().list(&DeliveryFilter::all(), 100, None)?.data {
        shop.deliveries().attempts(&delivery.id)?;
    }
    shop.deliveries().replays(100, None)?;
    shop.consumers().list(100, None)?;
    shop.held_charges(100, None)?;
    shop.entitlements().list("ada")?;
    shop.entitlements().history("ada", "main", 100, None)?;
    shop.customers().by_uid("ada")?;
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((start, bytes)) = bytes.split_first() else {
        return;
    };
    let disk = Disk::new(1);
    match start % 4 {
        0 => disk.put_file(FILE, bytes),
        start => {
            let (file, log) = &TEMPLATES[usize::from(start == 3)];
            let (mut file, mut log) = (file.clone(), log.clone());
            for edit in bytes.chunks_exact(4) {
                let at = usize::from(edit[0]) << 16 | usize::from(edit[1]) << 8 | usize::from(edit[2]);
                match &mut log {
                    Some(log) if at >= file.len() => put(log, at - file.len(), edit[3]),
                    _ => put(&mut file, at, edit[3]),
                }
            }
            if start == 2 {
                file.truncate(bytes.len() * 512);
            }
            disk.put_file(FILE, &file);
            if let Some(log) = log {
                disk.put_file(LOG, &log);
            }
        }
    }
    // What goes wrong is an error; which one is not the question here.
    let Ok(engine) = builder().open_on(&disk, FILE) else {
        return;
    };
    let _ = engine.verify(&Expect::nothing());
    let _ = read(&engine);
    let _ = engine.run_due(Budget::items(20));
    let _ = sell(&engine);
    let _ = engine.close();
});

/// Puts a byte somewhere into what is there, from the front again behind its end.
fn put(bytes: &mut [u8], at: usize, byte: u8) {
    let count = bytes.len().max(1);
    if let Some(place) = bytes.get_mut(at % count) {
        *place = byte;
    }
}
