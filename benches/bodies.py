"""What long bodies cost: memory must not grow with what passes through."""

import socket
import threading
import time

import wire

MIB = 1024 * 1024
BAR_MIB, BAR_STREAM_KIB = 16, 64
PIECE = b"x" * (256 * 1024)
SOURCES = [f"127.0.0.{n}" for n in range(2, 8)]


class Sink:
    """A back end that reads whole bodies and answers with their length."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with stream:
            got = b""
            while b"\r\n\r\n" not in got:
                more = stream.recv(65_536)
                if not more:
                    return
                got += more
            head, _, body = got.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            read, into = len(body), memoryview(bytearray(MIB))
            while read < length:
                count = stream.recv_into(into)
                if not count:
                    return
                read += count
            text = str(read).encode()
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(text), text))

    def close(self):
        self.listener.close()


class Watch:
    """The most memory that a process holds while something is done."""

    def __init__(self, process, settle):
        time.sleep(settle)
        self.process, self.before = process, process.memory()
        process.forget_peak()

    def grown(self):
        return self.process.peak() - self.before


def upload(port, size):
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"POST /sink/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(PIECE)):
            stream.sendall(PIECE)
        answer = stream.recv(65_536)
        while not answer.endswith(str(size).encode()):
            more = stream.recv(65_536)
            if not more:
                break
            answer += more
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(str(size).encode())


def download(stream, size, pace=None):
    """Reads an answer of `size` bytes; false if it is not whole."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = stream.recv(65_536)
        if not more:
            return False
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    read, into = len(body), memoryview(bytearray(MIB))
    while read < size:
        count = stream.recv_into(into)
        if not count:
            return False
        read += count
    return head.startswith(b"HTTP/1.1 200") and read == size


def slow_downloads(gate, count, seconds):
    """Clients that take a little of a large answer now and then; how many were still open at the end."""
    streams = []
    try:
        for number in range(count):
            stream = wire.connect(gate.port, None, SOURCES[number % len(SOURCES)])
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            stream.sendall(b"GET /open/giant HTTP/1.1\r\nHost: localhost\r\n\r\n")
            streams.append(stream)
        until, taken = time.monotonic() + seconds, [0] * count
        while time.monotonic() < until:
            for number, stream in enumerate(streams):
                stream.settimeout(5)
                taken[number] += len(stream.recv(4096))
        return sum(1 for bytes_taken in taken if bytes_taken > 4096)
    finally:
        for stream in streams:
            stream.close()


def run(gate, options, files):
    size = options.body_mib * MIB
    sink = Sink()
    gate.giant(size)
    gate.lead("/sink/{*rest}", "sink", [sink.port])
    process = gate.serve(
        CEDARGATE_GATEWAY__MAX_BODY_BYTES=str(2 * size), CEDARGATE_GATEWAY__MAX_CONNECTIONS_PER_ADDRESS="0",
    )
    # What the first ones need for ever is not the price of these.
    upload(gate.port, 8 * MIB)
    rows = [f"### Long bodies ({options.body_mib:,} MiB)", "",
            "| | grown at most, MiB | bar | whole | |", "|---|---|---|---|---|"]
    verdicts = []

    def row(name, grown, bar, good):
        met = good and grown <= bar
        rows.append(f"| {name} | {grown:.1f} | {bar:.1f} | {'yes' if good else '**no**'} | {'met' if met else '**missed**'} |")
        verdicts.append((f"memory flat: {name}", met))

    watch = Watch(process, options.settle)
    whole = upload(gate.port, size)
    row("one upload", watch.grown(), BAR_MIB, whole)
    watch = Watch(process, options.settle)
    with socket.create_connection(("127.0.0.1", gate.port)) as stream:
        stream.sendall(b"GET /open/giant HTTP/1.1\r\nHost: localhost\r\n\r\n")
        whole = download(stream, size)
    row("one download", watch.grown(), BAR_MIB, whole)
    count = min(options.downloads, files // 2 - 200)
    watch = Watch(process, options.settle)
    opened = slow_downloads(gate, count, options.slow_seconds)
    row(f"{count:,} slow downloads at once", watch.grown(), BAR_MIB + count * BAR_STREAM_KIB / 1024, opened == count)
    sink.close()
    return rows, verdicts
