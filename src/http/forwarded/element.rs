//! One element of the `Forwarded` header (RFC 7239 4).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::http::{bytes, host};

/// What one proxy says of a request that it passed on.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element<'l> {
    /// Who made it.
    pub(super) client: Option<Node>,
    /// The scheme it was made with.
    pub(super) proto: Option<Cow<'l, [u8]>>,
    /// Its host.
    pub(super) host: Option<Cow<'l, [u8]>>,
}

/// Somebody on the way of a request (RFC 7239 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Known by an address, IPv4 always as such.
    Address(IpAddr),
    /// Not known, or not told.
    Hidden,
}

/// The elements of one header line, the last first.
pub(super) fn from_the_end(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let line = left?;
        let start = start_of_last(line);
        left = start.checked_sub(1).map(|comma| &line[..comma]);
        Some(&line[start..])
    })
}

/// Where the last element begins: a comma within quotation marks ends none.
fn start_of_last(line: &[u8]) -> usize {
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().rev() {
        match byte {
            b'"' if !(quoted && is_escaped(line, at)) => quoted = !quoted,
            b',' if !quoted => return at + 1,
            _ => {}
        }
    }
    0
}

fn is_escaped(line: &[u8], at: usize) -> bool {
    line[..at].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

impl<'l> Element<'l> {
    /// Reads one element; `None` for anything that the grammar has not, and for one that is empty.
    pub(super) fn parse(text: &'l [u8]) -> Option<Self> {
        let mut rest = text.trim_ascii();
        if rest.is_empty() {
            return None;
        }
        let mut element = Self::default();
        while !rest.is_empty() {
            // Pairs may be empty.
            if let Some(after) = rest.strip_prefix(b";") {
                rest = after;
                continue;
            }
            let (name, after) = token(rest)?;
            let (value, after) = value(after.strip_prefix(b"=")?)?;
            rest = after;
            if !(rest.is_empty() || rest.starts_with(b";")) || element.note(name, value)? {
                return None;
            }
        }
        Some(element)
    }

    /// Notes a parameter; returns whether it was stated before, and `None` if its value is malformed.
    fn note(&mut self, name: &[u8], value: Cow<'l, [u8]>) -> Option<bool> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        Some(match () {
            () if is("for") => self.client.replace(Node::read(&value)?).is_some(),
            () if is("proto") => self.proto.replace(value).is_some(),
            () if is("host") => self.host.replace(value).is_some(),
            () => false,
        })
    }
}

impl Node {
    fn read(text: &[u8]) -> Option<Self> {
        let (name, port) = host::split_port(std::str::from_utf8(text).ok()?).ok()?;
        if !port.is_none_or(|port| is_port(port) || is_obfuscated(port)) {
            return None;
        }
        if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
            return Some(Self::Hidden);
        }
        let address = match name.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_canonical(),
            None => name.parse::<Ipv4Addr>().ok()?.into(),
        };
        Some(Self::Address(address))
    }
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A name that tells nothing to others (RFC 7239 6.3).
fn is_obfuscated(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.strip_prefix('_').is_some_and(|name| !name.is_empty() && name.bytes().all(plain))
}

/// A token, and what follows it.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| !bytes::token(*b)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string, and what follows it (RFC 9110 5.6.4).
fn value(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        return token(text).map(|(token, rest)| (Cow::Borrowed(token), rest));
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    let (content, rest) = (&quoted[..end], &quoted[end + 1..]);
    Some((unescaped(content), rest))
}

fn unescaped(content: &[u8]) -> Cow<'_, [u8]> {
    if !content.contains(&b'\\') {
        return Cow::Borrowed(content);
    }
    let mut escaped = false;
    let kept = content.iter().copied().filter(|byte| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    });
    Cow::Owned(kept.collect())
}
