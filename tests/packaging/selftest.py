"""Breaks copies of the files, one fault at a time: a check that cannot fail proves nothing."""

import shutil
import tempfile
from pathlib import Path

import compose
import dockerfile
import kubernetes
import systemd
import texts
from repository import Repository

COPIED = [".ci", ".dockerignore", ".env.example", ".gitignore", "Cargo.toml", "Dockerfile", "config",
          "src/admin/health.rs", "src/server/demo.rs", "tests/run.sh"]
COMPOSE, UNIT, K8S = "config/compose.yaml", "config/cedargate.service", "config/kubernetes/"
SOCKET = "config/cedargate.socket"

# Part, file, what is replaced once, by what, and words of the complaint. Those of the last group need the program.
BREAKS = [
    (dockerfile, "Dockerfile", "FROM debian", "FORM debian", "hadolint"),
    (dockerfile, "Dockerfile", "USER 10001:10001", "USER root", "runs as root"),
    (dockerfile, "Dockerfile", "HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \\\n    CMD",
     "LABEL health=", "no HEALTHCHECK"),
    (dockerfile, "Dockerfile", "EXPOSE 8000", "EXPOSE 8080", "exposes other ports"),
    (dockerfile, "Dockerfile", "debian:bookworm-slim", "debian", "has no tag"),
    (dockerfile, "Dockerfile", "RUN touch src/main.rs src/lib.rs \\\n    && cargo", "RUN cargo", "not touched"),
    (dockerfile, "Dockerfile", "COPY Cargo.toml Cargo.lock ./", "COPY Cargo.toml Cargo.lock src ./", "layer of their own"),
    (dockerfile, "Dockerfile", 'ENTRYPOINT ["cedargate"]', "ENTRYPOINT cedargate", "not all lists"),
    (dockerfile, "Dockerfile", "WORKDIR /opt", "ENV SECRET_KEY=hunter2\nWORKDIR /opt", "holds a secret"),
    (dockerfile, ".dockerignore", "!policies", "!config", "lets through"),
    (dockerfile, "Cargo.toml", 'version = "0.1.0"', 'version = "0.2.0"', "not of version 0.2.0"),
    (compose, COMPOSE, "read_only: true", "readonly: true", "compose schema"),
    (compose, COMPOSE, "postgres: { condition", "postgresql: { condition", "undefined service"),
    (compose, COMPOSE, "secrets: [secret_key, database_url]", "secrets: [secret_key]", "none of its secrets"),
    (compose, COMPOSE, '"127.0.0.1:8001:8001"', '"8001:8001"', "beyond loopback"),
    (compose, COMPOSE, "stop_grace_period: 75s", "stop_grace_period: 10s", "killed before"),
    (compose, COMPOSE, "cap_drop: [ALL]", "cap_drop: [SYS_ADMIN]", "keeps capabilities"),
    (compose, COMPOSE, "  database:\n    internal: true", "  database: {}", "not internal"),
    (compose, COMPOSE, "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password", "POSTGRES_PASSWORD: postgres",
     "holds a secret"),
    (compose, COMPOSE, "0.0.0.0:8001", "0.0.0.0:8081", "not on port 8001"),
    (compose, COMPOSE, "CEDARGATE_LOG__FORMAT", "CEDARGATE_LOG__FROMAT", "not a variable"),
    (compose, COMPOSE, '"0.0.0.0:8002"', '"0.0.0.0:9002"', "does not listen on port 8002"),
    (compose, ".gitignore", "/config/secrets", "", "could be committed"),
    (kubernetes, K8S + "deployment.yaml", "replicas: 2", "replicas: two", "spec.replicas"),
    (kubernetes, K8S + "deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem", "readonlyRootFilesystem"),
    (kubernetes, K8S + "deployment.yaml", "path: /readyz", "path: /ready", "not served"),
    (kubernetes, K8S + "deployment.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "as root"),
    (kubernetes, K8S + "deployment.yaml", "containerPort: 8001", "containerPort: 8002", "not those of"),
    (kubernetes, K8S + "deployment.yaml", "GracePeriodSeconds: 80", "GracePeriodSeconds: 30", "killed before"),
    (kubernetes, K8S + "deployment.yaml", "secretName: cedargate", "name: cedargate", "'name' was unexpected"),
    (kubernetes, K8S + "deployment.yaml", "name: SECRET_KEY_FILE", "name: SECRET_KEY", "holds a secret"),
    (kubernetes, K8S + "service.yaml", "targetPort: gateway", "targetPort: admin", "leads to"),
    (kubernetes, K8S + "networkpolicy.yaml", "          port: gateway", "          port: admin", "to everyone"),
    (kubernetes, K8S + "kustomization.yaml", "newTag: 0.1.0", "newTag: latest", "not of version"),
    (kubernetes, K8S + "kustomization.yaml", "- service.yaml", "- services.yaml", "kubectl kustomize"),
    (systemd, UNIT, "Type=notify", "Type=simple", "Type is not notify"),
    (systemd, SOCKET, "FileDescriptorName=gateway", "FileDescriptorName=web", "FileDescriptorName"),
    (systemd, UNIT, "TimeoutStopSec=75", "TimeoutStopSec=20", "killed before"),
    (systemd, UNIT, "ProtectSystem=strict", "ProtectSystem=full", "ProtectSystem"),
    (systemd, UNIT, "check-config\n", "serve\n", "does not run check-config"),
    (systemd, UNIT, "=%d/secret_key\n\nDynamic", "=%d/key\n\nDynamic", "no credential"),
    (texts, UNIT, "# Needs", "# postgres://cedargate:hunter2@localhost/cedargate\n# Needs", "address with a password"),
    (texts, ".env.example", "CEDARGATE_ADMIN__LISTEN", "CEDARGATE_ADMIN_LISTEN", "not a variable"),
    (texts, "config/cedargate.toml", '#secret_key = ""', '#secret_key = "YmVlZmJlZWZiZWVmYmVlZmJlZWZiZWVmYmVlZmJlZWY0OA=="',
     "a random value"),
    (texts, "tests/run.sh", '"${missing[@]}"', "${missing[@]}", "shellcheck"),
]
WITH_SYSTEMD = [
    (systemd, UNIT, "RestrictRealtime=yes", "RestrictRealTime=yes", "systemd-analyze verify"),
    (systemd, UNIT, "RemoveIPC=yes", "PrivateUsers=no\nPrivateDevices=no\nProtectHome=no", "systemd-analyze security"),
]
WITH_PROGRAM = [
    (dockerfile, "Dockerfile", '"healthcheck", "--data-dir"', '"healthcheck", "--quiet", "--data-dir"', "refuses"),
    (compose, COMPOSE, "command: [demo-backend, --listen", "command: [demo-backend, --address", "refuses"),
    (compose, COMPOSE, "CEDARGATE_LOG__FORMAT: text", "CEDARGATE_LOG__FORMAT: plain", "log.format"),
    (systemd, UNIT, " check-config\n", " --verbose check-config\n", "refuses"),
]


def missed(repository):
    if not list(systemd.left_out()):
        BREAKS.extend(WITH_SYSTEMD)
    if repository.binary:
        BREAKS.extend(WITH_PROGRAM)
    for part, file, old, new, complaint in BREAKS:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "copy")
            for path in COPIED:
                source, target = repository.root / path, copy / path
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
            text = (copy / file).read_text()
            if old not in text:
                yield f"{file}: {old!r} is not there to be replaced"
                continue
            (copy / file).write_text(text.replace(old, new, 1))
            found = list(part.problems(Repository(copy, repository.binary)))
            if not any(complaint in problem for problem in found):
                yield f"{file}: {old!r} replaced by {new!r} was not noticed: {found}"
