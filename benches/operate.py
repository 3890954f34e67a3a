"""Upgrades and reloads under load: how many requests fail?

    python3 benches/operate.py PROGRAM [--upgrades 50] [--reloads 500]

wrk loads a route over HTTP/1.1, h2load one over TLS and HTTP/2, each a server of its own, while that is upgraded and
reloaded again and again. Each reload changes a setting. A request failed if it was sent and not answered with 200.
h2load opens no second connection when one is ended in order (GOAWAY, RFC 9113 6.8), and counts what it would have sent on it
as failed: these are told apart (`not taken`), and it runs in short rounds, one after the other.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SECRET = "benchmark-only-benchmark-only-benchmark-only-4711"


class Server:
    def __init__(self, program, place, tls):
        self.program, self.place = program, Path(place)
        self.settings = self.place / "cedargate.toml"
        self.tls = ""
        if tls:
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=localhost", "-keyout", self.place / "key.pem", "-out", self.place / "cert.pem"],
                check=True, capture_output=True,
            )
            self.tls = f'tls_certificate = "{self.place}/cert.pem"\ntls_key = "{self.place}/key.pem"\n'
        self.configure(0)
        self.log = (self.place / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "--config", self.settings, "--data-dir", self.place / "data", "dev",
             "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=self.place,
            env={"SECRET_KEY": SECRET, "PATH": "/usr/bin:/bin"},
        )
        for line in self.process.stdout:
            if match := re.search(r"gateway +(\S+)", line):
                self.url = match[1] + "/demo/public"
            if "/demo/articles" in line:
                break
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()
        while self.pid() is None:
            time.sleep(0.02)

    def configure(self, number):
        self.settings.write_text(
            f"[gateway]\nmax_body_bytes = {1000000 + number}\n{self.tls}"
            f"[cors]\nmax_age_seconds = {600 + number % 100}\n[access_log]\nenabled = false\n[log]\nfile = \"\"\n"
        )

    def pid(self):
        try:
            return int((self.place / "data/cedargate.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def ask(self, command):
        done = subprocess.run(
            [self.program, "--data-dir", self.place / "data", command], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{command}: {done.stderr.strip()}")

    def end(self):
        pid = self.pid()
        subprocess.run(["kill", str(pid)], check=True)
        while Path(f"/proc/{pid}").exists() and pid != self.process.pid:
            time.sleep(0.05)
        self.process.wait()


class Load(threading.Thread):
    """Rounds of load until it is told to end."""

    def __init__(self, url):
        super().__init__()
        self.url, self.ends = url, threading.Event()
        self.requests = self.failed = self.not_taken = self.rounds = 0
        self.faults = []

    def run(self):
        while not self.ends.is_set():
            self.round()
            self.rounds += 1

    def finish(self):
        self.ends.set()
        self.join()


class Wrk(Load):
    def round(self):
        told = subprocess.run(["wrk", "-t1", "-c32", "-d5s", self.url], capture_output=True, text=True).stdout
        self.requests += int(re.search(r"(\d+) requests in", told)[1])
        failed = 0
        if match := re.search(r"Non-2xx or 3xx responses: (\d+)", told):
            failed += int(match[1])
        if match := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told):
            failed += sum(map(int, match.groups()))
        if failed:
            self.faults.append(told)
        self.failed += failed


class H2load(Load):
    def round(self):
        told = subprocess.run(
            ["h2load", "-t1", "-c16", "-m8", "-n4000", self.url], capture_output=True, text=True
        ).stdout
        counts = re.search(r"(\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", told)
        started, done, _, failed, _ = map(int, counts.groups())
        self.requests += done
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", told)
        wrong = sum(map(int, statuses.groups()[1:]))
        # Never sent, since their connection had ended.
        self.not_taken += max(0, failed - wrong - (started - done))
        lost = wrong + started - done
        if lost:
            self.faults.append(told)
        self.failed += lost


def measure(program, load, tls, upgrades, reloads):
    place = tempfile.mkdtemp(prefix="cedargate-operate-")
    server = Server(program, place, tls)
    worker = load(server.url)
    began = time.monotonic()
    worker.start()
    time.sleep(1)
    try:
        for number in range(max(upgrades, reloads)):
            if number * reloads // max(upgrades, reloads) != (number - 1) * reloads // max(upgrades, reloads):
                server.configure(number)
                server.ask("reload")
            if number * upgrades // max(upgrades, reloads) != (number - 1) * upgrades // max(upgrades, reloads):
                server.ask("upgrade")
    finally:
        worker.finish()
        server.end()
    took = time.monotonic() - began
    if worker.failed:
        # What the server says of it.
        told = [line for line in (server.place / "log").read_text().splitlines() if re.search(" WARN | ERROR ", line)]
        told = [line for line in told if "too few files" not in line]
        worker.faults.extend(told[-20:])
    shutil.rmtree(place, ignore_errors=True)
    return worker, took


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", type=Path)
    arguments.add_argument("--upgrades", type=int, default=50)
    arguments.add_argument("--reloads", type=int, default=500)
    arguments = arguments.parse_args()
    program = arguments.program.resolve()
    print("| load | upgrades | reloads | requests | failed | not taken | seconds |")
    print("|---|---|---|---|---|---|---|")
    failed = 0
    for name, load, tls in [("wrk, HTTP/1.1", Wrk, False), ("h2load, HTTP/2 over TLS", H2load, True)]:
        worker, took = measure(program, load, tls, arguments.upgrades, arguments.reloads)
        print(
            f"| {name} | {arguments.upgrades} | {arguments.reloads} | {worker.requests} | {worker.failed} "
            f"| {worker.not_taken} | {took:.0f} |", flush=True,
        )
        for fault in worker.faults[-22:]:
            print(fault, file=sys.stderr)
        failed += worker.failed
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
