"""Requests that could cost more than they look: what `amplification.py` sends."""

import json
from dataclasses import dataclass
from typing import Any, Callable

from hpack import Encoder
from hyperframe.frame import ContinuationFrame, HeadersFrame

import wire
from world import coded

KIB = 1024
# Sizes of ordinary bodies, as far as the default bound lets them.
BODIES = [0, KIB, 16 * KIB, 64 * KIB, 512 * KIB, 4 * KIB * KIB]
PIECE = 64 * KIB


@dataclass
class Case:
    """One kind of request."""

    name: str
    # HTTP/1.1: of a number the pieces that are sent; HTTP/2: of a stream and an encoder, each with its bytes of data.
    make: Callable[..., Any]
    plain: bool = True
    method: str = "GET"
    # So many requests, and answers, at once.
    answers: int = 1
    ordinary: bool = False
    # Each over a connection of its own.
    fresh: bool = False


def head(method, target, *lines, version="HTTP/1.1", host="localhost"):
    return "\r\n".join([f"{method} {target} {version}", f"Host: {host}", *lines, "", ""]).encode()


def cut(content, size=PIECE):
    return [content[at : at + size] for at in range(0, len(content), size)]


def forged(number, extra=0, algorithm="HS256", **header):
    """A token of no worth, another one each time."""
    first = coded(json.dumps({"typ": "JWT", "alg": algorithm, **header}).encode())
    claims = {"sub": "1", "type": "access", "jti": f"{number:032x}", "exp": 4_000_000_000, "pad": "x" * extra}
    return f"{first}.{coded(json.dumps(claims).encode())}.{'A' * 43}"


def with_token(token):
    return f"Authorization: Bearer {token}"


def http1(gate):
    mine = with_token(gate.token)
    return [*ordinary1(gate), *targets1(mine), *fields1(mine), *tokens1(), *bodies1(mine), *exchanges1(mine), *admin1(mine)]


def fixed(name, request, **how):
    pieces = cut(request)
    return Case(name, lambda _: pieces, **how)


def ordinary1(gate):
    mine = with_token(gate.token)
    yield fixed("GET, over a new connection", head("GET", "/articles0/1", mine), ordinary=True, fresh=True)
    yield fixed("GET", head("GET", "/articles0/1", mine), ordinary=True)
    for size in BODIES[1:]:
        request = head("POST", "/open/body", mine, f"Content-Length: {size}") + b"x" * size
        yield fixed(f"POST of {size // KIB} KiB", request, ordinary=True)


def targets1(mine):
    yield fixed("target refused", head("GET", "/a/../b", mine))
    yield fixed("target of 8 KiB, nowhere", head("GET", "/" + "a/" * 4_000, mine))
    yield fixed("target of 8 KiB, escapes", head("GET", "/" + "%41" * 2_700, mine))
    yield fixed("target of 8 KiB, allowed", head("GET", "/open/" + "a/" * 4_000 + "b", mine))
    yield fixed("target of 8 KiB, escapes, allowed", head("GET", "/open/" + "%C3%A9" * 1_340, mine))
    yield fixed("query of 8 KiB, allowed", head("GET", "/open/x?" + "a=b&" * 2_000, mine))
    yield fixed("target too long", head("GET", "/" + "a" * 16 * KIB, mine))
    yield fixed("unknown path", head("GET", "/nothing", mine))
    yield fixed("unknown path, no token", head("GET", "/nothing"))
    yield fixed("method without operation", head("DELETE", "/open/x", mine))
    yield fixed("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")
    yield fixed("TRACE", head("TRACE", "/open/x", mine))
    yield fixed("unknown method", head("A" * 60, "/open/x", mine))
    yield fixed("no grant", head("POST", "/articles0/1", mine, "Content-Length: 0"))
    yield fixed("host of 255 bytes", head("GET", "/open/x", mine, host="a." * 126 + "b"))
    yield fixed("no request at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n")


def fields1(mine):
    get = lambda *lines: head("GET", "/articles0/1", mine, *lines)
    yield fixed("120 fields", get(*(f"x-{n}: y" for n in range(120))))
    yield fixed("120 fields of one name", get(*("x: y" for _ in range(120))))
    yield fixed("120 fields, 60 KiB", get(*(f"x-{n}: {'y' * 490}" for n in range(120))))
    yield fixed("129 fields", get(*(f"x-{n}: y" for n in range(129))))
    yield fixed("head of 64 KiB and more", get(*(f"x-{n}: {'y' * 600}" for n in range(120))))
    yield fixed("120 cookies of one byte", get(*("Cookie: a" for _ in range(120))))
    yield fixed("cookie of 60 KiB", get("Cookie: " + "a=b; " * 12_000))
    yield fixed("cookies of 60 KiB, one name", get("Cookie: " + "access_token=b; " * 3_700))
    yield fixed("Connection names 10,000", get("Connection: " + ",".join(["x-a"] * 10_000)))
    yield fixed("Connection names 100 fields that are there", get(
        "Connection: " + ",".join(f"x-{n}" for n in range(100)), *(f"x-{n}: y" for n in range(100))))
    yield fixed("X-Forwarded-For of 60 KiB", get("X-Forwarded-For: " + "1.1.1.1, " * 6_500))
    yield fixed("Forwarded of 60 KiB", get("Forwarded: " + "for=1.1.1.1;by=a, " * 3_400))
    yield fixed("Accept-Language of 60 KiB", get("Accept-Language: " + "de;q=0.1," * 6_500))
    yield fixed("120 fields of ours", get(*("X-Auth-User: y" for _ in range(120))))
    yield fixed("field with an underscore", get("x_a: y"))
    yield fixed("request id of 60 KiB", get("X-Request-ID: " + "a" * 60 * KIB))
    yield fixed("traceparent, malformed", get("traceparent: " + "0" * 8 * KIB))
    yield fixed("ranges, 1,000", get("Range: bytes=" + ",".join(f"{n}-{n}" for n in range(1_000))))
    yield Case("head in pieces of one byte", lambda _: [bytes([byte]) for byte in get()])
    yield Case("head in pieces of 16 bytes", lambda _: cut(get(), 16))


def tokens1():
    def case(name, token):
        return Case(name, lambda number: cut(head("GET", "/articles0/1", with_token(token(number)))))

    yield case("token forged", forged)
    yield case("token forged, 48 KiB", lambda number: forged(number, 36 * KIB))
    yield case("token of an unknown key", lambda number: forged(number, kid=f"{number:x}"))
    yield case("token of a key of 30 KiB", lambda number: forged(number, kid="k" * 30 * KIB))
    yield case("token, ES256", lambda number: forged(number, algorithm="ES256"))
    yield case("token, RS256", lambda number: forged(number, algorithm="RS256", kid="x"))
    yield case("token, none", lambda number: forged(number, algorithm="none"))
    yield case("token of 60,000 dots", lambda _: "." * 60_000)
    yield case("token of 60 KiB, no dot", lambda number: f"{number:x}" + "a" * 60 * KIB)
    nested = coded(b"[" * 20_000 + b"]" * 20_000)
    yield case("token of nested JSON", lambda number: f"{nested}.{coded(b'{}')}.{number:x}")
    yield case("token in many claims", lambda number: ".".join([
        coded(json.dumps({"typ": "JWT", "alg": "HS256", "jti": number}).encode()),
        coded(json.dumps({f"claim{n}": n for n in range(2_000)}).encode()), "A" * 43]))
    yield fixed("no token", head("GET", "/articles0/1"))
    yield fixed("two tokens", head("GET", "/articles0/1", "Authorization: Bearer a", "Authorization: Bearer b"))
    yield fixed("Basic", head("GET", "/articles0/1", "Authorization: Basic " + "QUFB" * 10_000))


def chunks(size, count, extension=b""):
    return b"%x%b\r\n%b\r\n" % (size, extension, b"x" * size) * count + b"0\r\n\r\n"


def bodies1(mine):
    chunked = head("POST", "/open/body", mine, "Transfer-Encoding: chunked")
    yield fixed("64 KiB in chunks of 16 KiB", chunked + chunks(16 * KIB, 4))
    yield fixed("64 KiB in chunks of one byte", chunked + chunks(1, 64 * KIB))
    yield fixed("16 KiB in chunks of one byte, extended", chunked + chunks(1, 16 * KIB, b";a=b"))
    yield fixed("one byte with an extension of 60 KiB", chunked + chunks(1, 1, b";" + b"a" * 60 * KIB))
    yield fixed("chunk with a size of 1,000 zeros", chunked + b"0" * 1_000 + b"1\r\nx\r\n0\r\n\r\n")
    yield fixed("chunk of no size", chunked + b"x\r\n")
    yield fixed("120 trailers", chunked + b"1\r\nx\r\n0\r\n" + b"x-a: y\r\n" * 120 + b"\r\n")
    small = head("POST", "/open/body", mine, "Content-Length: 4096")
    yield Case("4 KiB of a body in pieces of one byte", lambda _: [small, *([b"x"] * 4_096)])
    pieces = [chunked, *([b"1\r\nx\r\n"] * 4_096), b"0\r\n\r\n"]
    yield Case("4 KiB of a body in chunks and pieces of one byte", lambda _: pieces)
    huge = b"x" * 8 * KIB * KIB
    yield fixed("8 MiB refused, no token", head("POST", "/articles0/1", f"Content-Length: {len(huge)}") + huge)
    yield fixed("8 MiB refused, no path", head("POST", "/nothing", f"Content-Length: {len(huge)}") + huge)
    yield fixed("8 MiB in chunks, refused", head("POST", "/nothing", "Transfer-Encoding: chunked") + chunks(16 * KIB, 512))
    yield fixed("12 MiB announced, too large", head("POST", "/open/body", mine, f"Content-Length: {12 * KIB * KIB}") + huge)
    yield fixed("12 MiB in chunks, too large", chunked + chunks(16 * KIB, 768))
    yield fixed("1 TiB announced, nothing sent", head("POST", "/open/body", mine, f"Content-Length: {1 << 40}"))
    some = b"x" * 64 * KIB
    yield fixed("GET with a body of 64 KiB", head("GET", "/open/body", mine, f"Content-Length: {len(some)}") + some)
    yield fixed("two lengths", head("POST", "/open/body", "Content-Length: 1", "Content-Length: 1") + b"x")
    yield fixed("length and chunks", head("POST", "/open/body", "Content-Length: 1", "Transfer-Encoding: chunked") + b"x")


def exchanges1(mine):
    get = head("GET", "/articles0/1", mine)
    yield fixed("pipeline of 50", get * 50, answers=50)
    yield fixed("pipeline of 50 unknown paths", head("GET", "/nothing") * 50, answers=50)
    yield fixed("HEAD", head("HEAD", "/open/x", mine), method="HEAD")
    yield fixed("HTTP/1.0", head("GET", "/articles0/1", mine, version="HTTP/1.0"))
    yield fixed("HTTP/1.0, kept", head("GET", "/articles0/1", mine, "Connection: keep-alive", version="HTTP/1.0"))
    yield fixed("Connection: close", head("GET", "/articles0/1", mine, "Connection: close"))
    yield fixed("Expect", head("POST", "/open/body", mine, "Content-Length: 1", "Expect: 100-continue") + b"x")
    yield fixed("upgrade to a WebSocket", head(
        "GET", "/articles0/1", mine, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
    yield fixed("upgrade to h2c", head(
        "GET", "/articles0/1", mine, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__"))
    yield fixed("preface of HTTP/2", wire.PREFACE)
    yield fixed("preflight", head(
        "OPTIONS", "/articles0/1", "Origin: https://a.example", "Access-Control-Request-Method: GET"))
    yield fixed("preflight of 10,000 fields", head(
        "OPTIONS", "/articles0/1", "Origin: https://a.example", "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: " + ",".join(["x-a"] * 10_000)))
    yield fixed("answer of 1 MiB", head("GET", "/open/large", mine))
    yield fixed("2,000 blank lines before", b"\r\n" * 2_000 + get)


def admin1(mine):
    """The admin service through the gateway, but not what it hashes for: that is meant to cost."""
    api = "/api/v1"
    post = lambda target, body, *lines: head(
        "POST", api + target, "Content-Type: application/json", f"Content-Length: {len(body)}", *lines) + body
    yield fixed("admin: /health", head("GET", "/health"))
    yield fixed("admin: /openapi.json", head("GET", "/openapi.json"))
    yield fixed("admin: /docs", head("GET", "/docs"))
    yield fixed("admin: me, no token", head("GET", api + "/auth/me"))
    yield fixed("admin: me", head("GET", api + "/auth/me", mine))
    yield fixed("admin: permissions of one's own", head("GET", api + "/auth/permissions", mine))
    yield fixed("admin: sidebar", head("GET", api + "/routes/sidebar", mine))
    yield fixed("admin: users", head("GET", api + "/users/", mine))
    yield fixed("admin: unknown path", head("GET", api + "/nothing"))
    yield fixed("admin: login, no JSON", post("/auth/login", b"{"))
    yield fixed("admin: login, nested JSON", post("/auth/login", b"[" * 100_000))
    many = json.dumps({f"a{n}": n for n in range(50_000)}).encode()
    yield fixed("admin: login, 50,000 fields", post("/auth/login", many))
    yield fixed("admin: refresh, forged", post("/auth/refresh", json.dumps({"refresh_token": forged(1)}).encode()))
    yield fixed("admin: registration, all wrong", post("/auth/register", b'{"username": "", "email": "x", "password": ""}'))
    yield fixed("admin: explain, own", post("/explain", b'{"method": "GET", "url": "/articles0/1"}', mine))
    yield fixed("admin: 2 MiB refused", post("/auth/login", b" " * 2 * KIB * KIB))


def http2(gate):
    mine = ("authorization", f"Bearer {gate.token}")
    return [*ordinary2(mine), *blocks2(mine), *bodies2(mine), *frames2(mine)]


def request2(name, *fields, **how):
    """A request without a body."""
    block = wire.block(fields)
    return Case(name, lambda stream, _: [(b"".join(split(stream, block)), 0)], plain=False, **how)


def split(stream, block, size=16 * KIB, end=True):
    """Frames of a header block."""
    parts = cut(block, size)
    yield wire.headers(stream, parts[0], end=end, whole=len(parts) == 1)
    for at, part in enumerate(parts[1:], 2):
        yield ContinuationFrame(stream, data=part, flags=["END_HEADERS"] if at == len(parts) else []).serialize()


def encoded(name, make, **how):
    """A request whose header block the connection's own encoder makes, with its table."""
    return Case(name, lambda stream, encoder: [(b"".join(split(stream, make(encoder))), 0)], plain=False, **how)


def posted(stream, block, frames):
    yield wire.headers(stream, block, end=False), 0
    yield from frames
    yield wire.data(stream, b"x", end=True), 1


def bodied(name, block, frames, **how):
    return Case(name, lambda stream, _: posted(stream, block, frames(stream)), plain=False, **how)


def ordinary2(mine):
    get = wire.fields("GET", "/articles0/1", mine)
    yield request2("GET, over a new connection", *get, ordinary=True, fresh=True)
    yield request2("GET", *get, ordinary=True)
    post = wire.block(wire.fields("POST", "/open/body", mine))
    for size in BODIES[1:]:
        parts = cut(b"x" * size, 16_384)
        yield bodied(f"POST of {size // KIB} KiB", post,
                     lambda stream, parts=parts: ((wire.data(stream, part), len(part)) for part in parts), ordinary=True)


def blocks2(mine):
    get = wire.fields("GET", "/articles0/1", mine)
    small = wire.block(get)
    yield request2("unknown path", *wire.fields("GET", "/nothing"))
    yield request2("target refused", *wire.fields("GET", "/a/../b", mine))
    yield request2("target of 8 KiB, escapes, allowed", *wire.fields("GET", "/open/" + "%C3%A9" * 1_340, mine))
    yield request2("method without operation", *wire.fields("DELETE", "/open/x", mine))
    yield request2("token forged", *wire.fields("GET", "/articles0/1", ("authorization", f"Bearer {forged(1)}")))
    yield request2("120 fields", *get, *((f"x-{n}", "y") for n in range(120)))
    yield request2("1,000 fields", *get, *((f"x-{n}", "y") for n in range(1_000)))
    yield request2("cookie of 60 KiB", *get, ("cookie", "a=b; " * 12_000))
    yield request2("120 cookies of one byte", *get, *[("cookie", "a")] * 120)
    yield request2("upper case", *get, ("X-A", "y"))
    yield request2("connection", *get, ("connection", "close"))
    yield request2("host differs", *get, ("host", "other"))
    yield request2("no path", (":method", "GET"), (":scheme", "https"))
    yield request2("CONNECT", (":method", "CONNECT"), (":authority", "a:80"))
    yield request2("preflight", *wire.fields(
        "OPTIONS", "/articles0/1", ("origin", "https://a.example"), ("access-control-request-method", "GET")))
    # One byte each: a field of the static table, accept-encoding: gzip, deflate (RFC 7541, appendix A).
    for count in (100, 900, 20_000):
        yield encoded(f"{count:,} fields of one byte", lambda _, count=count: small + b"\x90" * count)
    # A field of 4,000 bytes, kept in the table once, named again by one byte (RFC 7541, 7.3).
    for count in (10, 15, 1_000, 16_000):
        yield encoded(f"HPACK bomb, {count:,} x 4,000 bytes", lambda encoder, count=count: bomb(encoder, small, count))
    yield encoded("HPACK, 900 entries put and put out", lambda _: small + b"\x40\x01x\x01y" * 900)
    yield encoded("HPACK, 1,000 sizes of the table", lambda _: b"\x20\x3f\xe1\x1f" * 1_000 + small)
    yield encoded("HPACK, Huffman codes of 48 KiB", lambda _: small + Encoder().encode([("x", "~" * 28_000, True)]))
    yield encoded("HPACK, an index that is not there", lambda _: small + b"\xfe")
    yield Case("block in CONTINUATIONs of one byte", lambda stream, _: [(b"".join(split(stream, small, 1)), 0)], plain=False)
    yield Case("block padded", lambda stream, _: [(padded(stream, small), 0)], plain=False)


def bomb(encoder, small, count):
    field = [("x", "y" * 4_000)]
    # The first puts it there, on a connection's later streams it is there already.
    first = encoder.encode(field, huffman=False)
    return small + first + encoder.encode(field) * (count - 1)


def padded(stream, block):
    return HeadersFrame(stream, data=block, pad_length=255, flags=["PADDED", "END_HEADERS", "END_STREAM"]).serialize()


def bodies2(mine):
    post = wire.block(wire.fields("POST", "/open/body", mine))
    nowhere = wire.block(wire.fields("POST", "/nothing", mine))

    def repeated(frame, each, count):
        """So many equal frames, in pieces of up to a thousand that fit into what is left of a window when it is widened."""
        most = min(1_000, 16_384 // max(1, each))
        for at in range(0, count, most):
            some = min(most, count - at)
            yield frame * some, each * some

    yield bodied("64 KiB in DATA of one byte", post, lambda stream: repeated(wire.data(stream, b"x"), 1, 64 * KIB))
    yield bodied("4 KiB in DATA of one byte", post, lambda stream: repeated(wire.data(stream, b"x"), 1, 4 * KIB))
    yield bodied("100 bytes in DATA of one byte", post, lambda stream: repeated(wire.data(stream, b"x"), 1, 100))
    yield bodied("100 empty DATA", post, lambda stream: repeated(wire.data(stream, b""), 0, 100))
    yield bodied("10,000 empty DATA", post, lambda stream: repeated(wire.data(stream, b""), 0, 10_000))

    def ended(stream, _):
        yield wire.headers(stream, post, end=False) + wire.data(stream, b"x") + wire.data(stream, b"", end=True), 1

    yield Case("one byte, then an empty DATA", ended, plain=False)
    large = b"x" * 16_384
    yield bodied("8 MiB refused, no path", nowhere, lambda stream: repeated(wire.data(stream, large), 16_384, 512))
    yield bodied("12 MiB, too large", post, lambda stream: repeated(wire.data(stream, large), 16_384, 768))


def frames2(mine):
    get = wire.block(wire.fields("GET", "/articles0/1", mine))

    def with_frames(name, make):
        return Case(name, lambda stream, _: [(wire.headers(stream, get) + make(stream), 0)], plain=False)

    yield request2("answer of 1 MiB", *wire.fields("GET", "/open/large", mine))
    yield with_frames("1,000 windows of one byte", lambda stream: wire.window(stream, 1) * 1_000)
    yield with_frames("1,000 windows of the connection", lambda _: wire.window(0, 1) * 1_000)
    yield with_frames("too large a window", lambda stream: wire.window(stream, 2**31 - 1))
    yield with_frames("1,000 SETTINGS", lambda _: wire.settings(initial_window_size=1 << 30) * 1_000)
