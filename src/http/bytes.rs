//! Classes of bytes, for the grammars of HTTP.

/// Whether each of `bytes` is of a class.
///
/// Without an early end, so that the compiler looks at many bytes at a time; `class` is best made of comparisons
/// joined by `|`.
pub(crate) fn all(bytes: &[u8], class: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & class(*byte))
}

/// ASCII letters and digits.
pub(crate) const fn alphanumeric(byte: u8) -> bool {
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10)
}

/// Whether `byte` is one of `others`.
pub(crate) const fn one_of<const N: usize>(byte: u8, others: &[u8; N]) -> bool {
    let (mut found, mut at) = (false, 0);
    while at < N {
        found |= byte == others[at];
        at += 1;
    }
    found
}

/// `tchar` of RFC 9110 5.6.2.
pub(crate) const fn token(byte: u8) -> bool {
    alphanumeric(byte) | one_of(byte, b"!#$%&'*+-.^_`|~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_what_they_say() {
        for byte in 0..=u8::MAX {
            assert_eq!(alphanumeric(byte), byte.is_ascii_alphanumeric(), "{byte}");
            assert_eq!(one_of(byte, b"-_"), b"-_".contains(&byte), "{byte}");
        }
        assert!(all(b"", |_| false) && all(b"ab1", alphanumeric) && !all(b"ab-", alphanumeric));
    }
}
