//! What each part of a request costs.
//!
//! By the clock with `cargo bench --bench operations`. With `--names` it tells what parts there are, and with `--count NAME
//! COUNT…` does one of them so often: that is how `instructions.py` counts instructions, under callgrind. There each count
//! has a thread of its own, because callgrind counts by thread; what prepares it stays with the first.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod minted;
mod rules;

use std::{
    hint::black_box,
    net::Ipv4Addr,
    sync::{Barrier, Mutex},
    time::SystemTime,
};

use cedargate::{
    gateway::{
        credentials,
        head::{Bounds, Progress, Scanner},
        headers,
    },
    http::{RequestId, Target},
    jwt::PrivateKey,
    model::{SigningAlgorithm, Timestamp},
    policy::{Ask, Entry, Snapshot, Subject},
    telemetry::{AccessLog, access_log::Record},
};
use criterion::Criterion;
use pingora::http::RequestHeader;

/// Does its part once.
type Operation = Box<dyn FnMut() + Send>;
/// Prepares a part for at most so many repetitions.
type Prepare = fn(usize) -> Operation;

const OPERATIONS: [(&str, Prepare); 18] = [
    ("raw head", raw_head),
    ("target", |_| target(PATH_AND_QUERY)),
    ("target with percent-encoding", |_| target("/articles/f%C3%BCnf?page=2")),
    ("route among 10", |_| route(10)),
    ("route among 10,000", |_| route(10_000)),
    ("bearer token found", bearer),
    ("token remembered", remembered),
    ("token new, HS256", |count| new(None, count)),
    ("token new, RS256", |count| new(Some(SigningAlgorithm::Rs256), count)),
    ("token new, ES256", |count| new(Some(SigningAlgorithm::Es256), count)),
    ("token new, EdDSA", |count| new(Some(SigningAlgorithm::EdDsa), count)),
    ("caller and roles", caller),
    ("decision, unconditional", |_| decision(false)),
    ("decision, conditional", |_| decision(true)),
    ("header fields checked", fields_checked),
    ("reserved header fields stripped", fields_stripped),
    ("request id", request_id),
    ("log record", log_record),
];

const PATH_AND_QUERY: &str = "/articles/1234567?page=2&sort=-created_at";
const PATH: &str = "/part1/place1/2";
/// Few, so that none of the tokens of a benchmark is remembered when its turn has come again.
const REMEMBERED: usize = 8;
/// Repetitions that are prepared where nobody says how many there will be.
const MANY: usize = 512;
const FIELDS: [(&str, &str); 6] = [
    ("Host", "gate.example.com"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Authorization", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"),
];

fn request() -> RequestHeader {
    let mut request = RequestHeader::build("GET", PATH_AND_QUERY.as_bytes(), None).unwrap();
    for (name, value) in FIELDS {
        request.append_header(name, value).unwrap();
    }
    request
}

fn raw_head(_: usize) -> Operation {
    let fields = FIELDS.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
    let head = format!("GET {PATH_AND_QUERY} HTTP/1.1\r\n{fields}\r\n");
    Box::new(move || {
        let progress = Scanner::new(Bounds::default()).advance(black_box(head.as_bytes()));
        assert_eq!(progress, Progress::Complete);
    })
}

fn target(raw: &'static str) -> Operation {
    Box::new(move || drop(black_box(Target::parse(black_box(raw.as_bytes())).unwrap())))
}

fn route(routes: i64) -> Operation {
    let snapshot = rules::world(10, routes, Vec::new());
    let path = format!("/part{}/place{routes}/77", routes % 10);
    Box::new(move || assert!(snapshot.routes().find("h", black_box(&path)).is_some()))
}

fn bearer(_: usize) -> Operation {
    let request = request();
    Box::new(move || assert!(credentials::bearer(black_box(&request.headers)).is_ok_and(|token| token.is_some())))
}

fn remembered(_: usize) -> Operation {
    let now = Timestamp::now();
    let (verifier, tokens) = minted::tokens(None, 1, MANY, now);
    Box::new(move || assert!(verifier.verify(black_box(tokens[0].expose()), now).is_ok()))
}

fn new(algorithm: Option<SigningAlgorithm>, count: usize) -> Operation {
    let now = Timestamp::now();
    let key = algorithm.map(|algorithm| PrivateKey::generate(algorithm, None).unwrap());
    let (verifier, tokens) = minted::tokens(key.as_ref(), count, REMEMBERED, now);
    let mut turn = tokens.into_iter().cycle();
    Box::new(move || {
        let token = turn.next().unwrap();
        assert!(verifier.verify(black_box(token.expose()), now).is_ok());
    })
}

/// Lives as long as the program, so that what was found in it can be kept beside it.
fn snapshot(is_conditional: bool) -> &'static Snapshot {
    let policies = is_conditional.then(rules::forbids_elsewhere);
    Box::leak(Box::new(rules::world(10, 10, policies.into_iter().collect())))
}

fn caller(_: usize) -> Operation {
    let (snapshot, now) = (snapshot(false), Timestamp::now());
    let claims = rules::claims(snapshot, 100, PATH, true, now);
    Box::new(move || drop(black_box(snapshot.caller(black_box(&claims), now).unwrap())))
}

fn decision(is_conditional: bool) -> Operation {
    let (snapshot, now) = (snapshot(is_conditional), Timestamp::now());
    let claims = rules::claims(snapshot, 100, PATH, true, now);
    let caller = snapshot.caller(&claims, now).unwrap();
    let matched = snapshot.routes().find("h", PATH).unwrap();
    let Entry::Route(route) = matched.entry else { panic!("{PATH} is mounted") };
    let operation = route.operation("GET").unwrap();
    Box::new(move || {
        let facts = rules::facts(PATH, &matched, now);
        let ask = Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts };
        assert!(snapshot.decide(black_box(&ask)).outcome.is_ok());
    })
}

fn fields_checked(_: usize) -> Operation {
    let request = request();
    Box::new(move || headers::check(black_box(&request.headers)).unwrap())
}

fn fields_stripped(_: usize) -> Operation {
    let mut request = request();
    Box::new(move || headers::strip(black_box(&mut request)))
}

fn request_id(_: usize) -> Operation {
    Box::new(|| {
        black_box(RequestId::fresh());
    })
}

/// As far as the thread that writes: that one throws it away.
fn log_record(_: usize) -> Operation {
    let (log, guard) = AccessLog::to(std::io::sink());
    let (time, id) = (SystemTime::now(), RequestId::fresh());
    Box::new(move || {
        let _writes = &guard;
        log.write(Record {
            time,
            request_id: black_box(id.as_str()),
            client: Some(Ipv4Addr::LOCALHOST.into()),
            method: Some("GET"),
            host: Some("gate.example.com"),
            path: Some("/articles/1234567"),
            status: Some(200),
            decision: Some("allow"),
            reason: Some("grant"),
            user_id: Some(1_234_567),
            username: Some("alice"),
            route_id: Some(42),
            operation: Some("GET"),
            policies: Some(["grant:editor:article:read"]),
            revision: Some(7),
            upstream: Some("articles"),
            upstream_ms: Some(1.234),
            total_ms: 1.456,
            bytes_in: 0,
            bytes_out: 1024,
            user_agent: Some(FIELDS[1].1),
            tls: None,
            client_certificate: None,
        });
    })
}

fn counted(mut arguments: impl Iterator<Item = String>) {
    let name = arguments.next().unwrap();
    let counts: Vec<usize> = arguments.map(|count| count.parse().unwrap()).collect();
    let (_, prepare) = OPERATIONS.iter().find(|(known, _)| *known == name).unwrap();
    let mut operation = prepare(counts.iter().sum::<usize>() + 1);
    // What only the first repetition does is none of theirs.
    operation();
    let (operation, all) = (Mutex::new(operation), Barrier::new(counts.len()));
    std::thread::scope(|scope| {
        for count in counts {
            let (operation, all) = (&operation, &all);
            scope.spawn(move || {
                let mut operation = operation.lock().unwrap();
                (0..count).for_each(|_| operation());
                drop(operation);
                // The number of a thread that has ended goes to the next.
                all.wait();
            });
        }
    });
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--names") => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        Some("--count") => counted(arguments),
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            let mut group = criterion.benchmark_group("operations");
            for (name, prepare) in OPERATIONS {
                let mut operation = prepare(MANY);
                group.bench_function(name, |bencher| bencher.iter(&mut operation));
            }
            group.finish();
            criterion.final_summary();
        }
    }
}
