//! Requests in the bodies of others and behind them (row 36).

use std::net::SocketAddr;
use std::time::Duration;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::World;
use super::origin::{OK, Reads, SECRET, origin};
use super::wire::{Slow, get, post, raw, statuses, with_length};
use super::world::bearer;

/// What a client sends, in pieces, and how many requests that is.
type Case = (Vec<String>, usize);

#[tokio::test(flavor = "multi_thread")]
async fn row_36_the_back_end_sees_what_was_authorised() {
    for reads in [Reads::Bodies, Reads::Heads] {
        let world = World::start().await;
        let back = origin(&world, reads, OK).await;
        let gateway = world.app.gateway;
        let mut cases = JoinSet::new();
        for (number, (pieces, most)) in (0..).zip(pipelines()) {
            let target = format!("/to/{number}");
            cases.spawn(async move {
                let mut slow = Slow::open(gateway).await;
                let mut heard = String::new();
                for piece in &pieces {
                    heard += &slow.say(&piece.replace("TARGET", &target)).await;
                }
                (target, pieces, most, heard)
            });
        }
        let cases = cases.join_all().await;
        let seen = back.requests();
        for (target, pieces, most, heard) in &cases {
            let own = seen.iter().filter(|request| request.target() == target).count();
            let answered = statuses(heard).iter().filter(|status| **status == 200).count();
            assert!(answered <= own && own <= *most, "{reads:?} {pieces:?}: {own} seen, {heard}");
        }
        let known: Vec<_> = cases.iter().map(|(target, ..)| target.as_str()).collect();
        for request in &seen {
            assert!(known.contains(&request.target()), "{reads:?}: {request:?}");
            assert_eq!(request.values("x-request-id").len(), 1, "{reads:?}: {request:?}");
        }
        assert!(seen.len() > cases.len() / 2, "{} of {}", seen.len(), cases.len());
        assert_eq!(world.send(&get("/to/last", "")).await.status, 200);
    }
}

/// Requests to `TARGET` and others in their bodies and behind them, in pieces; and how many of them there are.
fn pipelines() -> Vec<Case> {
    let length = SECRET.len();
    let request = |method: &str, fields: &str| format!("{method} TARGET HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut all = Vec::new();
    for expect in
        ["", "Expect: 100-continue\r\n", "Expect: 200-ok\r\n", "Expect: 100-continue\r\nExpect: 100-continue\r\n"]
    {
        for method in ["POST", "GET", "HEAD", "DELETE", "OPTIONS"] {
            // Another request as a body: sent with its head, and after it.
            let head = request(method, &format!("{expect}Content-Length: {length}\r\n"));
            all.push((vec![format!("{head}{SECRET}")], 1));
            all.push((vec![head.clone(), SECRET.to_owned()], 1));
            let chunks = request(method, &format!("{expect}Transfer-Encoding: chunked\r\n"));
            all.push((vec![format!("{chunks}{length:x}\r\n{SECRET}\r\n0\r\n\r\n")], 1));
            // Behind a body, and behind none.
            all.push((vec![format!("{}abc{SECRET}", request(method, &format!("{expect}Content-Length: 3\r\n")))], 1));
            all.push((
                vec![format!(
                    "{}0\r\n\r\n{SECRET}",
                    request(method, &format!("{expect}Transfer-Encoding: chunked\r\n"))
                )],
                1,
            ));
            all.push((vec![format!("{}{SECRET}", request(method, expect))], 1));
        }
    }
    all.push((vec![format!("{}{}", request("GET", ""), request("GET", ""))], 2));
    all.push((vec![format!("{}{}{SECRET}", request("HEAD", ""), request("GET", "Content-Length: 0\r\n"))], 2));
    all
}

/// A back end that takes bodies for requests answers more than it was asked: nobody else gets those answers.
#[tokio::test(flavor = "multi_thread")]
async fn row_36_answers_go_to_who_asked() {
    let world = World::start().await;
    let back = origin(&world, Reads::NoLengths, "HTTP/1.1 200 LINE\r\nContent-Length: 2\r\n\r\nok").await;
    // Only to bodies that mean nothing does a back end owe no attention (RFC 9110 9.3.1). Where it ignores others, the
    // surplus shows on the idle connection, a moment later.
    for (method, pauses) in [("GET", [0, 50]), ("HEAD", [0, 50]), ("DELETE", [0, 50]), ("POST", [50, 100])] {
        for pause in pauses {
            let body = "GET /to/smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
            let request = with_length("/to/first", &body).replacen("POST", method, 1);
            let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_buf(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
            tokio::time::sleep(Duration::from_millis(pause)).await;
            for victim in 0..5 {
                let answer = world.send(&get(&format!("/to/victim{victim}"), "")).await;
                assert!(!answer.text.contains("smuggled"), "{method}: {}", answer.text);
                assert!(answer.text.contains(&format!("victim{victim}")), "{method}: {}", answer.text);
            }
        }
    }
    assert!(!back.lines().is_empty());
}

/// Requests one behind the other, what becomes of each, and the targets that are authorised.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    statuses: Vec<u16>,
    authorised: Vec<String>,
}

impl Pipeline {
    /// The answer of the back end names the target.
    fn add(&mut self, target: &str, request: &[u8], status: u16) {
        self.bytes.extend_from_slice(request);
        self.statuses.push(status);
        if status == 200 {
            self.authorised.push(target.to_owned());
        }
    }

    /// Fifty requests without bodies, some of them with a token that is good for `/for/…` only.
    fn of_gets(run: usize, token: &str) -> Self {
        let mut pipeline = Self::default();
        for number in 0..50 {
            let (path, fields, status) = match number % 7 {
                0 | 3 => ("/to", "", 200),
                1 => ("/for", "", 401),
                2 => ("/for", token, 200),
                4 => ("/admin", token, 403),
                5 => ("/admin", "", 401),
                _ => ("/nowhere", "", 404),
            };
            let target = format!("{path}/{run}/{number}");
            pipeline.add(&target, &get(&target, fields), status);
        }
        pipeline
    }

    /// The same behind bodies, which are requests themselves. What is refused has none here: it would end the connection.
    fn of_bodies(run: usize, token: &str) -> Self {
        const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
        let mut pipeline = Self::default();
        for number in 0..50 {
            let times = number % 4;
            let (path, fields, status) = match number % 5 {
                0 => ("/for", "", 401),
                1 | 3 => ("/for", token, 200),
                _ => ("/to", "", 200),
            };
            let target = format!("{path}/{run}/{number}");
            let with = |framing: &str, body: &str| post(&target, &format!("{fields}{framing}"), body);
            let request = match number % 6 {
                _ if status == 401 => with("Content-Length: 0\r\n", ""),
                0 | 1 => with(&format!("Content-Length: {}\r\n", times * SECRET.len()), &SECRET.repeat(times)),
                2 | 3 => {
                    let chunks = format!("{:x}\r\n{SECRET}\r\n", SECRET.len()).repeat(times);
                    with(CHUNKED, &format!("{chunks}0\r\n\r\n"))
                }
                4 => with(CHUNKED, "3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
                _ => String::from_utf8(get(&target, fields)).unwrap(),
            };
            pipeline.add(&target, &raw(&request), status);
        }
        pipeline
    }

    /// The statuses that come back, and the targets of what the back end has answered; the last request ends the
    /// connection.
    async fn sent(&self, gateway: SocketAddr, cuts: &[usize]) -> (Vec<u16>, Vec<String>) {
        let (mut read, mut write) = TcpStream::connect(gateway).await.unwrap().into_split();
        let send = async {
            let mut begin = 0;
            for end in cuts.iter().copied().chain([self.bytes.len()]) {
                write.write_all(&self.bytes[begin..end]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                begin = end;
            }
            write.write_all(&get("/nowhere", "Connection: close\r\n")).await.unwrap();
        };
        let mut heard = String::new();
        let hear = async { read.read_to_string(&mut heard).await.unwrap() };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(send, hear) }).await.expect("all answers");
        let targets = heard.split("HTTP/1.1 200 ").skip(1).map(|answer| answer.split(' ').nth(1).unwrap().to_owned());
        (statuses(&heard), targets.collect())
    }
}

/// Each request of a connection is judged for itself, and answered in its turn, however the bytes come.
#[tokio::test(flavor = "multi_thread")]
async fn row_36_each_of_many_is_judged_for_itself() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, "HTTP/1.1 200 LINE\r\nContent-Length: 2\r\n\r\nok").await;
    let token = bearer(&world.user);
    let mut runner = TestRunner::default();
    let mut authorised = Vec::new();
    for run in 0..12 {
        let pipeline = if run % 2 == 0 { Pipeline::of_gets(run, &token) } else { Pipeline::of_bodies(run, &token) };
        let cuts = proptest::collection::vec(0..pipeline.bytes.len(), [0, 1, 12, 60][run / 2 % 4]);
        let mut cuts = cuts.new_tree(&mut runner).unwrap().current();
        cuts.sort_unstable();
        let (mut statuses, targets) = pipeline.sent(world.app.gateway, &cuts).await;
        assert_eq!(statuses.pop(), Some(404), "{run} {cuts:?}: {statuses:?}");
        assert_eq!(statuses, pipeline.statuses, "{run} {cuts:?}");
        assert_eq!(targets, pipeline.authorised, "{run} {cuts:?}");
        authorised.extend(pipeline.authorised);
    }
    let mut seen: Vec<_> = back.requests().iter().map(|request| request.target().to_owned()).collect();
    seen.sort_unstable();
    authorised.sort_unstable();
    assert_eq!(seen, authorised);
    assert_eq!(world.back.received(), "");
}

/// Nothing that follows is answered: nobody has read the body to its end.
#[tokio::test(flavor = "multi_thread")]
async fn row_36_a_body_that_is_refused_ends_the_connection() {
    let world = World::start().await;
    let back = origin(&world, Reads::Bodies, OK).await;
    for (number, framing) in
        [("Content-Length: 43\r\n", SECRET), ("Transfer-Encoding: chunked\r\n", "2a\r\n")].iter().enumerate()
    {
        let first = String::from_utf8(get(&format!("/to/{number}"), "")).unwrap();
        let refused = post("/for/x", framing.0, framing.1);
        let behind = String::from_utf8(get("/to/behind", "")).unwrap();
        let mut slow = Slow::open(world.app.gateway).await;
        let heard = slow.say(&format!("{first}{refused}")).await;
        assert_eq!(statuses(&heard), [200, 401], "{heard}");
        assert!(heard.contains("\r\nConnection: close\r\n"), "{heard}");
        assert_eq!(slow.say(&behind).await, "");
    }
    assert_eq!(back.lines(), ["GET /to/0", "GET /to/1"]);
}
