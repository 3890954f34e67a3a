"""Connections to the gateway whose every byte is chosen: plain, TLS, and HTTP/2 in frames."""

import socket
import ssl

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# RFC 9113, 7.
CODES = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
]
WINDOW = 65_535
TIMEOUT = 5
# What is told of a request that nobody answered within it.
HELD = "held"


def code(number):
    return CODES[number] if number < len(CODES) else str(number)


def context(protocol):
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols([protocol])
    return trusting


CONTEXTS = {protocol: context(protocol) for protocol in ("h2", "http/1.1")}


def connect(port, protocol=None, source="127.0.0.1"):
    """A connection; with `protocol` over TLS, agreed upon by ALPN."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT, source_address=(source, 0))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if protocol:
        stream = CONTEXTS[protocol].wrap_socket(stream, server_hostname="localhost")
        if stream.selected_alpn_protocol() != protocol:
            raise SystemExit(f"the gateway does not speak {protocol}")
    return stream


def block(fields, encoder=None):
    """A header block that leaves nothing in the peer's table, so that it is good on any stream."""
    return (encoder or Encoder()).encode([(name, value, True) for name, value in fields], huffman=False)


def fields(method, path, *more, authority="localhost"):
    return [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *more]


def headers(stream, data, end=True, whole=True):
    frame = HeadersFrame(stream, data=data)
    frame.flags |= ({"END_STREAM"} if end else set()) | ({"END_HEADERS"} if whole else set())
    return frame.serialize()


def data(stream, content, end=False):
    return DataFrame(stream, data=content, flags=["END_STREAM"] if end else []).serialize()


def settings(**given):
    names = {name: getattr(SettingsFrame, name.upper()) for name in given}
    return SettingsFrame(0, settings={names[name]: value for name, value in given.items()}).serialize()


def window(stream, increment):
    return WindowUpdateFrame(stream, window_increment=increment).serialize()


class Frames:
    """The frames of what came in, as far as they are complete."""

    PARSED = (DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

    def __init__(self):
        self.rest = b""

    def of(self, more):
        self.rest += more
        at, found = 0, []
        while len(self.rest) - at >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.rest)[at : at + 9])
            if len(self.rest) - at < 9 + length:
                break
            if isinstance(frame, self.PARSED):
                frame.parse_body(memoryview(self.rest)[at + 9 : at + 9 + length])
                found.append(frame)
            at += 9 + length
        self.rest = self.rest[at:]
        return found


class Http1:
    """One request after the other on a kept connection, over a new one when it was closed."""

    def __init__(self, port, protocol=None):
        self.port, self.protocol, self.stream, self.rest, self.opened, self.received = port, protocol, None, b"", 0, 0

    def send(self, pieces):
        """Bytes that were taken; the gateway may have answered and closed before the last."""
        if self.stream is None:
            self.stream, self.rest, self.opened = connect(self.port, self.protocol), b"", self.opened + 1
        sent = 0
        try:
            for piece in pieces:
                self.stream.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent

    def more(self):
        try:
            got = self.stream.recv(65_536)
        except TimeoutError:
            self.held, got = True, b""
        except OSError:
            got = b""
        self.rest += got
        self.received += len(got)
        return bool(got)

    def answer(self, method="GET"):
        """Status of the next answer, or that there is none."""
        if self.stream is None:
            return "closed"
        self.held = False
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                self.close()
                return HELD if self.held else "closed"
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        status, head = int(head[9:12]), head.lower() + b"\r\n"
        if status == 100:
            return self.answer(method)
        if method != "HEAD" and status not in (204, 304, 101):
            self.body(head)
        if status == 101 or b"\r\nconnection: close\r\n" in head or head.startswith(b"http/1.0"):
            self.close()
        return status

    def body(self, head):
        _, length, after = head.partition(b"\r\ncontent-length:")
        if length:
            wanted = int(after.split(b"\r\n")[0])
            while len(self.rest) < wanted and self.more():
                pass
            self.rest = self.rest[wanted:]
        elif b"\r\ntransfer-encoding: chunked" in head:
            # Nobody pipelines what is answered in chunks here.
            while not self.rest.endswith(b"0\r\n\r\n") and self.more():
                pass
            self.rest = b""
        else:
            while self.more():
                pass

    def close(self):
        if self.stream is not None:
            self.stream.close()
        self.stream, self.rest = None, b""


class Http2:
    """One request after the other on streams of one connection, over a new one when it was closed."""

    def __init__(self, port):
        self.port, self.stream, self.opened, self.received = port, None, 0, 0

    def send(self, make):
        """Bytes taken of what `make(stream id, encoder)` yields: frames, and the data in them, which waits for windows."""
        if self.stream is None:
            self.open()
        self.id += 2
        sent, self.credit = 0, {0: self.credit[0], self.id: self.initial}
        self.status = self.ended = None
        try:
            for piece, content in make(self.id, self.encoder):
                while content > min(self.credit.values()) and self.ended is None:
                    self.read()
                if self.ended is not None:
                    break
                self.credit = {which: left - content for which, left in self.credit.items()}
                self.stream.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        return sent

    def open(self):
        self.stream, self.opened = connect(self.port, "h2"), self.opened + 1
        self.frames, self.encoder, self.decoder = Frames(), Encoder(), Decoder()
        self.id, self.initial, self.credit, self.status, self.ended = -1, WINDOW, {0: WINDOW}, None, None
        self.stream.sendall(PREFACE + settings(initial_window_size=1 << 30) + window(0, 1 << 30))
        self.known = False
        while not self.known and self.ended is None:
            self.read()

    def read(self):
        try:
            got = self.stream.recv(65_536)
        except TimeoutError:
            self.ended = HELD
            self.close()
            return
        except OSError:
            got = b""
        if not got:
            self.ended = self.ended or "closed"
            self.close()
            return
        self.received += len(got)
        for frame in self.frames.of(got):
            self.take(frame)

    def take(self, frame):
        fields = self.decoder.decode(frame.data) if isinstance(frame, HeadersFrame) else []
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.initial = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW)
            self.known = True
            self.stream.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, WindowUpdateFrame) and frame.stream_id in self.credit:
            self.credit[frame.stream_id] += frame.window_increment
        elif isinstance(frame, GoAwayFrame):
            self.ended = f"GOAWAY {code(frame.error_code)}"
        elif frame.stream_id == self.id:
            self.status = int(dict(fields)[":status"]) if fields else self.status
            if isinstance(frame, RstStreamFrame):
                self.ended = self.ended or f"RST {code(frame.error_code)}"
            elif "END_STREAM" in frame.flags:
                self.ended = str(self.status)

    def answer(self):
        """How the request ended: a status, a code, or both."""
        while self.ended is None:
            self.read()
        if self.ended.startswith("GOAWAY"):
            self.close()
        early = f"{self.status} " if self.status and self.ended != str(self.status) else ""
        return early + self.ended

    def close(self):
        if self.stream is not None:
            self.stream.close()
        self.stream = None
