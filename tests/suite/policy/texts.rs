//! Random hand-written policies, as text.

use proptest::{prelude::*, sample::select};

/// Scopes of which nearly every combination passes strict validation.
const PRINCIPALS: [&str; 14] = [
    "principal",
    "principal",
    "principal",
    "principal is User",
    "principal is User",
    "principal is Anonymous",
    r#"principal == Anonymous::"anonymous""#,
    r#"principal == User::"1""#,
    r#"principal in User::"2""#,
    r#"principal in Role::"r0""#,
    r#"principal in Role::"r1""#,
    r#"principal is User in Role::"r2""#,
    r#"principal in Role::"ghost""#,
    r#"principal in Status::"inactive""#,
];
const ACTIONS: [&str; 8] = [
    "action",
    "action",
    "action",
    r#"action == Action::"read""#,
    r#"action == Action::"access""#,
    r#"action in Action::"update""#,
    r#"action in [Action::"read", Action::"access", Action::"update", Action::"read"]"#,
    r#"action in [Action::"access", Action::"create"]"#,
];
const RESOURCES: [&str; 15] = [
    "resource",
    "resource",
    "resource",
    "resource",
    "resource is Endpoint",
    "resource is Resource",
    r#"resource in Resource::"article""#,
    r#"resource in Resource::"order""#,
    r#"resource == Resource::"article""#,
    r#"resource in Route::"1""#,
    r#"resource in Module::"m1""#,
    r#"resource is Endpoint in Module::"m2""#,
    r#"resource == Endpoint::"1:GET""#,
    r#"resource in Endpoint::"2:*""#,
    r#"resource is Endpoint in Resource::"order""#,
];
/// Conditions on every attribute of the context, on literals, and ones that fail when they are evaluated.
const ATOMS: [&str; 56] = [
    r#"context.method == "GET""#,
    r#"["GET", "POST"].contains(context.method)"#,
    r#"context.path like "/a/*""#,
    r#"context.host == "h.example""#,
    r#"context.params.hasTag("id") && context.params.getTag("id") == "1""#,
    r#"context.params.hasTag("rest")"#,
    r#"context.client_ip.isInRange(ip("10.0.0.0/8"))"#,
    "context.client_ip.isLoopback()",
    "context.client_ip.isIpv4()",
    r#"context.now < datetime("2026-09-21T14:13:20Z")"#,
    r#"context.now.toTime() > duration("13h")"#,
    r#"context.now.toDate() == datetime("2026-09-21")"#,
    r#"context.claims.hasTag("department") && context.claims.getTag("department").contains("sales")"#,
    r#"context.claims.hasTag("scope")"#,
    r#"context.scopes.contains("read:all")"#,
    r#"context.scopes.containsAny(["write:all", "x"])"#,
    "context.scopes.isEmpty()",
    "context.mfa",
    "context.mfa == false",
    r#"context has issuer && context.issuer == "https://i.example""#,
    "context has issuer",
    r#"context has tenant && context.tenant like "t*""#,
    r#"context has tenant && context.tenant == "t1""#,
    "context has client_certificate",
    r#"context has client_certificate && context.client_certificate.subject == "CN=a,O=x""#,
    r#"context has client_certificate && context.client_certificate.issuer like "*O=x""#,
    "context has client_certificate.serial && context.client_certificate.serial != context.client_certificate.fingerprint",
    r#"context has client_certificate && (context.client_certificate.uris.contains("spiffe://x/a") || context.client_certificate.dns_names.isEmpty())"#,
    "context has owner",
    "context has owner && context.owner == principal",
    r#"context has owner && context.owner == User::"1""#,
    r#"context has owner && context.owner.username == "name1""#,
    r#"context has owner && context.owner in Role::"r0""#,
    r#"context has owner && context.owner in Status::"inactive""#,
    r#"context has owner && context has tenant && context.owner in [Role::"r1", Role::"r2"]"#,
    "[context].contains(context)",
    r#"{Var: "context", left: context.mfa}.left"#,
    r#"principal in Role::"r0""#,
    r#"principal in [Role::"r1", Role::"r2"]"#,
    r#"principal is User && principal.username == "name2""#,
    r#"action == Action::"read""#,
    r#"action in [Action::"access", Action::"update"]"#,
    r#"resource in Module::"m1""#,
    r#"resource in Route::"2""#,
    r#"resource in Resource::"article""#,
    r#"User::"1" in Role::"r1""#,
    r#"User::"2".username == "name2""#,
    r#"User::"007" in Role::"r0""#,
    r#"Role::"r2" in Role::"r0""#,
    r#"Endpoint::"1:GET" in Resource::"article""#,
    r#"Endpoint::"2:GET" in Module::"m1""#,
    r#"User::"99".username == "nobody""#,
    r#"User::"99".username == "nobody""#,
    "context has owner && context.owner.username != context.path",
    r#"context.now.offset(duration("9223372036854775807ms")) > context.now"#,
    r#"(if context.method == "GET" then 9223372036854775807 else 0) + 1 > 0"#,
];

pub(super) fn policy() -> impl Strategy<Value = String> {
    let one = || {
        (
            prop::bool::weighted(0.55),
            select(&PRINCIPALS[..]),
            select(&ACTIONS[..]),
            select(&RESOURCES[..]),
            proptest::option::weighted(0.8, condition()),
        )
            .prop_map(|(permit, principal, action, resource, condition)| {
                let effect = if permit { "permit" } else { "forbid" };
                format!("{effect} ({principal}, {action}, {resource}){};", condition.unwrap_or_default())
            })
    };
    // Sometimes two in one text.
    let two = (one(), one()).prop_map(|(a, b)| format!("{a}\n@note(\"second\")\n{b}"));
    prop_oneof![5 => one(), 1 => two]
}

fn condition() -> impl Strategy<Value = String> {
    let atom = || select(&ATOMS[..]);
    let when = select(&["when", "when", "unless"][..]);
    let body = (atom(), atom(), 0..7_u8).prop_map(|(a, b, form)| match form {
        0 => format!("!({a})"),
        1 => format!("({a}) && ({b})"),
        2 => format!("({a}) || ({b})"),
        3 => format!("if {a} then {b} else {}", "context.mfa"),
        _ => a.to_owned(),
    });
    (when, body).prop_map(|(when, body)| format!(" {when} {{ {body} }}"))
}
