"""A bundle: the folder that travels from the workstation to the device.

bundle.json names every other file with its sha256. A bundle with an unknown schema, a missing file or a wrong hash is
refused by name, so that a device never runs on half a copy.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callm_edge import atomic
from callm_edge.errors import BundleError, UsageError
from callm_edge.names import nearest
from callm_edge.stage2.ways import Ways

SCHEMA = 1
MANIFEST = "bundle.json"
SCORE = "stage1/score.onnx"
AUTOENCODER_FP16 = "stage1/autoencoder.fp16.onnx"
AUTOENCODER_INT8 = "stage1/autoencoder.int8.onnx"  # only where it was asked for and verified
SHARED = "stage1/shared"  # folder of the graphs that share work between windows
STAGE2 = "stage2"  # folder of the video-language branch
WAYS = "ways.npy"  # usual ones of the camera, where its normal footage was seen by who calibrated
BUILT_IN = Path(__file__).parent / "bundles"
DEFAULT = "plaza"


class Decision(BaseModel):
    """How scores become events; what calibration fixed.

    statistic: 'tile', PSNR of the worst 32 x 32 tile, or 'frame', PSNR of the whole frame.
    smoothing: frames of the causal moving average over the statistic in dB; 1 is none.
    threshold_psnr_db: a window below it is flagged.
    release_db: an event lasts until the score is this far above the threshold again.
    gap_s: flags nearer than this belong to one event, in seconds.
    minimum_s: flagged time below which there is no event, in seconds.
    maximum_s: an event this long ends, in seconds, and the next one begins: nobody waits for the end of a camera that
        was turned away.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    statistic: Literal["tile", "frame"] = "tile"
    smoothing: int = Field(3, ge=1, le=1000)
    threshold_psnr_db: float = Field(0.0, allow_inf_nan=False)
    release_db: float = Field(0.3, ge=0)
    gap_s: float = Field(0.8, ge=0)
    minimum_s: float = Field(0.2, ge=0)
    maximum_s: float = Field(60.0, gt=0)


class Manifest(BaseModel):
    """What bundle.json holds.

    training: the plain record of how the weights came to be.
    calibration: backend, footage and target behind the threshold.
    files: sha256 of every file, by path relative to the bundle.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    name: str
    preset: str
    training: dict[str, Any]
    decision: Decision
    calibration: dict[str, Any]
    licences: dict[str, str]
    files: dict[str, str]


class Bundle:
    """A bundle on disk, its manifest and file hashes checked. folder: where it lies; manifest: what it says."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def load(cls, name: str | Path) -> Bundle:
        """Open a bundle by folder, or by the name of one that ships inside. Raises BundleError, UsageError."""
        folder = Path(name)
        if not (folder / MANIFEST).is_file():
            built_in = BUILT_IN / str(name)
            if str(name) in built_in_names():
                folder = built_in
            elif folder.is_dir():
                raise BundleError(f"{folder} is not a bundle", f"it has no {MANIFEST}", "Give the folder that holds it")
            else:
                known = ", ".join(built_in_names())
                hint = nearest(str(name), built_in_names())
                raise UsageError(f"There is no bundle '{name}'", f"no such folder, and built in are: {known}", hint)
        manifest = _read_manifest(folder / MANIFEST)
        for relative, digest in manifest.files.items():
            path = folder / relative
            if not path.resolve().is_relative_to(folder.resolve()):
                raise BundleError(f"The bundle {folder} is refused", f"its file '{relative}' lies outside of it")
            if not path.is_file():
                raise BundleError(
                    f"The bundle {folder} is incomplete", f"'{relative}' is missing", "Copy it again as a whole"
                )
            if sha256(path) != digest:
                raise BundleError(
                    f"The bundle {folder} is damaged or altered",
                    f"'{relative}' has another sha256 than {MANIFEST} says",
                    "Copy it again",
                )
        if SCORE not in manifest.files:
            raise BundleError(f"The bundle {folder} is incomplete", f"{MANIFEST} names no '{SCORE}'", "Export it again")
        return cls(folder, manifest)

    @classmethod
    def write(cls, folder: Path, **fields: Any) -> Bundle:
        """Write bundle.json over the files in `folder`, atomically. `fields`: those of Manifest but schema, files."""
        files = {
            path.relative_to(folder).as_posix(): sha256(path)
            for path in sorted(folder.rglob("*"))
            # engines are built on the device and have their own sidecar; hidden files are other programs' business
            if path.is_file()
            and path.name != MANIFEST
            and "engines" not in path.parts
            and not path.name.startswith(".")
        }
        manifest = Manifest(schema_version=SCHEMA, files=files, **fields)
        atomic.write_text(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
        return cls(folder, manifest)

    def with_decision(self, decision: Decision, calibration: dict[str, Any]) -> Bundle:
        """Rewrite bundle.json with another decision; the other files stay."""
        manifest = self.manifest.model_copy(update={"decision": decision, "calibration": calibration})
        atomic.write_text(self.folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
        return Bundle(self.folder, manifest)

    def with_stage2(self, branch: Path) -> Bundle:
        """Put the video-language branch in the folder `branch` into the bundle, in place of one that is there.

        Killed meanwhile, it leaves a bundle that is refused as damaged until the same is done again.
        """
        arriving = self.folder / f".{STAGE2}"
        shutil.rmtree(arriving, ignore_errors=True)
        shutil.copytree(branch, arriving)
        shutil.rmtree(self.folder / STAGE2, ignore_errors=True)
        arriving.rename(self.folder / STAGE2)
        return Bundle.write(self.folder, **self.manifest.model_dump(exclude={"schema_version", "files"}))

    def with_ways(self, ways: Ways) -> Bundle:
        """Put in the usual ways of the camera, in place of any that are there; killed meanwhile, see `with_stage2`."""
        atomic.write_bytes(self.folder / WAYS, ways.to_bytes())
        return Bundle.write(self.folder, **self.manifest.model_dump(exclude={"schema_version", "files"}))

    @property
    def ways(self) -> Ways | None:
        """Usual ways of the camera; None in a bundle that does not know them. Raises BundleError."""
        if WAYS not in self.manifest.files:
            return None
        path = self.folder / WAYS
        try:
            return Ways.from_bytes(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read", str(error), "Calibrate the bundle again") from error

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def decision(self) -> Decision:
        return self.manifest.decision

    @property
    def score_path(self) -> Path:
        return self.folder / SCORE

    @property
    def shared_path(self) -> Path | None:
        """Folder of the graphs that share work between windows; None in a bundle of before them."""
        return self.folder / SHARED if any(name.startswith(f"{SHARED}/") for name in self.manifest.files) else None

    @property
    def stage2_path(self) -> Path | None:
        """Folder of the video-language branch; None in a bundle without one."""
        return self.folder / STAGE2 if f"{STAGE2}/stage2.json" in self.manifest.files else None

    @property
    def hash(self) -> str:
        """sha256 of bundle.json, which names the hash of every file: one word for the whole bundle."""
        return sha256(self.folder / MANIFEST)


def built_in_names() -> list[str]:
    """Names of the bundles that ship inside the package."""
    return sorted(p.parent.name for p in BUILT_IN.glob(f"*/{MANIFEST}"))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(path: Path) -> Manifest:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read", str(error)) from error
    try:
        version = _Schema.model_validate_json(text).schema_version
        if version != SCHEMA:
            raise BundleError(
                f"{path} has schema {version}",
                f"this version reads schema {SCHEMA}",
                "Update callm-edge, or export the bundle again",
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(
            f"{path} is not a valid bundle manifest", f"{where}: {first['msg']}", "Export the bundle again"
        ) from error


class _Schema(BaseModel):
    """Only the schema version: read first, since another schema may have other fields."""

    schema_version: int
