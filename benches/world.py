"""What is measured, and what it takes: processes on loopback, the gateway's rows, tokens."""

import base64
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
# The proxy that is measured has the last core for itself, the load and the upstream have the first.
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, PROXY_CORE = CORES[0], CORES[-1]
BODY = json.dumps({"articles": [{"id": n, "title": "Gates and cedars", "pad": "x" * 58} for n in range(10)]})[:1024]
PASSWORD = "Bench-Mark-2-Password"
USERS, ROUTES = 20, 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


class Memory(NamedTuple):
    """MiB. What is not anonymous are pages of files, the program's own above all, which the kernel may drop."""

    resident: float
    anonymous: float


class Process:
    """A program on loopback, ended by its own pid."""

    def __init__(self, name, command, folder, core=PROXY_CORE, env=None, stdout=None):
        self.name, self.errors = name, folder / f"{name}.err"
        # Nothing of the caller's environment: it may hold settings.
        env = {"PATH": os.environ["PATH"], **(env or {})}
        with open(self.errors, "ab") as errors:
            self.started = time.monotonic()
            self.popen = subprocess.Popen(
                pinned(core, command), cwd=folder, env=env, stdin=subprocess.DEVNULL,
                stdout=stdout or subprocess.DEVNULL, stderr=errors,
            )

    def wait_for(self, port, path, limit=20.0):
        """Seconds from the start until `path` was answered with 200."""
        while time.monotonic() < self.started + limit:
            if self.popen.poll() is not None:
                break
            try:
                if ask(port, path) == 200:
                    return time.monotonic() - self.started
            except OSError:
                pass
            time.sleep(0.001)
        raise SystemExit(f"{self.name} does not serve:\n{self.errors.read_text(errors='replace')[-2000:]}")

    def cpu(self):
        """Seconds of user and system time."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cpu_ns(self):
        """The same in nanoseconds, by the process's own clock."""
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(self.popen.pid, ctypes.byref(clock)):
            raise SystemExit(f"{self.name} has ended:\n{self.errors.read_text(errors='replace')[-2000:]}")
        return time.clock_gettime_ns(clock.value)

    def kib(self, *names):
        """What the kernel counts of the process's memory by these names."""
        rollup = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text()
        return tuple(int(re.search(rf"^{name}:\s+(\d+) kB", rollup, re.M)[1]) for name in names)

    def shares(self):
        """Resident and proportional KiB."""
        return self.kib("Rss", "Pss")

    def held(self):
        return Memory(*(kib / 1024 for kib in self.kib("Rss", "Anonymous")))

    def forget_peak(self):
        Path(f"/proc/{self.popen.pid}/clear_refs").write_text("5")

    def peak(self):
        """Most resident MiB since the last `forget_peak`."""
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.popen.pid}/status").read_text())[1]) / 1024

    def memory(self):
        """Resident MiB."""
        for line in Path(f"/proc/{self.popen.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self, how=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(10)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(10)


def ask(port, path, token=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except http.client.HTTPException as fault:
        raise OSError(fault) from fault
    finally:
        connection.close()


def upstream(folder, port, connections=1024, locations="", core=LOAD_CORE):
    """nginx with one fixed answer of 1 KiB, wherever `locations` say nothing else."""
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; default_type application/json;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 '{BODY}'; }} {locations} }}
}}
""")
    program = next((path for path in ("/usr/sbin/nginx", "/usr/local/sbin/nginx") if os.path.exists(path)), "nginx")
    process = Process("nginx", [program, "-p", folder, "-c", config], folder, core=core)
    process.wait_for(port, "/")
    return process


class Cedargate:
    """The gateway on a database of its own; one worker, everything else as it comes."""

    def __init__(self, program, folder, name):
        self.program, self.name, self.folder = program, name, folder / name
        self.folder.mkdir()
        self.secret = base64.b64encode(os.urandom(48)).decode()
        self.port, self.admin_port = free_port(), free_port()
        self.log = self.folder / "access.log"
        self.process = None
        self.environment = {}

    def start(self, access_log=False, limit=20.0):
        """Starts it, and returns the seconds until the gateway's first answer."""
        command = [
            self.program, "serve", "--data-dir", self.folder / "data",
            "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}",
        ]
        env = {
            "SECRET_KEY": self.secret,
            "CEDARGATE_BOOTSTRAP_PASSWORD": PASSWORD,
            "CEDARGATE_GATEWAY__WORKERS": "1",
            "CEDARGATE_RATE_LIMIT__ENABLED": "false",
            "CEDARGATE_ACCESS_LOG__ENABLED": str(access_log).lower(),
            **self.environment,
        }
        with open(self.log, "ab") as log:
            self.process = Process(self.name, command, self.folder, env=env, stdout=log)
        # Behind TLS, the admin listener tells as well.
        secure = "CEDARGATE_GATEWAY__TLS_KEY" in self.environment
        return self.process.wait_for(self.admin_port if secure else self.port, "/health", limit)

    def call(self, method, path, body=None, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=20)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text)

    def every(self, path, token):
        """Ids by name of all that a list of the admin API has."""
        found = []
        while page := self.call("GET", f"{path}?skip={len(found)}&limit=100", token=token):
            found += page
        return {made.get("name", made.get("username")): made["id"] for made in found}

    def sign_in(self, username):
        return self.call("POST", "/auth/login", {"username": username, "password": PASSWORD})["access_token"]

    def furnish(self, fast, slow):
        """Users, grants and routes through the admin API, as an administrator makes them."""
        boss = self.sign_in("superadmin")
        for name, port in (("fast", fast), ("slow", slow)):
            self.call("POST", "/upstreams/", {"name": name, "targets": [{"address": f"127.0.0.1:{port}"}]}, boss)
        module = self.call("POST", "/modules/", {"name": "bench", "label": "Bench"}, boss)["id"]
        roles = {role["name"]: role["id"] for role in self.call("GET", "/roles/", token=boss)}
        read = {}
        for n in range(ROUTES):
            made = self.call("POST", "/permissions/", {"name": f"article{n}:read"}, boss)
            self.call("POST", "/permissions/", {"name": f"article{n}:create"}, boss)
            self.call("POST", f"/roles/{roles['user']}/permissions/{made['id']}", token=boss)
            read[f"/articles{n}/{{id}}"] = [
                {"methods": ["GET"], "access": "permission", "permission": f"article{n}:read"},
                {"methods": ["POST"], "access": "permission", "permission": f"article{n}:create"},
            ]
        read["/slow/{*rest}"] = [{"methods": ["GET"], "access": "permission", "permission": "article0:read"}]
        read["/public/{*rest}"] = [{"methods": ["GET"], "access": "public"}]
        for path, operations in read.items():
            named = "slow" if path.startswith("/slow") else "fast"
            self.call("POST", "/routes/", {
                "module_id": module, "route": path, "label": path, "upstream": named, "operations": operations,
            }, boss)
        for n in range(USERS):
            user = {"username": f"bench{n}", "email": f"bench{n}@example.com", "password": PASSWORD}
            self.call("POST", "/users/", user, boss)

    def tokens(self, count):
        """Distinct tokens in turn of all users: what each was given at sign-in, under a `jti` of its own."""
        given = [claims_of(self.sign_in(f"bench{n}")) for n in range(USERS)]
        until = int(time.time()) + 3600
        return [
            mint({**given[n % USERS], "jti": f"{n:08x}-0000-7000-8000-{os.urandom(6).hex()}", "exp": until}, self.secret)
            for n in range(count)
        ]


def coded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def mint(claims, secret):
    head = coded(json.dumps({"typ": "JWT", "alg": "HS256"}, separators=(",", ":")).encode())
    message = f"{head}.{coded(json.dumps(claims, separators=(',', ':')).encode())}"
    return f"{message}.{coded(hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest())}"


def busy():
    """Seconds that all cores together have worked."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
