//! Random targets: what the back end sees is what was sent.

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::World;
use super::wire::{Wire, get};
use super::world::bearer;

const CASES: usize = 300;

/// Ordinary, encoded, dotted and odd segments.
const TARGET: &str = concat!(
    "(/api|/open)?",
    r"(/([a-z0-9]{1,3}|[A-Za-z0-9._~!$&'()*+,=:@-]{1,4}|[a-z]%20|%[0-9a-fA-F]{2}|%C3%A9|\.|\.\.|%2[eEfF]|[a-z]?[;\\|#é \t<]|)){1,4}",
    r#"(\?[a-z0-9=&/%.:;'"{}\\#]{0,6})?"#
);

/// Whenever the back end saw a request, its target is the one sent, without the prefix that its route takes off, byte
/// for byte; and a browser's parser finds nothing in its path to change.
#[tokio::test(flavor = "multi_thread")]
async fn targets_are_forwarded_as_sent_or_not_at_all() {
    let world = World::open().await;
    let mut runner = TestRunner::default();
    let targets = proptest::string::string_regex(TARGET).unwrap();
    let token = bearer(&world.user);
    let mut wire = Wire::open(world.app.gateway).await;
    let (mut forwarded, mut refused) = (0, 0);
    for _ in 0..CASES {
        let sent = targets.new_tree(&mut runner).unwrap().current();
        world.back.clear();
        let answer = wire.exchange(&get(&sent, &token)).await;
        let seen = world.back.received();
        if answer.closes {
            wire = Wire::open(world.app.gateway).await;
        }
        match answer.status {
            200 => {
                let (line, _) = seen.split_once("\r\n").unwrap();
                let path = sent.split('?').next().unwrap();
                // `/api/` itself belongs to the route for everything.
                let expected = sent.strip_prefix("/api").filter(|rest| rest.starts_with('/') && path != "/api/");
                assert_eq!(line, format!("GET {} HTTP/1.1", expected.unwrap_or(&sent)));
                let url = url::Url::parse(&format!("http://gw.example{sent}")).unwrap();
                assert_eq!(url.path(), path, "{sent}");
                forwarded += 1;
            }
            400 | 403 | 404 => {
                assert_eq!(seen, "", "{sent:?}");
                refused += 1;
            }
            other => panic!("{other} for {sent:?}: {}", answer.text),
        }
    }
    assert!(forwarded >= CASES / 10 && refused >= CASES / 10, "{forwarded} forwarded, {refused} refused");
}
