"""Whether each contestant does what it is measured for; if not, nothing is measured."""

import http.client
import ssl

import world
from macro import policy
from macro.credentials import TOKENS

SAMPLES = 50


def ask(contestant, path, token=None, method="GET"):
    """The status, over TLS where there is nothing else."""
    if contestant.port:
        return world.ask(contestant.port, path, token, method)
    connection = http.client.HTTPSConnection("127.0.0.1", contestant.tls_port, timeout=5, context=trusting())
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def trusting():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def probe(contestant, algorithm, credentials):
    """What it answers otherwise than it should, by one algorithm."""
    one, other = credentials.one(algorithm), credentials.mint(algorithm, 2)[1]
    wanted = [
        ("granted", 200, one, "GET", "/articles0/1"),
        ("granted to its crew", 200, one, "POST", f"/articles{policy.CREWS}/1"),
        ("granted to the next crew", 200, other, "POST", "/articles1/1"),
        ("not granted to its crew", 403, one, "POST", "/articles1/1"),
        ("no token", 401, None, "GET", "/articles0/1"),
    ]
    stranger = credentials.stranger(algorithm)
    wanted += [("no role", 403, stranger, "POST", "/articles0/1")] if stranger else []
    wanted += [(what, 401, token, "GET", "/articles0/1") for what, token in credentials.refused(algorithm).items()]
    tokens = credentials.many[algorithm][1]
    wanted += [
        (f"token {n}", 200, tokens[n], "GET", policy.path_of(n)) for n in range(1, TOKENS, TOKENS // SAMPLES)
    ]
    faults = []
    for what, status, token, method, path in wanted:
        try:
            got = ask(contestant, path, token, method)
        except (OSError, http.client.HTTPException) as fault:
            got = repr(fault)
        if got != status:
            faults.append(f"{contestant.name}, {algorithm}: {what}: {got}, not {status}")
    return faults


def check(contestants, algorithms, credentials):
    faults = []
    for contestant in contestants:
        for path in ("/public/1", "/articles0/1", "/articles0/large") if not contestant.enforces else ():
            got = ask(contestant, path)
            faults += [] if got == 200 else [f"{contestant.name}: {path}: {got}, not 200"]
        for algorithm in algorithms:
            if algorithm in contestant.enforces:
                faults += probe(contestant, algorithm, credentials)
        if contestant.name.startswith("Cedargate"):
            for path, status in (("/public/1", 200), ("/nothing", 404)):
                got = ask(contestant, path, credentials.one(algorithms[0]))
                faults += [] if got == status else [f"{contestant.name}: {path}: {got}, not {status}"]
    if faults:
        raise SystemExit("not measured, because a contestant does not do what it should:\n" + "\n".join(faults))
