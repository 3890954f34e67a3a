#!/usr/bin/env python3
"""Measures the admin API on a large installation, on both databases, and prints the result as Markdown.

    cargo build --release && python3 benches/scale.py target/release/cedargate

Standard library only; PostgreSQL's programs come from Debian. The rows are made by SQL, the same at every run. README.md
tells how it measures.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import seed
from seed import Size, Sqlite
from world import Cedargate, claims_of, free_port, mint

SIZE = Size(users=1_000_000, roles=10_000, grants=100_000, permissions=5_000, modules=100, pages=10_000, routes=1_000)
LIST_MS, ACCOUNT_MS, WRITE_MS, MEMORY_MIB = 50, 10, 30, 1024

class Postgres:
    name = "PostgreSQL"

    def __init__(self, folder, size):
        self.size = size
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not programs:
            raise SystemExit("PostgreSQL is not installed: run tests/run.sh")
        self.programs, self.port = programs[-1].parent, free_port()
        self.folder = folder / "postgres"
        self.folder.mkdir()
        # PostgreSQL refuses to run as root.
        self.user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.user:
            subprocess.run(["chown", "postgres", self.folder], check=True)
            folder.chmod(0o755)
        data = self.folder / "data"
        init = [self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([*self.user, *init], check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        # Durable as it comes, with memory for rows of this number.
        self.server = subprocess.Popen(
            [*self.user, self.programs / "postgres", "-D", data, "-k", self.folder, "-p", str(self.port),
             "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=1GB", "-c", "max_wal_size=8GB"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
        )
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        ready = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready).returncode != 0:
            time.sleep(0.1)

    def fill(self):
        series = lambda count: f"generate_series(1, {count}) AS s(n)"
        statements = ["BEGIN", *seed.statements(self.size, series, ("(", ")::jsonb")), "COMMIT", "VACUUM ANALYZE"]
        psql = [self.programs / "psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", self.url]
        subprocess.run(psql, input=";\n".join(statements) + ";\n", text=True, check=True)

    def stop(self):
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        subprocess.run([*self.user, "kill", "-INT", str(pid)], check=True)
        self.server.wait(30)


class Client:
    """One kept connection to the admin service."""

    def __init__(self, gate, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", gate.admin_port, timeout=60)
        self.headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def send(self, method, path, body=None):
        """Milliseconds, and the answer's text."""
        body = None if body is None else json.dumps(body)
        started = time.perf_counter()
        self.connection.request(method, f"/api/v1{path}", body, self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        took = (time.perf_counter() - started) * 1000
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return took, text


def figures(times):
    times = sorted(times)
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]


class Table:
    def __init__(self):
        self.lines, self.missed = [], 0

    def row(self, name, times, bar):
        median, worst = figures(times)
        missed = bar is not None and worst >= bar
        self.missed += missed
        verdict = "" if bar is None else "**missed**" if missed else "met"
        self.lines.append(f"| {name} | {median:.1f} | {worst:.1f} | {'' if bar is None else bar} | {verdict} |")
        print(self.lines[-1], file=sys.stderr)


def reads(boss, user, rounds, table):
    def measure(name, client, paths, bar):
        for path in paths[:3]:
            client.send("GET", path)
        table.row(name, [client.send("GET", paths[n % len(paths)])[0] for n in range(rounds)], bar)

    measure("users, first pages", boss, [f"/users/?skip={n * 100}&limit=100" for n in range(20)], LIST_MS)
    measure("users, offset 10,000", boss, ["/users/?skip=10000&limit=100"], LIST_MS)
    measure("users, newest first", boss, [f"/users/?sort=-created_at&skip={n * 100}" for n in range(20)], LIST_MS)
    measure("users, by name, offset 10,000", boss, ["/users/?sort=username&skip=10000"], LIST_MS)
    measure("users, inactive, offset 10,000", boss, ["/users/?is_active=false&skip=10000"], LIST_MS)
    measure("users of a role that 100 have", boss, [f"/users/?role=role{n * 97}" for n in range(1, 30)], LIST_MS)
    measure("users of the role that all have", boss, [f"/users/?role=user&skip={n * 400}" for n in range(25)], LIST_MS)
    measure("users, count", boss, ["/users/count"], LIST_MS)
    measure("users, count of inactive", boss, ["/users/count?is_active=false"], LIST_MS)
    measure("users, search of a name", boss, [f"/users/?search=user{n * 31_337 % SIZE.users}" for n in range(1, 30)], LIST_MS)
    measure("users, search that ten thousands match", boss, [f"/users/?search=r{n}" for n in range(10, 40)], LIST_MS)
    measure("users, search that all match", boss, ["/users/?search=example"], LIST_MS)
    measure("users, search that none matches", boss, ["/users/?search=zzzyyyxxx"], LIST_MS)
    measure("users, search of two characters", boss, ["/users/?search=9a", "/users/?search=42"], None)
    measure("roles, pages", boss, [f"/roles/?skip={n * 300}&limit=100" for n in range(33)], LIST_MS)
    measure("roles, search", boss, [f"/roles/?search=role{n}&limit=100" for n in range(100, 130)], LIST_MS)
    measure("permissions, pages", boss, [f"/permissions/?skip={n * 140}&limit=100" for n in range(33)], LIST_MS)
    measure("permissions, search", boss, [f"/permissions/?search=thing{n}" for n in range(100, 130)], LIST_MS)
    measure("routes, pages", boss, [f"/routes/?skip={n * 300}&limit=100" for n in range(33)], LIST_MS)
    measure("routes, search", boss, [f"/routes/?search=page{n}" for n in range(100, 130)], LIST_MS)
    measure("effective permissions of a role", boss, [f"/roles/{n * 10 + 1000}/effective-permissions" for n in range(1, 90)], ACCOUNT_MS)
    measure("auth/me", user, ["/auth/me"], ACCOUNT_MS)
    measure("sidebar", user, ["/routes/sidebar"], ACCOUNT_MS)
    measure("auth/permissions", user, ["/auth/permissions"], ACCOUNT_MS)
    measure("auth/me of the superuser (5,000 permissions)", boss, ["/auth/me"], None)
    measure("everything a user can do", boss, [f"/users/{n * 9_973 + 2000}/access" for n in range(1, 90)], None)
    measure("who can, few", boss, [f"/who-can?permission=thing{n}:verb1" for n in range(1, 30)], None)
    measure("who can use a route", boss, [f"/who-can?method=GET&path=/part{n % 50}/place{n}/7" for n in range(1, 30)], None)
    measure("matrix of a role", boss, [f"/matrix?by=operation&role=role{n}" for n in range(1, 90)], None)
    measure("explain", boss, [f"/explain?user=user{n * 97}&method=GET&url=/part{n % 50}/place{n}/7" for n in range(1, 90)], None)


def writes(boss, rounds, table):
    def measure(name, calls, bar=WRITE_MS):
        times = [boss.send(*call)[0] for call in calls]
        table.row(name, times, bar)

    def each(make):
        return (call for n in range(1, rounds + 1) for call in make(n))

    measure("grant and revoke", each(lambda n: [
        ("POST", f"/roles/{1000 + n}/permissions/{5990 - n}"), ("DELETE", f"/roles/{1000 + n}/permissions/{5990 - n}")]))
    measure("assign and unassign", each(lambda n: [
        ("POST", f"/users/{2000 + n}/roles/{9000 - n}"), ("DELETE", f"/users/{2000 + n}/roles/{9000 - n}")]))
    measure("user, status", each(lambda n: [("PATCH", f"/users/{3000 + n}/toggle-status")]))
    measure("user, mail", each(lambda n: [("PUT", f"/users/{4000 + n}", {"email": f"other{n}@example.com"})]))
    measure("role, made and deleted", roles_made(boss, rounds))
    measure("role, renamed", each(lambda n: [("PUT", f"/roles/{5000 + n}", {"name": f"renamed{n}"})]))
    measure("role, status", each(lambda n: [("PATCH", f"/roles/{6000 + n}/toggle-status")]))
    measure("role, parent", each(lambda n: [
        ("POST", f"/roles/{2005 + n * 10}/parents/{1003}"), ("DELETE", f"/roles/{2005 + n * 10}/parents/{1003}")]))
    measure("permission, made", each(lambda n: [("POST", "/permissions/", {"name": f"fresh{n}:verb1"})]))
    measure("permission, renamed", each(lambda n: [("PUT", f"/permissions/{1500 + n}", {"name": f"other{n}:verb2"})]))
    measure("route, status", each(lambda n: [("PATCH", f"/routes/{20000 + n}/toggle-status")]))
    measure("route, moved", each(lambda n: [("PUT", f"/routes/{20000 + n}", {"route": f"/moved/{n}/{{id}}"})]))
    measure("module, renamed", each(lambda n: [("PUT", f"/modules/{1000 + n % 100 + 1}", {"name": f"renamed{n}"})]))
    measure("policy of a role, made and deleted", policies_made(boss, rounds))
    measure("preview of a grant", each(lambda n: [
        ("POST", f"/roles/{1000 + n}/permissions/{5990 - n}?dry_run=true")]), None)
    measure("preview of an assignment", each(lambda n: [
        ("POST", f"/users/{2000 + n}/roles/{9000 - n}?dry_run=true")]), None)


def policies_made(boss, rounds):
    for n in range(rounds):
        source = f'forbid (principal in Role::"role{n + 2000}", action == Action::"verb1", resource) unless {{ context.mfa }};'
        yield "POST", "/policies/", {"name": f"made{n}", "source": source}
        made = json.loads(boss.send("GET", f"/policies/?search=made{n}&limit=1")[1])
        yield "DELETE", f"/policies/{made[0]['id']}"


def roles_made(boss, rounds):
    for n in range(rounds):
        yield "POST", "/roles/", {"name": f"made{n}", "permission_ids": [1001, 1002, 1003]}
        made = json.loads(boss.send("GET", f"/roles/?search=made{n}&limit=1")[1])
        yield "DELETE", f"/roles/{made[0]['id']}"


def measure(options, database, folder):
    gate = Cedargate(options.cedargate, folder, database.name.lower())
    gate.environment = {"DATABASE_URL": database.url}
    gate.start()
    superuser = gate.sign_in("superadmin")
    gate.call("POST", "/upstreams/", {"name": "template", "targets": [{"address": "127.0.0.1:9"}]}, superuser)
    gate.process.stop()
    started = time.monotonic()
    database.fill()
    filled = time.monotonic() - started
    start = gate.start(limit=120)
    table = Table()
    try:
        memory = gate.process.memory()
        token = gate.sign_in("superadmin")
        boss = Client(gate, token)
        claims = claims_of(token)
        user = Client(gate, mint({**claims, "sub": "user4711", "uid": 5711, "sid": "0", "jti": "1"}, gate.secret))
        reads(boss, user, options.rounds, table)
        writes(boss, options.rounds // 2, table)
        memory_after = gate.process.memory()
    finally:
        gate.process.stop()
    print(f"\n#### {database.name}\n\nRows made in {filled:.0f} s; start to first answer {start:.1f} s; resident memory", end=" ")
    print(f"{memory:.0f} MiB after the start, {memory_after:.0f} MiB at the end (bar {MEMORY_MIB}).\n")
    print("| | median ms | p99 ms | bar | |\n|---|---|---|---|---|")
    print("\n".join(table.lines))
    return table.missed + (max(memory, memory_after) >= MEMORY_MIB)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("cedargate", type=Path)
    parser.add_argument("--rounds", type=int, default=200, help="requests of each kind that are timed")
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    options.cedargate = options.cedargate.resolve()
    print(f"{SIZE.users:,} users, {SIZE.roles:,} roles, {SIZE.grants:,} grants, {SIZE.pages + SIZE.routes:,} routes;"
          f" {options.rounds} requests each")
    missed = 0
    for kind in (Sqlite, Postgres):
        if options.only and options.only != kind.name.lower():
            continue
        with tempfile.TemporaryDirectory(prefix="cedargate-scale-") as folder:
            database = kind(Path(folder), SIZE)
            try:
                missed += measure(options, database, Path(folder))
            finally:
                database.stop()
    print(f"\n{missed} bars missed.")


if __name__ == "__main__":
    main()
