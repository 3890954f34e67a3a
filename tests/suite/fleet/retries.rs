//! What is tried again, and what never is: back ends count what reaches them.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::World;
use super::back::{Back, Mood};

/// Never left out, so that every attempt is one.
fn patient(retries: u32) -> serde_json::Value {
    json!({ "retries": retries, "ejection": null, "retry_budget_percent": 100 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_is_sent_to_another() {
    let world = World::start().await;
    let backs = [Back::start("a").await, Back::start("b").await];
    world.fleet(&backs.each_ref().map(|back| back.address), patient(1)).await;
    backs[0].stop().await;
    for _ in 0..6 {
        let made = world.app.gateway("POST", "/fleet/x").body("once").await.expect(200);
        assert_eq!(made.text, "b");
    }
    assert_eq!(backs[1].count(), 6);
    assert!(backs[1].seen().iter().all(|request| request.ends_with("once")));
    assert_eq!(world.sum("cedargate_upstream_retries_total", &[("outcome", "retried")]).await, 3);
    assert_eq!(world.sum("cedargate_upstream_errors_total", &[("kind", "connect_refused")]).await, 3);
}

/// What happens to each method while nobody answers; ten retries at most, which are always allowed.
async fn attempts(mood: Mood) {
    let world = World::start().await;
    let backs = [Back::start("a").await, Back::start("b").await];
    world.fleet(&backs.each_ref().map(|back| back.address), patient(2)).await;
    let total = || backs.iter().map(Back::count).sum::<usize>();
    for back in &backs {
        back.becomes(mood);
    }
    for (method, body, attempts) in [
        ("GET", "", 3),
        ("HEAD", "", 3),
        ("DELETE", "", 3),
        ("PUT", "a small body", 3),
        ("POST", "", 1),
        ("POST", "a small body", 1),
        ("PATCH", "a small body", 1),
    ] {
        let before = total();
        world.app.gateway(method, "/fleet/x").body(body).await.expect(502);
        assert_eq!(total() - before, attempts, "{mood:?} {method} {body}");
    }
    // Both have been asked, each time with the whole body.
    for back in &backs {
        let puts: Vec<String> = back.seen().into_iter().filter(|request| request.starts_with("PUT")).collect();
        assert!(!puts.is_empty() && puts.iter().all(|put| put.ends_with("\r\n\r\na small body")), "{puts:?}");
    }
    // A body that is not kept.
    let before = total();
    world.app.gateway("PUT", "/fleet/x").body(vec![b'x'; 256 * 1024]).await.expect(502);
    assert_eq!(total() - before, 1);
    // One is well: the client does not notice.
    backs[1].becomes(Mood::Well);
    for _ in 0..2 {
        assert_eq!(world.app.gateway("PUT", "/fleet/x").body("a small body").await.expect(200).text, "b");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_done_is_done_again_only_if_that_is_the_same() {
    attempts(Mood::Closing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_nonsense_is_done_again_only_if_that_is_the_same() {
    attempts(Mood::Babbling).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let world = World::start().await;
    let backs = [Back::start("a").await, Back::start("b").await];
    world.fleet(&backs.each_ref().map(|back| back.address), patient(5)).await;
    for back in &backs {
        back.becomes(Mood::Half);
    }
    let url = format!("http://{}/fleet/x", world.app.gateway);
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.is_err());
    assert_eq!(backs.iter().map(Back::count).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_closed_meanwhile_loses_nothing_that_may_be_repeated() {
    let world = World::with(&[("CEDARGATE_GATEWAY__WORKERS", "1")]).await;
    let back = Back::start("a").await;
    world.fleet(&[back.address], json!({ "ejection": { "failures": 1, "ms": 60_000 } })).await;
    back.becomes(Mood::Forgetful);
    let mut failed = 0;
    for number in 0..20 {
        // Without any retries of our own.
        world.get("/fleet/x").await.expect(200);
        let before = back.count();
        let posted = world.app.gateway("POST", "/fleet/x").body(format!("number {number}")).await;
        failed += usize::from(posted.status == 502);
        assert_eq!(back.count() - before, 1, "sent twice: {:?}", back.seen());
    }
    assert!(failed > 0, "no connection was used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_a_share_of_the_requests() {
    let world = World::start().await;
    let back = Back::start("a").await;
    let more = json!({ "retries": 10, "retry_budget_percent": 0, "ejection": null });
    world.fleet(&[back.address], more).await;
    back.becomes(Mood::Closing);
    // A few are always allowed, within ten seconds.
    let started = Instant::now();
    for _ in 0..5 {
        world.get("/fleet/x").await.expect(502);
    }
    if started.elapsed() < Duration::from_secs(9) {
        assert_eq!(back.count(), 15);
        assert_eq!(world.sum("cedargate_upstream_retries_total", &[("outcome", "retried")]).await, 10);
        // The first has used all of them up.
        assert_eq!(world.sum("cedargate_upstream_retries_total", &[("outcome", "over_budget")]).await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_total_time_bounds_all_attempts() {
    let world = World::start().await;
    let back = Back::start("a").await;
    let mut more = patient(10);
    more["timeouts"] = json!({ "read_ms": 400, "total_ms": 1_000 });
    world.fleet(&[back.address], more).await;
    back.becomes(Mood::Silent);
    let started = Instant::now();
    world.get("/fleet/x").await.expect(504);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!((2..=4).contains(&back.count()), "{}", back.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_client_has_not_failed() {
    let world = World::start().await;
    let backs = [Back::start("a").await, Back::start("b").await];
    let timeouts = json!({ "connect_ms": 500, "read_ms": 300, "write_ms": 300, "total_ms": 300 });
    let more = json!({ "ejection": { "failures": 1, "ms": 60_000 }, "timeouts": timeouts });
    let id = world.fleet(&backs.each_ref().map(|back| back.address), more).await;
    for _ in 0..4 {
        let mut stream = TcpStream::connect(world.app.gateway).await.unwrap();
        stream.write_all(b"POST /fleet/x HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n").await.unwrap();
        // Never all of it, but always something.
        while stream.write_all(&[b'x'; 100]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let mut answer = [0; 12];
            if let Ok(Ok(12)) = timeout(Duration::from_millis(1), stream.peek(&mut answer)).await {
                assert_eq!(&answer, b"HTTP/1.1 504");
                break;
            }
        }
    }
    assert!(world.health(id).await.iter().all(|target| target["is_well"] == true));
}
