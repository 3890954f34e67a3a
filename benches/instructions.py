#!/usr/bin/env python3
"""Counts instructions by callgrind, of the parts of a request and of whole ones, and prints the result as Markdown.

Standard library only; `instructions.sh` installs and builds what it needs. README.md tells how it counts.
"""

import argparse
import http.client
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import callgrind
import world
from world import Cedargate, Process, free_port

# Repetitions of a part; what both have in common is not counted.
FEW, MANY = 100, 1_100
# Each needs a token of its own, and making one takes longer than verifying it.
FEW_NEW, MANY_NEW = 20, 220
# Requests, of which the first ones find everything cold.
WARM, REQUESTS = 500, 3_500
VALGRIND = ["valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes"]
STARTS = 120
# Below this share a layer or function has no row.
LEAST = 0.002
DEAREST = 30


def part(program, name, folder):
    """Instructions of one repetition."""
    counts = (FEW_NEW, MANY_NEW) if "new" in name else (FEW, MANY)
    stem = name.replace(" ", "-").replace(",", "")
    command = [*VALGRIND, f"--callgrind-out-file={folder / stem}", program, "--count", name, *map(str, counts)]
    run = subprocess.run(command, cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{name}: {run.stderr}")
    # The first thread prepares, others may look after a log; the last ones repeat.
    few, many = sorted(thread.total for thread in callgrind.threads(folder, stem)[-2:])
    return (many - few) / (counts[1] - counts[0])


def parts(options, folder):
    names = subprocess.run([options.operations, "--names"], capture_output=True, text=True, check=True).stdout
    rows = ["| Part | Instructions |", "|---|---|"]
    for name in names.splitlines():
        rows.append(f"| {name} | {part(options.operations, name, folder):,.0f} |")
        print(rows[-1], file=sys.stderr)
    return rows


def ask(port, path, token, count):
    """So many requests, one after the other, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(count):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status}")
    connection.close()


class Bare:
    """The proxy without any code of ours."""

    name = "bare"

    def __init__(self, program, folder, upstream_port):
        self.program, self.folder, self.upstream_port = program, folder, upstream_port

    def run(self, stem, count, path, token, _log):
        port = free_port()
        command = [*VALGRIND, f"--callgrind-out-file={self.folder / stem}", self.program,
                   "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{self.upstream_port}"]
        process = Process(stem, command, self.folder)
        try:
            process.wait_for(port, "/", STARTS)
            ask(port, path, token, count)
        finally:
            # Pingora's own server waits five minutes at SIGTERM.
            process.stop(signal.SIGINT)


class Gate:
    """Cedargate, on rows that were made before anything was counted."""

    name = "Cedargate"

    def __init__(self, program, folder, upstream_port):
        self.folder = folder
        self.gate = Cedargate(program, folder, "gate")
        self.gate.start()
        try:
            self.gate.furnish(upstream_port, upstream_port)
            self.token = self.gate.tokens(1)[0]
        finally:
            self.gate.process.stop()
        self.counted = folder / "counted"
        self.gate.program, self.original = self.counted, program

    def run(self, stem, count, path, token, log):
        command = shlex.join([*VALGRIND, f"--callgrind-out-file={self.folder / stem}", str(self.original)])
        self.counted.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self.counted.chmod(0o755)
        try:
            self.gate.start(access_log=log, limit=STARTS)
            ask(self.gate.port, path, token, count)
        finally:
            if self.gate.process:
                self.gate.process.stop()


def request(proxy, case, folder):
    """The thread that serves, and what all others took, both for the requests beyond the first ones."""
    found = []
    for count in (WARM, REQUESTS):
        stem = f"{proxy.name}-{'-'.join(case[0].replace(',', '').split())}-{count}"
        proxy.run(stem, count, *case[1:])
        threads = callgrind.threads(folder, stem)
        serving = max(threads, key=lambda thread: thread.layers["pingora_proxy"])
        found.append((serving, sum(thread.total for thread in threads) - serving.total))
    (few, few_others), (many, many_others) = found
    return many.less(few), many_others - few_others


def requests(options, folder):
    port = free_port()
    upstream = world.upstream(folder, port)
    try:
        bare, gate = Bare(options.bare, folder, port), Gate(options.cedargate, folder, port)
        cases = [("public", "/public/1", None, False), ("one token", "/articles0/1", gate.token, False),
                 ("one token, access log on", "/articles0/1", gate.token, True)]
        counted = {}
        for case in cases:
            # There is no log to the bare proxy.
            same = counted.get("one token") if case[3] else None
            counted[case[0]] = (same[0] if same else request(bare, case, folder), request(gate, case, folder))
            print(case[0], file=sys.stderr, flush=True)
    finally:
        upstream.stop()
    return counted


def each(instructions):
    return f"{instructions / (REQUESTS - WARM):,.0f}"


def code(function):
    return f"`{function.replace('|', '&#124;')}`"


def report(counted):
    rows = ["| Request | bare | Cedargate | Cedargate / bare | other threads, bare | Cedargate |", "|---|---|---|---|---|---|"]
    for case, ((bare, bare_others), (ours, others)) in counted.items():
        rows.append(f"| {case} | {each(bare.total)} | {each(ours.total)} | {ours.total / bare.total:.3f}"
                    f" | {each(bare_others)} | {each(others)} |")
    (bare, _), (ours, _) = counted["one token"]
    logged = counted["one token, access log on"][1][0]
    rows += ["", "By layer, *one token*.", "",
             "| Layer | bare | Cedargate | more | share of Cedargate | with the access log |", "|---|---|---|---|---|---|"]
    for layer in sorted(set(bare.layers) | set(ours.layers), key=lambda layer: -ours.layers[layer]):
        if max(bare.layers[layer], ours.layers[layer]) < LEAST * ours.total:
            continue
        without, own = bare.layers[layer], ours.layers[layer]
        rows.append(f"| {layer} | {each(without)} | {each(own)} | {each(own - without)} | {own / ours.total:.1%}"
                    f" | {each(logged.layers[layer])} |")
    rows += ["", "Functions of ours, with all that they call.", "", "| Function | Instructions |", "|---|---|"]
    rows += [f"| {code(function)} | {each(cost)} |" for function, cost in ours.inclusive.most_common()
             if callgrind.module(function) and cost >= LEAST * ours.total]
    rows += ["", "The dearest functions themselves.", "", "| Function | bare | Cedargate |", "|---|---|---|"]
    rows += [f"| {code(function)} | {each(bare.functions[function])} | {each(cost)} |"
             for function, cost in ours.functions.most_common(DEAREST)]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("cedargate", "bare", "operations"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--only", choices=["parts", "requests"])
    options = parser.parse_args()
    options.cedargate, options.bare = options.cedargate.resolve(), options.bare.resolve()
    options.operations = options.operations.resolve()
    with tempfile.TemporaryDirectory(prefix="cedargate-instructions-") as folder:
        if options.only != "requests":
            print("\n".join(["### Parts of a request", "", *parts(options, Path(folder)), ""]), flush=True)
        if options.only != "parts":
            print("\n".join(["### Whole requests", "", *report(requests(options, Path(folder)))]))


if __name__ == "__main__":
    main()
