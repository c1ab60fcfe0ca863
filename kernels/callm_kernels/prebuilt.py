"""Code built ahead of time: `make kernels` (`python -m callm_kernels.prebuilt`) fills the folder beside this file."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from callm_kernels import architectures, sources
from callm_kernels.compilers import Compiler, Nvcc, Nvrtc

FOLDER = Path(__file__).resolve().parent / "prebuilt_code"
_INDEX = "index.json"


@dataclass(frozen=True)
class Prebuilt:
    """path: of a cubin or PTX file whose digest was checked. toolkit, toolkit_version: what built it."""

    path: Path
    toolkit: str
    toolkit_version: tuple[int, int]


def find(name: str, target: str, folder: Path | None = None) -> Prebuilt | str:
    """Code of kernel file `name` for "sm_NN" or "compute_NN"; or a sentence that says why there is none.

    Only code of the very source that is here counts: otherwise an upgrade would go on running the old kernels.
    """
    folder = folder or FOLDER
    try:
        index = json.loads((folder / _INDEX).read_text())
        record = index["files"].get(f"{name}.{target}")
        if record is None:
            return f"nothing was built ahead of time for {target}"
        if record["content"] != sources.content_hash(name):
            return f"what was built ahead of time for {target} is of another version of the source"
        path = folder / record["file"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != record["sha256"]:
            return f"{path.name} is damaged"
        return Prebuilt(path, index["toolkit"], tuple(index["version"]))
    except FileNotFoundError:
        return f"nothing was built ahead of time for {target}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"the index of what was built ahead of time cannot be read ({error})"


def build(compiler: Compiler, targets: list[str], folder: Path | None = None, jobs: int = 2) -> list[Path]:
    """Build all kernels for `targets` and put them, with an index, in the place of what `folder` holds."""
    folder = folder or FOLDER
    wanted = [(name, target) for name in sources.ENTRIES for target in targets]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".prebuilt-") as temporary:
        fresh = Path(temporary) / folder.name
        fresh.mkdir()
        with ThreadPoolExecutor(jobs) as pool:
            images = list(pool.map(lambda job: compiler.compile(*job), wanted))
        files = {}
        for (name, target), image in zip(wanted, images, strict=True):
            file = f"{name}.{target}.{'ptx' if target.startswith('compute_') else 'cubin'}"
            (fresh / file).write_bytes(image)
            files[f"{name}.{target}"] = {
                "file": file,
                "content": sources.content_hash(name),
                "sha256": hashlib.sha256(image).hexdigest(),
            }
        index = {"toolkit": compiler.toolkit, "version": list(compiler.version), "files": files}
        (fresh / _INDEX).write_text(json.dumps(index, indent=1) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return [folder / record["file"] for record in files.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", nargs="+", metavar="sm_NN", help="default: all that the compiler knows")
    parser.add_argument("--compiler", choices=["nvcc", "nvrtc"], default="nvcc")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    try:
        compiler: Compiler = Nvcc() if options.compiler == "nvcc" else Nvrtc()
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        parser.exit(1, f"Nothing can be built ahead of time: {error}.\n")
    known = compiler.architectures()
    targets = options.architectures or [name for name in architectures.NAMES if name in known]
    if unknown := sorted(set(targets) - set(known)):
        parser.exit(2, f"{compiler.toolkit} does not know {', '.join(unknown)}; it knows {', '.join(known)}.\n")
    built = build(compiler, [*targets, architectures.PTX], jobs=options.jobs)
    size = sum(path.stat().st_size for path in built)
    print(f"{compiler.toolkit}: {len(built)} files, {size / 1e3:.0f} kB, in {FOLDER}")


if __name__ == "__main__":
    main()
