"""Load, bounded in time and in connections, and what it cost whom."""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import world
from world import busy, children_cpu

WRK = """
local name, path, requests, at = os.getenv("BENCH_TOKENS"), os.getenv("BENCH_PATHS"), {}, 0
local once = os.getenv("BENCH_ONCE")
if name then
  function init()
    for token in io.lines(name) do
      local n = #requests
      requests[n + 1] = wrk.format("GET", path:format(n % ROUTES, n), { Host = wrk.headers["Host"],
        Authorization = "Bearer " .. token })
    end
  end
  function request()
    if once and at >= #requests then
      wrk.thread:stop()
      return requests[1]
    end
    at = at % #requests + 1
    return requests[at]
  end
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%d,"us":%d,"bad":%d,"p50":%d,"p99":%d}\\n', summary.requests,
    summary.duration, e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
""".replace("ROUTES", str(world.ROUTES))


@dataclass(frozen=True)
class Load:
    """What is sent: one token, or those of a file in turn, or each of them once."""

    path: str = "/articles0/1"
    token: str | None = None
    tokens: Path | None = None
    once: bool = False
    connections: int = 64
    secure: bool = False
    # By h2load: one stream for each connection with HTTP/2, or HTTP/1.1 at so many requests a second of all.
    http2: bool = False
    paced: bool = False
    rate: float | None = None

    def at(self, rate):
        return replace(self, rate=rate)


class Generator:
    def __init__(self, folder, upstream):
        self.folder, self.upstream = folder, upstream
        self.script, self.log = folder / "wrk.lua", folder / "h2load.log"
        self.script.write_text(WRK)

    def start(self, contestant, load, seconds):
        by_h2load = load.http2 or load.paced
        port = contestant.tls_port if load.secure else contestant.port
        address = f"{'https' if load.secure else 'http'}://127.0.0.1:{port}{load.path}"
        command = self.h2load(load, seconds) if by_h2load else self.wrk(load, seconds)
        env = {"PATH": os.environ["PATH"]}
        if load.tokens:
            env |= {"BENCH_TOKENS": str(load.tokens), "BENCH_PATHS": "/articles%d/%d"}
        env |= {"BENCH_ONCE": "1"} if load.once else {}
        command = world.pinned(world.LOAD_CORE, [*command, address])
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wrk(self, load, seconds):
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", self.script]
        return command + (["-H", f"Authorization: Bearer {load.token}"] if load.token else [])

    def h2load(self, load, seconds):
        self.log.unlink(missing_ok=True)
        command = ["h2load", "-t1", f"-c{load.connections}", "-m1", "-D", str(seconds), f"--log-file={self.log}"]
        command += [] if load.http2 else ["--h1"]
        command += [f"--rps={load.rate / load.connections:.3f}"] if load.rate else []
        return command + (["-H", f"Authorization: Bearer {load.token}"] if load.token else [])

    def run(self, contestant, load, seconds):
        """Requests, failures, and milliseconds of one run."""
        generator = self.start(contestant, load, seconds)
        try:
            told, _ = generator.communicate(timeout=seconds + 20)
        finally:
            generator.kill()
        run = self.told_by_h2load(told) if load.http2 or load.paced else self.told_by_wrk(told)
        if run is None or run["bad"] or not run["requests"]:
            raise SystemExit(f"{contestant.name}: {run and run['bad']} requests failed:\n{told[-2000:]}")
        return run

    @staticmethod
    def told_by_wrk(told):
        line = re.search(r"^@(.*)$", told, re.M)
        return line and json.loads(line[1])

    def told_by_h2load(self, told):
        finished = re.search(r"^finished in ([\d.]+)(m?s)", told, re.M)
        counted = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", told)
        if not finished or not counted or not self.log.exists():
            return None
        succeeded, *bad = map(int, counted.groups())
        good = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", told)
        bad += map(int, good.groups()[1:])
        # Start, status, and how long, of each request.
        took = sorted(int(line.split("\t")[2]) for line in self.log.read_text().splitlines())
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))] if took else 0
        us = float(finished[1]) * (1e3 if finished[2] == "ms" else 1e6)
        return {"requests": succeeded, "us": us, "bad": sum(bad), "p50": at(0.5), "p99": at(0.99)}

    def measure(self, contestant, load, seconds):
        upstream = self.upstream
        cpu, ours = contestant.cpu(), upstream.cpu() + children_cpu()
        all_cpu, since = busy(), time.monotonic()
        run = self.run(contestant, load, seconds)
        cpu, elapsed = contestant.cpu() - cpu, time.monotonic() - since
        ours = upstream.cpu() + children_cpu() - ours + (0 if contestant is upstream else cpu)
        resident, proportional = contestant.memory()
        return {
            "cpu": cpu / run["requests"] * 1e6,
            "requests": run["requests"],
            "rps": run["requests"] / run["us"] * 1e6,
            "p50": run["p50"] / 1e3,
            "p99": run["p99"] / 1e3,
            "rss": resident,
            "pss": proportional,
            "others": max(0.0, busy() - all_cpu - ours) / elapsed,
            "used": cpu / elapsed,
        }
