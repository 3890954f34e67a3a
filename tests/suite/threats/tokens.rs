//! Forged tokens (rows 42 to 54), with the shared secret and with keys of every algorithm that verify.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cedargate::jwt::{Algorithm, EncodingKey, PrivateKey};
use cedargate::model::SigningAlgorithm;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::World;
use super::wire::get;
use super::world::bearer;
use crate::support::app::SECRET;

/// A world that accepts what these keys have signed, beside the shared secret.
struct Keys {
    world: World,
    private: Vec<PrivateKey>,
    _files: TempDir,
}

impl Keys {
    async fn start() -> Self {
        let files = TempDir::new().unwrap();
        let keys = SigningAlgorithm::ALL.map(|algorithm| PrivateKey::generate(algorithm, None).unwrap());
        let mut paths = Vec::new();
        for key in &keys {
            let path = files.path().join(key.algorithm().name());
            std::fs::write(&path, key.pem().expose()).unwrap();
            paths.push(path.to_str().unwrap().to_owned());
        }
        let list = serde_json::to_string(&paths).unwrap();
        let world = World::start_with(&[("CEDARGATE_AUTH__VERIFYING_KEY_FILES", &list)]).await;
        Self { world, private: keys.into(), _files: files }
    }

    /// Signers of each kind, the shared secret among them: algorithm, header and key.
    fn signers(&self) -> Vec<(Algorithm, Value, EncodingKey)> {
        let secret = EncodingKey::from_secret(SECRET.as_bytes());
        let mut signers = vec![(Algorithm::HS256, json!({ "alg": "HS256", "typ": "JWT" }), secret)];
        for key in &self.private {
            let header = json!({ "alg": key.algorithm().name(), "kid": key.kid(), "typ": "at+jwt" });
            signers.push((algorithm(key.algorithm()), header, key.signing().unwrap()));
        }
        signers
    }

    /// Refused wherever it is presented, and nothing reaches the back end.
    async fn refuses(&self, token: &str) {
        for target in ["/open/x", "/wide/x", "/api/x"] {
            let answer = self.world.refuses(401, &get(target, &bearer(token))).await;
            assert!(answer.text.contains("_token"), "{}", answer.text);
        }
    }

    async fn accepts(&self, token: &str) {
        let seen = self.world.passes(&get("/wide/x", &bearer(token))).await;
        assert!(seen.to_lowercase().contains("x-auth-user-id: 4\r\n"), "{seen}");
    }
}

fn algorithm(of: SigningAlgorithm) -> Algorithm {
    of.name().parse().unwrap()
}

fn claims() -> Value {
    let exp = chrono::Utc::now().timestamp() + 600;
    json!({ "sub": "testuser", "uid": 4, "exp": exp, "iss": "cedargate", "aud": "cedargate", "type": "access" })
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn sign(header: &str, payload: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encode(header), encode(payload));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// `header` with another field, or without it if that is null.
fn with(header: &Value, name: &str, value: Value) -> Value {
    let mut changed = header.clone();
    match value {
        Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
        value => changed[name] = value,
    }
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn row_42_none_is_no_algorithm() {
    let keys = Keys::start().await;
    let payload = claims().to_string();
    for (algorithm, header, key) in keys.signers() {
        keys.accepts(&sign(&header.to_string(), &payload, &key, algorithm)).await;
        for none in ["none", "None", "NONE", "nOnE", "", " none", "none\0"] {
            let forged = with(&header, "alg", none.into()).to_string();
            keys.refuses(&sign(&forged, &payload, &key, algorithm)).await;
            keys.refuses(&format!("{}.{}.", encode(&forged), encode(&payload))).await;
            keys.refuses(&format!("{}.{}", encode(&forged), encode(&payload))).await;
        }
        for odd in [Value::Null, json!(["HS256"]), json!(0), json!({}), json!("hs256"), json!("HS512"), json!("PS256")]
        {
            let mut forged = header.clone();
            forged["alg"] = odd;
            keys.refuses(&sign(&forged.to_string(), &payload, &key, algorithm)).await;
        }
        keys.refuses(&sign(&with(&header, "alg", Value::Null).to_string(), &payload, &key, algorithm)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_43_a_public_key_is_no_shared_secret() {
    let keys = Keys::start().await;
    let payload = claims().to_string();
    for key in &keys.private {
        let jwk = key.public_key().jwk();
        let pem = String::from_utf8(public_pem(key)).unwrap();
        let der = key.public().unwrap();
        let bytes = der.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        for secret in [
            pem.as_bytes().to_vec(),
            pem.trim_end().as_bytes().to_vec(),
            format!(" \n\t{pem}").into_bytes(),
            format!("\r\n{pem}").into_bytes(),
            pem.replace('\n', "\r\n").into_bytes(),
            jwk.to_string().into_bytes(),
            bytes,
            Vec::new(),
        ] {
            let secret = EncodingKey::from_secret(&secret);
            for (name, algorithm) in
                [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
            {
                let header = json!({ "alg": name, "kid": key.kid(), "typ": "at+jwt" });
                keys.refuses(&sign(&header.to_string(), &payload, &secret, algorithm)).await;
                let nameless = with(&header, "kid", Value::Null).to_string();
                keys.refuses(&sign(&nameless, &payload, &secret, algorithm)).await;
            }
        }
    }
}

/// `SubjectPublicKeyInfo` in PEM, as openssl writes it.
fn public_pem(key: &PrivateKey) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key.pem().expose()).unwrap();
    let made = std::process::Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(file.path()).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn row_44_keys_within_a_token_are_not_looked_at() {
    let keys = Keys::start().await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/keys.json", trap.local_addr().unwrap());
    let payload = claims().to_string();
    let stranger = PrivateKey::generate(SigningAlgorithm::EdDsa, None).unwrap();
    let forged = json!({ "alg": "EdDSA", "kid": stranger.kid(), "typ": "at+jwt" });
    let mut signers = keys.signers();
    signers.push((Algorithm::EdDSA, forged, stranger.signing().unwrap()));
    for (algorithm, header, key) in signers {
        for (name, value) in [
            ("jwk", stranger.public_key().jwk()),
            ("jwk", json!({})),
            ("jku", json!(address)),
            ("x5u", json!(address)),
            ("x5c", json!(["MIIB"])),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(true)),
            ("b64", json!(false)),
        ] {
            keys.refuses(&sign(&with(&header, name, value).to_string(), &payload, &key, algorithm)).await;
        }
    }
    let called = tokio::time::timeout(Duration::from_millis(300), trap.accept()).await;
    assert!(called.is_err(), "somebody asked for a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_45_odd_names_of_keys_find_none() {
    let keys = Keys::start().await;
    let payload = claims().to_string();
    for (algorithm, header, key) in keys.signers() {
        for kid in [
            json!("../../dev/null"),
            json!("/dev/null"),
            json!("' OR 1=1 --"),
            json!("x' UNION SELECT 'secret"),
            json!("k".repeat(5_000)),
            json!("k\0"),
            json!(""),
            json!(1),
            json!(["k"]),
            json!({ "k": 1 }),
            json!(false),
        ] {
            keys.refuses(&sign(&with(&header, "kid", kid).to_string(), &payload, &key, algorithm)).await;
        }
        // Too long a head for the gateway, and too long a token for the admin service.
        let long = sign(&with(&header, "kid", "k".repeat(64 * 1024).into()).to_string(), &payload, &key, algorithm);
        keys.world.refuses(431, &get("/open/x", &bearer(&long))).await;
        keys.world.app.admin("GET", "/auth/me").bearer(&long).await.expect(401);
        let mut null = header.clone();
        null["kid"] = Value::Null;
        keys.refuses(&sign(&null.to_string(), &payload, &key, algorithm)).await;
        let as_text = header.to_string();
        for typ in [json!("rt+jwt"), json!("JWE"), json!("id_token+jwt"), json!(1)] {
            keys.refuses(&sign(&with(&header, "typ", typ).to_string(), &payload, &key, algorithm)).await;
        }
        keys.accepts(&sign(&as_text, &payload, &key, algorithm)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_46_times_are_whole_numbers() {
    let keys = Keys::start().await;
    let now = chrono::Utc::now().timestamp();
    let (past, future) = (now - 60, now + 600);
    for (algorithm, header, key) in keys.signers() {
        let rest = r#""sub":"testuser","uid":4,"iss":"cedargate","aud":"cedargate","type":"access""#;
        let header = header.to_string();
        let refused = [
            "null",
            "true",
            "[]",
            "{}",
            "-1",
            "1e400",
            "1e3",
            "99999999999999999999",
            "1.5",
            &format!("\"{future}\""),
            &format!("{future}.0"),
            &format!("{past}"),
        ]
        .map(|exp| format!("{{{rest},\"exp\":{exp}}}"));
        for payload in refused {
            keys.refuses(&sign(&header, &payload, &key, algorithm)).await;
        }
        for payload in [
            format!("{{{rest}}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":\"{past}\"}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":{past}.5}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":null}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":-1}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":1e400}}"),
            format!("{{{rest},\"exp\":{future},\"nbf\":{future}}}"),
            format!("{{{rest},\"exp\":{future},\"iat\":\"{past}\"}}"),
        ] {
            keys.refuses(&sign(&header, &payload, &key, algorithm)).await;
        }
        let fine = format!("{{{rest},\"exp\":{future},\"nbf\":{past},\"iat\":{past}}}");
        keys.accepts(&sign(&header, &fine, &key, algorithm)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_48_monsters_are_refused_at_once() {
    let keys = Keys::start().await;
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let deep = |open: &str, close: &str| format!("{{\"a\":{}{}}}", open.repeat(10_000), close.repeat(10_000));
    let signed = |payload: &str| sign(r#"{"alg":"HS256"}"#, payload, &secret, Algorithm::HS256);
    let short = |open: &str, close: &str| {
        let payload = format!("{{\"sub\":\"a\",\"x\":{}{}}}", open.repeat(1_500), close.repeat(1_500));
        signed(&payload)
    };
    for (token, is_told) in [
        // What the verifier sees.
        (".".repeat(8_000), true),
        (short("[", "]"), true),
        (signed(&format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(800), "}".repeat(800))), true),
        (
            sign(
                &format!("{{\"alg\":\"HS256\",\"x\":{}{}}}", "[".repeat(1_500), "]".repeat(1_500)),
                "{}",
                &secret,
                Algorithm::HS256,
            ),
            true,
        ),
        (signed(&deep("[", "]")), true),
        ("a".repeat(60_000), true),
        // What is too much of a head before anybody looks at a token.
        (signed(&deep("{\"a\":", "}")), false),
        (".".repeat(1_000_000), false),
        (signed(&"a".repeat(750_000)), false),
    ] {
        let mut fastest = Duration::MAX;
        for _ in 0..10 {
            keys.world.back.clear();
            let request = get("/open/x", &bearer(&token));
            let asked = Instant::now();
            let answer = keys.world.send(&request).await;
            fastest = fastest.min(asked.elapsed());
            let fits = if is_told { answer.status == 401 } else { [400, 401, 431, 0].contains(&answer.status) };
            assert!(fits, "{} bytes: {} {}", token.len(), answer.status, answer.text);
            assert_eq!(keys.world.back.received(), "");
        }
        assert!(fastest < Duration::from_millis(10), "{} bytes took {fastest:?}", token.len());
    }
    keys.accepts(&sign(r#"{"alg":"HS256"}"#, &claims().to_string(), &secret, Algorithm::HS256)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_49_nothing_is_decrypted_or_unpacked() {
    let keys = Keys::start().await;
    let payload = claims().to_string();
    // A compressed payload of some megabytes, and five parts as JWE has them.
    let bomb = {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, &vec![b' '; 4_000_000]).unwrap();
        encode(packer.finish().unwrap())
    };
    let header = encode(r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#);
    keys.refuses(&format!("{header}..AAAAAAAAAAAAAAAA.{}.AAAAAAAAAAAAAAAAAAAAAA", &bomb[..5_000.min(bomb.len())]))
        .await;
    keys.refuses(&format!("{header}.AAAA.AAAA.AAAA.AAAA")).await;
    keys.refuses(&format!("{header}.{bomb}.AAAA")).await;
    for (algorithm, header, key) in keys.signers() {
        for (name, value) in [("zip", json!("DEF")), ("enc", json!("A256GCM")), ("crit", json!(["zip"]))] {
            keys.refuses(&sign(&with(&header, name, value).to_string(), &payload, &key, algorithm)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_50_a_signature_of_zeros_is_none() {
    let keys = Keys::start().await;
    let payload = encode(claims().to_string());
    for (algorithm, header, _) in keys.signers() {
        let message = format!("{}.{payload}", encode(header.to_string()));
        for signature in
            [vec![], vec![0; 32], vec![0; 64], vec![0; 256], vec![0xff; 64], vec![0x30, 6, 2, 1, 0, 2, 1, 0]]
        {
            keys.refuses(&format!("{message}.{}", encode(signature))).await;
        }
        assert_ne!(algorithm, Algorithm::ES384);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_53_tokens_in_addresses_are_ignored() {
    let keys = Keys::start().await;
    let token = keys.world.user.clone();
    for name in ["access_token", "token", "bearer", "authorization", "jwt"] {
        keys.world.refuses(401, &get(&format!("/wide/x?{name}={token}"), "")).await;
        let seen = keys.world.passes(&get(&format!("/open/x?{name}=abc"), "")).await;
        assert!(!seen.to_lowercase().contains("x-auth-user-id"), "{seen}");
    }
    for field in ["Cookie: access_token=", "X-Access-Token: ", "Proxy-Authorization: Bearer "] {
        keys.world.refuses(401, &get("/wide/x", &format!("{field}{token}\r\n"))).await;
    }
    keys.accepts(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_54_nothing_stands_twice_and_each_kind_is_for_its_own() {
    let keys = Keys::start().await;
    let exp = chrono::Utc::now().timestamp() + 600;
    for (algorithm, header, key) in keys.signers() {
        let rest = format!(r#""exp":{exp},"iss":"cedargate","aud":"cedargate","type":"access""#);
        for payload in [
            format!(r#"{{"sub":"testuser","sub":"superadmin","uid":4,{rest}}}"#),
            format!(r#"{{"sub":"testuser","uid":4,"uid":1,{rest}}}"#),
            format!(r#"{{"sub":"testuser","s\u0075b":"superadmin","uid":4,{rest}}}"#),
            format!(r#"{{"sub":"testuser","uid":4,"exp":{exp},{rest}}}"#),
            format!(r#"{{"sub":"testuser","uid":4,"x":{{"a":1,"a":2}},{rest}}}"#),
            format!(r#"{{"sub":"testuser","uid":4,{rest}}}{{}}"#),
            format!(r#"[{{"sub":"testuser","uid":4,{rest}}}]"#),
        ] {
            keys.refuses(&sign(&header.to_string(), &payload, &key, algorithm)).await;
        }
        let twice = header.to_string().replacen('{', "{\"alg\":\"none\",", 1);
        keys.refuses(&sign(&twice, &claims().to_string(), &key, algorithm)).await;
        let refresh = with(&claims(), "type", "refresh".into()).to_string();
        keys.refuses(&sign(&header.to_string(), &refresh, &key, algorithm)).await;
        let typed = with(&header, "typ", "rt+jwt".into()).to_string();
        keys.refuses(&sign(&typed, &refresh, &key, algorithm)).await;
    }
    let signed_in = keys.world.app.login("testuser", "testuser123").await.expect(200).json();
    keys.refuses(signed_in["refresh_token"].as_str().unwrap()).await;
    keys.accepts(signed_in["access_token"].as_str().unwrap()).await;
}
