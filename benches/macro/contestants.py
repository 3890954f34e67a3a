"""Who is measured: programs on the proxy's core, each with one worker."""

import shutil
import signal
import subprocess
import time

import world
from macro import policy
from world import Cedargate, Process, ask, free_port

# Freed memory is given back within seconds, and threads for blocking work end after ten.
SETTLED = 15
LARGE = 100 * 1024


class Contestant:
    """One or several processes behind one port; `enforces` are the algorithms by which it decides, none for a plain one."""

    def __init__(self, name, processes, port, tls_port=None, enforces=(), how=signal.SIGTERM, log=None):
        self.name, self.processes, self.port, self.tls_port = name, processes, port, tls_port
        self.enforces, self.how, self.log = enforces, how, log

    def cpu(self):
        """Seconds of user and system time of all of it."""
        return sum(process.cpu_ns() for process in self.processes) / 1e9

    def memory(self):
        """Resident and proportional MiB."""
        resident, proportional = zip(*(process.shares() for process in self.processes))
        return sum(resident) / 1024, sum(proportional) / 1024

    def stop(self):
        for process in self.processes:
            process.stop(self.how)

    def wait(self):
        path = "/public/1" if not self.enforces else "/"
        until = time.monotonic() + 20
        while time.monotonic() < until and self.processes[0].popen.poll() is None:
            try:
                # Whoever decides refuses; that is an answer too.
                if ask(self.port, path) in (200, 401, 403, 404):
                    return
            except OSError:
                pass
            time.sleep(0.005)
        errors = self.processes[0].errors.read_text(errors="replace")[-2000:]
        raise SystemExit(f"{self.name} does not serve:\n{errors}")


def upstream(folder):
    (folder / "large").write_bytes(b"x" * LARGE)
    port = free_port()
    large = f"location ~ ^/articles[0-9]+/large$ {{ alias {folder}/large; open_file_cache max=8; }}"
    return Contestant("upstream", [world.upstream(folder, port, 16_384, large)], port)


def bare(name, program, folder, upstream_port, *settings):
    port = free_port()
    command = [program, "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream_port}", *settings]
    # Pingora's own server waits five minutes at SIGTERM.
    return Contestant(name, [Process(name, command, folder)], port, how=signal.SIGINT)


def certificate(folder):
    """One certificate and its key, for everybody with TLS."""
    made = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", made[1], "-out", made[0]],
        check=True, capture_output=True,
    )
    return made


class Gates:
    """Cedargate three times, on copies of one database: as it is compared, with its access log, and with TLS."""

    def __init__(self, program, folder, algorithms):
        self.algorithms, self.folder = algorithms, folder
        self.quiet, self.logging, self.secure = (Cedargate(program, folder, name) for name in ("quiet", "logging", "secure"))
        for other in (self.logging, self.secure):
            other.secret = self.quiet.secret

    def start(self, fast, slow, credentials, files, settled=SETTLED):
        """Starts and furnishes; returns MiB when idle, and after the sign-ins of all users."""
        for gate in (self.quiet, self.logging, self.secure):
            gate.environment = {"CEDARGATE_AUTH__ISSUERS": policy.issuers(credentials.jwks)}
        quiet = self.quiet
        quiet.start()
        quiet.furnish(fast, slow)
        policy.complete(quiet)
        # Started anew, so that its memory holds nothing of what was before.
        quiet.process.stop()
        quiet.start()
        time.sleep(settled)
        idle = quiet.process.held()
        credentials.given = [world.claims_of(quiet.sign_in(f"bench{n}")) for n in range(world.USERS)]
        time.sleep(settled)
        signed_in = quiet.process.held()
        quiet.process.stop()
        for other in (self.logging, self.secure):
            shutil.copytree(quiet.folder / "data", other.folder / "data")
        self.secure.environment |= {
            "CEDARGATE_GATEWAY__TLS_CERTIFICATE": str(files[0]), "CEDARGATE_GATEWAY__TLS_KEY": str(files[1]),
        }
        quiet.start()
        self.logging.start(access_log=True)
        self.secure.start()
        return idle, signed_in

    def contestants(self):
        enforces = {"enforces": self.algorithms}
        return [
            Contestant("Cedargate", [self.quiet.process], self.quiet.port, **enforces),
            Contestant("Cedargate, access log", [self.logging.process], self.logging.port, log=self.logging.log, **enforces),
            Contestant("Cedargate, TLS", [self.secure.process], None, tls_port=self.secure.port, **enforces),
        ]

    def stop(self):
        for gate in (self.quiet, self.logging, self.secure):
            if gate.process:
                gate.process.stop()
