"""What holds for all files: scripts, names of variables, and no secrets."""

import re

from repository import output_of

# Also where only a comment tells people what to write.
FILES = ["Dockerfile", ".dockerignore", ".env.example", "config/**/*"]
SCRIPTS = [".ci/*", "tests/**/*.sh"]
SECRETS = {
    "an address with a password": re.compile(r"://[\w.-]+:(?!PASSWORD@|\$)[^@\s/]+@"),
    "a private key": re.compile(r"BEGIN [A-Z ]*PRIVATE KEY"),
    "a random value": re.compile(r"(?<![\w/+.-])(?!CEDARGATE_)(?=[\w+/-]*\d)(?=[\w+/-]*[A-Za-z])[A-Za-z0-9+/_-]{40,}={0,2}(?![\w.])"),
    "a hexadecimal value": re.compile(r"(?<![\w:])[0-9a-fA-F]{32,}(?!\w)"),
}


def matching(repository, patterns):
    found = {path for pattern in patterns for path in repository.root.glob(pattern) if path.is_file()}
    return sorted(path for path in found if "secrets" not in path.relative_to(repository.root).parts)


def problems(repository):
    known = repository.variables()
    for path in matching(repository, FILES):
        name, text = path.relative_to(repository.root), path.read_text()
        # `…__X_*` and the like are not names.
        for variable in sorted(set(re.findall(r"\bCEDARGATE_[A-Z0-9_]*[A-Z0-9]\b", text)) - known):
            yield f"{name}: {variable} is not a variable of Cedargate"
        for what, pattern in SECRETS.items():
            for line, content in enumerate(text.splitlines(), start=1):
                if pattern.search(content):
                    yield f"{name}:{line}: {what}"
    for path in matching(repository, SCRIPTS):
        # Without a first line that names one, it is given to `sh`.
        shell = [] if path.read_text().startswith("#!") else ["--shell=sh"]
        good, _, told = output_of("shellcheck", *shell, path)
        if not good:
            yield f"shellcheck: {told}"
