"""Puts the program itself to the question: does it accept these arguments, and these settings?"""

import os
import secrets
import tempfile
from pathlib import Path

from repository import output_of

STAND_INS = {
    "SECRET_KEY_FILE": lambda: secrets.token_urlsafe(48),
    "DATABASE_URL_FILE": lambda: "postgres://cedargate:" + secrets.token_hex(8) + "@database:5432/cedargate",
    "CEDARGATE_BOOTSTRAP_PASSWORD_FILE": lambda: secrets.token_urlsafe(16),
}


def argument_problems(repository, where, arguments):
    if not repository.binary:
        return
    good, _, told = output_of(repository.binary, *arguments, "--help")
    if not good:
        yield f"{where}: cedargate refuses {' '.join(arguments)}: {told.splitlines()[0]}"


def settings_problems(repository, where, environment):
    """Runs `check-config` with this environment; files that hold secrets are replaced by others."""
    if not repository.binary:
        return
    with tempfile.TemporaryDirectory() as directory:
        given = {"PATH": os.environ["PATH"]}
        for name, value in environment.items():
            if name.endswith("_FILE"):
                if name not in STAND_INS:
                    yield f"{where}: {name}: the checks know no stand-in for it"
                    return
                path = Path(directory, name)
                path.write_text(STAND_INS[name]() + "\n")
                value = path
            given[name] = str(value)
        good, _, told = output_of(
            repository.binary, "--data-dir", directory, "check-config", cwd=directory, env=given
        )
    if not good:
        yield f"{where}: {told}"
