"""Checks the packaging; exits with 1 and says why if something is wrong."""

import argparse
import sys
from pathlib import Path

import compose
import dockerfile
import kubernetes
import selftest
import systemd
import texts
from repository import Repository

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "Dockerfile: hadolint, rules of our own": dockerfile,
    "compose: official schema, Compose's own reading of each profile, rules of our own": compose,
    "Kubernetes: kubectl kustomize, schema of " + kubernetes.VERSION + ", rules of our own": kubernetes,
    "systemd unit: systemd-analyze verify and security, rules of our own": systemd,
    "all files: shellcheck, names of variables, no secrets": texts,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", help="cedargate, which is asked whether it accepts arguments and settings")
    parser.add_argument("--self-test", action="store_true", help="break copies, and see that it is noticed")
    arguments = parser.parse_args()
    repository = Repository(ROOT, arguments.binary and Path(arguments.binary).absolute())
    failed = False
    for title, part in PARTS.items():
        found = list(part.problems(repository))
        print("FAILED" if found else "ok", "", title)
        for problem in found:
            print("       ", problem.replace("\n", "\n        "))
        failed |= bool(found)
    for reason in systemd.left_out():
        print("left out:", reason)
    if not arguments.binary:
        print("left out: arguments and settings put to cedargate itself: no --binary")
    if arguments.self_test and not failed:
        missed = list(selftest.missed(repository))
        print("FAILED" if missed else "ok", "", f"self-test: {len(selftest.BREAKS)} faults are noticed")
        for problem in missed:
            print("       ", problem)
        failed |= bool(missed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
