"""From what a person wants to the steps that bring it about, and the checks that come before the first of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from callm_edge.errors import UsageError, UserError
from callm_edge.names import nearest
from callm_jetson import flash_host
from callm_jetson.boards import Board
from callm_jetson.bsp import Bsp
from callm_jetson.flash_table import apply_binaries, configuration, default_storage, flash_command, storages
from callm_jetson.flashing import Journal, Progress, Step, run_steps
from callm_jetson.recovery import in_recovery
from callm_jetson.release import Release, build_release, check_wheel, own_wheel
from callm_jetson.seed import Seed, Wifi
from callm_jetson.wheelhouse import Target

_AGAIN = "Put the board into force recovery mode again."


@dataclass(frozen=True)
class Wanted:
    """The command line, understood. The fields are the options of `callm-edge flash`."""

    board: Board
    bsp: Path
    storage: str | None
    board_config: str | None
    hostname: str
    user: str
    keys: tuple[str, ...]
    wifi: Wifi | None
    power_mode: str | None
    clocks: bool
    bundle: str | None
    config: Path | None
    wheel: Path | None
    wheelhouse: Path | None
    with_release: bool
    erase_all: bool
    install_prerequisites: bool


@dataclass(frozen=True)
class FlashPlan:
    """bsp: what is flashed. config: NVIDIA's board configuration. work: folder of the log and of what is seeded.

    seed_files: what the archive will hold, as text for people.
    """

    wanted: Wanted
    bsp: Bsp
    storage: str
    config: str
    work: Path
    steps: tuple[Step, ...]
    needs: tuple[str, ...]
    seed_files: tuple[str, ...]
    sysfs: Path

    @property
    def log(self) -> Path:
        return self.work / "flash.log"

    def check(self) -> None:
        """Everything that can be known before the first step. Raises UserError."""
        missing = [name for name in self.needs if not (self.bsp.folder / name).is_file()]
        if missing:
            raise UserError(
                f"The BSP in {self.bsp.folder} is incomplete",
                f"it lacks {', '.join(missing)}",
                "Unpack Jetson Linux and its sample root file system again",
            )
        if not self.wanted.install_prerequisites:
            flash_host.check_tools(self.bsp.major)
        flash_host.check_space(self.bsp.folder)
        flash_host.root_prefix()
        in_recovery(self.wanted.board, self.sysfs)

    def warning(self) -> str:
        """The question before the point of no return."""
        device = in_recovery(self.wanted.board, self.sysfs)
        module = self.wanted.board.recovery_ids[device.product]
        what = "all its storages" if self.wanted.erase_all else f"its {self.storage} and its boot flash"
        return f"The {module} at USB port {device.port} gets L4T {self.bsp.text}, and {what} will be erased. Go on?"

    def run(self, progress: Progress, *, resume: bool, resume_command: str) -> None:
        """Run the steps. Raises UserError naming the one that failed."""
        self.work.mkdir(parents=True, exist_ok=True)
        # Not the steps: which of NVIDIA's are still to be done is one of the things that a first run changes.
        made_of = (self.wanted, self.bsp.folder, self.bsp.version, self.storage, self.config, self.steps[-1].argv)
        key = hashlib.sha256(repr(made_of).encode()).hexdigest()
        run_steps(
            self.steps,
            self.bsp.folder,
            self.log,
            Journal(self.work / "journal.json", key),
            resume=resume,
            resume_command=resume_command,
            root_prefix=flash_host.root_prefix(),
            progress=progress,
        )


def make_plan(wanted: Wanted, sysfs: Path = Path("/sys")) -> FlashPlan:
    """Choose the commands. Raises UsageError, UserError for what does not fit together; changes nothing."""
    bsp = Bsp.open(wanted.bsp)
    bsp.check(wanted.board)
    if wanted.with_release and wanted.config is None:
        raise UsageError(
            "The device would not know what to watch",
            "callm-edge is to run from its first start on, and there are no settings",
            "Give --config FILE.env with a line such as CALLM_EDGE_RUN_SOURCES=csi:0, or --no-release and deploy later",
        )
    storage = wanted.storage or default_storage(wanted.board)
    if storage not in storages(wanted.board, bsp.major):
        flash_command(wanted.board, storage, bsp.major, "")  # raises with the reason
    present = bsp.configurations()
    config = wanted.board_config or configuration(wanted.board, present)
    if config not in present:
        raise UsageError(
            f"The BSP has no board configuration '{config}'",
            f"there is no {config}.conf in {bsp.folder}",
            nearest(config, present) or "Unpack the BSP again, or name the carrier's with --board-config",
        )
    command = flash_command(wanted.board, storage, bsp.major, config, erase_all=wanted.erase_all)
    binaries = apply_binaries(wanted.board)
    work = state_folder() / "flash" / hashlib.sha256(str(bsp.folder).encode()).hexdigest()[:10]
    archive = work / "seed.tar"
    steps = []
    needs = (*binaries.needs, *command.needs)
    if wanted.install_prerequisites:
        script = "./tools/l4t_flash_prerequisites.sh"
        steps.append(Step("prerequisites", "install the host packages", (script,), hint="It needs the internet."))
        needs = (*needs, script)
    if not bsp.applied:
        steps.append(Step("apply-binaries", "put NVIDIA's drivers into the root file system", binaries.argv))
    steps.append(
        Step(
            "seed",
            "put user, release and settings into the root file system",
            ("tar", "--extract", "--numeric-owner", "--same-permissions", "--keep-directory-symlink")
            + ("--directory", str(bsp.rootfs), "--file", str(archive)),
            prepare=lambda: _write_seed(wanted, bsp, work, archive),
        )
    )
    steps.append(
        Step(
            "flash",
            f"flash {config} to {storage}",
            command.argv,
            environment=dict(command.environment),
            hint=_AGAIN,
            # Building the seed takes minutes, and a board left alone may have been reset meanwhile.
            prepare=lambda: _still_there(wanted.board, sysfs),
        )
    )
    return FlashPlan(wanted, bsp, storage, config, work, tuple(steps), needs, _seed_files(wanted), sysfs)


def state_folder() -> Path:
    """Where logs and journals of this user lie."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "callm-edge"


def cache_folder() -> Path:
    """Where fetched wheels of this user lie."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "callm-edge" / "wheels"


def _seed(wanted: Wanted, payload: Path | None) -> Seed:
    return Seed(
        wanted.hostname, wanted.user, wanted.keys, wanted.wifi, wanted.power_mode, wanted.clocks, payload=payload
    )


def _seed_files(wanted: Wanted) -> tuple[str, ...]:
    seed = _seed(wanted, None)
    lines = [f"/{name} (mode {mode:o})" for name, mode, _ in seed.files()]
    lines += [f"/{name} -> {target}" for name, target in seed.links()]
    if wanted.with_release:
        lines.append("/opt/callm-edge/incoming/<release>: callm-edge, every wheel it needs, bundle and settings")
    return tuple(lines)


def _write_seed(wanted: Wanted, bsp: Bsp, work: Path, archive: Path) -> None:
    payload: Release | None = None
    if wanted.with_release:
        stated = bsp.release
        target = Target(stated.python, "aarch64", stated.glibc)
        app = check_wheel(wanted.wheel) if wanted.wheel else own_wheel(cache_folder())
        payload = build_release(
            work / "release",
            target,
            app,
            cache_folder(),
            bundle=wanted.bundle,
            config=wanted.config,
            wheelhouse=wanted.wheelhouse,
        )
    _seed(wanted, payload.folder if payload else None).write(archive)


def _still_there(board: Board, sysfs: Path) -> None:
    in_recovery(board, sysfs)
