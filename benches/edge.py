#!/usr/bin/env python3
"""What idle, slow and hostile clients do to Cedargate, as Markdown. README.md tells how it measures.

    bash benches/edge.sh
"""

import argparse
import gc
import signal
import sys
import tempfile
from pathlib import Path

import amplification
import floods
import fortress
import idle
import slow

PARTS = {"idle": idle, "slow": slow, "floods": floods, "amplification": amplification}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cedargate", type=lambda path: Path(path).resolve())
    parser.add_argument("--quick", action="store_true", help="short runs, not for the record")
    parser.add_argument("--only", help="some of " + ", ".join(PARTS))
    parser.add_argument("--all", action="store_true", help="every request of the amplification, not the worst ten")
    parser.add_argument("--among", help="only floods, modes or requests whose name holds this")
    options = parser.parse_args()
    fortress.choose_parts(parser, options, PARTS)
    quick = options.quick
    options.connections = 2_000 if quick else 10_000
    # Memory that a start has used and freed is given back within as long.
    options.settle = 15
    options.slow_seconds, options.slow_connections = (20, 1_000) if quick else (600, 4_000)
    options.flood_seconds = 4 if quick else 60
    options.case_seconds = 0.4 if quick else 3
    return options


def main():
    options = arguments()
    gc.disable()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    files = fortress.most_files()
    with tempfile.TemporaryDirectory(prefix="cedargate-edge-") as folder:
        gate, verdicts = fortress.Fortress(options.cedargate, Path(folder)), []
        try:
            for part in options.parts:
                print(part, file=sys.stderr, flush=True)
                rows, met = PARTS[part].run(gate, options, files)
                verdicts += met
                print("\n".join([*rows, ""]), flush=True)
        finally:
            gate.end()
    print("| Bar | |\n|---|---|")
    for bar, met in verdicts:
        print(f"| {bar} | {'met' if met else '**missed**'} |")


if __name__ == "__main__":
    main()
