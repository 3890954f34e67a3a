//! Credentials that are doubled, malformed, or guessed (rows 24, 26, 27).

use super::World;
use super::wire::{Wire, get, raw};
use super::world::bearer;

#[tokio::test(flavor = "multi_thread")]
async fn row_24_two_claims_to_an_identity_are_refused() {
    let world = World::start().await;
    let (user, admin) = (bearer(&world.user), bearer(&world.admin));
    let session = "Cookie: a=b; cedargate_session=x\r\n";
    for target in ["/wide/x", "/open/x", "/admin/x"] {
        for fields in [
            format!("{user}{user}"),
            format!("{user}{admin}"),
            format!("{admin}authorization: \r\n"),
            format!("Authorization: Basic YTpi\r\n{admin}"),
            format!("{admin}{session}"),
            format!("{session}{user}"),
            format!("{user}Cookie: a=b\r\nCookie: CEDARGATE_SESSION=x\r\n"),
        ] {
            world.refuses(400, &get(target, &fields)).await;
        }
    }
    let twice = world.send(&get("/api/v1/users/", &format!("{admin}{admin}"))).await;
    assert_eq!(twice.status, 400, "{}", twice.text);
    // The session is the console's: no identity here, and no back end's business.
    world.refuses(401, &get("/wide/x", session)).await;
    let seen = world.passes(&get("/open/x", session)).await;
    assert!(seen.contains("ookie: a=b\r\n") && !seen.contains("cedargate_session"), "{seen}");
    world.passes(&get("/wide/x", &format!("{user}Cookie: a=b\r\n"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_a_forged_address_escapes_no_limit() {
    let world = World::start_with(&[("CEDARGATE_AUTH__LOGIN_FAILURES", "3")]).await;
    let body = r#"{"username":"testuser","password":"wrong"}"#;
    let login = |forged: usize| {
        raw(&format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.{forged}\r\nX-Real-IP: 10.0.0.{forged}\r\n\
             Forwarded: for=10.0.0.{forged}\r\nX-Cedargate-Mount: guess{forged}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    for forged in 0..3 {
        assert_eq!(world.send(&login(forged)).await.status, 401);
    }
    for forged in 3..6 {
        let limited = world.send(&login(forged)).await;
        assert_eq!(limited.status, 429, "{}", limited.text);
    }
    // Neither at the admin service's own listener, nor with the limit of another address.
    assert_eq!(Wire::open(world.app.admin).await.exchange(&login(7)).await.status, 429);
    assert_eq!(Wire::open_from("127.0.0.2", world.app.gateway).await.exchange(&login(8)).await.status, 401);
    world.app.token("superadmin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_61_all_spellings_of_an_account_are_one() {
    let world = World::start_with(&[("CEDARGATE_AUTH__LOGIN_FAILURES", "3")]).await;
    let names = [
        "testuser",
        " TestUser ",
        "testuser@gmail.com",
        "TESTUSER@GMAIL.COM",
        "somebody <testuser@gmail.com>",
        "another <testuser@gmail.com>",
    ];
    // The first three hold it up; whose address it is does not show by that.
    for name in names {
        world.app.login(name, "wrong").await.expect(401);
    }
    for name in names {
        world.app.login(name, "testuser123").await.expect(429);
    }
    // Nor does the limit tell which accounts there are.
    for tried in 0..4 {
        let expected = if tried < 3 { 401 } else { 429 };
        world.app.login(&format!("{tried} <nobody@gmail.com>"), "wrong").await.expect(expected);
    }
    world.app.token("superadmin").await;
}

/// A revocation that is forgotten before the token expires would bring the session back.
#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_outlives_its_tokens() {
    let days = |days: i64| cedargate::model::Timestamp::now().plus_seconds(days * 86_400);
    let world = World::start_with(&[
        ("CEDARGATE_AUTH__ACCESS_TOKEN_MINUTES", "14400"),
        ("CEDARGATE_AUTH__REFRESH_TOKEN_DAYS", "7"),
    ])
    .await;
    world.passes(&get("/wide/x", &bearer(&world.user))).await;
    world.app.admin("POST", "/auth/logout").bearer(&world.user).await.expect(200);
    world.refuses(401, &get("/wide/x", &bearer(&world.user))).await;
    let mut tx = world.app.running.control().read().await.unwrap();
    assert_eq!(cedargate::store::revocations::live(&mut tx, days(9)).await.unwrap().len(), 1);
    assert_eq!(cedargate::store::revocations::live(&mut tx, days(11)).await.unwrap().len(), 0);
}

/// Who guesses in parallel gets no more answers than who guesses in turn.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_guesses_are_counted() {
    let world = World::start_with(&[
        ("CEDARGATE_AUTH__LOGIN_FAILURES", "3"),
        ("CEDARGATE_AUTH__HASH_THREADS", "2"),
        ("CEDARGATE_AUTH__ARGON2_ITERATIONS", "20"),
    ])
    .await;
    let guesses = (0..20).map(|guess| world.app.login("testuser", if guess == 19 { "testuser123" } else { "wrong" }));
    let answers = futures_of(guesses).await;
    let answered = answers.iter().filter(|status| **status != 429).count();
    // Each thread that hashes may have had one more under way.
    assert!(answered <= 3 + 2, "{answers:?}");
    assert!(answered >= 3, "{answers:?}");
}

async fn futures_of(guesses: impl Iterator<Item = impl Future<Output = crate::support::app::Answer>>) -> Vec<u16> {
    let mut open: Vec<_> = guesses.map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|context| {
        open.retain_mut(|guess| match guess.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer.status);
                false
            }
            std::task::Poll::Pending => true,
        });
        if open.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn row_27_malformed_credentials_are_not_absent_ones() {
    let world = World::start().await;
    let token = world.user.as_str();
    let (head, signature) = token.rsplit_once('.').unwrap();
    for value in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer null".to_owned(),
        "Bearer undefined".to_owned(),
        "Bearer a.b.c".to_owned(),
        "Basic YTpi".to_owned(),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {head}."),
        format!("Bearer {head}"),
        format!("Bearer {head}.{}", signature.chars().rev().collect::<String>()),
        format!("Bearer {token}="),
        format!("Bearer\t{token}"),
        format!("Bearer \"{token}\""),
        format!("Token {token}"),
        token.to_owned(),
        format!("Bearer {}", "a".repeat(20_000)),
    ] {
        for target in ["/open/x", "/wide/x"] {
            world.refuses(401, &get(target, &format!("Authorization: {value}\r\n"))).await;
        }
    }
    world.passes(&get("/open/x", "")).await;
    world.passes(&get("/open/x", &bearer(token))).await;
    // A token elsewhere is none (RFC 6750 2.2 and 2.3 are not offered).
    world.refuses(401, &get(&format!("/wide/x?access_token={token}"), "")).await;
    world.refuses(401, &get("/wide/x", &format!("Cookie: access_token={token}\r\n"))).await;
}
