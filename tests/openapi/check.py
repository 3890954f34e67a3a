"""Starts a server and looks at it from outside: the document, the pages, and the API by the document."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from openapi_spec_validator import validate

import pages

API = "/api/v1"
PASSWORD = "Str0ng!pass"
# These end the caller's session or change the caller's account, so that later requests would be refused for it. The
# tests of accounts and sessions have them.
OWN = f"^{API}/auth/(logout|change-password|me)$|^{API}/users/me$"
# What clients rely on is read more leniently than a schema can say, so data that breaks one may well be accepted.
UNFIT = "positive_data_acceptance,negative_data_rejection"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(url, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


@contextlib.contextmanager
def server(program):
    """A server with the demo's data; yields where gateway and admin service are."""
    gateway, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="cedargate-openapi-") as data:
        settings = {
            "CEDARGATE_GATEWAY__LISTEN": gateway,
            "CEDARGATE_ADMIN__LISTEN": admin,
            # Every password costs one, and a debug build is slow.
            "CEDARGATE_AUTH__ARGON2_MEMORY_KIB": "1024",
            "CEDARGATE_AUTH__ARGON2_ITERATIONS": "1",
            "RATE_LIMIT_ENABLED": "false",
        }
        log = pathlib.Path(data, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, "dev", "--data-dir", data], env=os.environ | settings, stdout=output, stderr=output
            )
        try:
            wait(f"http://{admin}/readyz", process, log)
            yield f"http://{gateway}", f"http://{admin}"
            if b"panicked" in log.read_bytes():
                sys.exit(f"the server panicked:\n{log.read_text()[-5000:]}")
        finally:
            process.terminate()
            process.wait(60)


def wait(url, process, log):
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"the server ended:\n{log.read_text()}")
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=5)
            return
        time.sleep(0.1)
    sys.exit("the server is not ready")


def superuser(admin):
    """Makes another superuser than the demo's, for requests that may do anything to that one."""
    login = f"{admin}{API}/auth/login"
    first = call(login, {"username": "superadmin", "password": "superadmin123"})["access_token"]
    account = {"username": "generated", "email": "generated@example.com", "password": PASSWORD}
    made = call(f"{admin}{API}/users/", account | {"role_names": ["superadmin"]}, first)
    return made["id"], call(login, {"username": "generated", "password": PASSWORD})["access_token"]


def generated_requests(admin):
    """Sends what schemathesis makes from the document; returns whether the API kept to it."""
    identity, token = superuser(admin)
    here = pathlib.Path(__file__).parent
    command = ["st", "run", f"{admin}/openapi.json", "--no-color"]
    command += ["--header", f"Authorization: Bearer {token}", "--exclude-path-regex", OWN]
    command += ["--checks", "all", "--exclude-checks", UNFIT, "--warnings", "off"]
    # Threads would make one run differ from the next.
    command += ["--seed", "1", "--workers", "1", "--max-examples", "5", "--max-time", "110", "--continue-on-failure"]
    command += ["--generation-database", "none", "--request-timeout", "30"]
    environment = {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(here), "CALLER_ID": str(identity)}
    with tempfile.TemporaryDirectory() as scratch:
        return subprocess.run(command, env=os.environ | environment, cwd=scratch, check=False).returncode == 0


def main():
    browser = shutil.which("chromium") or sys.exit("chromium is not installed; tests/run.sh does it")
    with server(sys.argv[1]) as (gateway, admin):
        document = call(f"{gateway}/openapi.json")
        validate(document)
        count = sum(len(path) for path in document["paths"].values())
        print(f"document: OpenAPI {document['openapi']}, {count} operations, valid")
        sound = [pages.are_sound(base, browser, count) for base in (admin, gateway)]
        sound.append(generated_requests(admin))
    sys.exit(0 if all(sound) else 1)


main()
