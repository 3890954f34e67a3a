#!/usr/bin/env python3
"""Serves Cedargate to a comparison that brings its own keys, tokens, policy and upstream, until it is ended.

    python3 benches/served.py target/release/cedargate --jwks keys/jwks.json --policy policy/policy.json \\
        --secret keys/hs256.bin --tokens tokens/hs256.txt --remade tokens/own --upstream 127.0.0.1:19000

The policy is `{"roles": {role: [permission]}, "routes": [{"prefix", "methods", "permission"}]}`; tokens have a claim
`roles`. Three processes with one worker each, the access log off: one believes the issuer's keys, one has the shared
secret (HS256), one has the same routes open to everybody. The secret is Cedargate's own then, so its tokens are of its own
users, who are made here, and their header names no key: tokens of the file are signed anew without `kid`, for a `sub`
of letters and digits alone, and written beside others that must be refused, as `--remade`.txt, .first and .neg.json.
"""

import argparse
import json
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import world
from world import Cedargate, claims_of, mint

AT = "2026-01-01T00:00:00.000000Z"
GUEST = "benchguest"


def routes_of(policy):
    """Paths with their operations."""
    found = {}
    for route in policy["routes"]:
        operation = {"methods": route["methods"], "access": "permission", "permission": route["permission"]}
        found.setdefault(route["prefix"] + "{*rest}", []).append(operation)
    return found


def furnish(gate, policy, upstream, is_open):
    """Roles, grants and routes through the admin API; returns the ids of roles by the policy's names."""
    boss = gate.sign_in("superadmin")
    gate.call("POST", "/upstreams/", {"name": "compared", "targets": [{"address": upstream}]}, boss)
    module = gate.call("POST", "/modules/", {"name": "compared", "label": "Compared"}, boss)["id"]
    permissions, known = gate.every("/permissions/", boss), gate.every("/roles/", boss)
    for name in sorted({name for granted in policy["roles"].values() for name in granted} - set(permissions)):
        permissions[name] = gate.call("POST", "/permissions/", {"name": name}, boss)["id"]
    roles = {}
    for name, granted in policy["roles"].items():
        # Those of the system stay what they are.
        ours = f"compared-{name}" if name in known else name
        roles[name] = gate.call("POST", "/roles/", {"name": ours}, boss)["id"]
        for permission in granted:
            gate.call("POST", f"/roles/{roles[name]}/permissions/{permissions[permission]}", token=boss)
    for path, operations in routes_of(policy).items():
        if is_open:
            operations = [{"methods": operation["methods"], "access": "public"} for operation in operations]
        gate.call("POST", "/routes/", {
            "module_id": module, "route": path, "label": path, "upstream": "compared", "operations": operations,
            "forward_authorization": False,
        }, boss)
    return roles


def names_of(gate, policy):
    """What a value of the claim is called here."""
    known = gate.every("/roles/", gate.sign_in("superadmin"))
    return {name: f"compared-{name}" if f"compared-{name}" in known else name for name in policy["roles"]}


def people(gate, claims, roles):
    """Accounts of all subjects, written by SQL: hashing as many passwords would take minutes."""
    has = {each["sub"]: each["roles"] for each in claims} | {GUEST: ["guest"]}
    with sqlite3.connect(next((gate.folder / "data").glob("*.db"))) as database:
        for number, (name, held) in enumerate(has.items(), 100_000):
            mail = f"{name}@example.com"
            database.execute(
                "INSERT INTO users (id, username, username_key, email, email_lower, password_hash, is_active, created_at)"
                " VALUES (?, ?, ?, ?, ?, '!', TRUE, ?)", (number, name, name, mail, mail, AT),
            )
            database.executemany(
                "INSERT INTO user_roles (user_id, role_id, granted_at) VALUES (?, ?, ?)",
                [(number, roles[role], AT) for role in held if role in roles],
            )
    database.close()


def remake(claims, secret, prefix):
    tokens = [mint(each, secret) for each in claims]
    # The second: what is refused of it is not the first one, which is remembered.
    some = claims[min(1, len(claims) - 1)]
    head, payload, signature = mint(some, secret).split(".")
    flipped = ("B" if signature[5] == "A" else "A").join((signature[:5], signature[6:]))
    unsigned = world.coded(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    refused = {
        "expired": mint({**some, "exp": int(time.time()) - 3600}, secret),
        "guest": mint({**some, "sub": GUEST, "roles": ["guest"]}, secret),
        "iss": mint({**some, "iss": "https://id.elsewhere.example"}, secret),
        "aud": mint({**some, "aud": "elsewhere"}, secret),
        "badsig": f"{head}.{payload}.{flipped}",
        "none": f"{unsigned}.{payload}.",
    }
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for ending, text in ((".txt", "\n".join(tokens) + "\n"), (".first", tokens[0]), (".neg.json", json.dumps(refused))):
        Path(f"{prefix}{ending}").write_text(text)


class Served:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.policy = json.loads(options.policy.read_text())
        claims = map(claims_of, options.tokens.read_text().split())
        # What a user name may be.
        self.claims = [{**each, "sub": "".join(filter(str.isalnum, each["sub"]))} for each in claims]
        self.secret = options.secret.read_text().strip()
        self.gates = []

    def gate(self, name, is_open=False):
        gate = Cedargate(self.options.program, self.folder, name)
        self.gates.append(gate)
        gate.start()
        return gate, furnish(gate, self.policy, self.options.upstream, is_open)

    def again(self, gate, **environment):
        """With its settings, and with none of what it took to get there in its memory."""
        gate.process.stop()
        gate.environment = environment
        gate.start()
        return f"http://127.0.0.1:{gate.port},{gate.process.popen.pid}"

    def start(self):
        """Address, pid and algorithms of each."""
        issuer, audience = self.claims[0]["iss"], self.claims[0]["aud"]
        another, _ = self.gate("issuer")
        trusted = {
            "name": "compared", "issuer": issuer, "audiences": [audience], "jwks_file": str(self.options.jwks.resolve()),
            "principal": "claims", "roles_claim": "roles", "roles": names_of(another, self.policy),
        }
        yield self.again(another, CEDARGATE_AUTH__ISSUERS=json.dumps([trusted])) + ",rs256+es256+eddsa"
        own = {"CEDARGATE_AUTH__ISSUER": issuer, "CEDARGATE_AUTH__AUDIENCE": audience}
        for name, algorithms in (("own", self.options.remade.name), ("open", "plain")):
            gate, roles = self.gate(name, is_open=name == "open")
            gate.process.stop()
            gate.secret = self.secret
            people(gate, self.claims, roles)
            yield f"{self.again(gate, **own)},{algorithms}"
        remake(self.claims, self.secret, self.options.remade)

    def stop(self):
        for gate in self.gates:
            if gate.process:
                gate.process.stop()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=Path)
    for name in ("jwks", "policy", "secret", "tokens", "remade"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--upstream", default="127.0.0.1:19000")
    options = parser.parse_args()
    options.program = options.program.resolve()
    return options


def main():
    options = arguments()
    # As well as Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="cedargate-served-") as folder:
        served = Served(options, Path(folder))
        try:
            targets = list(served.start())
            print("\n".join(targets), flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            served.stop()


if __name__ == "__main__":
    main()
