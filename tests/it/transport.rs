//! What the transports of this repository promise: the ready-made one, and the one that is there to be copied.

#[cfg(feature = "ureq")]
use tillite::testing::TransportRule;
use tillite::testing::transport_conformance;

#[path = "../../examples/support/transport.rs"]
mod example;

#[test]
fn the_transport_that_is_to_be_copied_keeps_the_contract() {
    let report = transport_conformance(|| example::send);
    assert!(report.is_clean(), "{report}");
}

#[cfg(feature = "ureq")]
mod ready_made {
    use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use tillite::transport::{AddressPolicy, UreqTransport};
    use tillite::webhook::{Format, NewEndpoint};
    use tillite::{
        Amount, Budget, Currency, Engine, Mode, NewLine, NewSession, SignedRequest, Transport, TransportOutcome,
    };

    use super::{TransportRule, transport_conformance};
    use crate::kit::{another_process, is_another_process};

    #[test]
    fn it_keeps_the_contract() {
        let report = transport_conformance(UreqTransport::new);
        assert!(report.is_clean(), "{report}");
    }

    #[test]
    fn it_keeps_the_contract_beside_a_proxy_in_the_environment() {
        const NAME: &str = "transport::ready_made::it_keeps_the_contract_beside_a_proxy_in_the_environment";
        if is_another_process(NAME) {
            let report = transport_conformance(UreqTransport::new);
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.tried, TransportRule::ALL);
            return;
        }
        let nobody = "http://127.0.0.1:9".to_owned();
        let proxies = [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ];
        let mut child = another_process(NAME, &proxies.map(|name| (name, nobody.clone())));
        let output = child.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    /// An endpoint that accepts whatever comes, and counts who connects.
    struct Listening {
        address: SocketAddr,
        connected: Arc<AtomicUsize>,
    }

    impl Listening {
        fn start() -> Listening {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let connected = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&connected);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let mut stream = stream.unwrap();
                    let mut head = [0; 16 << 10];
                    let _: io::Result<usize> = stream.read(&mut head);
                    let _: io::Result<()> = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                }
            });
            Listening { address, connected }
        }

        fn connected(&self) -> usize {
            self.connected.load(Ordering::SeqCst)
        }
    }

    /// A webhook as the engine makes one in that mode, to be sent elsewhere.
    fn webhook(mode: Mode) -> SignedRequest {
        let engine = Engine::builder().seal_key([7; 32]).open_in_memory().unwrap();
        let shop = engine.app("shop", mode).unwrap();
        let new = NewEndpoint::new("https://receiver.example/hook", Format::Standard);
        shop.endpoints().add(new).unwrap();
        let pen = NewLine::inline("A pen", Amount::minor(1_20, Currency::EUR).unwrap());
        shop.sessions().create(NewSession::empty().line(pen)).unwrap();
        let claimed = engine.claim_deliveries(1).unwrap();
        engine.run_due(Budget::items(1)).unwrap();
        let mut request = claimed[0].request.clone();
        assert_eq!(request.mode, mode);
        request.timeout = Duration::from_secs(10);
        request
    }

    fn to(request: &SignedRequest, url: String) -> SignedRequest {
        let mut request = request.clone();
        request.url = url;
        request
    }

    fn failure(outcome: TransportOutcome) -> String {
        match outcome {
            TransportOutcome::Failed { why } => why,
            other => panic!("{other:?}"),
        }
    }

    /// What is kept of a refusal tells neither the host nor an address, but for what a range begins with.
    fn is_quiet(why: &str, host: &str) {
        let addresses = ["127.0.0.1", "::1 ", "169.254.169.254", "fe80::1"];
        assert!(!addresses.iter().any(|address| why.contains(address)), "{why}");
        assert!(
            host.len() < 3 || !why.contains(&format!("{host} ")) && !why.contains(&format!("{host:?}")),
            "{why}"
        );
    }

    #[test]
    fn live_webhooks_do_not_reach_the_machine_itself_however_it_is_spelled() {
        let here = Listening::start();
        let port = here.address.port();
        let (transport, request) = (UreqTransport::new(), webhook(Mode::Live));
        for host in [
            "127.0.0.1",
            "localhost",
            "localhost.",
            "a.localhost",
            "2130706433",
            "0x7f000001",
            "127.1",
            "0177.0.0.1",
            "0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0.0.0.0",
            "[::]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "169.254.169.254",
            "10.0.0.1",
            "printer",
            "nas.local",
        ] {
            let why = failure(transport.send(&to(&request, format!("http://{host}:{port}/hook"))));
            assert!(why.starts_with("address: "), "{host}: {why}");
            is_quiet(&why, host);
        }
        assert_eq!(here.connected(), 0);
    }

    #[test]
    fn test_webhooks_reach_the_machine_itself_but_not_what_hands_out_credentials() {
        let here = Listening::start();
        let port = here.address.port();
        let (transport, request) = (UreqTransport::new(), webhook(Mode::Test));
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
            let outcome = transport.send(&to(&request, format!("http://{host}:{port}/hook")));
            assert!(
                matches!(&outcome, TransportOutcome::Answered(answer) if answer.status == 204),
                "{host}: {outcome:?}"
            );
        }
        let reached = here.connected();
        for host in [
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
            "0.0.0.0",
            "[::]",
            "[fe80::1]",
            // These are looked up, and judged by what the system reads in them.
            "2852039166",
            "0xa9fea9fe",
            "169.254.43518",
            "0",
        ] {
            let why = failure(transport.send(&to(&request, format!("http://{host}:{port}/hook"))));
            assert!(why.starts_with("address: "), "{host}: {why}");
            is_quiet(&why, host);
        }
        assert_eq!(here.connected(), reached);
    }

    #[test]
    fn what_is_allowed_is_the_hosts_to_say_by_mode() {
        let here = Listening::start();
        let transport = UreqTransport::new()
            .addresses(Mode::Live, AddressPolicy::PrivateToo)
            .addresses(Mode::Test, AddressPolicy::PublicOnly);
        let url = format!("http://{}/hook", here.address);
        let live = transport.send(&to(&webhook(Mode::Live), url.clone()));
        assert!(matches!(live, TransportOutcome::Answered(_)), "{live:?}");
        let why = failure(transport.send(&to(&webhook(Mode::Test), url)));
        assert!(why.starts_with("address: "), "{why}");
    }

    #[test]
    fn a_connection_of_test_mode_carries_nothing_live() {
        let here = Listening::start();
        let transport = UreqTransport::new();
        let url = format!("http://localhost:{}/hook", here.address.port());
        let sent = transport.send(&to(&webhook(Mode::Test), url.clone()));
        assert!(matches!(sent, TransportOutcome::Answered(_)), "{sent:?}");
        failure(transport.send(&to(&webhook(Mode::Live), url)));
        assert_eq!(here.connected(), 1);
    }

    #[test]
    fn a_failure_says_its_class_and_neither_the_url_nor_a_header() {
        let transport = UreqTransport::new();
        let request = webhook(Mode::Test);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let mut broken = to(&request, "http://127.0.0.1/?token=hush".to_owned());
        broken.headers.push(("X-Broken", "hush\r\n".to_owned()));
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let silent_at = silent.local_addr().unwrap();
        let quick = |url| {
            let mut request = to(&request, url);
            request.timeout = Duration::from_millis(300);
            request
        };
        for (class, request) in [
            ("connection", to(&request, format!("http://{closed}/?token=hush"))),
            ("url", to(&request, "http://hush@127.0.0.1/".to_owned())),
            ("url", to(&request, "hush".to_owned())),
            ("url", to(&request, "ftp://127.0.0.1/?token=hush".to_owned())),
            ("header", broken),
            ("timeout", quick(format!("http://{silent_at}/?token=hush"))),
            // The server's part of the handshake never comes.
            ("timeout", quick(format!("https://{silent_at}/?token=hush"))),
            ("address", to(&request, format!("http://[fe80::{}]/?token=hush", 1))),
        ] {
            let why = failure(transport.send(&request));
            assert!(why.starts_with(&format!("{class}: ")), "{class}: {why}");
            assert!(!why.contains("hush") && why.chars().count() <= 500, "{why}");
        }
    }

    #[test]
    fn live_webhooks_leave_by_https_only_where_that_is_asked_for() {
        let here = Listening::start();
        let url = format!("http://{}/hook", here.address);
        let transport = || UreqTransport::new().addresses(Mode::Live, AddressPolicy::PrivateToo);
        let live = to(&webhook(Mode::Live), url.clone());
        assert!(matches!(transport().send(&live), TransportOutcome::Answered(_)));
        let strict = transport().require_https(true);
        assert_eq!(failure(strict.send(&live)), "url: live webhooks leave by https only");
        assert!(matches!(
            strict.send(&to(&webhook(Mode::Test), url)),
            TransportOutcome::Answered(_)
        ));
    }

    /// An endpoint that accepts whatever comes and leaves connections open. It says when one comes and when one is
    /// closed by whoever made it.
    fn keeping(said: &mpsc::Sender<(SocketAddr, &'static str)>) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let said = said.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let said = said.clone();
                let mut reader = BufReader::new(stream.unwrap());
                said.send((address, "opened")).unwrap();
                thread::spawn(move || {
                    let mut length = 0;
                    let mut line = String::new();
                    while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            reader.read_exact(&mut vec![0; length]).unwrap();
                            reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                        }
                        line.clear();
                    }
                    // Whoever listened may be gone.
                    said.send((address, "closed")).unwrap_or_default();
                });
            }
        });
        address
    }

    #[test]
    fn a_connection_is_used_again_and_few_are_kept_that_are_not() {
        let (say, said) = mpsc::channel();
        let endpoints: Vec<SocketAddr> = (0..5).map(|_| keeping(&say)).collect();
        let heard = || said.recv_timeout(Duration::from_secs(10)).unwrap();
        let (transport, request) = (UreqTransport::new(), webhook(Mode::Test));
        let send = |address: SocketAddr| {
            let outcome = transport.send(&to(&request, format!("http://{address}/hook")));
            assert!(matches!(outcome, TransportOutcome::Answered(_)), "{outcome:?}");
        };
        for (at, address) in endpoints.iter().enumerate() {
            send(*address);
            send(*address);
            assert_eq!(heard(), (*address, "opened"));
            if let Some(at) = at.checked_sub(2) {
                assert_eq!(heard(), (endpoints[at], "closed"));
            }
        }
        send(endpoints[3]);
        send(endpoints[4]);
        assert!(said.try_recv().is_err());
    }

    #[test]
    fn requests_that_may_take_different_times_travel_apart_and_each_ends_by_its_own() {
        let (say, said) = mpsc::channel();
        let kept = keeping(&say);
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let silent_at = silent.local_addr().unwrap();
        let (transport, request) = (UreqTransport::new(), webhook(Mode::Test));
        for millis in [10_000, 300, 200] {
            let mut quick = to(&request, format!("http://{kept}/"));
            quick.timeout = Duration::from_millis(millis);
            for _ in 0..2 {
                let outcome = transport.send(&quick);
                assert!(matches!(outcome, TransportOutcome::Answered(_)), "{outcome:?}");
            }
            assert_eq!(said.recv_timeout(Duration::from_secs(10)).unwrap(), (kept, "opened"));
        }
        assert!(said.try_recv().is_err());
        for millis in [300, 200] {
            let mut lost = to(&request, format!("http://{silent_at}/"));
            lost.timeout = Duration::from_millis(millis);
            let why = failure(transport.send(&lost));
            assert_eq!(why, format!("timeout: no answer within {millis} ms"));
        }
    }

    /// An endpoint behind TLS whose certificate is for `localhost` alone. Answers where it is, how many requests it
    /// read, and for how many of them TLS went on from before.
    fn listening_behind_tls() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
        use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

        let certificate = CertificateDer::from(&include_bytes!("../tls/localhost.der")[..]);
        let key = PrivatePkcs8KeyDer::from(&include_bytes!("../tls/localhost.key.der")[..]);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (read, resumed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, went_on) = (Arc::clone(&read), Arc::clone(&resumed));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut head = [0; 16 << 10];
                // A client that does not trust the certificate hangs up here.
                if stream.read(&mut head).is_ok_and(|count| count > 0) {
                    counted.fetch_add(1, Ordering::SeqCst);
                    if stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                        went_on.fetch_add(1, Ordering::SeqCst);
                    }
                    let _: io::Result<()> = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                    stream.conn.send_close_notify();
                    let _: io::Result<()> = stream.flush();
                }
            }
        });
        (address, read, resumed)
    }

    #[test]
    fn nothing_is_sent_to_an_endpoint_that_cannot_show_a_certificate_for_its_name() {
        let (address, read, _) = listening_behind_tls();
        let request = webhook(Mode::Test);
        let root = include_bytes!("../tls/root.der");
        let (named, by_address) = (
            format!("https://localhost:{}/", address.port()),
            format!("https://{address}/"),
        );
        let why = failure(UreqTransport::new().send(&to(&request, named.clone())));
        assert!(why.starts_with("tls: "), "{why}");
        let trusting = UreqTransport::new().trust([root]);
        let why = failure(trusting.send(&to(&request, by_address)));
        assert_eq!(why, "tls: the certificate is for other names");
        assert_eq!(read.load(Ordering::SeqCst), 0);
        let outcome = trusting.send(&to(&request, named));
        assert!(
            matches!(&outcome, TransportOutcome::Answered(answer) if answer.status == 204),
            "{outcome:?}"
        );
        assert_eq!(read.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_tls_is_set_up_with_is_kept_from_one_connection_to_the_next() {
        let (address, read, resumed) = listening_behind_tls();
        let transport = UreqTransport::new().trust([include_bytes!("../tls/root.der")]);
        let request = to(&webhook(Mode::Test), format!("https://localhost:{}/", address.port()));
        for _ in 0..3 {
            let outcome = transport.send(&request);
            assert!(matches!(outcome, TransportOutcome::Answered(_)), "{outcome:?}");
        }
        assert_eq!(read.load(Ordering::SeqCst), 3);
        assert_eq!(
            resumed.load(Ordering::SeqCst),
            2,
            "no session is known to what was set up anew"
        );
    }
}
