"""Resolve and download every wheel of the device install: `python jetson/scripts/wheelhouse.py [--out DIR] [--light]`.

For aarch64 with Python 3.10 (JetPack 6) and 3.12 (JetPack 7), whatever machine this runs on. --light downloads nothing
but the metadata's closure of a few small wheels; the whole takes some hundred megabytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from packaging.requirements import Requirement

from callm_edge.errors import UserError
from callm_jetson.boards import JETPACK_6_2, JETPACK_7_2
from callm_jetson.release import own_wheel
from callm_jetson.wheelhouse import Target, missing, requirements_of, resolve

# Small, and with dependencies that differ between Pythons: what a full run would get wrong, these do too.
LIGHT = ("rich>=13", "click>=8.1", "tomli>=2; python_version < '3.11'", "typing-inspection>=0.4")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="keep the wheels there; else they are thrown away")
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--extra", action="append", default=[], help="an extra of callm-edge; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        if options.light:
            roots = [Requirement(text) for text in LIGHT]
        else:
            roots = requirements_of(own_wheel(Path(scratch) / "own"), options.extra)
        for release in (JETPACK_6_2, JETPACK_7_2):
            target = Target(release.python, "aarch64", release.glibc)
            began = time.monotonic()
            try:
                wheels = resolve(roots, target, folder / target.key)
            except UserError as error:
                print(f"Error: {error}", file=sys.stderr)
                return 1
            lacking = missing(wheels, [root for root in roots if root.marker is None], target)
            megabytes = sum(path.stat().st_size for path in wheels) / 1e6
            foreign = [path.name for path in wheels if "x86_64" in path.name]
            seconds = time.monotonic() - began
            glibc = f"{target.glibc[0]}.{target.glibc[1]}"
            what = f"JetPack {release.jetpack}: Python {target.python}, {target.machine}, glibc {glibc}"
            print(f"{what}: {len(wheels)} wheels, {megabytes:.1f} MB in {seconds:.1f} s, lacking: {lacking}")
            for path in wheels:
                print(f"  {path.name}")
            if lacking or foreign:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
