use cedargate::gateway::head::{Progress, Scanner};
use cedargate::http::Target;

use super::readings;

/// An accepted target is kept byte for byte, is read alike by other parsers, and passes as part of a head; what is left
/// of it without a prefix is accepted again, and is its end.
pub(super) fn holds(bytes: &[u8]) {
    let Ok(target) = Target::parse(bytes) else { return };
    assert_eq!(target.raw().as_bytes(), bytes);
    readings::agree(&target);
    let decoded = target.decoded_path();
    assert_eq!(decoded.matches('/').count(), target.raw_path().matches('/').count(), "{target:?}");
    assert!(!decoded.contains(['%', '\\', ';', '?', '#']) && !decoded.chars().any(char::is_control), "{target:?}");
    for segment in decoded.split('/') {
        assert!(segment != "." && segment != "..", "{target:?}");
    }
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", target.raw());
    assert_eq!(Scanner::default().advance(head.as_bytes()), Progress::Complete, "{target:?}");
    let first = decoded.split('/').nth(1).unwrap_or_default();
    for prefix in ["/a", "/api/", &format!("/{first}")] {
        let rest = target.stripped(prefix);
        assert!(target.raw().ends_with(rest.trim_start_matches('/')), "{target:?} without {prefix}: {rest}");
        assert!(Target::parse(rest.as_bytes()).is_ok(), "{target:?} without {prefix}: {rest}");
    }
}
