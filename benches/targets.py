"""What requests notice of a target that dies, hangs or resets its connections, one of three under load."""

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import world

CONNECTIONS = 48
# Until it is noticed, at most: an interval of the health check and its patience, twice.
NOTICED = 3.0
FAULT_SECONDS, BACK_SECONDS = 8, 8
WRK = """
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%d,"status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\\n',
    summary.requests, e.status, e.connect, e.read, e.write, e.timeout))
end
"""


class Relay:
    """Passes bytes on to a server, until it is told to reset every connection."""

    def __init__(self, port):
        self.loop, self.open, self.broken = asyncio.new_event_loop(), set(), False
        self.target = port
        started = threading.Event()
        threading.Thread(target=self.run, args=(started,), daemon=True).start()
        started.wait()

    def run(self, started):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=256))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self.loop.run_forever()

    async def serve(self, reader, writer):
        if self.broken:
            return self.reset(writer)
        self.open.add(writer)
        try:
            below, above = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self.pump(reader, above), self.pump(below, writer))
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    @staticmethod
    async def pump(reader, writer):
        while got := await reader.read(65_536):
            writer.write(got)
            await writer.drain()
        writer.close()

    @staticmethod
    def reset(writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def breaks(self, broken):
        def change():
            self.broken = broken
            if broken:
                for writer in list(self.open):
                    self.reset(writer)

        self.loop.call_soon_threadsafe(change)


class Fleet:
    """Three servers that write down what they are asked; the third can fail in several ways."""

    def __init__(self, folder):
        self.folder, self.servers = folder, []
        for number in range(3):
            own = folder / f"target{number}"
            own.mkdir()
            self.servers.append([own, world.free_port(), None])
            self.start(number)
        self.relay = Relay(self.servers[2][1])

    def start(self, number):
        folder, port, _ = self.servers[number]
        log = f"access_log {folder}/seen; location /asked {{ return 200 'asked'; }}"
        self.servers[number][2] = world.upstream(folder, port, 4096, log)

    def ports(self):
        return [self.servers[0][1], self.servers[1][1], self.relay.port]

    def seen(self, number):
        """Requests so far, but for those of health checks."""
        try:
            text = (self.servers[number][0] / "seen").read_text()
        except FileNotFoundError:
            return 0
        return sum(1 for line in text.splitlines() if '"GET /fleet' in line)

    def process(self):
        return self.servers[2][2].popen

    def fault(self, kind):
        if kind == "killed":
            self.process().kill()
            self.process().wait()
        elif kind == "paused":
            self.process().send_signal(signal.SIGSTOP)
        else:
            self.relay.breaks(True)

    def mend(self, kind):
        if kind == "killed":
            self.start(2)
        elif kind == "paused":
            self.process().send_signal(signal.SIGCONT)
        else:
            self.relay.breaks(False)

    def stop(self):
        for _, _, process in self.servers:
            process.popen.send_signal(signal.SIGCONT)
            process.stop(signal.SIGKILL)


def open_to(pid, port):
    """Connections that `pid` has open to a port."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
        if found:
            inodes.add(found[1])
    with open("/proc/net/tcp", encoding="ascii") as table:
        fields = [line.split() for line in table.readlines()[1:]]
    return sum(1 for f in fields if int(f[2].split(":")[1], 16) == port and f[9] in inodes and f[3] == "01")


def one_fault(gate, fleet, kind, folder):
    seconds = int(2 + FAULT_SECONDS + BACK_SECONDS)
    script = folder / "targets.lua"
    script.write_text(WRK)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", script,
               f"http://127.0.0.1:{gate.port}/fleet/a"]
    wrk = subprocess.Popen(world.pinned(world.LOAD_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, env={"PATH": os.environ["PATH"]})
    time.sleep(2)
    in_flight = open_to(gate.process.popen.pid, fleet.relay.port)
    fleet.fault(kind)
    time.sleep(NOTICED)
    noticed, told = fleet.seen(2), gate.target_states()
    time.sleep(FAULT_SECONDS - NOTICED)
    meanwhile = fleet.seen(2) - noticed
    fleet.mend(kind)
    time.sleep(BACK_SECONDS / 2)
    back = fleet.seen(2)
    out, _ = wrk.communicate(timeout=seconds + 20)
    again = fleet.seen(2) - back
    run = json.loads(re.search(r"^@(.*)$", out, re.M)[1])
    failed = sum(run[key] for key in ("status", "connect", "read", "write", "timeout"))
    return {"requests": run["requests"], "failed": failed, "in_flight": in_flight, "meanwhile": meanwhile,
            "again": again, "told": told, "kinds": {key: run[key] for key in run if run[key] and key != "requests"}}


def run(gate, options, _files):
    fleet = Fleet(gate.folder)
    rows = ["### One of three targets fails under load", "",
            f"wrk, {CONNECTIONS} connections; the target fails after 2 s and is back {FAULT_SECONDS} s later.", "",
            "| | requests | failed | its connections then | it got after it was noticed | told as out | after its return | |",
            "|---|---|---|---|---|---|---|---|"]
    verdicts = []
    try:
        gate.lead("/fleet/{*rest}", "fleet", fleet.ports(), {
            "retries": 2, "timeouts": {"connect_ms": 500, "read_ms": 5_000, "write_ms": 5_000, "total_ms": 10_000},
            "health_check": {"path": "/asked", "interval_ms": 500, "timeout_ms": 500, "unhealthy_after": 2},
            "ejection": {"failures": 3, "ms": 2_000},
        })
        gate.serve()
        for kind in ("killed", "paused", "reset"):
            got = one_fault(gate, fleet, kind, gate.folder)
            met = got["failed"] <= got["in_flight"] and got["meanwhile"] == 0 and got["again"] > 0
            rows.append(
                f"| {kind} | {got['requests']:,} | {got['failed']} {got['kinds'] or ''} | {got['in_flight']} "
                f"| {got['meanwhile']} | {got['told']} | {got['again']:,} | {'met' if met else '**missed**'} |"
            )
            verdicts.append((f"one of three targets {kind}: at most those in flight fail, none after, some again", met))
    finally:
        fleet.stop()
    return rows, verdicts
