//! Requests in the bodies of others and behind them (row 36).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::World;
use super::origin::{OK, Reads, SECRET, origin};
use super::wire::{Slow, get, statuses, with_length};

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
