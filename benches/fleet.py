#!/usr/bin/env python3
"""What fleets, long bodies, open streams and upgrades do to Cedargate, as Markdown. README.md tells how it measures.

    bash benches/fleet.sh
"""

import argparse
import gc
import signal
import sys
import tempfile
from pathlib import Path

import before
import bodies
import fortress
import harbour
import targets

PARTS = {"bodies": bodies, "targets": targets, "cpu": before}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cedargate", type=lambda path: Path(path).resolve())
    parser.add_argument("--before", type=lambda path: Path(path).resolve(), help="an earlier build, to compare CPU with")
    parser.add_argument("--quick", action="store_true", help="short runs, not for the record")
    parser.add_argument("--only", help="some of " + ", ".join(PARTS))
    options = parser.parse_args()
    fortress.choose_parts(parser, options, PARTS)
    quick = options.quick
    options.settle = 3 if quick else 15
    options.body_mib, options.downloads, options.slow_seconds = (128, 200, 5) if quick else (1024, 1_000, 20)
    options.rounds, options.round_seconds = (6, 1) if quick else (20, 3)
    return options


def main():
    options = arguments()
    gc.disable()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    files = fortress.most_files()
    verdicts = []
    for part in options.parts:
        print(part, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="cedargate-fleet-") as folder:
            gate = harbour.Harbour(options.cedargate, Path(folder))
            try:
                rows, met = PARTS[part].run(gate, options, files)
            finally:
                gate.end()
        verdicts += met
        print("\n".join([*rows, ""]), flush=True)
    print("| Bar | |\n|---|---|")
    for bar, met in verdicts:
        print(f"| {bar} | {'met' if met else '**missed**'} |")
    sys.exit(not all(met for _, met in verdicts))


if __name__ == "__main__":
    main()
