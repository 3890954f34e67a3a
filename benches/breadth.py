#!/usr/bin/env python3
"""Measures whether a request costs more among a million users than among ten, and prints the result as Markdown.

    cargo build --release && python3 benches/breadth.py target/release/cedargate

Standard library only; wrk and nginx come from Debian. README.md tells how it measures.
"""

import argparse
import itertools
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import world
from seed import FIRST, FIRST_ROUTE, Size, Sqlite
from world import Cedargate, ask, busy, children_cpu, claims_of, free_port, mint

SIZES = {
    "small": Size(users=10, roles=10, grants=50, permissions=10, modules=10, pages=10, routes=10),
    "large": Size(1_000_000, 10_000, 100_000, permissions=5_000, modules=100, pages=10_000, routes=10_000),
}
TOKENS, CONNECTIONS = 10_000, 64
BAR = 1.05
# Each request has a path and a token of its own, in turn.
WRK = """
local requests, at = {}, 0
function init()
  for line in io.lines(os.getenv("BENCH_REQUESTS")) do
    local path, token = line:match("(%S+) (%S+)")
    requests[#requests + 1] = wrk.format("GET", path, { Host = wrk.headers["Host"], Authorization = "Bearer " .. token })
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%d,"us":%d,"bad":%d,"p99":%d}\\n', summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
"""


class World:
    """A gateway among rows of one size, and who may ask for what there."""

    def __init__(self, program, folder, name, upstream_port):
        self.name, self.size = name, SIZES[name]
        (folder / f"{name}-rows").mkdir()
        database = Sqlite(folder / f"{name}-rows", self.size)
        self.gate = Cedargate(program, folder, name)
        self.gate.environment = {"DATABASE_URL": database.url}
        self.gate.start()
        try:
            superuser = self.gate.sign_in("superadmin")
            target = {"name": "template", "targets": [{"address": f"127.0.0.1:{upstream_port}"}]}
            self.gate.call("POST", "/upstreams/", target, superuser)
        finally:
            self.gate.process.stop()
        database.fill()
        self.claims = claims_of(superuser)
        self.holders = self.granted(database.path)
        self.requests = [(path, self.token(user, number)) for number, (path, user) in enumerate(self.pairs())]
        self.files = {"one token": folder / f"{name}-one", f"{TOKENS:,} tokens": folder / f"{name}-many"}
        for file, requests in zip(self.files.values(), (self.requests[:1], self.requests)):
            file.write_text("".join(f"{path} {token}\n" for path, token in requests))

    def granted(self, path):
        """The path of each route, and the roles that hold what it asks for."""
        with sqlite3.connect(path) as database:
            rows = database.execute("""SELECT r.route, g.role_id FROM routes r
                JOIN permissions p ON p.name = json_extract(r.operations, '$[0].permission')
                JOIN role_permissions g ON g.permission_id = p.id
                WHERE r.id > ? AND g.role_id > ? ORDER BY r.id, g.role_id""", (FIRST_ROUTE, FIRST)).fetchall()
        database.close()
        found = {}
        for route, role in rows:
            found.setdefault(route.replace("{id}", "1"), []).append(role)
        return found

    def users(self, role):
        """Active users of a role, from somewhere among them on."""
        every = range((role - FIRST - 1) or self.size.roles, self.size.users + 1, self.size.roles)
        active = [user for user in every if user % 10]
        middle = role * 37 % len(active) if active else 0
        return active[middle:] + active[:middle]

    def pairs(self):
        """A path and a user who is granted it, so many times, each different as long as there are others."""
        turns = {}
        for number, (path, roles) in zip(range(TOKENS), itertools.cycle(self.holders.items())):
            turn = (number + number // len(self.holders)) % len(roles)
            roles = roles[turn:] + roles[:turn]
            role = next(role for role in roles if self.users(role))
            yield path, next(turns.setdefault(role, itertools.cycle(self.users(role))))

    def token(self, user, number):
        own = {"sub": f"user{user}", "uid": FIRST + user, "sid": "0", "exp": int(time.time()) + 3600}
        return mint({**self.claims, **own, "jti": f"{number:08x}-0000-7000-8000-{os.urandom(6).hex()}"}, self.gate.secret)

    def check(self):
        """The decisions are those that the rows say, or nothing is measured."""
        port, (path, token) = self.gate.port, self.requests[0]
        # A role without parents that does not hold it.
        others = range(FIRST + 1, FIRST + self.size.roles)
        other = next(role for role in others if role not in self.holders[path] and role % 10 and self.users(role))
        expected = [(200, *request) for request in self.requests[::TOKENS // 50]]
        expected += [(403, path, self.token(self.users(other)[0], 0)), (404, "/nothing", token), (401, path, None)]
        got = [(ask(port, *request), *request) for _, *request in expected]
        faults = [f"{self.name}: {path}: {was}, not {wanted}" for (was, path, _), (wanted, *_) in zip(got, expected)
                  if was != wanted]
        if faults:
            raise SystemExit("not measured, because a decision is not what it should be:\n" + "\n".join(faults))

    def different(self):
        users = len({claims_of(token)["uid"] for _, token in self.requests})
        return f"{users:,} users, {len({path for path, _ in self.requests}):,} routes"


def measure(gate, script, requests, seconds, upstream):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s", "-s", script,
               f"http://127.0.0.1:{gate.port}/"]
    env = {"PATH": os.environ["PATH"], "BENCH_REQUESTS": str(requests)}
    cpu, ours, everybody, since = gate.process.cpu_ns(), upstream.cpu() + children_cpu(), busy(), time.monotonic()
    told = subprocess.run(world.pinned(world.LOAD_CORE, command), env=env, capture_output=True, text=True, check=True,
                          timeout=seconds + 30).stdout
    elapsed, cpu = time.monotonic() - since, gate.process.cpu_ns() - cpu
    run = json.loads(re.search(r"^@(.*)$", told, re.M)[1])
    if run["bad"] or not run["requests"]:
        raise SystemExit(f"{gate.name}: {run['bad']} failed of {run['requests']} requests:\n{told}")
    ours = upstream.cpu() + children_cpu() - ours + cpu / 1e9
    return {
        "cpu": cpu / run["requests"] / 1e3,
        "rps": run["requests"] / run["us"] * 1e6,
        "p99": run["p99"] / 1e3,
        "others": max(0.0, busy() - everybody - ours) / elapsed,
    }


def rounds(small, large, script, upstream, options):
    """For each case the pairs of neighbours, small and large."""
    pairs = {case: [] for case in small.files}
    for number in range(options.rounds):
        for case in pairs:
            once = lambda place, seconds: measure(place.gate, script, place.files[case], seconds, upstream)
            if number == 0:
                # What is found out once about each caller, and remembered, is no part of it.
                once(small, 1), once(large, 1)
            order = (small, large, large, small) if number % 2 == 0 else (large, small, small, large)
            got = [(place is large, once(place, options.seconds)) for place in order]
            for pair in (got[:2], got[2:]):
                pairs[case].append(tuple(run for _, run in sorted(pair, key=lambda item: item[0])))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return pairs


def spread(values, digits):
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:,.{digits}f} ({first:,.{digits}f} to {third:,.{digits}f})"


def report(worlds, pairs):
    rows = ["| | Users | Roles | Grants | Gateway routes | Start to first answer s | RSS MiB | Asked by, asked for |",
            "|---|---|---|---|---|---|---|---|"]
    for place in worlds:
        size = place.size
        rows.append(f"| {place.name} | {size.users:,} | {size.roles:,} | {size.grants:,} | {size.routes:,} | {place.started:.2f}"
                    f" | {place.gate.process.memory():.0f} | {place.different()} |")
    rows += ["", "Medians, with the quartiles behind.", "",
             "| Case | | CPU µs/request | Requests/s | p99 ms |", "|---|---|---|---|---|"]
    for case, kept in pairs.items():
        for place, runs in zip(worlds, zip(*kept)):
            cells = [spread([run[key] for run in runs], digits) for key, digits in (("cpu", 2), ("rps", 0), ("p99", 2))]
            rows.append(f"| {case} | {place.name} | {' | '.join(cells)} |")
    rows += ["", f"Large / small, of each pair of neighbours; the bar is for CPU: {BAR}.", "",
             "| Case | CPU per request | Requests/s | p99 | |", "|---|---|---|---|---|"]
    for case, kept in pairs.items():
        ratios = {key: [large[key] / small[key] for small, large in kept] for key in ("cpu", "rps", "p99")}
        verdict = "met" if statistics.median(ratios["cpu"]) <= BAR else "**missed**"
        rows.append(f"| {case} | {' | '.join(spread(values, 3) for values in ratios.values())} | {verdict} |")
    others = [run["others"] for kept in pairs.values() for pair in kept for run in pair]
    return rows + ["", f"{len(kept)} pairs for each case; other processes used {spread(others, 2)} cores meanwhile."]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cedargate", type=Path)
    parser.add_argument("--rounds", type=int, default=6, help="of two pairs for each case")
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cedargate-breadth-") as folder:
        folder, worlds, port = Path(folder), [], free_port()
        script = folder / "breadth.lua"
        script.write_text(WRK)
        upstream = world.upstream(folder, port)
        try:
            for name in SIZES:
                worlds.append(World(options.cedargate.resolve(), folder, name, port))
            for place in worlds:
                place.started = place.gate.start(limit=120)
                place.check()
            pairs = rounds(*worlds, script, upstream, options)
            print("\n".join(report(worlds, pairs)))
        finally:
            for place in worlds:
                place.gate.process.stop()
            upstream.stop()


if __name__ == "__main__":
    main()
