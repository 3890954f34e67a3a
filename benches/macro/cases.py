"""What is asked of whom. Each case compares Cedargate with everybody else who can do the same."""

from dataclasses import dataclass
from typing import Callable

from macro.credentials import TOKENS
from macro.load import Load

BARE, TUNED = "bare", "bare, tuned"
NGINX, ASKING, LUA = "nginx", "nginx auth_request", "nginx + Lua"
HAPROXY, VERIFYING = "HAProxy", "HAProxy jwt_verify"
ENFORCING = (LUA, VERIFYING)
# Each of them is used once: about as many as are answered in a second, or as take no more than seconds to sign.
FRESH = {"HS256": 20_000, "RS256": 5_000, "ES256": 6_000, "EdDSA": 9_000}


@dataclass
class Case:
    name: str
    load: Callable[[], Load]
    rivals: tuple
    gate: str = "Cedargate"
    algorithm: str | None = None
    # No token is used twice: the load is another one each time.
    fresh: bool = False


def cases(algorithms, credentials):
    """All cases, in the order of the tables."""
    one = lambda algorithm, **how: lambda: Load(token=credentials.one(algorithm), **how)
    many = lambda algorithm, **how: lambda: Load(tokens=credentials.many[algorithm][0], **how)
    new = lambda algorithm: lambda: Load(tokens=credentials.fresh(algorithm, FRESH[algorithm]), once=True)
    found = [Case("public route", lambda: Load("/public/1"), (BARE, TUNED, NGINX, HAPROXY))]
    for algorithm in algorithms:
        # To others one token is as much work as many; the cases with many tell it.
        rivals = (BARE, TUNED, ASKING, *ENFORCING) if algorithm == "HS256" else (BARE,)
        found.append(Case(f"one {algorithm} token", one(algorithm), rivals, algorithm=algorithm))
    for algorithm in algorithms:
        rivals = (BARE, TUNED, ASKING, *ENFORCING) if algorithm == "HS256" else (BARE, *ENFORCING)
        found.append(Case(f"{TOKENS:,} {algorithm} tokens", many(algorithm), rivals, algorithm=algorithm))
    if "HS256" in algorithms:
        for connections in (16, 512):
            name = f"{TOKENS:,} HS256 tokens, {connections} connections"
            found.append(Case(name, many("HS256", connections=connections), (BARE, VERIFYING), algorithm="HS256"))
    first = algorithms[0]
    found += [
        Case(f"100 KB, one {first} token", one(first, path="/articles0/large"), (BARE, *ENFORCING), algorithm=first),
        Case(f"TLS, HTTP/1.1, one {first} token", one(first, secure=True), ENFORCING, "Cedargate, TLS", first),
        Case(f"TLS, HTTP/2, one {first} token", one(first, secure=True, http2=True), ENFORCING, "Cedargate, TLS", first),
        Case("access log on / off", one(first), ("Cedargate",), "Cedargate, access log", first),
    ]
    for algorithm in algorithms:
        found.append(Case(f"every {algorithm} token new", new(algorithm), (BARE,), algorithm=algorithm, fresh=True))
    return found


def chosen(found, contestants, options):
    """Those that are asked for, with the rivals that are there and can do them."""
    kept, only = [], options.only
    for case in found:
        if only and not any(text.lower() in case.name.lower().replace(",", "") for text in only):
            continue
        able = lambda name: (
            name in contestants
            and (name not in ENFORCING or case.algorithm in contestants[name].enforces)
            and not (options.quick and name == TUNED)
        )
        case.rivals = tuple(name for name in case.rivals if able(name))
        if case.rivals:
            kept.append(case)
    return kept
