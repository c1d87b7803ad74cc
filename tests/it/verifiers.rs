//! What the engine sends, judged by what receivers really run: the packages `stripe` and
//! `standardwebhooks` in JavaScript and in Python, and programs written after what the services tell
//! their users. Each judge is one process that answers a verdict per line.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::json;
use tillite::webhook::{AddedEndpoint, Format, NewEndpoint};
use tillite::{
    Budget, Clock as _, Currency, EndpointId, Metadata, Mode, NewRefund, NewSession, Outcome, SignedRequest,
    SystemClock,
};

use crate::file::skipped;
use crate::kit::{ManualClock, Receiver, Shop, Till, builder, declined, euro};

/// What a verifier is, as far as two signatures in one header go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// It looks at every signature: in an overlap it accepts either secret.
    All,
    /// It looks at one: in an overlap it goes on with the old secret.
    One,
    /// It cannot cope with two.
    Whole,
}

/// How a receiver's key stands to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The secret was never replaced.
    Before,
    /// It is being replaced.
    During,
    /// It was, and the overlap is over.
    After,
}

const STAGES: [Stage; 3] = [Stage::Before, Stage::During, Stage::After];

struct Verifier {
    name: &'static str,
    formats: &'static [Format],
    looks: Looks,
    /// Whether it is given the public key in the secret's place.
    public: bool,
}

const fn verifier(name: &'static str, formats: &'static [Format], looks: Looks) -> Verifier {
    Verifier {
        name,
        formats,
        looks,
        public: false,
    }
}

/// The formats to which the headers of Standard Webhooks go.
const STANDARD: &[Format] = &[Format::XPay, Format::JoPay, Format::Elixpo, Format::Standard];
const STRIPE: &[Format] = &[Format::XPay, Format::JoPay];

const NODE: &[Verifier] = &[
    verifier("xpay-sample", &[Format::XPay], Looks::One),
    verifier("jopay-sample", &[Format::JoPay], Looks::One),
    verifier("elixpo-sample", &[Format::Elixpo], Looks::Whole),
    verifier("elixpo-list", &[Format::Elixpo], Looks::All),
    verifier("subscriptions-sample", &[Format::XPaySubscriptions], Looks::One),
    verifier("stripe", STRIPE, Looks::All),
    verifier("standardwebhooks", STANDARD, Looks::All),
    Verifier {
        public: true,
        ..verifier("ed25519", STANDARD, Looks::All)
    },
];

const PYTHON: &[Verifier] = &[
    verifier("xpay-sample", &[Format::XPay], Looks::One),
    verifier("jopay-raw", &[Format::JoPay], Looks::One),
    verifier("elixpo-list", &[Format::Elixpo], Looks::All),
    verifier("subscriptions-sample", &[Format::XPaySubscriptions], Looks::One),
    verifier("stripe", STRIPE, Looks::All),
    verifier("standardwebhooks", STANDARD, Looks::All),
];

/// A process that judges.
struct Judge {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Judge {
    fn start(command: &mut Command) -> Judge {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Judge { child, answers }
    }

    /// Its verdicts on many cases, in their order.
    fn judge(mut self, cases: &[Case]) -> Vec<(bool, String)> {
        let mut input = self.child.stdin.take().unwrap();
        let lines: Vec<String> = cases.iter().map(Case::line).collect();
        // It answers while it reads, so somebody has to read while this writes.
        let writer = std::thread::spawn(move || {
            for line in lines {
                writeln!(input, "{line}").unwrap();
            }
        });
        let verdicts = self.answers.lines().map(|line| {
            let verdict: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let why = verdict["why"].as_str().unwrap().to_owned();
            (verdict["accepted"].as_bool().unwrap(), why)
        });
        let verdicts: Vec<_> = verdicts.collect();
        writer.join().unwrap();
        assert!(self.child.wait().unwrap().success());
        assert_eq!(verdicts.len(), cases.len());
        verdicts
    }
}

/// Where `tests/verifiers/install` puts what the judges need.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/verifiers")
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers").join(name)
}

fn node() -> Option<Judge> {
    let packages = installed().join("node");
    if !packages.join("node_modules/stripe").exists() {
        skipped("verifiers in JavaScript: run tests/verifiers/install");
        return None;
    }
    Some(Judge::start(
        Command::new("node").arg(program("judge.mjs")).arg(packages),
    ))
}

fn python() -> Option<Judge> {
    let python = installed().join("python/bin/python");
    if !python.exists() {
        skipped("verifiers in Python: run tests/verifiers/install");
        return None;
    }
    Some(Judge::start(Command::new(python).arg(program("judge.py"))))
}

/// What a verifier is asked, and what it should say.
struct Case {
    what: String,
    verifier: &'static str,
    secret: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    accepts: bool,
}

impl Case {
    fn line(&self) -> String {
        json!({
            "verifier": self.verifier,
            "secret": self.secret,
            "headers": self.headers,
            "body": BASE64.encode(&self.body),
        })
        .to_string()
    }
}

/// An endpoint at a stage, with the keys that it has had, the newest first.
struct Sent {
    format: Format,
    stage: Stage,
    keys: Vec<AddedEndpoint>,
}

/// A shop whose endpoints of every format and at every stage were sent everything that can be sent to
/// them, at this moment: the judges have the system's clock.
fn sent() -> (Vec<Sent>, Vec<SignedRequest>) {
    let clock = ManualClock::new();
    let start = SystemClock.now();
    clock.turn(start.since(clock.now()));
    clock.turn_back(clock.now().since(start));
    clock.turn_back(Duration::from_secs(25 * 3_600));
    let (till, receiver) = (Till::new(), Receiver::new());
    let engine = builder(&clock, &till, &receiver).open_in_memory().unwrap();
    let shop = Shop::with(engine, Mode::Test, clock, till, receiver);
    let endpoints = shop.app.endpoints();

    let mut sent = Vec::new();
    for format in Format::ALL.iter().copied() {
        for stage in STAGES {
            let url = format!("https://shop.example/{}/{stage:?}", format.as_str());
            let new = NewEndpoint::new(url, format);
            let new = if format == Format::XPaySubscriptions {
                new
            } else {
                new.ed25519()
            };
            let keys = vec![endpoints.add(new).unwrap()];
            sent.push(Sent { format, stage, keys });
        }
    }
    let rotate = |sent: &mut Vec<Sent>, at: Stage| {
        for endpoint in sent.iter_mut().filter(|endpoint| endpoint.stage == at) {
            let id: &EndpointId = &endpoint.keys[0].endpoint.id;
            let fresh = endpoints.rotate(id, None).unwrap();
            endpoint.keys.insert(0, fresh);
        }
    };
    rotate(&mut sent, Stage::After);
    shop.clock.turn(Duration::from_secs(24 * 3_600));
    rotate(&mut sent, Stage::During);
    shop.clock.turn(Duration::from_secs(3_600));
    // What the rotations made some endpoints tell of others is over an hour old.
    shop.run();
    drop(shop.receiver.take_requests());

    everything_happens(&shop);
    for endpoint in &sent {
        endpoints.ping(&endpoint.keys[0].endpoint.id).unwrap();
    }
    shop.engine.run_due(Budget::items(10_000)).unwrap();
    shop.clean();
    (sent, shop.receiver.take_requests())
}

/// A customer whose first card is declined and second one pays, a part of which goes back, and a
/// session that nobody pays; with texts that JavaScript could print otherwise than they came.
fn everything_happens(shop: &Shop) {
    let odd = [
        ("order", "4711"),
        ("10", "ten"),
        ("2", "two"),
        ("4294967294", "the last index"),
        ("4294967295", "none"),
        ("01", "none"),
        ("__proto__", "\u{1F600} \u{2028} é \"q\" \\ / </script>"),
    ];
    let new = NewSession::tier("member", Currency::EUR)
        .customer("u_1")
        .metadata(Metadata::new(odd).unwrap());
    let session = shop.app.sessions().create(new.clone()).unwrap();
    shop.till
        .answer(declined("card_declined", "No \u{2014} \"not today\"."));
    shop.pay(&session).unwrap();
    assert!(shop.pay(&session).unwrap().is_complete());
    let part = NewRefund::session(&session.id).amount(euro(1_00));
    shop.app.refunds().create(part).unwrap();
    shop.till.answer(Outcome::Declined {
        code: "no".to_owned(),
        message: "no".to_owned(),
        advice: None,
    });
    shop.app.refunds().create(NewRefund::session(&session.id)).unwrap();
    let unpaid = shop.app.sessions().create(new).unwrap();
    shop.app.sessions().expire(&unpaid.id).unwrap();
    shop.app.entitlements().revoke("u_1", None, "enough").unwrap();
}

fn headers(request: &SignedRequest) -> BTreeMap<String, String> {
    let headers = request.headers.iter();
    headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

/// The text of a key as a verifier is given it.
fn key_text(verifier: &Verifier, key: &AddedEndpoint) -> String {
    if verifier.public {
        key.public_key.clone().unwrap()
    } else {
        key.secret.expose().to_owned()
    }
}

/// What a verifier has to say of a request, to each key that its endpoint has had.
fn cases(verifiers: &'static [Verifier], sent: &[Sent], requests: &[SignedRequest]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let endpoint = sent
            .iter()
            .find(|endpoint| endpoint.keys[0].endpoint.url == request.url)
            .unwrap();
        let wrong = &sent[0].keys[0];
        let wrong = if endpoint.keys.iter().any(|key| key.endpoint.id == wrong.endpoint.id) {
            &sent[1].keys[0]
        } else {
            wrong
        };
        for verifier in verifiers {
            if !verifier.formats.contains(&endpoint.format) {
                continue;
            }
            for (age, key) in endpoint.keys.iter().enumerate() {
                let accepts = match (endpoint.stage, verifier.looks) {
                    (Stage::Before, _) => true,
                    (Stage::During, Looks::All) => true,
                    (Stage::During, Looks::One) => age == 1,
                    (Stage::During, Looks::Whole) => false,
                    (Stage::After, _) => age == 0,
                };
                let case = |what: &str, secret: String, accepts| Case {
                    what: format!("{} {what}, key {age}: {}", verifier.name, request.url),
                    verifier: verifier.name,
                    secret,
                    headers: headers(request),
                    body: request.body.clone(),
                    accepts,
                };
                let text = key_text(verifier, key);
                cases.push(case("as sent", text.clone(), accepts));
                if !accepts {
                    continue;
                }
                cases.push(case("by another secret", key_text(verifier, wrong), false));
                let mut changed = case("with a changed byte", text.clone(), false);
                let length = changed.body.len();
                // Another place each time, the first and the last among them.
                let place = [0, length - 1, (at * 37 + 11) % length][at % 3];
                changed.body[place] ^= 1;
                cases.push(changed);
                if endpoint.format != Format::XPaySubscriptions {
                    let seconds = request.signed_at.as_secs();
                    let mut later = case("with a changed time", text, false);
                    for value in later.headers.values_mut() {
                        *value = value.replace(&seconds.to_string(), &(seconds + 1).to_string());
                    }
                    assert_ne!(later.headers, headers(request));
                    cases.push(later);
                }
            }
        }
    }
    cases
}

fn check(judge: Judge, verifiers: &'static [Verifier]) {
    let (sent, requests) = sent();
    for endpoint in &sent {
        let to_it = |request: &&SignedRequest| request.url == endpoint.keys[0].endpoint.url;
        let expected = match endpoint.format {
            Format::XPay => 9,
            Format::JoPay => 4,
            Format::Elixpo => 4,
            Format::XPaySubscriptions => 1,
            _ => 15,
        };
        let found = requests.iter().filter(to_it).count();
        assert!(found >= expected, "{found} requests to {:?}", endpoint.format);
    }
    let cases = cases(verifiers, &sent, &requests);
    for verifier in verifiers {
        for accepts in [true, false] {
            let of = |case: &&Case| case.verifier == verifier.name && case.accepts == accepts;
            assert!(cases.iter().any(|case| of(&case)), "{} {accepts}", verifier.name);
        }
    }
    let verdicts = judge.judge(&cases);
    for (case, (accepted, why)) in cases.iter().zip(verdicts) {
        let body = String::from_utf8_lossy(&case.body);
        assert_eq!(
            accepted, case.accepts,
            "{}: {why}\n{:?}\n{body}",
            case.what, case.headers
        );
    }
}

#[test]
fn receivers_in_javascript_accept_what_is_sent_and_refuse_what_was_changed() {
    if let Some(judge) = node() {
        check(judge, NODE);
    }
}

#[test]
fn receivers_in_python_accept_what_is_sent_and_refuse_what_was_changed() {
    if let Some(judge) = python() {
        check(judge, PYTHON);
    }
}
