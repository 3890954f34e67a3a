"""What the packaging must agree with, read from the files that decide it."""

import re
import subprocess
import tomllib
from pathlib import Path


class Repository:
    def __init__(self, root, binary=None):
        self.root = Path(root)
        self.binary = binary

    def text(self, path):
        return (self.root / path).read_text()

    def version(self):
        return tomllib.loads(self.text("Cargo.toml"))["package"]["version"]

    def default(self, section, key):
        """A default of config/cedargate.toml, where each is written behind a `#`."""
        body = self.text("config/cedargate.toml").split(f"\n[{section}]\n")[1].split("\n[")[0]
        return tomllib.loads(re.search(rf"^#({key} = .*)$", body, re.MULTILINE)[1])[key]

    def port(self, section):
        return int(self.default(section, "listen").rsplit(":", 1)[1])

    def demo_port(self):
        return int(re.search(r'DEMO_ADDRESS: &str = "[\d.]+:(\d+)"', self.text("src/server/demo.rs"))[1])

    def stop_seconds(self):
        """The longest clean end: everything is finished within one limit."""
        return self.default("gateway", "shutdown_timeout_ms") / 1000

    def variables(self):
        """Every variable that config/cedargate.toml names in brackets."""
        comments = re.findall(r"\[((?:CEDARGATE_|PORT)[^\]]*)\]", self.text("config/cedargate.toml"))
        return {name for comment in comments for name in re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", comment)}

    def health_paths(self):
        return set(re.findall(r'\.route\("(/[^"]*)"', self.text("src/admin/health.rs")))

    def data_dir(self):
        return "/var/lib/cedargate"


def output_of(*command, **options):
    """Whether a tool succeeded, and what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    return done.returncode == 0, done.stdout, (done.stdout + done.stderr).strip()


def seconds(text):
    """A duration such as 75s or 1m15s."""
    factors = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * factors[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|_KEY|DATABASE_URL)$")


def environment_problems(repository, where, environment):
    """Variables that mean nothing to Cedargate, and secrets that stand in a file for all to read."""
    known = repository.variables()
    for name, value in environment.items():
        if name not in known:
            yield f"{where}: {name} is not a variable of Cedargate"
    yield from literal_problems(where, environment)


def literal_problems(where, environment):
    for name, value in environment.items():
        if SECRET_NAME.search(name.upper()) and value and not re.fullmatch(r"\$\{\w+(:\?[^}]*)?\}", str(value)):
            yield f"{where}: {name} holds a secret"
