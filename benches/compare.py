#!/usr/bin/env python3
"""Measures Cedargate against bare Pingora and against what operators would pick instead, and prints it as Markdown.

`run.sh` installs and builds what it needs. README.md tells how it measures.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import drain
import world
from macro import bars, contestants, passes, probes, report
from macro.cases import ASKING, BARE, HAPROXY, LUA, NGINX, TUNED, VERIFYING, cases, chosen
from macro.contestants import SETTLED, Gates
from macro.credentials import ALGORITHMS, Credentials
from macro.load import Generator, Load
from macro.rivals import Rivals
from world import Cedargate, free_port


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.all, self.gates = options, folder, [], None
        self.missing, self.extra = [], []

    def start(self):
        options, folder = self.options, self.folder
        self.upstream = contestants.upstream(folder)
        self.all.append(self.upstream)
        fast, self.slow = self.upstream.port, free_port()
        for name, settings in ((BARE, ()), (TUNED, ("--tuned",))):
            self.all.append(contestants.bare(name, options.bare, folder, fast, *settings))
        files = contestants.certificate(folder)
        self.gates = Gates(options.cedargate, folder, options.algorithms)
        self.credentials = Credentials(folder, self.gates.quiet.secret)
        self.idle, self.signed_in = self.gates.start(fast, self.slow, self.credentials, files, options.settled)
        self.all += self.gates.contestants()
        rivals = Rivals(folder, fast, self.credentials, files)
        rivals.start(self.all)
        self.missing = rivals.missing
        for contestant in self.all:
            if contestant.port:
                contestant.wait()
        print("tokens are made", file=sys.stderr, flush=True)
        self.credentials.prepare(options.algorithms)
        self.named = {contestant.name: contestant for contestant in self.all}
        self.generator = Generator(folder, self.upstream)

    def stop(self):
        for process in self.extra:
            process.stop()
        if self.gates:
            self.gates.stop()
        for contestant in reversed(self.all):
            contestant.stop()

    def syscalls(self):
        token = self.credentials.one(self.options.algorithms[0])
        gated, plain = Load(token=token), Load("/public/1")
        loads = {"Cedargate": gated, BARE: gated, TUNED: gated, NGINX: plain, HAPROXY: plain, ASKING: gated}
        for name in (LUA, VERIFYING):
            if name in self.named and self.options.algorithms[0] in self.named[name].enforces:
                loads[name] = gated
        wanted = (BARE, "Cedargate") if self.options.quick else self.named
        loads = {name: load for name, load in loads.items() if name in self.named and name in wanted}
        return passes.syscalls(self.generator, self.named, loads, self.folder)

    def starts(self):
        """Seconds to the first answer on an empty database and on the one it made, and at last idle MiB of each."""
        first, again = [], []
        for number in range(self.options.starts):
            gate = Cedargate(self.options.cedargate, self.folder, f"start{number}")
            for kept in (first, again):
                took = gate.start()
                self.extra.append(gate.process)
                if number == self.options.starts - 1:
                    time.sleep(self.options.settled)
                kept.append((took, gate.process.held()))
                gate.process.stop()
        return first, again

    def drains(self):
        gate, outcomes = self.gates.quiet, []
        gate.process.stop()
        # Its own users alone have the route that takes a while.
        one, other = self.credentials.mint("HS256", 2)
        for _ in range(self.options.drains):
            gate.start()
            served = contestants.Contestant("Cedargate", [gate.process], gate.port)
            start_load = lambda: self.generator.start(served, Load(token=one), 3)
            outcomes.append(drain.run(gate, self.slow, other, start_load))
        return outcomes


def algorithms_of(text):
    found = tuple(text.split(","))
    if unknown := set(found) - set(ALGORITHMS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: none of {', '.join(ALGORITHMS)}")
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cedargate", type=Path, required=True)
    parser.add_argument("--bare", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="under two minutes, for trying a change; not for the record")
    parser.add_argument("--rounds", type=int, help="default 4, quick 1")
    parser.add_argument("--seconds", type=int, default=1, help="of each run, default 1")
    parser.add_argument("--only", default="", help="texts of which one is in a case's name: `public,10000 ES256`")
    parser.add_argument("--algorithms", type=algorithms_of, help=f"default {','.join(ALGORITHMS)}, quick HS256,ES256")
    parser.add_argument("--verify", type=Path, required=True, help="times the crypto library alone")
    parser.add_argument("--check", action="store_true", help="only whether everybody enforces the policy")
    options = parser.parse_args()
    quick = options.quick
    options.rounds = options.rounds or (1 if quick else 4)
    options.algorithms = options.algorithms or (("HS256", "ES256") if quick else ALGORITHMS)
    options.starts, options.drains = (1, 1) if quick else (5, 3)
    options.settled = 2 if quick or options.check else SETTLED
    options.only = [text for text in options.only.split(",") if text]
    options.cedargate, options.bare = options.cedargate.resolve(), options.bare.resolve()
    return options


def measured(bench, options, load_before):
    """All passes, and the parts of the report."""
    kept = chosen(cases(options.algorithms, bench.credentials), bench.named, options)
    if not kept:
        raise SystemExit(f"no case has any of these in its name: {', '.join(options.only)}")
    direct, runs, verified = passes.pairs(bench.generator, kept, bench.named, options)
    found = bars.of_pairs(runs, options.algorithms, verified)
    parts = [report.figures(direct, kept, runs), report.ratios(kept, runs), report.news(kept, runs, verified)]
    # What is chosen is chosen to be short.
    if not options.only:
        rates, tails = passes.tails(bench.generator, bench.named, bench.credentials.one(options.algorithms[0]), options)
        calls = bench.syscalls()
        outcomes = bench.drains()
        first, again = bench.starts()
        found += bars.of_passes(tails, calls) + bars.of_life(
            first, again, bench.idle, outcomes, options.settled == SETTLED
        )
        parts += [report.tails(rates, tails), report.syscalls(calls)]
        parts += [report.life(options, first, again, bench.idle, bench.signed_in, outcomes)]
    return [report.header(options, load_before, bench.missing), report.bars(found), *parts]


def main():
    options, load_before = arguments(), os.getloadavg()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if len(world.CORES) < 2:
        print("one core only: the load and the proxy share it", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="cedargate-bench-") as folder:
        bench = Bench(options, Path(folder))
        try:
            bench.start()
            probes.check(bench.all, options.algorithms, bench.credentials)
            parts = [["everybody enforces the policy"]] if options.check else measured(bench, options, load_before)
        finally:
            bench.stop()
    for part in filter(None, parts):
        print("\n".join(part), end="\n\n")


if __name__ == "__main__":
    main()
