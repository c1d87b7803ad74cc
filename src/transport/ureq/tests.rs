use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::*;

/// Names that lead to these addresses, another answer for each look-up, and then to none.
#[derive(Debug)]
struct Names(Mutex<VecDeque<Vec<SocketAddr>>>);

impl Names {
    fn leading_to<A: AsRef<str>>(answers: &[&[A]]) -> Names {
        let answer = |answer: &&[A]| answer.iter().map(|address| address.as_ref().parse().unwrap()).collect();
        Names(Mutex::new(answers.iter().map(answer).collect()))
    }
}

impl Resolver for Names {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let answer = self.0.lock().unwrap().pop_front().ok_or(ureq::Error::HostNotFound)?;
        let mut found = self.empty();
        for address in answer {
            found.push(address);
        }
        Ok(found)
    }
}

fn guard(policy: AddressPolicy, answers: &[&[&str]]) -> Guard<Names> {
    Guard {
        policy,
        system: Names::leading_to(answers),
    }
}

/// What is dialled, or why nothing is.
fn dialled(guard: &Guard<Names>, url: &'static str) -> Result<Vec<String>, String> {
    let config = Agent::config_builder().build();
    match guard.resolve(&Uri::from_static(url), &config, NextTimeout::default()) {
        Ok(found) => Ok(found.iter().map(ToString::to_string).collect()),
        Err(error) => Err(why(&error, Duration::ZERO)),
    }
}

const NAMED: &str = "https://shop.example/hook";

#[test]
fn an_answer_of_which_one_address_is_forbidden_is_refused_as_a_whole_wherever_it_stands() {
    let (public, public_too) = ("1.1.1.1:443", "[2606:4700::1111]:443");
    for inside in [
        "10.0.0.1:443",
        "127.0.0.1:443",
        "[::1]:443",
        "[fd00::1]:443",
        "[::ffff:10.0.0.1]:443",
    ] {
        for answer in [
            [inside, public, public_too],
            [public, inside, public_too],
            [public, public_too, inside],
        ] {
            let refused = dialled(&guard(AddressPolicy::PublicOnly, &[&answer]), NAMED).unwrap_err();
            assert!(refused.starts_with("address: "), "{refused}");
            let found = dialled(&guard(AddressPolicy::PrivateToo, &[&answer]), NAMED);
            assert_eq!(found.unwrap(), answer);
        }
    }
    for nobodys in ["169.254.169.254:443", "[fe80::1]:443", "0.0.0.0:443"] {
        let answer = [public, "10.0.0.1:443", nobodys];
        let refused = dialled(&guard(AddressPolicy::PrivateToo, &[&answer]), NAMED).unwrap_err();
        assert!(refused.starts_with("address: "), "{refused}");
    }
}

#[test]
fn what_may_be_dialled_is_dialled_in_the_order_of_the_answer() {
    let answer = [
        "[2606:4700::1111]:443",
        "1.1.1.1:443",
        "1.0.0.1:443",
        "[2606:4700::1001]:443",
    ];
    let found = dialled(&guard(AddressPolicy::PublicOnly, &[&answer]), NAMED);
    assert_eq!(found.unwrap(), answer);
}

#[test]
fn a_name_is_judged_by_each_answer_anew() {
    let guard = guard(
        AddressPolicy::PublicOnly,
        &[&["1.1.1.1:443"], &["127.0.0.1:443"], &["1.1.1.1:443"]],
    );
    assert!(dialled(&guard, NAMED).is_ok());
    assert!(dialled(&guard, NAMED).unwrap_err().starts_with("address: "));
    assert!(dialled(&guard, NAMED).is_ok());
    assert_eq!(dialled(&guard, NAMED).unwrap_err(), "name: it has no address");
}

#[test]
fn a_host_that_is_forbidden_is_not_looked_up() {
    for url in [
        "https://localhost/",
        "https://nas.local/",
        "https://2130706433/",
        "https://[::1]/",
    ] {
        let guard = guard(AddressPolicy::PublicOnly, &[&["1.1.1.1:443"]]);
        assert!(dialled(&guard, url).unwrap_err().starts_with("address: "), "{url}");
        assert_eq!(guard.system.0.lock().unwrap().len(), 1, "{url}");
    }
}

#[test]
fn what_was_judged_is_what_is_dialled_and_nothing_else() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let here = listener.local_addr().unwrap().to_string();
    let send = |policy, answer: &[&str]| {
        let config = Lane::new(policy).config(Duration::from_millis(300));
        let agent = Agent::with_parts(config, DefaultConnector::default(), guard(policy, &[answer]));
        let request = Request::post("http://shop.example/hook").body(&b"{}"[..]).unwrap();
        why(&agent.run(request).unwrap_err(), Duration::from_millis(300))
    };
    assert!(send(AddressPolicy::PublicOnly, &[&here]).starts_with("address: "));
    assert!(send(AddressPolicy::PublicOnly, &["1.1.1.1:80", &here]).starts_with("address: "));
    assert!(listener.accept().is_err(), "nobody came");
    // There nobody answers.
    assert!(send(AddressPolicy::PrivateToo, &[&here]).starts_with("timeout: "));
    assert!(listener.accept().is_ok(), "where the look-up led");
}
