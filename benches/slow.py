"""What slow clients do to ordinary ones: slowhttptest in each mode, and the latencies of paced requests meanwhile."""

import asyncio
import re
import resource
import statistics
import subprocess
import threading
import time
from pathlib import Path

import world
from fortress import HONEST

MODES = {
    "slow heads (-H)": ["-H", "-i", "5", "-x", "24", "-t", "GET"],
    "slow bodies (-B)": ["-B", "-i", "5", "-s", "8192", "-x", "10", "-t", "POST"],
    "ranges (-R)": ["-R", "-a", "10", "-b", "3000", "-t", "HEAD"],
    "slow reading (-X)": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
}
PATHS = {"-B": "/open/body", "-X": "/open/large", "-R": "/open/large"}
CONNECTED_EACH_SECOND = 500
RATE, KEPT = 250, 25
# Every so many requests come over a connection of their own, as those of new clients do.
NEW = 5
BAR, PATIENCE = 2.0, 10


class Ordinary:
    """Paced requests with a token from an address of their own; a latency counts from when the request was due."""

    def __init__(self, fortress):
        self.port, self.taken, self.refused = fortress.port, [], []
        self.request = (
            f"GET /articles0/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {fortress.token}\r\n\r\n"
        ).encode()

    async def run(self, seconds):
        end = time.perf_counter() + seconds
        await asyncio.gather(*(self.client(n, end) for n in range(KEPT)))

    async def client(self, number, end):
        due, each = time.perf_counter() + number / RATE, KEPT / RATE
        kept, sent = None, 0
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    if sent % NEW == 0:
                        status, used = await self.ask(None)
                        used[1].close()
                    else:
                        status, kept = await self.ask(kept)
                if status != 200:
                    self.refused.append(str(status))
            except (OSError, EOFError, TimeoutError) as fault:
                self.refused.append(type(fault).__name__)
                kept = None
            self.taken.append((due, (time.perf_counter() - due) * 1_000))
            # Who has waited too long sends what was due meanwhile without a pause, up to a second of it.
            due = max(due + each, time.perf_counter() - 1)
        if kept:
            kept[1].close()

    async def ask(self, kept):
        reader, writer = kept or await asyncio.open_connection("127.0.0.1", self.port, local_addr=(HONEST, 0))
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
        closing = b"\r\nconnection: close\r\n" in head
        if closing and kept:
            writer.close()
        return int(head[9:12]), None if closing and kept else (reader, writer)

    @classmethod
    def during(cls, fortress, seconds):
        ordinary = cls(fortress)
        asyncio.run(ordinary.run(seconds))
        return ordinary

    def p99(self, later=False):
        """Of all, or of those due in the second half, when the attack has connected and filled what buffers there are."""
        middle = (self.taken[0][0] + max(due for due, _ in self.taken)) / 2
        latencies = sorted(latency for due, latency in self.taken if not later or due > middle)
        return latencies[int(len(latencies) * 0.99)]


def kernel_memory():
    """MiB that all TCP sockets of the machine hold."""
    pages = int(re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)[1])
    return pages * resource.getpagesize() / 2**20


class Slow:
    """One slowhttptest; what it told last."""

    def __init__(self, fortress, options, arguments, seconds):
        path = PATHS.get(arguments[0], "/open/x")
        command = ["slowhttptest", *arguments, "-c", options.slow_connections, "-r", CONNECTED_EACH_SECOND, "-l", seconds,
                   "-p", "5", "-v", "1", "-u", f"http://127.0.0.1:{fortress.port}{path}"]
        self.popen = subprocess.Popen(
            world.pinned(world.LOAD_CORE, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        self.told, self.most, self.kernel = "", 0, 0.0
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.popen.stdout:
            line = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", line)
            self.told = (self.told + line)[-8_000:]
            if connected := re.match(r"connected:\s+(\d+)", line):
                # Told every few seconds.
                self.most, self.kernel = max(self.most, int(connected[1])), max(self.kernel, kernel_memory())

    def last(self, what):
        found = re.findall(rf"^{what}:\s+(\w+)", self.told, re.M)
        return found[-1] if found else "?"

    def end(self):
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
        self.reader.join()


def mode(fortress, options, arguments):
    process = fortress.serve()
    quiet = max(10, options.slow_seconds // 10)
    Ordinary.during(fortress, 2)
    before = Ordinary.during(fortress, quiet)
    process.forget_peak()
    memory, cpu, since = process.memory(), process.cpu_ns(), time.monotonic()
    slow = Slow(fortress, options, arguments, options.slow_seconds + 5)
    try:
        busy = Ordinary.during(fortress, options.slow_seconds)
        used = (process.cpu_ns() - cpu) / 1e9 / (time.monotonic() - since)
    finally:
        slow.end()
    peak = process.peak() - memory
    # Again without it, so that a machine that became slower is not taken for the attack.
    time.sleep(2)
    after = Ordinary.during(fortress, quiet)
    calm = statistics.median([before.p99(), after.p99()])
    return before, busy, after, busy.p99() / calm, peak, used, slow


def counted(refused):
    return ", ".join(f"{refused.count(kind)} {kind}" for kind in sorted(set(refused))) or "0"


def run(fortress, options, _files):
    rows = [f"### slowhttptest, {options.slow_connections:,} connections, {options.slow_seconds} s in each mode", "",
            f"{RATE} ordinary requests a second meanwhile, from another address, each {NEW}th over a new connection.", "",
            "| | p99 before, meanwhile, its second half, after (ms) | ratio | bar 2 | refused | bar 0 | attack: most at once, closed, "
            "could connect to the end | MiB, the kernel's of all sockets | cores |", "|---|---|---|---|---|---|---|---|---|"]
    ratios = refusals = True
    for name, arguments in MODES.items():
        if options.among and options.among not in name:
            continue
        before, busy, after, ratio, peak, used, slow = mode(fortress, options, arguments)
        ratios, refusals = ratios and ratio <= BAR, refusals and not busy.refused
        rows.append(
            f"| {name} | {before.p99():.1f}, {busy.p99():.1f}, {busy.p99(later=True):.1f}, {after.p99():.1f} | {ratio:.2f} "
            f"| {'met' if ratio <= BAR else '**missed**'} | {counted(busy.refused)} of {len(busy.taken):,} "
            f"| {'met' if not busy.refused else '**missed**'} | {slow.most:,}, {slow.last('closed')}, "
            f"{slow.last('service available')} | +{peak:.0f}, {slow.kernel:.0f} | {used:.2f} |"
        )
    return rows, [("slowhttptest: ordinary p99 within 2 x", ratios), ("slowhttptest: no ordinary request refused", refusals)]
