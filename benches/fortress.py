"""The gateway as it stands at the edge: with TLS or without, an upstream that reads bodies and has a large answer."""

import resource
import subprocess

import world
from world import Cedargate

# Where clients come from that are not the attackers.
HONEST = "127.0.0.9"
LARGE = 1024 * 1024


def most_files():
    """Raises the bound of open files as far as it goes, and tells it; what is started inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def choose_parts(parser, options, known):
    """Which of the `known` parts `--only` names: all, where it is absent."""
    options.parts = options.only.split(",") if options.only else list(known)
    if unknown := set(options.parts) - set(known):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")


class Fortress(Cedargate):
    """One database, served again and again: plain or TLS, with settings of the measurement."""

    def __init__(self, program, folder):
        super().__init__(program, folder, "edge")
        self.upstream_port = world.free_port()
        (folder / "large").write_bytes(b"x" * LARGE)
        self.upstream = world.upstream(folder, self.upstream_port, 8192, f"""
    client_max_body_size 0; client_body_buffer_size 12m; large_client_header_buffers 8 128k;
    location = /open/large {{ alias {folder}/large; }}
    location = /open/giant {{ alias {folder}/giant; }}
    location = /open/body {{
      proxy_pass http://127.0.0.1:{self.upstream_port}/; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
""")
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", self.key, "-out", self.certificate],
            check=True, capture_output=True,
        )
        self.serve()
        self.furnish(self.upstream_port, self.upstream_port)
        boss = self.sign_in("superadmin")
        module = self.call("POST", "/modules/", {"name": "edge", "label": "Edge"}, boss)["id"]
        operations = [{"methods": ["GET", "HEAD", "POST"], "access": "public"}]
        self.call("POST", "/routes/", {
            "module_id": module, "route": "/open/{*rest}", "label": "open", "upstream": "fast", "operations": operations,
        }, boss)
        self.token = self.tokens(1)[0]

    def serve(self, tls=False, **settings):
        """Ends what was served, and serves anew."""
        self.stop()
        self.environment = {"CEDARGATE_LOG__LEVEL": "error", **settings}
        if tls:
            self.environment |= {
                "CEDARGATE_GATEWAY__TLS_CERTIFICATE": str(self.certificate), "CEDARGATE_GATEWAY__TLS_KEY": str(self.key),
            }
        self.start()
        return self.process

    def stop(self):
        if self.process:
            self.process.stop()

    def end(self):
        self.stop()
        self.upstream.stop()
