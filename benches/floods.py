"""Floods of HTTP/2 frames over TLS: memory, CPU for each frame, and how the gateway ends them."""

import itertools
import select
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from typing import Callable

from hyperframe.frame import (
    ContinuationFrame, GoAwayFrame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

import wire

# Connections at a time, each opened anew when it was closed.
ATTACKERS = 4
BAR_MIB = 64
# Frames in one piece, and pieces that may be under way without having been taken.
PIECE, UNDER_WAY = 100, 10
# Streams of one connection; then comes the next.
STREAMS = 20_000
STUCK = 5
PING = PingFrame(0, opaque_data=b"taken..?").serialize()
GET = wire.block(wire.fields("GET", "/public/x"))
POST = wire.block(wire.fields("POST", "/open/body"))


@dataclass
class Flood:
    """Pieces are (bytes, frames, bytes of data in them)."""

    name: str
    pieces: Callable
    # The bar wants the connection closed, too.
    barred: bool = False
    # After each piece a PING, whose answer tells that the piece was taken; impossible within a header block.
    pings: bool = True
    # Never reads.
    deaf: bool = False


def streams(make, frames, opening=b""):
    """Pieces of what `make` does on one new stream after the other."""
    first = opening
    ids = iter(range(1, 2 * STREAMS, 2))
    while batch := list(itertools.islice(ids, PIECE // frames)):
        yield first + b"".join(make(stream) for stream in batch), len(batch) * frames, 0
        first = b""


def endless(frame, opening=b"", content=0, frames=1):
    piece = frame * (PIECE // frames)
    yield opening + piece, PIECE, content * PIECE
    while True:
        yield piece, PIECE, content * PIECE


def reset(stream):
    return wire.headers(stream, GET) + RstStreamFrame(stream, error_code=8).serialize()


def zero_window(stream):
    # hyperframe refuses to make it.
    return wire.headers(stream, GET) + raw(0x8, 0, stream, bytes(4))


def window_overflow(stream):
    return wire.headers(stream, GET) + wire.window(stream, 2**31 - 1)


def data_after_end(stream):
    return wire.headers(stream, GET) + wire.data(stream, b"")


def headers_after_end(stream):
    return wire.headers(stream, GET) + wire.headers(stream, GET)


def own_parent(stream):
    return wire.headers(stream, GET) + raw(0x2, 0, stream, stream.to_bytes(4, "big") + b"\x10")


def raw(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def continuation(content):
    return lambda: endless(ContinuationFrame(1, data=content).serialize(), wire.headers(1, GET, whole=False))


def unknown(stream):
    return wire.headers(stream, wire.block(wire.fields("GET", "/nothing")))


CHANGED = wire.settings(initial_window_size=1) + wire.settings(initial_window_size=2)
LITERAL = wire.block([("x", "y")])
FLOODS = [
    Flood("connections alone", lambda: iter([(b"", 1, 0)])),
    Flood("rapid reset", lambda: streams(reset, 2), barred=True),
    Flood("CONTINUATION, empty", continuation(b""), barred=True, pings=False),
    Flood("CONTINUATION, one field each", continuation(LITERAL), barred=True, pings=False),
    Flood("CONTINUATION, 16 KiB each", continuation(LITERAL * (16_384 // len(LITERAL))), barred=True, pings=False),
    Flood("DATA, empty", lambda: endless(wire.data(1, b""), wire.headers(1, POST, end=False)), barred=True),
    Flood("DATA, 1 byte", lambda: endless(wire.data(1, b"x"), wire.headers(1, POST, end=False), 1)),
    Flood("DATA, padding alone", lambda: endless(raw(0, 0x8, 1, b"\x09" + bytes(9)), wire.headers(1, POST, end=False), 10)),
    Flood("reset by WINDOW_UPDATE 0", lambda: streams(zero_window, 2)),
    Flood("reset by too large a window", lambda: streams(window_overflow, 2)),
    Flood("reset by DATA after the end", lambda: streams(data_after_end, 2)),
    Flood("reset by HEADERS after the end", lambda: streams(headers_after_end, 2)),
    Flood("reset by a stream its own parent", lambda: streams(own_parent, 2)),
    Flood("requests beyond the streams allowed", lambda: streams(unknown, 1)),
    Flood("PING", lambda: endless(PING)),
    Flood("PING, answers unread", lambda: endless(PING), pings=False, deaf=True),
    Flood("SETTINGS, empty", lambda: endless(wire.settings())),
    Flood("SETTINGS, changed each time", lambda: endless(CHANGED, frames=2)),
    Flood("SETTINGS, answers unread", lambda: endless(wire.settings()), pings=False, deaf=True),
    Flood("WINDOW_UPDATE of the connection", lambda: endless(wire.window(0, 1))),
    Flood("WINDOW_UPDATE of a closed stream", lambda: endless(wire.window(1, 1), reset(1))),
    Flood("PRIORITY", lambda: endless(PriorityFrame(101, depends_on=0, stream_weight=7).serialize())),
    Flood("frames of an unknown type", lambda: endless(raw(0x77, 0, 0, b"x"))),
]


class Attack:
    """One connection of a flood; `ended` tells how it ended."""

    def __init__(self, flood, port):
        self.flood, self.pieces, self.frames, self.ended = flood, flood.pieces(), wire.Frames(), None
        # Frames of the piece that is being written, those that were written, those that were taken.
        self.left, self.writing, self.written, self.taken, self.unanswered = memoryview(b""), 0, 0, 0, []
        self.credit, self.initial = {0: wire.WINDOW, 1: wire.WINDOW}, wire.WINDOW
        self.waiting = None
        self.stream = wire.connect(port, "h2")
        self.stream.setblocking(False)
        self.moved = time.monotonic()
        self.put(wire.PREFACE + wire.settings(initial_window_size=1 << 30) + wire.window(0, 1 << 30))

    def put(self, more):
        self.left = memoryview(bytes(self.left) + more)

    def step(self):
        """Reads and writes what can be."""
        try:
            if not self.flood.deaf:
                self.read()
            self.write()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLEOFError:
            self.ended = self.ended or "closed"
        except OSError as fault:
            self.ended = self.ended or ("reset" if isinstance(fault, ConnectionError) else type(fault).__name__)
            self.last_words()
        if self.ended is None and time.monotonic() > self.moved + STUCK:
            self.ended = "held"
            self.last_words()
        if self.ended:
            self.stream.close()

    def last_words(self):
        """Why it was closed, if that still lies there."""
        try:
            while got := self.stream.recv(65_536):
                for frame in self.frames.of(got):
                    if isinstance(frame, GoAwayFrame):
                        self.ended = f"GOAWAY {wire.code(frame.error_code)}"
        except OSError:
            pass

    def read(self):
        while self.ended is None:
            try:
                got = self.stream.recv(65_536)
            except ssl.SSLWantReadError:
                return
            if not got:
                self.ended = "closed"
            self.moved = time.monotonic()
            for frame in self.frames.of(got):
                self.take(frame)

    def take(self, frame):
        if isinstance(frame, GoAwayFrame):
            self.ended = f"GOAWAY {wire.code(frame.error_code)}"
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            changed = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self.initial)
            self.credit[1] += changed - self.initial
            self.initial = changed
        elif isinstance(frame, WindowUpdateFrame) and frame.stream_id in self.credit:
            self.credit[frame.stream_id] += frame.window_increment
        elif isinstance(frame, PingFrame) and self.unanswered and "ACK" in frame.flags:
            # Those of a flood of PINGs are answered in order as well.
            self.unanswered[0][0] -= 1
            if self.unanswered[0][0] == 0:
                self.taken += self.unanswered.pop(0)[1]

    def write(self):
        while self.ended is None:
            while self.left:
                self.left = self.left[self.stream.send(self.left) :]
                self.moved = time.monotonic()
            self.written, self.writing = self.written + self.writing, 0
            if len(self.unanswered) == UNDER_WAY:
                return
            piece = self.waiting or next(self.pieces, None)
            if piece is None:
                if not self.unanswered:
                    self.ended = "not closed"
                return
            more, frames, content = piece
            if content > min(self.credit.values()):
                self.waiting = piece
                return
            self.waiting = None
            self.credit = {which: left - content for which, left in self.credit.items()}
            if self.flood.pings:
                self.unanswered.append([1 + (frames if more.startswith(PING) else 0), frames])
                more += PING
            self.writing = frames
            self.put(more)


def flood(gate, kind, seconds):
    process = gate.serve(tls=True)
    with wire.connect(gate.port, "h2"):
        pass
    process.forget_peak()
    before, cpu, since = process.memory(), process.cpu_ns(), time.monotonic()
    attacks, ended, done, opened = [], Counter(), [], 0
    while time.monotonic() < since + seconds:
        while len(attacks) < ATTACKERS:
            try:
                attacks.append(Attack(kind, gate.port))
                opened += 1
            except OSError as fault:
                ended[f"no connection ({type(fault).__name__})"] += 1
                break
        for attack in attacks:
            attack.step()
        done += [attack for attack in attacks if attack.ended]
        attacks = [attack for attack in attacks if not attack.ended]
        if len(attacks) == ATTACKERS:
            reads = [] if kind.deaf else [attack.stream for attack in attacks]
            select.select(reads, [attack.stream for attack in attacks if attack.left], [], 0.02)
    took, used = time.monotonic() - since, process.cpu_ns() - cpu
    peak = process.peak()
    for attack in attacks:
        attack.ended = "open at the end"
        attack.stream.close()
    done += attacks
    ended.update(attack.ended for attack in done)
    return {"before": before, "peak": peak, "took": took, "used": used / 1e3, "opened": opened, "ended": ended,
            "written": sum(attack.written for attack in done), "taken": sum(attack.taken for attack in done)}


def run(gate, options, _files):
    rows = [f"### Floods over TLS, HTTP/2: {ATTACKERS} connections at a time, {options.flood_seconds} s each", "",
            "*Taken*: answered for, by a PING behind them; *sent*: where no PING was answered. CPU per frame is of those, "
            "beyond what connections cost alone.", "",
            f"| | MiB before, peak | bar +{BAR_MIB} | closed by the gateway | how they ended | frames/s "
            "| connections/s | cores | CPU µs/frame | CPU µs/connection |", "|---|---|---|---|---|---|---|---|---|---|"]
    memory = closed = True
    alone = None
    for kind in FLOODS:
        if alone is not None and options.among and options.among not in kind.name:
            continue
        got = flood(gate, kind, options.flood_seconds)
        if alone is None:
            alone = got["used"] / max(1, got["opened"])
        held = got["peak"] - got["before"] <= BAR_MIB
        ends = set(got["ended"]) - {"open at the end"}
        ended = bool(ends) and not ends & {"not closed", "held"}
        memory, closed = memory and held, closed and (ended or not kind.barred)
        how = ", ".join(f"{count:,} {what}" for what, count in got["ended"].most_common())
        frames, known = (got["taken"], "taken") if got["taken"] else (got["written"], "sent")
        each = f"{max(0, got['used'] - alone * got['opened']) / frames:.2f}" if frames else ""
        rows.append(
            f"| {kind.name} | {got['before']:.0f}, {got['peak']:.0f} | {'met' if held else '**missed**'} "
            f"| {('met' if ended else '**missed**') if kind.barred else 'yes' if ended else 'no'} | {how} "
            f"| {frames / got['took']:,.0f} {known} | {got['opened'] / got['took']:,.1f} "
            f"| {got['used'] / got['took'] / 1e6:.2f} | {each} | {got['used'] / max(1, got['opened']):,.0f} |"
        )
    return rows, [(f"floods: memory within {BAR_MIB} MiB of before", memory),
                  ("rapid reset, CONTINUATION, empty DATA: connection closed", closed)]
