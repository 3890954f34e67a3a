"""config/kubernetes, as `kubectl apply --kustomize` would send it."""

import kubernetes_validate
import yaml

from repository import environment_problems, output_of
from runs import settings_problems

DIRECTORY = "config/kubernetes"
VERSION = "1.37"


def problems(repository):
    good, rendered, told = output_of("kubectl", "kustomize", repository.root / DIRECTORY)
    if not good:
        yield f"kubectl kustomize: {told}"
        return
    objects = list(yaml.safe_load_all(rendered))
    refused = False
    for item in objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        try:
            kubernetes_validate.validate(item, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            refused = True
            yield f"{DIRECTORY}: {name}: {error.message} at {'.'.join(map(str, error.path))}"
        if item["kind"] == "Secret":
            yield f"{DIRECTORY}: {name} holds a secret; it belongs into the cluster only"
    if refused:
        return
    for kind, check in CHECKS.items():
        found = [item for item in objects if item["kind"] == kind]
        if not found:
            yield f"{DIRECTORY}: no {kind}"
        for item in found:
            for problem in check(repository, item, objects):
                yield f"{DIRECTORY}: {kind} {item['metadata']['name']}: {problem}"


def deployment(repository, item, _objects):
    spec = item["spec"]["template"]["spec"]
    container = spec["containers"][0]
    if item["spec"]["replicas"] < 2:
        yield "one replica only"
    yield from restricted(spec, container)
    if container["image"].rsplit(":", 1)[-1] != repository.version():
        yield f"image {container['image']} is not of version {repository.version()}"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if ports != {"gateway": repository.port("gateway"), "admin": repository.port("admin")}:
        yield f"ports {ports} are not those of config/cedargate.toml"
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        asked = container.get(probe, {}).get("httpGet", {})
        if (asked.get("path"), asked.get("port")) != (path, "admin"):
            yield f"{probe} does not ask {path} of the admin service"
        if asked.get("path") not in repository.health_paths():
            yield f"{probe}: {asked.get('path')} is not served"
    waited = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    if spec["terminationGracePeriodSeconds"] <= repository.stop_seconds() + waited:
        yield f"is killed before it may have drained, which takes up to {repository.stop_seconds() + waited:.0f} s"
    if spec.get("enableServiceLinks") is not False:
        yield "gets variables that begin like those of our settings"
    yield from settings(repository, spec, container)


def restricted(spec, container):
    """The standard `restricted`, which the namespace asks for, and a read-only file system."""
    pod, own = spec["securityContext"], container["securityContext"]
    if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
        yield "may run as root"
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities or may gain privileges"
    if not own.get("readOnlyRootFilesystem"):
        yield "is not read-only"
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token for the cluster"
    if "memory" not in container["resources"]["limits"] or "cpu" not in container["resources"]["requests"]:
        yield "has no limit of memory or asks for no processor"


def settings(repository, spec, container):
    if any("value" not in entry for entry in container["env"]):
        yield "env: only plain values are expected; secrets are files"
        return
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    yield from environment_problems(repository, "env", environment)
    yield from settings_problems(repository, "env", environment)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: volumes.get(mount["name"], {}) for mount in container["volumeMounts"]}
    if repository.data_dir() not in mounts:
        yield f"nothing is mounted at {repository.data_dir()}"
    for name, value in environment.items():
        if name.endswith("_FILE") and "secret" not in mounts.get(value.rsplit("/", 1)[0], {}):
            yield f"{name}: {value} is in no mounted secret"


def service(repository, item, objects):
    spec = item["spec"]
    targets = [port["targetPort"] for port in spec["ports"]]
    admin = item["metadata"]["name"] == "cedargate-admin"
    if targets != (["admin"] if admin else ["gateway"]):
        yield f"leads to {targets}"
    if admin and (spec["type"] != "ClusterIP" or spec["ports"][0]["port"] != repository.port("admin")):
        yield f"is not a ClusterIP on port {repository.port('admin')}"
    yield from selects(spec["selector"], objects)


def network_policy(_repository, item, objects):
    spec = item["spec"]
    yield from selects(spec["podSelector"]["matchLabels"], objects)
    if set(spec["policyTypes"]) != {"Ingress", "Egress"}:
        yield "does not cover both directions"
    for rule in spec["ingress"]:
        ports = {port["port"] for port in rule.get("ports", [])}
        if not rule.get("from") and ports != {"gateway"}:
            yield "opens more than the gateway to everyone"
    if not any({"port": 5432, "protocol": "TCP"} in rule.get("ports", []) for rule in spec["egress"]):
        yield "PostgreSQL cannot be reached"
    if not any({"port": 53, "protocol": "UDP"} in rule.get("ports", []) for rule in spec["egress"]):
        yield "names cannot be resolved"
    if any(not rule.get("to") for rule in spec["egress"]):
        yield "lets requests out to everywhere"


def budget(_repository, item, objects):
    yield from selects(item["spec"]["selector"]["matchLabels"], objects)


def selects(labels, objects):
    for item in objects:
        if item["kind"] == "Deployment":
            given = item["spec"]["template"]["metadata"]["labels"]
            if not labels.items() <= given.items():
                yield f"{labels} selects no pod of ours"


CHECKS = {
    "Namespace": lambda *_: (),
    "Deployment": deployment,
    "Service": service,
    "NetworkPolicy": network_policy,
    "PodDisruptionBudget": budget,
}
