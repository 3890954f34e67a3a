"""What the figures should be, and whether they are."""

import statistics

from macro.cases import ASKING, BARE, ENFORCING, LUA, VERIFYING
from macro.credentials import TOKENS

ONE_TOKEN, MANY_TOKENS, TAIL, LOGGING = 1.00, 1.05, 1.1, 1.08
# The cheaper of those that verify as Cedargate does, by algorithm.
BEST_RIVAL = {"RS256": 0.5, "ES256": 0.3, "EdDSA": 0.25}
# Beside the bare proxy and the crypto library's own verify.
VERIFY_FACTOR, VERIFY_US = 1.2, 3.0
MAX_IDLE_MIB, MAX_EXIT_MS = 40, 200


def ratio(pairs, key="cpu"):
    return statistics.median(ours[key] / rival[key] for rival, ours in pairs)


def beyond(pairs):
    """Microseconds of CPU beyond the rival's."""
    return statistics.median(ours["cpu"] - rival["cpu"] for rival, ours in pairs)


def of_pairs(runs, algorithms, verified):
    """What, measured, whether met: whatever of it was measured."""
    found = []

    def at_most(what, case, rival, bar):
        if pairs := runs.get((case, rival)):
            found.append((f"{what}: at most {bar:.2f} x {rival}", f"{ratio(pairs):.2f} x", ratio(pairs) <= bar))

    at_most("CPU, one HS256 token", "one HS256 token", BARE, ONE_TOKEN)
    for algorithm in algorithms:
        case = f"{TOKENS:,} {algorithm} tokens"
        at_most(f"CPU, {case}", case, BARE, MANY_TOKENS)
    case = f"{TOKENS:,} HS256 tokens"
    for rival in (VERIFYING, LUA, ASKING):
        if pairs := runs.get((case, rival)):
            found.append((f"CPU, {case}: below 1.00 x {rival}", f"{ratio(pairs):.2f} x", ratio(pairs) < 1))
    for algorithm, bar in BEST_RIVAL.items():
        case = f"{TOKENS:,} {algorithm} tokens"
        measured = {rival: runs[case, rival] for rival in ENFORCING if (case, rival) in runs}
        if measured:
            best = max(measured, key=lambda rival: ratio(measured[rival]))
            at_most(f"CPU, {case}, the best peer", case, best, bar)
    at_most("CPU, access log on", "access log on / off", "Cedargate", LOGGING)
    for algorithm in algorithms:
        if pairs := runs.get((f"every {algorithm} token new", BARE)):
            bar = VERIFY_FACTOR * statistics.median(verified[algorithm]) + VERIFY_US
            what = f"CPU, every {algorithm} token new: at most {bar:.1f} µs beyond {BARE}"
            found.append((what, f"{beyond(pairs):.1f} µs", beyond(pairs) <= bar))
    return found


def of_passes(tails, calls):
    found = []
    if tails:
        measured = ratio(tails, "p99")
        found.append((f"p99 at half of saturation: at most {TAIL} x {BARE}", f"{measured:.2f} x", measured <= TAIL))
    if BARE in calls and "Cedargate" in calls:
        ours, theirs = (sum(calls[name].values()) for name in ("Cedargate", BARE))
        found.append((f"system calls for each request: at most {BARE}'s", f"{ours:.2f}, {theirs:.2f}", ours <= theirs))
    return found


def of_life(first, again, idle, outcomes, is_settled):
    memory = max(idle.resident, again[-1][1].resident)
    # Before, it holds what a start takes.
    memories = [
        (f"idle memory below {MAX_IDLE_MIB} MiB", f"{memory:.1f} MiB", memory < MAX_IDLE_MIB),
        ("the same after a first start", f"{first[-1][1].resident:.1f} MiB", first[-1][1].resident < MAX_IDLE_MIB),
    ] if is_settled else []
    failed = sum(outcome.failed() for outcome in outcomes)
    slowest = max((outcome.ended - outcome.last_answer) * 1000 for outcome in outcomes)
    return memories + [
        ("SIGTERM under load: no accepted request fails", f"{failed} failed", failed == 0),
        (f"exit within {MAX_EXIT_MS} ms of the last answer", f"{slowest:.1f} ms at most", slowest <= MAX_EXIT_MS),
    ]
