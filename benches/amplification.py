"""What a request costs in CPU, relative to an ordinary one of as many bytes, its answer's among them."""

import bisect
import sys
import time

import catalogue
import wire

BAR, WORST = 10, 10
# Connections that take turns: all ask before the first reads its answer, so that the gateway has work at hand.
CONNECTIONS = 16
# Seconds after which it is told what is being waited for.
SLOW = 15
MOST_BYTES = 512 * 1024 * 1024


class Cost:
    """What one kind of request cost: CPU in µs and bytes of each, answers, how often a connection was closed."""

    def __init__(self, case, used, asked, moved, answers, opened):
        # Of a pipeline only what was answered is a request that was served.
        answered = sum(count for how, count in answers.items() if how != "closed")
        requests = asked if case.answers == 1 else max(asked, answered)
        self.case, self.cpu, self.bytes = case, used / requests / 1e3, sum(moved) / requests
        self.sent, self.answers, self.requests, self.opened = moved[0] / requests, answers, requests, opened

    def anew(self):
        """Whether each request needed a connection of its own."""
        return self.opened > self.requests / 2


def ask(connections, case, number, answers):
    """One request on each connection; the bytes that were taken."""
    sent, asked = 0, []
    for connection in connections:
        if case.fresh:
            connection.close()
        sent += connection.send(case.make(number) if case.plain else case.make)
        asked.append(connection)
        number += 1
    for connection in asked:
        for _ in range(case.answers):
            answer = connection.answer(case.method) if case.plain else connection.answer()
            answers[answer] = answers.get(answer, 0) + 1
    return sent


def measure(gate, process, case, seconds, idle):
    connections = [wire.Http1(gate.port) if case.plain else wire.Http2(gate.port) for _ in range(CONNECTIONS)]
    first = {}
    ask(connections[:1], case, 0, first)
    if wire.HELD in first:
        # Each would be waited for in turn.
        connections = connections[:1]
    else:
        ask(connections[1:], case, 1, {})
    started = number = len(connections)
    opened, received = (sum(getattr(one, what) for one in connections) for what in ("opened", "received"))
    answers, sent, since, cpu = {}, 0, time.monotonic(), process.cpu_ns()
    while (took := time.monotonic() - since) < seconds and sent < MOST_BYTES:
        sent += ask(connections, case, number, answers)
        number += len(connections)
    used = process.cpu_ns() - cpu - idle * took
    opened = sum(connection.opened for connection in connections) - opened
    received = sum(connection.received for connection in connections) - received
    for connection in connections:
        connection.close()
    return Cost(case, max(1, used), number - started, (sent, received), answers, opened)


class Ordinary:
    """The cost of an ordinary request of so many bytes: measured at some sizes, on a line between them."""

    def __init__(self, costs):
        self.sizes, self.costs = zip(*sorted((cost.bytes, cost.cpu) for cost in costs))

    def of(self, size):
        if size <= self.sizes[0]:
            return self.costs[0]
        at = min(bisect.bisect_left(self.sizes, size), len(self.sizes) - 1)
        (left, low), (right, high) = ((self.sizes[n], self.costs[n]) for n in (at - 1, at))
        return low + (high - low) * (size - left) / (right - left)


def protocol(gate, options, name, plain):
    """Costs of all requests of a protocol, those of ordinary ones among them."""
    process = gate.serve(tls=not plain)
    time.sleep(options.settle)
    cpu = process.cpu_ns()
    time.sleep(2)
    idle = (process.cpu_ns() - cpu) / 2
    every = catalogue.http1(gate) if plain else catalogue.http2(gate)
    ordinary = [case for case in every if case.ordinary]
    rest = [case for case in every if not case.ordinary and (not options.among or options.among in case.name)]

    def cost(case):
        since = time.monotonic()
        measured = measure(gate, process, case, options.case_seconds, idle)
        if time.monotonic() > since + SLOW:
            print(f"{name}, {case.name}: took {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
        return measured

    first = [cost(case) for case in ordinary]
    costs = [cost(case) for case in rest]
    # Twice, because it is the measure of all others.
    again = [cost(case) for case in ordinary]
    for one, other in zip(first, again):
        one.cpu = (one.cpu + other.cpu) / 2
    kept = Ordinary([cost for cost in first if not cost.case.fresh])
    fresh = next(cost.cpu for cost in first if cost.case.fresh)
    alone = fresh - min(kept.costs)
    found = []
    for cost in costs:
        size = kept.of(cost.bytes)
        # Whoever is closed pays for the next connection as everybody does.
        if cost.anew():
            size += alone
        found.append((cost.cpu / size, name, cost, size))
    return first, found


def row(ratio, name, cost, size):
    most = sorted(cost.answers.items(), key=lambda item: -item[1])[:3]
    answers = ", ".join(f"{count:,} x {answer}" for answer, count in most)
    verdict = "met" if ratio <= BAR else "**missed**"
    return (f"| {cost.case.name} | {name}{', anew' if cost.anew() else ''} | {cost.sent:,.0f} | {cost.bytes:,.0f} "
            f"| {cost.cpu:,.1f} | {size:,.1f} | {ratio:.2f} | {verdict} | {answers} |")


def run(gate, options, _files):
    bases, found = [], []
    for name, plain in (("HTTP/1.1", True), ("HTTP/2", False)):
        first, costs = protocol(gate, options, name, plain)
        bases += [(name, cost) for cost in first]
        found += costs
    found.sort(key=lambda item: -item[0])
    shown = found if options.all else found[:WORST]
    rows = ["### CPU of a request over that of an ordinary one of its size", "",
            "| ordinary | | bytes | CPU µs | answers |", "|---|---|---|---|---|"]
    for name, cost in bases:
        answers = ", ".join(map(str, cost.answers))
        rows.append(f"| {cost.case.name} | {name} | {cost.bytes:,.0f} | {cost.cpu:,.1f} | {answers} |")
    rows += ["", f"The worst {len(shown)} of {len(found)}; *anew*: the gateway closes the connection after each, and an "
             "ordinary one over a new connection is the measure.", "",
             f"| request | | bytes sent | with the answer | CPU µs | ordinary | ratio | bar {BAR} | answers |",
             "|---|---|---|---|---|---|---|---|---|"]
    rows += [row(*item) for item in shown]
    met = all(ratio <= BAR for ratio, *_ in found)
    return rows, [(f"no request over {BAR} x the CPU of an ordinary one of its size", met)]
