"""How the figures are got: pairs of neighbours, requests at half of saturation, system calls."""

import os
import re
import signal
import subprocess
import sys
import time

import world
from macro.cases import BARE
from macro.credentials import TOKENS
from macro.load import Load

SYSCALL_SECONDS = 2
# Seconds within which even the dearest tokens are verified.
REMEMBERED = 10


def verify(program, algorithm):
    """Microseconds that one verify takes by the crypto library alone, where the proxies are measured."""
    said = subprocess.run(world.pinned(world.PROXY_CORE, [program]), check=True, capture_output=True, text=True)
    return float(dict(part.split("=") for part in said.stdout.strip().split(","))[algorithm])


def blocks(generator, case, ours, rival, options, number):
    """Neighbours: A B B A, and in the next round the other way about. Pairs of a rival's run and ours."""
    first, second = (rival, ours) if number % 2 == 0 else (ours, rival)
    order = (first, second) if options.quick else (first, second, second, first)
    loads = [case.load()] * len(order)
    if case.fresh:
        # A file for each run of Cedargate's; the other does not look at tokens.
        loads = [load for _ in range(len(order) // 2) for load in [case.load()] * 2]
    got = [(who is ours, generator.measure(who, load, options.seconds)) for who, load in zip(order, loads)]
    for at in range(0, len(got), 2):
        yield tuple(run for _, run in sorted(got[at : at + 2], key=lambda item: item[0]))


def pairs(generator, cases, contestants, options):
    """Runs of the upstream alone, for each case and rival its pairs, and for each algorithm what one verify took meanwhile."""
    direct, runs, verified = [], {}, {}
    for number in range(options.rounds):
        direct.append(generator.measure(contestants["upstream"], Load("/public/1"), options.seconds))
        for case in cases:
            ours = contestants[case.gate]
            warm(generator, case, ours, [contestants[name] for name in case.rivals], options, number)
            for name in case.rivals:
                rival = contestants[name]
                found = runs.setdefault((case.name, name), [])
                if not case.fresh:
                    found.extend(blocks(generator, case, ours, rival, options, number))
                    continue
                # Before and after, since a machine's pace changes within minutes.
                took = [verify(options.verify, case.algorithm)]
                found.extend(blocks(generator, case, ours, rival, options, number))
                took.append(verify(options.verify, case.algorithm))
                verified.setdefault(case.algorithm, []).extend(took)
            if ours.log:
                os.truncate(ours.log, 0)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    return direct, runs, verified


def warm(generator, case, ours, rivals, options, number):
    """What comes before the first runs of a case and is not counted."""
    if case.fresh:
        return
    load = case.load()
    if load.tokens:
        remember(generator, ours, load)
    elif number == 0 and not options.quick:
        generator.run(ours, load, 1)
    for rival in rivals if number == 0 and not options.quick else ():
        generator.run(rival, load, 1)


def remember(generator, ours, load):
    """Until every token was seen within one run, in each round: those of other cases may have taken their places."""
    for seconds in range(1, REMEMBERED + 1):
        if generator.run(ours, load, seconds)["requests"] > TOKENS + load.connections:
            return
    raise SystemExit(f"{ours.name} does not answer {TOKENS} requests in {REMEMBERED} seconds")


def tails(generator, contestants, token, options):
    """Of Cedargate and the bare proxy at one rate, half of what the slower of them can do: pairs, and the rates."""
    load, rates, found = Load(token=token, paced=True), [], []
    bare, ours = contestants[BARE], contestants["Cedargate"]
    for number in range(options.rounds):
        most = [generator.measure(who, load, options.seconds)["rps"] for who in (bare, ours)]
        rates.append(min(most) / 2)
        order = (bare, ours, ours, bare) if number % 2 == 0 else (ours, bare, bare, ours)
        got = [(who is ours, generator.measure(who, load.at(rates[-1]), 2 * options.seconds)) for who in order]
        for at in (0, 2):
            found.append(tuple(run for _, run in sorted(got[at : at + 2], key=lambda item: item[0])))
    return rates, found


def syscalls(generator, contestants, loads, folder):
    """System calls for each request, by name, of each contestant under its load."""
    counted = {}
    for name, load in loads.items():
        contestant, told = contestants[name], folder / "strace.txt"
        told.unlink(missing_ok=True)
        # Memory is there, connections to the upstream are open.
        generator.run(contestant, load, 1)
        pids = [part for process in contestant.processes for part in ("-p", str(process.popen.pid))]
        tracer = subprocess.Popen(
            ["strace", "-q", "-c", "-f", "-o", told, *pids], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            wait_until_traced(contestant, tracer)
            requests = generator.run(contestant, load, SYSCALL_SECONDS)["requests"]
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            _, errors = tracer.communicate(timeout=10)
        if not told.exists():
            print(f"system calls of {name} are not counted: {errors.strip()[-200:]}", file=sys.stderr)
            continue
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$", told.read_text(), re.M)
        counted[name] = {call: int(times) / requests for times, call in rows if call != "total"}
    return counted


def wait_until_traced(contestant, tracer):
    until = time.monotonic() + 5
    while time.monotonic() < until and tracer.poll() is None:
        if all(is_traced(process.popen.pid) for process in contestant.processes):
            return
        time.sleep(0.01)


def is_traced(pid):
    """Every thread of it."""
    threads = os.listdir(f"/proc/{pid}/task")
    states = [open(f"/proc/{pid}/task/{thread}/status").read() for thread in threads]
    return not any(re.search(r"^TracerPid:\s+0$", state, re.M) for state in states)
