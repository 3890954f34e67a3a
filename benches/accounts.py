#!/usr/bin/env python3
"""Measures signing in: what it costs beyond its hash, whether names can be told by time, what a storm does to the data
plane, and whether an ended session is ever served again. Prints Markdown. README.md tells how.

    python3 -B benches/accounts.py target/release/cedargate
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from world import Process, free_port

SECRET = "f3b1c0d29e8a47566b0d4c1e9a7f8350d2c4b6a89e01f3b5"


class Api:
    """Requests over one kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text

    def login(self, name, password):
        return self.ask("POST", "/api/v1/auth/login", {"username": name, "password": password})


def server(binary, folder, **extra):
    gateway, admin = free_port(), free_port()
    env = {
        "CEDARGATE_GATEWAY__LISTEN": f"127.0.0.1:{gateway}", "CEDARGATE_ADMIN__LISTEN": f"127.0.0.1:{admin}",
        "SECRET_KEY": SECRET, "CEDARGATE_ACCESS_LOG__ENABLED": "false", "CEDARGATE_RATE_LIMIT__ENABLED": "false",
        "CEDARGATE_LOG__LEVEL": "error", "CEDARGATE_AUTH__LOGIN_FAILURES": "1000000",
        "CEDARGATE_LOCKOUT__ADDRESS_FAILURES": "0", "CEDARGATE_LOCKOUT__ACCOUNT_FAILURES": "0", **extra,
    }
    process = Server(binary, folder, env)
    process.wait_for(admin, "/readyz")
    return process, gateway, admin


class Server(Process):
    """On whichever core is free: threads of low priority are measured against others, not against a pin."""

    def __init__(self, binary, folder, env):
        super().__init__("cedargate", [binary, "dev", "--data-dir", folder / "data"], folder, env=env)
        subprocess.run(["taskset", "-a", "-cp", "0-63", str(self.popen.pid)], check=False, stdout=subprocess.DEVNULL)


def timed(work):
    started = time.perf_counter()
    outcome = work()
    return (time.perf_counter() - started) * 1_000, outcome


def medians(series):
    return {name: statistics.median(values) for name, values in series.items()}


def p99(values):
    return sorted(values)[int(len(values) * 0.99)]


def cost_of_a_login(binary, folder):
    """A sign-in with its hash, and the same with a hash that costs next to nothing: the rest is ours."""
    process, _, admin = server(
        binary, folder, CEDARGATE_AUTH__ARGON2_MEMORY_KIB="1024", CEDARGATE_AUTH__ARGON2_ITERATIONS="1",
        CEDARGATE_SESSIONS__MAX_PER_USER="1000",
    )
    api, hashes = Api(admin), Api(admin)
    api.login("user", "user123")
    whole, refused = [], []
    for _ in range(300):
        took, (status, _) = timed(lambda: api.login("user", "user123"))
        assert status == 200, status
        whole.append(took)
        # The same work without a session: the hash, and what it takes to find the account.
        took, (status, _) = timed(lambda: hashes.login("user", "wrong"))
        assert status == 401, status
        refused.append(took)
    process.stop()
    return whole, refused


def names_by_time(binary, folder):
    process, _, admin = server(binary, folder)
    api, series = Api(admin), {"known": [], "unknown": []}
    for number in range(200):
        for kind, name in (("known", "testuser"), ("unknown", f"nobody{number}")):
            took, (status, _) = timed(lambda: api.login(name, "wrong password"))
            assert status == 401, status
            series[kind].append(took)
    process.stop()
    return series


def wrk(port, token, rate_threads, seconds):
    script = f'wrk.headers["Authorization"] = "Bearer {token}"'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        lua.write(script)
        lua.flush()
        output = subprocess.run(
            ["wrk", "-t1", f"-c{rate_threads}", f"-d{seconds}s", "-s", lua.name, f"http://127.0.0.1:{port}/demo/whoami"],
            check=True, capture_output=True, text=True,
        ).stdout
    assert "Non-2xx" not in output, output
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])


def paced(port, token, rate, seconds):
    """Latencies in ms of `rate` requests a second over four connections, each from when it was due."""
    taken, threads = [], []
    each = 4 / rate

    def run(offset):
        api, due = Api(port), time.perf_counter() + offset * each / 4
        end = due + seconds
        while due < end:
            left = due - time.perf_counter()
            if left > 0:
                time.sleep(left)
            status, _ = api.ask("GET", "/demo/whoami", token=token)
            assert status == 200, status
            taken.append((time.perf_counter() - due) * 1_000)
            due += each

    for offset in range(4):
        threads.append(threading.Thread(target=run, args=(offset,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return taken


def storm(admin, logins):
    """So many sign-ins at once; how they were answered."""
    answers = []

    def one():
        try:
            answers.append(Api(admin).login("admin", "admin123")[0])
        except OSError as error:
            answers.append(type(error).__name__)

    threads = [threading.Thread(target=one) for _ in range(logins)]
    for thread in threads:
        thread.start()
    return threads, answers


def data_plane_under_a_storm(binary, folder):
    process, gateway, admin = server(binary, folder, CEDARGATE_AUTH__HASH_QUEUE="200")
    token = Api(admin).login("testuser", "testuser123")[1]["access_token"]
    # What one of Python's clients can pace; a quarter of what the gateway can is more than it can send.
    most = wrk(gateway, token, 64, 5)
    rate = min(most / 4, 400)
    idle, busy, statuses = [], [], {}
    for _ in range(3):
        idle += paced(gateway, token, rate, 4)
        threads, answers = storm(admin, 200)
        busy += paced(gateway, token, rate, 4)
        for thread in threads:
            thread.join()
        for answer in answers:
            statuses[answer] = statuses.get(answer, 0) + 1
    process.stop()
    return most, rate, idle, busy, statuses


def stale_after_the_end(binary, folder, rounds):
    process, gateway, admin = server(
        binary, folder, CEDARGATE_AUTH__ARGON2_MEMORY_KIB="1024", CEDARGATE_AUTH__ARGON2_ITERATIONS="1",
    )
    api, data, stale = Api(admin), Api(gateway), 0
    for _ in range(rounds):
        token = api.login("testuser", "testuser123")[1]["access_token"]
        assert data.ask("GET", "/demo/whoami", token=token)[0] == 200
        assert api.ask("POST", "/api/v1/auth/logout", token=token)[0] == 200
        stale += data.ask("GET", "/demo/whoami", token=token)[0] != 401
    process.stop()
    return stale


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cedargate", type=lambda path: Path(path).resolve())
    parser.add_argument("--rounds", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cedargate-accounts-") as folder:
        folders = [Path(folder) / name for name in ("cost", "names", "storm", "stale")]
        for path in folders:
            path.mkdir()
        whole, refused = cost_of_a_login(options.cedargate, folders[0])
        print("| | median | p99 |\n|---|---|---|")
        print(f"| sign-in with a hash of 1 MiB, ms | {statistics.median(whole):.2f} | {p99(whole):.2f} |")
        print(f"| wrong password, the same hash, ms | {statistics.median(refused):.2f} | {p99(refused):.2f} |")
        names = names_by_time(options.cedargate, folders[1])
        middle = medians(names)
        print(f"| wrong password, known name, ms | {middle['known']:.2f} | {p99(names['known']):.2f} |")
        print(f"| wrong password, unknown name, ms | {middle['unknown']:.2f} | {p99(names['unknown']):.2f} |")
        print(f"| unknown / known | {middle['unknown'] / middle['known']:.3f} | |")
        most, rate, idle, busy, statuses = data_plane_under_a_storm(options.cedargate, folders[2])
        print(f"| gateway idle, {rate:.0f} of {most:.0f} requests a second, ms | {statistics.median(idle):.2f} | {p99(idle):.2f} |")
        print(f"| the same while 200 sign in, ms | {statistics.median(busy):.2f} | {p99(busy):.2f} |")
        print(f"\nSign-ins of the storms: {statuses}")
        stale = stale_after_the_end(options.cedargate, folders[3], options.rounds)
        print(f"Sessions ended and asked for at once: {options.rounds}; served nevertheless: {stale}")


if __name__ == "__main__":
    main()
