"""config/compose.yaml, as Compose itself reads it."""

import json

import yaml

from repository import environment_problems, literal_problems, output_of, seconds
from runs import argument_problems, settings_problems

FILE = "config/compose.yaml"
PROFILES = {
    "production": {"gateway", "postgres"},
    "development": {"gateway-development", "demo-backend", "postgres"},
    "pgadmin": {"pgadmin", "postgres"},
}


def problems(repository):
    file = repository.root / FILE
    good, _, told = output_of("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    if not good:
        yield f"compose schema: {told}"
        return
    # As written: what a variable would fill in is no literal.
    for name, service in yaml.safe_load(file.read_text())["services"].items():
        yield from literal_problems(f"{FILE}: {name}", service.get("environment", {}))
    for profile, expected in PROFILES.items():
        good, rendered, told = output_of(
            "docker-compose", "--file", file, "--profile", profile, "config", "--format", "json"
        )
        if not good:
            yield f"compose, profile {profile}: {told}"
            continue
        project = json.loads(rendered)
        if set(project["services"]) != expected:
            yield f"{FILE}: profile {profile} is {sorted(project['services'])}, not {sorted(expected)}"
        for name, service in project["services"].items():
            for problem in service_problems(repository, project, name, service):
                yield f"{FILE}: {name}: {problem}"
        for name, secret in project["secrets"].items():
            if "file" not in secret:
                yield f"{FILE}: secret {name} is not a file, which a read-only container needs"
    if "/config/secrets" not in repository.text(".gitignore").splitlines():
        yield ".gitignore: config/secrets could be committed"


def service_problems(repository, project, name, service):
    if service.get("cap_drop") != ["ALL"] or service.get("security_opt") != ["no-new-privileges:true"]:
        yield "keeps capabilities or may gain privileges"
    if not service.get("read_only") and name != "pgadmin":
        yield "is not read-only"
    if ":" not in service["image"] or service["image"].endswith(":latest"):
        yield f"image {service['image']} has no tag"
    if name in ("postgres", "demo-backend", "pgadmin") and not service.get("healthcheck", {}).get("test"):
        yield "has no health check"
    ports = service.get("ports", [])
    if name != "gateway" and any(port.get("host_ip") != "127.0.0.1" for port in ports):
        yield "is published beyond loopback"
    if name == "postgres":
        yield from postgres_problems(project, service)
    if service["image"].startswith("cedargate:"):
        if service["image"] != f"cedargate:{repository.version()}":
            yield f"image {service['image']} is not of version {repository.version()}"
        if service.get("command"):
            yield from argument_problems(repository, "command", service["command"])
    if name == "demo-backend":
        yield from demo_problems(repository, project, service)
    if name.startswith("gateway"):
        yield from gateway_problems(repository, name, service, ports)


def postgres_problems(project, service):
    if service.get("ports"):
        yield "is published"
    if any(not project["networks"][network].get("internal") for network in service["networks"]):
        yield "is on a network that is not internal"
    if "pg_isready" not in service.get("healthcheck", {}).get("test", []):
        yield "is not asked by pg_isready"


def demo_problems(repository, project, service):
    if service["command"][-1] != f"0.0.0.0:{repository.demo_port()}":
        yield f"does not listen on port {repository.demo_port()}"
    if any(not project["networks"][network].get("internal") for network in service["networks"]):
        yield "is on a network that is not internal"
    test = service["healthcheck"]["test"]
    if f"127.0.0.1:{repository.demo_port()}/" not in test[-1]:
        yield "is asked for its health on another port"
    yield from argument_problems(repository, "health check", test[2:])


def gateway_problems(repository, name, service, ports):
    environment = service["environment"]
    yield from environment_problems(repository, "environment", environment)
    yield from settings_problems(repository, "settings", environment)
    mounted = {secret["target"] for secret in service["secrets"]}
    for variable, value in environment.items():
        if variable.endswith("_FILE") and value not in mounted:
            yield f"{variable}: {value} is none of its secrets"
    admin = repository.port("admin")
    listen = environment.get("CEDARGATE_ADMIN__LISTEN", "")
    if not listen.endswith(f":{admin}"):
        yield f"the admin service listens on {listen}, not on port {admin}"
    published = {port["target"]: port for port in ports}
    if set(published) != {repository.port("gateway"), admin}:
        yield f"publishes {sorted(published)}, which are not the ports of config/cedargate.toml"
    elif published[admin].get("host_ip") != "127.0.0.1":
        yield "the admin service is published beyond loopback"
    if seconds(service.get("stop_grace_period", "10s")) <= repository.stop_seconds():
        yield f"is killed before it may have drained, which takes up to {repository.stop_seconds():.0f} s"
    if service["depends_on"]["postgres"]["condition"] != "service_healthy":
        yield "does not wait for the database"
    if not any(volume["target"] == repository.data_dir() for volume in service.get("volumes", [])):
        yield f"has no volume at {repository.data_dir()}"
    if name == "gateway" and service.get("restart") != "unless-stopped":
        yield "is not restarted"
