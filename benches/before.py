"""What a request costs, against an earlier build of the program: CPU of each, in turn, on one core."""

import json
import os
import re
import statistics
import subprocess
from pathlib import Path

import world
from world import Cedargate

CONNECTIONS = 64
BAR = 1.01
WRK = """
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n@{"requests":%d,"bad":%d}\\n', summary.requests,
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def load(gate, script, seconds):
    """CPU microseconds for each request."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
               "-H", f"Authorization: Bearer {gate.bearer}", f"http://127.0.0.1:{gate.port}/articles0/1"]
    cpu = gate.process.cpu_ns()
    told = subprocess.run(world.pinned(world.LOAD_CORE, command), capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"]}).stdout
    run = json.loads(re.search(r"^@(.*)$", told, re.M)[1])
    if run["bad"] or not run["requests"]:
        raise SystemExit(f"{gate.name}: {run['bad']} failed of {run['requests']}")
    return (gate.process.cpu_ns() - cpu) / run["requests"] / 1e3


def run(main_gate, options, _files):
    rows = ["### CPU for each request, before and after", ""]
    if not options.before:
        return [*rows, "Not measured: no earlier build was named (`--before PROGRAM`)."], []
    folder = Path(main_gate.folder)
    script = folder / "before.lua"
    script.write_text(WRK)
    (folder / "plain").mkdir()
    port = world.free_port()
    upstream = world.upstream(folder / "plain", port)
    gates = [Cedargate(program, folder, name) for name, program in (("before", options.before), ("after", options.cedargate))]
    try:
        for gate in gates:
            gate.start()
            gate.furnish(port, port)
            gate.bearer = gate.tokens(1)[0]
            load(gate, script, 1)
        pairs = []
        for number in range(options.rounds):
            order = gates if number % 2 == 0 else gates[::-1]
            got = {gate.name: load(gate, script, options.round_seconds) for gate in order}
            pairs.append((got["before"], got["after"]))
    finally:
        for gate in gates:
            if gate.process:
                gate.process.stop()
        upstream.stop()
    ratios = [after / before for before, after in pairs]
    ratio = statistics.median(ratios)
    rows += ["| | CPU µs/request |", "|---|---|",
             f"| before | {statistics.median(before for before, _ in pairs):.2f} |",
             f"| after | {statistics.median(after for _, after in pairs):.2f} |",
             f"| ratio of {len(pairs)} pairs: median (least to most) | {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"]
    return rows, [(f"CPU per request within {(BAR - 1) * 100:.0f} % of before", ratio <= BAR)]
