"""Dockerfile and .dockerignore."""

import json
import re

from repository import literal_problems, output_of
from runs import argument_problems


def instructions(text):
    """Each as (word, rest), continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def problems(repository):
    good, _, told = output_of("hadolint", "--no-color", repository.root / "Dockerfile")
    if not good:
        yield f"hadolint: {told}"
    parsed = instructions(repository.text("Dockerfile"))
    starts = [index for index, (word, _) in enumerate(parsed) if word == "FROM"]
    if len(starts) < 2:
        yield "Dockerfile: one stage only: compilers would be in the image"
    yield from build_problems(repository, parsed[starts[0] : starts[-1]])
    yield from image_problems(repository, parsed[starts[-1] :])
    for word, rest in parsed:
        if word == "FROM" and not re.match(r"[\w./-]+:(?!latest)[\w.-]+", rest):
            yield f"Dockerfile: {rest} has no tag"
        if word in ("ENV", "ARG"):
            yield from literal_problems(f"Dockerfile: {word}", dict(re.findall(r"(\w+)=(\S*)", rest)))


def build_problems(repository, build):
    copied, built = [], []
    for word, rest in build:
        if word == "COPY":
            copied += rest.split()[:-1]
        if word == "RUN" and "cargo build" in rest:
            built.append(set(copied))
            if re.search(r"cargo build(?!( --(release|locked)){2}\b)", rest):
                yield "Dockerfile: `cargo build` without --release --locked"
            if "src" in copied and not re.search(r"touch .*src/main\.rs.* && .*cargo build", rest):
                yield "Dockerfile: the real sources are not touched: cargo would ship the stand-ins"
    if len(built) < 2 or built[0] != {"Cargo.toml", "Cargo.lock"}:
        yield "Dockerfile: dependencies have no layer of their own"
    needed = {"Cargo.toml", "Cargo.lock", "src", "policies", "migrations"}
    if set(copied) != needed:
        yield f"Dockerfile: copies {sorted(copied)}, the build needs {sorted(needed)}"
    ignored = [line for line in repository.text(".dockerignore").splitlines() if line and not line.startswith("#")]
    if ignored[0] != "*" or {line.removeprefix("!") for line in ignored[1:]} != needed:
        yield f".dockerignore: lets through other files than {sorted(needed)}"


def image_problems(repository, image):
    last = {}
    for word, rest in image:
        last[word] = rest
    user = last.get("USER", "root").split(":")[0]
    if not user.isdigit() or int(user) == 0:
        yield f"Dockerfile: runs as {user}: a number other than 0 is wanted"
    if "healthcheck" not in last.get("HEALTHCHECK", ""):
        yield "Dockerfile: no HEALTHCHECK"
    if last.get("STOPSIGNAL") != "SIGTERM":
        yield "Dockerfile: STOPSIGNAL is not SIGTERM"
    ports = [repository.port("gateway"), repository.port("admin")]
    if [int(port) for port in last.get("EXPOSE", "").split()] != ports:
        yield f"Dockerfile: exposes other ports than {ports}"
    if last.get("VOLUME") != repository.data_dir():
        yield f"Dockerfile: the volume is not {repository.data_dir()}"
    if f'image.version="{repository.version()}"' not in last.get("LABEL", ""):
        yield f"Dockerfile: the label is not of version {repository.version()}"
    if not last["FROM"].endswith("-slim"):
        yield "Dockerfile: the image is not a slim one"
    if re.findall(r"--no-install-recommends ([\w -]+?)\s*&&", last.get("RUN", "")) != ["ca-certificates"]:
        yield "Dockerfile: the image gets other packages than ca-certificates"
    health = last.get("HEALTHCHECK", "CMD []").split("CMD ", 1)[1]
    try:
        entry, command = json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])
        asked = json.loads(health)
    except (KeyError, ValueError):
        yield "Dockerfile: ENTRYPOINT, CMD and HEALTHCHECK are not all lists: a shell would be between, and get the signal"
        return
    for words in [entry[1:] + command, asked[1:]]:
        if repository.data_dir() not in words:
            yield f"Dockerfile: {words} uses another data directory than the volume"
        yield from argument_problems(repository, "Dockerfile", words)
