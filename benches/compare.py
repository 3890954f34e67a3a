#!/usr/bin/env python3
"""Measures Cedargate against the same proxy without it, and prints the result as Markdown.

Standard library only; `run.sh` installs and builds what it needs. README.md tells how it measures.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import drain
import world
from world import Cedargate, Process, ask, busy, children_cpu, free_port

CONNECTIONS = 64
TOKENS = 10_000
WRK = """
local name, requests, at = os.getenv("BENCH_TOKENS"), {}, 0
if name then
  function init()
    for token in io.lines(name) do
      requests[#requests + 1] = wrk.format("GET", nil, { Host = wrk.headers["Host"], Authorization = "Bearer " .. token })
    end
  end
  function request()
    at = at % #requests + 1
    return requests[at]
  end
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%d,"us":%d,"bad":%d,"p50":%d,"p99":%d}\\n', summary.requests,
    summary.duration, e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""
# CPU per request of Cedargate over that of the bare proxy.
BARS = {"one token": 1.15, f"{TOKENS:,} tokens": 1.25}
MAX_IDLE_MIB, MAX_EXIT_MS = 40, 200
# Freed memory is given back within seconds, and threads for blocking work end after ten.
SETTLED = 15
# A run is undisturbed when other processes used less than this share of one core.
CALM = 0.1


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.running = options, folder, []
        (folder / "wrk.lua").write_text(WRK)

    def start(self):
        fast, self.slow = free_port(), free_port()
        self.upstream_port, self.upstream = fast, world.upstream(self.folder, fast)
        self.running.append(self.upstream)
        self.bare_port = free_port()
        command = [self.options.bare, "--listen", f"127.0.0.1:{self.bare_port}", "--upstream", f"127.0.0.1:{fast}"]
        self.bare = Process("bare", command, self.folder)
        self.running.append(self.bare)
        self.bare.wait_for(self.bare_port, "/")
        self.gates = []
        for name in ("quiet", "logging"):
            gate = Cedargate(self.options.cedargate, self.folder, name)
            self.gates.append(gate)
            self.gate_start(gate, name == "logging")
            gate.furnish(fast, self.slow)
        quiet, logging = self.gates
        # Started anew, so that its memory holds nothing of what was before.
        quiet.process.stop()
        self.gate_start(quiet)
        time.sleep(SETTLED)
        self.idle = quiet.process.memory()
        self.tokens = quiet.tokens(TOKENS)
        time.sleep(SETTLED)
        self.signed_in = quiet.process.memory()
        quiet.process.stop()
        self.gate_start(quiet)
        (self.folder / "tokens").write_text("\n".join(self.tokens) + "\n")
        self.logging_token = logging.tokens(1)[0]

    def gate_start(self, gate, access_log=False):
        took = gate.start(access_log)
        self.running.append(gate.process)
        return took

    def stop(self):
        for process in reversed(self.running):
            # Pingora's own server waits five minutes at SIGTERM.
            process.stop(signal.SIGINT if process.name == "bare" else signal.SIGTERM)

    def check(self):
        """Each contestant does what it is measured for, or nothing is measured."""
        faults = []

        def expect(what, wanted, *request):
            got = ask(*request)
            if got != wanted:
                faults.append(f"{what}: {got}, not {wanted}")

        expect("upstream", 200, self.upstream_port, "/articles0/1")
        expect("bare proxy", 200, self.bare_port, "/articles0/1")
        for gate, token in zip(self.gates, (self.tokens[0], self.logging_token)):
            port, forged = gate.port, token[:-5] + ("AAAAA" if token[-5:] != "AAAAA" else "BBBBB")
            expired = world.mint({**world.claims_of(token), "exp": int(time.time()) - 60}, gate.secret)
            expect("public", 200, port, "/public/1")
            expect("granted", 200, port, "/articles0/1", token)
            expect("no token", 401, port, "/articles0/1")
            expect("forged token", 401, port, "/articles0/1", forged)
            expect("expired token", 401, port, "/articles0/1", expired)
            expect("no grant", 403, port, "/articles0/1", token, "POST")
            expect("unknown path", 404, port, "/nothing", token)
        for n in range(0, TOKENS, TOKENS // 50):
            expect(f"token {n}", 200, self.gates[0].port, "/articles0/1", self.tokens[n])
        if faults:
            raise SystemExit("not measured, because a contestant does not do what it should:\n" + "\n".join(faults))

    def load(self, port, path, seconds, token=None, many=False):
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s", str(self.folder / "wrk.lua")]
        command += ["-H", f"Authorization: Bearer {token}"] if token else []
        env = {"PATH": os.environ["PATH"], **({"BENCH_TOKENS": str(self.folder / "tokens")} if many else {})}
        command = world.pinned(world.LOAD_CORE, [*command, f"http://127.0.0.1:{port}{path}"])
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def measure(self, process, seconds, *load, **how):
        cpu, ours, all_cpu, since = process.cpu(), self.upstream.cpu() + children_cpu(), busy(), time.monotonic()
        wrk = self.load(*load, seconds, **how)
        try:
            told, _ = wrk.communicate(timeout=seconds + 20)
        finally:
            wrk.kill()
        run = json.loads(re.search(r"^@(.*)$", told, re.M)[1])
        if run["bad"] or not run["requests"]:
            raise SystemExit(f"{process.name}: {run['bad']} failed of {run['requests']} requests:\n{told}")
        cpu, elapsed = process.cpu() - cpu, time.monotonic() - since
        ours = self.upstream.cpu() + children_cpu() - ours + (0 if process is self.upstream else cpu)
        return {
            "cpu": cpu / run["requests"] * 1e6,
            "rps": run["requests"] / run["us"] * 1e6,
            "p50": run["p50"] / 1e3,
            "p99": run["p99"] / 1e3,
            "memory": process.memory(),
            "others": max(0.0, busy() - all_cpu - ours) / elapsed,
            "used": cpu / elapsed,
        }

    def cases(self):
        """Name, what both proxies are asked, and Cedargate with its own address of it."""
        quiet, logging = self.gates
        one, many = {"token": self.tokens[0]}, {"many": True}
        return [
            ("public", "/public/1", quiet, {}, {}),
            ("one token", "/articles0/1", quiet, one, one),
            (f"{TOKENS:,} tokens", "/articles0/1", quiet, many, many),
            ("one token, access log on", "/articles0/1", logging, one, {"token": self.logging_token}),
        ]

    def rounds(self):
        options, runs, direct = self.options, {}, []
        for number in range(options.rounds):
            direct.append(self.measure(self.upstream, options.seconds, self.upstream_port, "/public/1"))
            for name, path, gate, bare_how, gate_how in self.cases():
                bare = (self.bare, options.seconds, self.bare_port, path), bare_how
                ours = (gate.process, options.seconds, gate.port, path), gate_how
                if number == 0:
                    for (process, _, *rest), how in (bare, ours):
                        self.measure(process, 1, *rest, **how)
                order = (bare, ours, ours, bare) if number % 2 == 0 else (ours, bare, bare, ours)
                got = [(what is ours, self.measure(*what[0], **what[1])) for what in order]
                for pair in (got[:2], got[2:]):
                    runs.setdefault(name, []).append(tuple(run for _, run in sorted(pair, key=lambda item: item[0])))
                if gate is self.gates[1]:
                    os.truncate(gate.log, 0)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        return direct, runs

    def starts(self):
        """Seconds to the first answer on an empty database and on the one it made, and at last idle MiB of each."""
        first, again = [], []
        for number in range(self.options.starts):
            gate = Cedargate(self.options.cedargate, self.folder, f"start{number}")
            for kept in (first, again):
                took = self.gate_start(gate)
                if number == self.options.starts - 1:
                    time.sleep(SETTLED)
                kept.append((took, gate.process.memory()))
                gate.process.stop()
        return first, again

    def drains(self):
        gate, outcomes = self.gates[0], []
        gate.process.stop()
        for _ in range(self.options.drains):
            self.gate_start(gate)
            start_load = lambda: self.load(gate.port, "/articles0/1", 3, token=self.tokens[0])
            outcomes.append(drain.run(gate, self.slow, self.tokens[1], start_load))
        return outcomes


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def first_line(*command):
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return (told.stdout + told.stderr).strip().split("\n")[0]


def header(options, load_before):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    wrk = re.search(r"wrk (\S+)", first_line("wrk", "-v"))
    kernel = ".".join(platform.release().split(".")[:2])
    return [
        f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC; {len(world.CORES)} cores"
        f" ({cpu[1] if cpu else platform.machine()}), Linux {kernel}",
        f"- {first_line(options.cedargate, 'version')}; {first_line(nginx, '-v').removeprefix('nginx version: ')};"
        f" wrk {wrk[1] if wrk else '?'}; {first_line('rustc', '--version') if shutil.which('rustc') else 'rustc ?'}",
        f"- {options.rounds} rounds of 4 x {options.seconds} s per case, {CONNECTIONS} connections;"
        f" load average {load_before[0]:.2f} before, {os.getloadavg()[0]:.2f} after",
    ]


def table(direct, runs):
    rows = ["| Case | | CPU µs/request | Requests/s | p50 ms | p99 ms | RSS MiB |", "|---|---|---|---|---|---|---|"]

    def row(case, who, kept):
        cpu = spread([run["cpu"] for run in kept], 1)
        figures = f"{middle(kept, 'rps'):,.0f} | {middle(kept, 'p50'):.2f} | {middle(kept, 'p99'):.2f}"
        rows.append(f"| {case} | {who} | {cpu} | {figures} | {middle(kept, 'memory'):.1f} |")

    row("no proxy", "upstream", direct)
    for name, pairs in runs.items():
        for who, kept in zip(("bare", "Cedargate"), zip(*pairs)):
            row(name, who, kept)
    rows += ["", "Cedargate / bare, of each pair of neighbours: median (least to most).", ""]
    rows += ["| Case | CPU per request | Requests/s | p50 | p99 | CPU, undisturbed pairs |", "|---|---|---|---|---|---|"]
    for name, pairs in runs.items():
        ratios = [spread([ours[key] / bare[key] for bare, ours in pairs]) for key in ("cpu", "rps", "p50", "p99")]
        calm = [pair for pair in pairs if all(run["others"] < CALM for run in pair)]
        ratios.append(spread([ours["cpu"] / bare["cpu"] for bare, ours in calm]) if calm else "none")
        rows.append(f"| {name} | {' | '.join(ratios)}, {len(calm)} of {len(pairs)} |")
    everything = [run for pairs in runs.values() for pair in pairs for run in pair]
    rows += ["", f"Other processes used {spread([run['others'] for run in everything])} cores during the runs;"
             f" the proxies used {spread([run['used'] for run in everything])} of theirs."]
    return rows


def rest(first, again, bench, outcomes):
    ms = lambda kept: spread([took * 1000 for took, _ in kept], 0)
    mib = lambda kept: f"{kept[-1][1]:.1f}"
    exits = [(outcome.ended - outcome.last_answer) * 1000 for outcome in outcomes]
    total = lambda name: sum(getattr(outcome, name) for outcome in outcomes)
    return [
        "| Start and memory | |", "|---|---|",
        f"| First start, on an empty database: ms to the first answer ({len(first)}) | {ms(first)} |",
        f"| Later starts: ms to the first answer ({len(again)}) | {ms(again)} |",
        f"| Idle {SETTLED} s after the first start: MiB | {mib(first)} |",
        f"| Idle {SETTLED} s after a later start: MiB | {mib(again)} |",
        f"| Idle with {world.USERS} users and {world.ROUTES + 2} routes: MiB | {bench.idle:.1f} |",
        f"| {SETTLED} s after {world.USERS} sign-ins, one after another: MiB | {bench.signed_in:.1f} |",
        "",
        f"| SIGTERM under load ({len(outcomes)} times) | |", "|---|---|",
        f"| Requests answered to the last byte, of these after the signal | {total('complete'):,}, {total('after'):,} |",
        f"| Accepted and failed | {sum(outcome.failed() for outcome in outcomes)} |",
        f"| Kept connection closed before the request was taken | {total('not_taken')} |",
        f"| New connections refused after the listener closed | {total('refused')} |",
        f"| Exit after the last answer: ms | {spread(exits, 1)} |",
        f"| Exit codes | {', '.join(str(outcome.code) for outcome in outcomes)} |",
    ]


def bars(runs, first, again, idle, outcomes):
    found = []
    for name, bar in BARS.items():
        ratio = statistics.median(ours["cpu"] / bare["cpu"] for bare, ours in runs[name])
        found.append((f"CPU per request, {name}: at most {bar} x bare", f"{ratio:.2f} x", ratio <= bar))
    memory = max(idle, again[-1][1])
    found.append((f"idle memory below {MAX_IDLE_MIB} MiB", f"{memory:.1f} MiB", memory < MAX_IDLE_MIB))
    memory = first[-1][1]
    found.append(("the same after a first start", f"{memory:.1f} MiB", memory < MAX_IDLE_MIB))
    failed = sum(outcome.failed() for outcome in outcomes)
    found.append(("SIGTERM under load: no accepted request fails", f"{failed} failed", failed == 0))
    slowest = max((outcome.ended - outcome.last_answer) * 1000 for outcome in outcomes)
    found.append((f"exit within {MAX_EXIT_MS} ms of the last answer", f"{slowest:.1f} ms at most", slowest <= MAX_EXIT_MS))
    rows = ["| Bar | Measured | |", "|---|---|---|"]
    return rows + [f"| {what} | {figure} | {'met' if met else '**missed**'} |" for what, figure, met in found]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cedargate", type=Path, required=True)
    parser.add_argument("--bare", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="under a minute, for trying a change; not for the record")
    parser.add_argument("--rounds", type=int, help="default 5, quick 2")
    parser.add_argument("--seconds", type=int, help="of each run; default 3, quick 1")
    options = parser.parse_args()
    quick = options.quick
    options.rounds = options.rounds or (2 if quick else 5)
    options.seconds = options.seconds or (1 if quick else 3)
    options.starts, options.drains = (2, 1) if quick else (5, 3)
    options.cedargate, options.bare = options.cedargate.resolve(), options.bare.resolve()
    return options


def main():
    options, load_before = arguments(), os.getloadavg()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if len(world.CORES) < 2:
        print("one core only: the load and the proxy share it", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="cedargate-bench-") as folder:
        bench = Bench(options, Path(folder))
        try:
            bench.start()
            bench.check()
            direct, runs = bench.rounds()
            outcomes = bench.drains()
            first, again = bench.starts()
        finally:
            bench.stop()
    for part in (
        header(options, load_before), bars(runs, first, again, bench.idle, outcomes), table(direct, runs),
        rest(first, again, bench, outcomes),
    ):
        print("\n".join(part), end="\n\n")


if __name__ == "__main__":
    main()
