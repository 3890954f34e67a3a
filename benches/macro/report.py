"""The tables, as Markdown."""

import datetime
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
from pathlib import Path

import world
from macro.rivals import PATH

# A run is undisturbed when other processes used less than this share of one core.
CALM = 0.1
# Linux waits for 200 µs unless it is told otherwise.
HALT_POLL = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")


def middle(runs, key):
    return statistics.median(run[key] for run in runs)


def quartiles(values, digits=2):
    values = list(values)
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def median_within(values):
    """Between which of the values the median lies in 95 of 100 such runs, by order statistics; few values tell too little."""
    values = sorted(values)
    count = len(values)
    beyond = lambda rank: 2 * sum(math.comb(count, below) for below in range(rank)) / 2**count
    rank = max((rank for rank in range(1, count // 2 + 1) if beyond(rank) <= 0.05), default=None)
    return f"{values[rank - 1]:.2f} to {values[count - rank]:.2f}" if rank else "too few"


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def first_line(*command):
    program = shutil.which(command[0], path=PATH)
    if not program:
        return f"no {command[0]}"
    told = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return (told.stdout + told.stderr).strip().split("\n")[0]


def header(options, load_before, missing):
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    wrk = re.search(r"wrk (\S+)", first_line("wrk", "-v"))
    kernel = ".".join(platform.release().split(".")[:2])
    order = "A B" if options.quick else "A B B A"
    lines = [
        f"- {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC; {len(world.CORES)} cores"
        f" ({cpu[1] if cpu else platform.machine()}), Linux {kernel}",
        f"- {first_line(str(options.cedargate), 'version')}; {first_line('nginx', '-v').removeprefix('nginx version: ')};"
        f" {first_line('haproxy', '-v').split(' - ')[0]}; {first_line('openssl', 'version')}",
        f"- wrk {wrk[1] if wrk else '?'}; {first_line('h2load', '--version')}; {first_line('rustc', '--version')}",
        f"- {options.rounds} rounds of {order}, {options.seconds} s each;"
        f" load average {load_before[0]:.2f} before, {os.getloadavg()[0]:.2f} after",
    ]
    if HALT_POLL.exists():
        lines.append(f"- a virtual processor without work waits {int(HALT_POLL.read_text()) / 1000:.0f} µs before it halts (haltpoll)")
    return lines + ([f"- left out, because not installed: {', '.join(missing)}"] if missing else [])


def bars(found):
    rows = ["| Bar | Measured | |", "|---|---|---|"]
    rows += [f"| {what} | {figure} | {'met' if met else '**missed**'} |" for what, figure, met in found]
    return rows if found else []


def figures(direct, cases, runs):
    rows = ["| Case | | CPU µs/request | Requests/s | p50 ms | p99 ms | RSS MiB | PSS MiB |", "|---|---|---|---|---|---|---|---|"]

    def row(case, who, kept, once):
        cpu = quartiles([run["cpu"] for run in kept], 1)
        # Who stops when its tokens are used up does not tell how many a second there could be.
        rate = "" if once else f"{middle(kept, 'rps'):,.0f}"
        times = f"{middle(kept, 'p50'):.2f} | {middle(kept, 'p99'):.2f}"
        rows.append(f"| {case} | {who} | {cpu} | {rate} | {times} | {middle(kept, 'rss'):.1f} | {middle(kept, 'pss'):.1f} |")

    row("no proxy", "upstream", direct, False)
    for case in cases:
        ours = [run for rival in case.rivals for _, run in runs[case.name, rival]]
        row(case.name, case.gate, ours, case.fresh)
        for rival in case.rivals:
            row(case.name, rival, [run for run, _ in runs[case.name, rival]], case.fresh)
    return rows


def ratios(cases, runs):
    rows = ["Cedargate / the other, of each pair of neighbours: median (quartiles); where the median of CPU lies in 95 of 100 such runs.", ""]
    rows += ["| Case | against | CPU per request | median within | Requests/s | p50 | p99 | CPU, undisturbed pairs |", "|---|---|---|---|---|---|---|---|"]
    for case in cases:
        for rival in case.rivals:
            pairs = runs[case.name, rival]
            of = lambda key: quartiles(ours[key] / other[key] for other, ours in pairs)
            calm = [pair for pair in pairs if all(run["others"] < CALM for run in pair)]
            undisturbed = quartiles(ours["cpu"] / other["cpu"] for other, ours in calm) if calm else "none"
            rate = "" if case.fresh else of("rps")
            rows.append(
                f"| {case.name} | {rival} | {of('cpu')} | {median_within(ours['cpu'] / other['cpu'] for other, ours in pairs)}"
                f" | {rate} | {of('p50')} | {of('p99')}"
                f" | {undisturbed}, {len(calm)} of {len(pairs)} |"
            )
    everything = [run for pairs in runs.values() for pair in pairs for run in pair]
    rows += ["", f"Other processes used {quartiles(run['others'] for run in everything)} cores during the runs;"
             f" who was measured used {quartiles(run['used'] for run in everything)} of theirs."]
    return rows


def news(cases, runs, verified):
    rows = ["| Every token new | CPU µs beyond bare | one verify |", "|---|---|---|"]
    for case in cases:
        if case.fresh:
            for rival in case.rivals:
                pairs = runs[case.name, rival]
                difference = quartiles((ours["cpu"] - other["cpu"] for other, ours in pairs), 1)
                rows.append(f"| {case.algorithm}: {len(pairs)} pairs | {difference} | {quartiles(verified[case.algorithm], 1)} |")
    return rows if len(rows) > 2 else []


def tails(rates, pairs):
    if not pairs:
        return []
    rows = ["| At half of saturation, one token | p50 ms | p99 ms | Requests/s |", "|---|---|---|---|"]
    for who, kept in zip(("bare", "Cedargate"), zip(*pairs)):
        times = " | ".join(quartiles([run[key] for run in kept]) for key in ("p50", "p99"))
        rows.append(f"| {who} | {times} | {middle(kept, 'rps'):,.0f} |")
    each = " | ".join(quartiles(ours[key] / bare[key] for bare, ours in pairs) for key in ("p50", "p99"))
    return rows + [f"| Cedargate / bare | {each} | asked for: {quartiles(rates, 0)} |"]


def syscalls(counted):
    if not counted:
        return []
    rows = ["| System calls for each request | all | |", "|---|---|---|"]
    for name, calls in counted.items():
        often = sorted(calls.items(), key=lambda item: -item[1])
        each = ", ".join(f"{call} {times:.2f}" for call, times in often if times >= 0.02)
        rows.append(f"| {name} | {sum(calls.values()):.2f} | {each} |")
    return rows


def life(options, first, again, idle, signed_in, outcomes):
    ms = lambda kept: spread([took * 1000 for took, _ in kept], 0)
    mib = lambda held: f"{held.resident:.1f}, {held.anonymous:.1f}"
    exits = [(outcome.ended - outcome.last_answer) * 1000 for outcome in outcomes]
    total = lambda name: sum(getattr(outcome, name) for outcome in outcomes)
    settled = options.settled
    return [
        "| Start and memory | |", "|---|---|",
        f"| First start, on an empty database: ms to the first answer ({len(first)}) | {ms(first)} |",
        f"| Later starts: ms to the first answer ({len(again)}) | {ms(again)} |",
        f"| Idle {settled} s after the first start: MiB resident, of it anonymous | {mib(first[-1][1])} |",
        f"| Idle {settled} s after a later start: MiB | {mib(again[-1][1])} |",
        f"| Idle with {world.USERS} users and {world.ROUTES + 2} routes: MiB | {mib(idle)} |",
        f"| {settled} s after {world.USERS} sign-ins, one after another: MiB | {mib(signed_in)} |",
        "",
        f"| SIGTERM under load ({len(outcomes)} times) | |", "|---|---|",
        f"| Requests answered to the last byte, of these after the signal | {total('complete'):,}, {total('after'):,} |",
        f"| Accepted and failed | {sum(outcome.failed() for outcome in outcomes)} |",
        f"| Kept connection closed before the request was taken | {total('not_taken')} |",
        f"| New connections refused after the listener closed | {total('refused')} |",
        f"| Exit after the last answer: ms | {spread(exits, 1)} |",
        f"| Exit codes | {', '.join(str(outcome.code) for outcome in outcomes)} |",
    ]
