//! What clients' certificates say is looked at by policies, explained, and remembered.

use std::{net::Ipv4Addr, sync::Arc};

use cedargate::{
    explain::{Context, Question, recall},
    model::{CertificateFields, Claims, ClientCertificate, Reason, Timestamp, UserId, rules::PolicyText},
    policy::{Ask, Decided, Entry, Facts, Snapshot, Subject},
};

use super::examples::{NOON, WRITER, World};

/// SPIFFE ids that the example lets in, and that it does not.
const PRESS: &str = "spiffe://example.com/press";
const OTHER: &str = "spiffe://example.com/other";

fn world() -> Snapshot {
    World::new("client_certificate").snapshot
}

fn by_uri(uri: &str) -> ClientCertificate {
    CertificateFields { uris: vec![uri.to_owned()], ..CertificateFields::default() }.try_into().unwrap()
}

/// What is told of a writer's deletion, with this context.
fn told(snapshot: &Snapshot, context: &[&str]) -> &'static str {
    let context = Context::from_pairs(context.iter().copied()).unwrap();
    let question = Question::new("DELETE", "/articles", context).unwrap();
    let user = snapshot.user(UserId(WRITER)).unwrap();
    question.ask(snapshot, Some(user), Ipv4Addr::LOCALHOST.into(), NOON.try_into().unwrap()).unwrap().decision
}

#[test]
fn a_request_that_might_be_made_may_have_one() {
    let snapshot = world();
    let uris = |uri: &str| format!("client_certificate.uris={uri}");
    let whole = format!(r#"client_certificate={{"uris":["{PRESS}"]}}"#);
    assert_eq!(told(&snapshot, &[]), "deny");
    assert_eq!(told(&snapshot, &["client_certificate.subject=CN=press"]), "deny");
    assert_eq!(told(&snapshot, &[&uris(OTHER)]), "deny");
    assert_eq!(told(&snapshot, &[&uris(PRESS)]), "allow");
    assert_eq!(told(&snapshot, &[&whole]), "allow");
}

/// A deletion that was made with this certificate.
fn made(snapshot: &Snapshot, certificate: Option<ClientCertificate>) -> Decided {
    let now = Timestamp::now();
    let state = snapshot.user(UserId(WRITER)).unwrap();
    let claims = Arc::new(Claims { user_id: Some(state.id), ..Claims::none(&state.username) });
    let caller = snapshot.caller(&claims, now).unwrap();
    let matched = snapshot.routes().find("h", "/articles").unwrap();
    let Entry::Route(route) = matched.entry else { panic!("it is mounted") };
    let operation = route.operation("DELETE").unwrap();
    let facts = Facts {
        method: "DELETE",
        path: "/articles",
        host: "h",
        params: &[],
        client_ip: Ipv4Addr::LOCALHOST.into(),
        now,
        client_certificate: certificate.as_ref(),
        owner: None,
    };
    let ask = Ask { caller: Some(&caller), subject: Subject::Operation(operation), facts };
    let decision = snapshot.decide(&ask);
    Decided {
        at: now,
        method: Some(http::Method::DELETE),
        host: Some("h".to_owned()),
        path: "/articles".to_owned(),
        client: Some(Ipv4Addr::LOCALHOST.into()),
        client_certificate: certificate.map(Arc::new),
        claims: Some(claims),
        caller: Some(caller.clone()),
        route: Some(Arc::clone(route)),
        operation: Some(Arc::clone(operation)),
        owner: None,
        allowed: decision.outcome.is_ok(),
        reason: decision.outcome.err().unwrap_or(Reason::Allowed),
        policies: decision.policies,
        errors: decision.errors,
        policy_revision: snapshot.policy_revision(),
        status: None,
    }
}

#[test]
fn a_request_that_was_made_is_explained_with_its_own() {
    let snapshot = world();
    let recall = |decided: &Decided| recall(&snapshot, decided, Timestamp::now());
    let allowed = made(&snapshot, Some(by_uri(PRESS)));
    let told = recall(&allowed);
    // With the same certificate a repetition would be answered alike, without it not.
    assert_eq!((told.reason, told.now.is_none()), ("allowed", true));
    let shown = serde_json::to_value(&told.request).unwrap();
    assert_eq!(shown["client_certificate"]["uris"], serde_json::json!([PRESS]));
    let without = recall(&Decided { client_certificate: None, ..allowed });
    assert_eq!(without.now.map(|now| now.reason), Some("forbidden_by_policy"));

    for certificate in [None, Some(by_uri(OTHER))] {
        let told = recall(&made(&snapshot, certificate));
        assert_eq!((told.reason, told.now.is_none()), ("forbidden_by_policy", true));
        assert_eq!(told.policies[0].id, "policy:client_certificate");
    }
}

#[test]
fn policies_must_ask_first_whether_there_is_one() {
    let snapshot = world();
    let faults = |condition: &str| {
        let source = format!("forbid (principal, action, resource) when {{ {condition} }};");
        snapshot.review(&PolicyText { name: "p".try_into().unwrap(), source }).unwrap().faults.len()
    };
    assert_eq!(faults(r#"context has client_certificate && context.client_certificate.subject == "CN=a""#), 0);
    assert_eq!(faults(r#"context has client_certificate.issuer && context.client_certificate.issuer == "CN=a""#), 0);
    assert_eq!(faults(r#"context.client_certificate.subject == "CN=a""#), 1);
    assert_eq!(faults(r#"context has client_certificate && context.client_certificate.subjekt == "CN=a""#), 1);
}
