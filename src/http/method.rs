/// Whether `method` is one a policy can name; others would reach back ends that fold case as another method.
pub fn is_method(method: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_uppercase() || *b == b'-' || *b == b'_';
    !method.is_empty() && method.len() <= 32 && method.iter().all(plain)
}
