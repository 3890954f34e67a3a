"""config/cedargate.service."""

import re
import shlex
import shutil
import tempfile
from pathlib import Path

from repository import environment_problems, output_of, seconds
from runs import argument_problems, settings_problems

FILE = "config/cedargate.service"
SOCKET = "config/cedargate.socket"
PROGRAM = "/usr/local/bin/cedargate"
# Of 100. A service that talks to the Internet cannot come much lower.
EXPOSURE = 15
WANTED = {
    "Type": "notify",
    "NotifyAccess": "all",
    "Restart": "on-failure",
    # Migrations.
    "TimeoutStartSec": "15min",
    "DynamicUser": "yes",
    "StateDirectory": "cedargate",
    "KillSignal": "SIGTERM",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "MemoryDenyWriteExecute": "yes",
    "CapabilityBoundingSet": "",
}


def left_out():
    if not shutil.which("systemd-analyze"):
        yield "systemd-analyze verify and security: systemd is not installed"


def problems(repository):
    text = repository.text(FILE)
    if shutil.which("systemd-analyze"):
        yield from analysed(text, repository.text(SOCKET))
    if "\nFileDescriptorName=gateway\n" not in repository.text(SOCKET):
        yield f"{SOCKET}: FileDescriptorName is not gateway"
    settings = {}
    for line in text.splitlines():
        if match := re.match(r"(\w+)=(.*)", line):
            settings.setdefault(match[1], []).append(match[2])
    for key, value in WANTED.items():
        if settings.get(key, [None])[-1] != value:
            yield f"{FILE}: {key} is not {value or 'empty'}"
    if "@system-service" not in settings.get("SystemCallFilter", []):
        yield f"{FILE}: system calls are not filtered"
    if set(settings.get("RestrictAddressFamilies", [""])[-1].split()) != {"AF_INET", "AF_INET6", "AF_UNIX"}:
        yield f"{FILE}: address families are not restricted"
    if int(settings.get("LimitNOFILE", ["0"])[-1]) < 65536:
        yield f"{FILE}: LimitNOFILE is low for a gateway"
    if seconds(settings.get("TimeoutStopSec", ["90"])[-1] + "s") <= repository.stop_seconds():
        yield f"{FILE}: is killed before it may have drained, which takes up to {repository.stop_seconds():.0f} s"
    for key, command in {"ExecStartPre": "check-config", "ExecStart": "serve"}.items():
        words = shlex.split(settings.get(key, [""])[-1])
        if words[:1] != [PROGRAM] or words[-1] != command or repository.data_dir() not in words:
            yield f"{FILE}: {key} does not run {command} on {repository.data_dir()}"
        yield from argument_problems(repository, FILE, words[1:])
    environment = dict(entry.split("=", 1) for entry in settings.get("Environment", []))
    yield from environment_problems(repository, FILE, environment)
    yield from settings_problems(repository, FILE, environment)
    credentials = {entry.split(":")[0] for entry in settings.get("LoadCredential", [])}
    for name, value in environment.items():
        if name.endswith("_FILE") and value.removeprefix("%d/") not in credentials:
            yield f"{FILE}: {name}: {value} is no credential of the unit"


def analysed(text, socket):
    """In a root directory of its own, where the program seems to be installed."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        program = root / PROGRAM.lstrip("/")
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        system = Path("/usr/lib/systemd/system")
        if not system.exists():
            system = Path("/lib/systemd/system")
        shutil.copytree(system, root / "usr/lib/systemd/system", symlinks=True)
        units = root / "etc/systemd/system"
        units.mkdir(parents=True)
        (units / "cedargate.service").write_text(text)
        (units / "cedargate.socket").write_text(socket)
        good, _, told = output_of(
            "systemd-analyze", "verify", "--man=no", f"--root={root}", "cedargate.service", "cedargate.socket",
            env={"PATH": PATH},
        )
        # An unknown setting is a warning to it, and would be one line in the journal.
        ours = [line for line in told.splitlines() if "cedargate" in line]
        if not good or ours:
            yield f"systemd-analyze verify: {' '.join(ours) or told}"
        good, _, told = output_of(
            "systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}",
            f"--root={root}", "cedargate.service",
        )
        if not good:
            yield f"systemd-analyze security: {told.splitlines()[-1]}"


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
