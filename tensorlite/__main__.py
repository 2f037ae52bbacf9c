"""python -m tensorlite doctor | warmup | clean: the state of this installation."""

from __future__ import annotations

import argparse
import sys
import time

import tensorlite
from tensorlite import doctor


def main() -> int:
    """Run one of the commands; the doctor's answer is 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tensorlite", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = commands.add_parser("doctor", help="what this machine gives, and what is wrong with it")
    asked.add_argument("--seconds", type=float, default=0.3, help="per measurement")
    commands.add_parser("warmup", help="compile the kernels of a training step now")
    commands.add_parser("clean", help="delete compiled kernels of other versions")
    chosen = parser.parse_args()
    if chosen.command == "doctor":
        wrong = 0
        for finding in doctor.examine(chosen.seconds):
            wrong += finding.remedy != ""
            print(finding.as_text(), flush=True)
        print(f"{wrong} to mend" if wrong else "all is well")
        return 1 if wrong else 0
    if chosen.command == "warmup":
        start = time.perf_counter()
        tensorlite.warmup()
        print(f"the kernels of a training step are ready, in {time.perf_counter() - start:.1f} s")
    else:
        print(f"folders of other versions deleted: {doctor.clean()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
