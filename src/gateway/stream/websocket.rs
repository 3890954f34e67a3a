//! Frames of a WebSocket on their way to the client (RFC 6455 5.2): where each ends, so that a close frame can be put
//! between two of them.

const CLOSE: u8 = 0x8;
const FIN: u8 = 0x80;
/// The end of the head that switches protocols.
const BLANK: &[u8] = b"\r\n\r\n";
/// The longest head of a frame that is not masked.
const MOST_HEAD: usize = 10;

/// Follows what is sent.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// As much of `BLANK` as has been seen, until all of it has.
    blank: usize,
    head: [u8; MOST_HEAD],
    filled: usize,
    /// What is left of a frame's payload.
    left: u64,
    is_closed: bool,
}

impl Frames {
    /// Whether no frame has been begun that is not complete.
    pub(super) fn is_between(&self) -> bool {
        self.blank == BLANK.len() && self.filled == 0 && self.left == 0
    }

    /// Whether a close frame was sent.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Looks at what was sent.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    /// How much of `bytes` belongs to the frame that has begun.
    pub(super) fn current(&self, bytes: &[u8]) -> usize {
        let mut ahead = Self { ..*self };
        let mut at = 0;
        while at < bytes.len() && !ahead.is_between() {
            at += ahead.step(&bytes[at..]);
        }
        at
    }

    /// Takes a piece of the beginning of `bytes`, at least one byte; how much.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let here = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= here as u64;
            return here;
        }
        if self.blank < BLANK.len() {
            self.blank = match bytes[0] {
                byte if byte == BLANK[self.blank] => self.blank + 1,
                byte => usize::from(byte == BLANK[0]),
            };
            return 1;
        }
        self.head[self.filled] = bytes[0];
        self.filled += 1;
        if let Some(length) = length(&self.head[..self.filled]) {
            self.is_closed |= self.head[0] & 0xf == CLOSE;
            self.left = length;
            self.filled = 0;
        }
        1
    }
}

/// The payload of a frame with this head, once it is complete. What is masked, which only clients may do, has its key
/// counted with it.
fn length(head: &[u8]) -> Option<u64> {
    let [_, second, extended @ ..] = head else { return None };
    let key = if second & 0x80 == 0 { 0 } else { 4 };
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(extended.try_into().ok()?)),
        127 => u64::from_be_bytes(extended.try_into().ok()?),
        short => u64::from(short),
    };
    Some(length.saturating_add(key))
}

/// A close frame with this code, and what it says.
pub(super) fn close(code: u16) -> Vec<u8> {
    let reason: &[u8] = if code == 1001 { b"going away" } else { b"no longer permitted" };
    let length = u8::try_from(reason.len() + 2).unwrap_or(2);
    let mut frame = vec![FIN | CLOSE, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn frame(opcode: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![FIN | opcode];
        match payload {
            0..126 => frame.push(u8::try_from(payload).unwrap()),
            126..65_536 => {
                frame.push(126);
                frame.extend_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        // As a head would look, which it is not.
        frame.resize(frame.len() + payload, 0x88);
        frame
    }

    #[test]
    fn frames_end_where_they_end_however_they_are_sent() {
        let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];
        let mut sent = HEAD.to_vec();
        let mut ends = vec![sent.len()];
        for size in sizes {
            sent.extend_from_slice(&frame(2, size));
            ends.push(sent.len());
        }
        for piece in [1, 2, 7, 1_000, sent.len()] {
            let mut frames = Frames::default();
            let mut at = 0;
            assert!(!frames.is_between());
            for part in sent.chunks(piece) {
                frames.advance(part);
                at += part.len();
                assert_eq!(frames.is_between(), ends.contains(&at), "{at} in pieces of {piece}");
                let next = ends.iter().copied().find(|end| *end >= at).unwrap();
                assert_eq!(frames.current(&sent[at..]), next - at, "{at} in pieces of {piece}");
            }
            assert!(!frames.is_closed());
            frames.advance(&close(1008));
            assert!(frames.is_closed() && frames.is_between());
        }
    }
}
