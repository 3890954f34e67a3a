"""What connections cost that wait for their next request."""

import socket
import time

from hyperframe.frame import HeadersFrame

import wire

KINDS = {"plain": None, "TLS, HTTP/1.1": "http/1.1", "TLS, HTTP/2": "h2"}
BAR_KIB = 40
# One address has no more ports than 28,000, and those of an earlier kind are not free at once.
SOURCES = [f"127.0.0.{n}" for n in range(2, 8)]
GET = b"GET /open/x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def request(stream, protocol, number):
    """One request and its whole answer."""
    if protocol != "h2":
        stream.sendall(GET)
        got = b""
        while b"\r\n\r\n" not in got:
            got += more(stream)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += more(stream)
        return head.startswith(b"HTTP/1.1 200")
    opening = wire.PREFACE + wire.settings(header_table_size=4096) if number == 1 else b""
    stream.sendall(opening + wire.headers(number, wire.block(wire.fields("GET", "/open/x"))))
    frames, found = wire.Frames(), []
    while not any("END_STREAM" in frame.flags for frame in found):
        found += frames.of(more(stream))
    # 200 is the eighth entry of the static table, and needs no other state.
    return any(isinstance(frame, HeadersFrame) and frame.data[0] == 0x88 for frame in found)


def more(stream):
    got = stream.recv(65_536)
    if not got:
        raise ConnectionError("closed")
    return got


def still_open(streams):
    """How many the gateway has not closed."""
    count = 0
    for stream in streams:
        with socket.socket(fileno=socket.dup(stream.fileno())) as plain:
            plain.setblocking(False)
            try:
                # Something of TLS or HTTP/2 may lie there; nothing at all is the end.
                count += bool(plain.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                count += 1
            except OSError:
                pass
    return count


def one_kind(fortress, protocol, count, settle):
    process = fortress.serve(
        tls=protocol is not None, CEDARGATE_GATEWAY__MAX_CONNECTIONS="0",
        CEDARGATE_GATEWAY__MAX_CONNECTIONS_PER_ADDRESS="0", CEDARGATE_GATEWAY__KEEPALIVE_TIMEOUT_MS="1800000",
    )
    # What the first connections need for ever is not the price of another one.
    for _ in range(50):
        with wire.connect(fortress.port, protocol) as first:
            request(first, protocol, 1)
    time.sleep(settle)
    before, cpu, streams, refused = process.shares(), process.cpu_ns(), [], 0
    try:
        for number in range(count):
            stream = None
            try:
                stream = wire.connect(fortress.port, protocol, SOURCES[number % len(SOURCES)])
                if not request(stream, protocol, 1):
                    refused += 1
                streams.append(stream)
            except OSError:
                refused += 1
                if stream:
                    stream.close()
        cpu = (process.cpu_ns() - cpu) / count / 1e3
        time.sleep(settle)
        after, kept = process.shares(), still_open(streams)
        answered = 0
        for stream in streams[:: max(1, count // 100)]:
            try:
                answered += request(stream, protocol, 3)
            except OSError:
                pass
        asked = len(streams[:: max(1, count // 100)])
    finally:
        for stream in streams:
            stream.close()
    time.sleep(settle)
    left = process.shares()
    rss, pss = ((new - old) / max(1, kept) for new, old in zip(after, before))
    return {"rss": rss, "pss": pss, "kept": kept, "refused": refused, "cpu": cpu, "before": before[0] / 1024,
            "after": after[0] / 1024, "left": left[0] / 1024, "answered": answered, "asked": asked}


def run(fortress, options, files):
    count = min(options.connections, files - 200)
    rows = [f"### {count:,} idle kept connections, after one request each", "",
            f"| | KiB each, RSS | PSS | bar {BAR_KIB} | still open | answered again | RSS before, with them, after (MiB) "
            "| CPU µs to open and ask |", "|---|---|---|---|---|---|---|---|"]
    if count < options.connections:
        rows.insert(1, f"\nOnly so many: the bound of open files is {files}.")
    met = True
    for name, protocol in KINDS.items():
        got = one_kind(fortress, protocol, count, options.settle)
        good = got["rss"] <= BAR_KIB and got["kept"] == count and got["answered"] == got["asked"]
        met = met and good
        rows.append(
            f"| {name} | {got['rss']:.1f} | {got['pss']:.1f} | {'met' if good else '**missed**'} | {got['kept']:,} "
            f"| {got['answered']} of {got['asked']} | {got['before']:.0f}, {got['after']:.0f}, {got['left']:.0f} "
            f"| {got['cpu']:.0f} |"
        )
    return rows, [("idle kept connections: at most 40 KiB each", met)]
