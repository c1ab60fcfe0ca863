"""Does every event get one verdict while the server is killed, the edge is killed and the link between them stalls?

    python -m callm_bench.fault_drill --bundle DIR [--events 200] [--server-kills 10] [--edge-kills 20] [--stalls 5]

The edge is `callm-edge run` over the plaza, where everything is an event, and the server is `callm-edge serve`. Both
are killed with SIGKILL, at moments that the seed decides, and started again. Exit code 1 where an event has no verdict
or a verdict was said twice.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from callm_bench.stalling_proxy import StallingProxy
from callm_edge.errors import UserError
from callm_edge.events.store import EventStore

FPS, STRIDE = 25, 16
FRAMES = 2 * STRIDE  # of an event, with the decision below
POLL_S = 0.02
# Every window is below the threshold, and an event ends after a second: footage of n x FRAMES frames has n events.
CONFIG = """
bundle = {bundle}
store = {store}
threads = 1
threshold = 90
stride = {stride}
headless = true
json = true

[[camera]]
name = "drill"
source = "test:plaza?seed={seed}&seconds={seconds}"
decision = {{ smoothing = 1, release_db = 0, gap_s = 1, minimum_s = 0, maximum_s = 1 }}

[stage2]
use = "remote"
remote = "http://127.0.0.1:{port}/v1"
remote_read_s = {read_s}
remote_threshold = 0  # so that both questions are asked
"""


@dataclass
class Drill:
    """events: in the store or said to be. verdicts: of them in the store. lost: events without one. twice: verdicts
    that were said more than once. unsaid: in the store, but the edge was killed before it could say them. given_up:
    lost ones for which the store says why. server_starts, edge_starts: processes; an edge also ends with its footage.
    stalls: of the link. finished: all faults were made and nothing waited any more.
    """

    events: int
    verdicts: int
    lost: int
    twice: int
    unsaid: int
    given_up: int
    server_kills: int
    edge_kills: int
    stalls: int
    server_starts: int
    edge_starts: int
    finished: bool
    seconds: float

    @property
    def passed(self) -> bool:
        return self.finished and not (self.lost or self.twice)


class _Drilled:
    """The three that are drilled, and how far they are."""

    def __init__(self, folder: Path, bundle: str, events: int, read_s: float, stack: ExitStack) -> None:
        self._folder, self._bundle, self._events, self._read_s = folder, bundle, events, read_s
        self._stack = stack
        self._port = _free_port()
        self.proxy = stack.enter_context(StallingProxy(self._port))
        self.server_starts = self.edge_starts = 0
        self.server = self._start_server()
        self.edge = self._start_edge()
        stack.callback(lambda: _kill(self.server, self.edge))
        self._store: EventStore | None = None

    @property
    def server_listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    @property
    def counts(self) -> tuple[int, int]:
        """(events in the store, those of them that wait)"""
        if self._store is None:
            if not (self._folder / "store" / "events.db").exists():
                return 0, 0
            with suppress(UserError):  # it is being made
                self._store = self._stack.enter_context(EventStore(self._folder / "store", read_only=True))
        return (len(self._store), len(self._store.waiting())) if self._store else (0, 0)

    def kill_server(self) -> None:
        _kill(self.server)
        self.server = self._start_server()

    def kill_edge(self) -> None:
        _kill(self.edge)
        self.edge = self._start_edge()

    def revive(self) -> None:
        """Start what has ended by itself: an edge at the end of its footage; a server never should."""
        if self.server.poll() is not None:
            raise click.ClickException(f"the server ended: {(self._folder / 'server.log').read_text()[-2000:]}")
        if (code := self.edge.poll()) is not None:
            if code:
                raise click.ClickException(f"the edge ended: {(self._folder / 'edge.log').read_text()[-2000:]}")
            self.edge = self._start_edge()

    def said(self) -> list[dict[str, Any]]:
        """What all edges have printed; a line that a kill has cut in two was not said."""
        found = []
        for path in sorted(self._folder.glob("edge-*.jsonl")):
            for line in path.read_text().splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def _start_server(self) -> subprocess.Popen[bytes]:
        self.server_starts += 1
        command = ["serve", "--bundle", self._bundle, "--port", str(self._port), "--threads", "1"]
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "callm_edge", *command], stderr=log, stdout=log)

    def _start_edge(self) -> subprocess.Popen[bytes]:
        """It watches as much as has not become events yet; where all has, it only empties the queue."""
        self.edge_starts += 1
        left = self._events - (self.counts[0] if self.edge_starts > 1 else 0)
        settings = self._folder / "edge.toml"
        settings.write_text(
            CONFIG.format(
                bundle=json.dumps(self._bundle),
                store=json.dumps(str(self._folder / "store")),
                stride=STRIDE,
                seed=self.edge_starts,
                seconds=(left * FRAMES or STRIDE // 2) / FPS,
                port=self.proxy.port,
                read_s=self._read_s,
            )
        )
        said = self._folder / f"edge-{self.edge_starts:04}.jsonl"
        with (self._folder / "edge.log").open("ab") as log, said.open("wb") as out:
            command = ["run", "--config", str(settings)]
            return subprocess.Popen([sys.executable, "-m", "callm_edge", *command], stderr=log, stdout=out)


def drill(
    bundle: str,
    events: int = 200,
    server_kills: int = 10,
    edge_kills: int = 20,
    stalls: int = 5,
    stall_s: float = 6.0,
    read_s: float = 5.0,
    patience_s: float = 300.0,
    seed: int = 0,
) -> Drill:
    """Run it.

    bundle: with a branch. read_s: the edge's deadline for a piece of an answer. patience_s: without any new event or
    verdict, after which the drill has failed. seed: of the faults' order and moments.
    """
    began, rng = time.monotonic(), random.Random(seed)
    faults = ["server"] * server_kills + ["edge"] * edge_kills + ["stall"] * stalls
    rng.shuffle(faults)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fault-drill-")))
        drilled = _Drilled(folder, bundle, events, read_s, stack)
        done = _inflict(drilled, faults, events, stall_s, patience_s, rng)
        _, waiting = drilled.counts
        drilled.edge.send_signal(signal.SIGTERM)  # what it knows, it still says
        with suppress(subprocess.TimeoutExpired):
            drilled.edge.wait(30)
        with EventStore(folder / "store", read_only=True) as store:
            stored = store.list(limit=None)
        said = drilled.said()
    verdicts = Counter(line["event_id"] for line in said if line["type"] == "verdict")
    decided = {one.event.id for one in stored if one.verdict}
    known = {one.event.id for one in stored} | {line["id"] for line in said if line["type"] == "event"}
    kinds = Counter(faults[:done])
    return Drill(
        events=len(known),
        verdicts=len(decided),
        lost=len(known - decided),
        twice=sum(count > 1 for count in verdicts.values()),
        unsaid=len(decided - set(verdicts)),
        given_up=sum(one.failed is not None for one in stored),
        server_kills=kinds["server"],
        edge_kills=kinds["edge"],
        stalls=kinds["stall"],
        server_starts=drilled.server_starts,
        edge_starts=drilled.edge_starts,
        finished=done == len(faults) and len(stored) >= events and not waiting,
        seconds=round(time.monotonic() - began, 1),
    )


def _inflict(
    drilled: _Drilled, faults: Sequence[str], events: int, stall_s: float, patience_s: float, rng: random.Random
) -> int:
    """Make the faults, evenly over the way to the last verdict, and wait for that; returns how many were made."""
    # An event and its verdict are a step each; the last twentieth of the way is left in peace.
    due = [1.9 * events * (at + 1) / (len(faults) + 1) for at in range(len(faults))]
    done, steps, stalled_until = 0, 0, 0.0
    moved = time.monotonic()
    while time.monotonic() - moved < patience_s:
        found, waiting = drilled.counts
        if 2 * found - waiting > steps:
            steps, moved = 2 * found - waiting, time.monotonic()
        if stalled_until and time.monotonic() > stalled_until:
            drilled.proxy.stall(False)
            stalled_until = 0.0
        if done == len(faults):
            if found >= events and not waiting and not stalled_until:
                break
        # A server is not killed again before it was there.
        elif steps >= due[done] and (faults[done] != "server" or drilled.server_listens):
            time.sleep(rng.uniform(0, 0.3))  # not always right after a verdict
            if faults[done] == "server":
                drilled.kill_server()
            elif faults[done] == "edge":
                drilled.kill_edge()
            else:
                drilled.proxy.stall(True)
                stalled_until = time.monotonic() + stall_s
            done += 1
        drilled.revive()
        time.sleep(POLL_S)
    return done


def _kill(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@click.command()
@click.option("--bundle", default="plaza", show_default=True, help="With a branch.")
@click.option("--events", type=click.IntRange(1), default=200, show_default=True)
@click.option("--server-kills", type=click.IntRange(0), default=10, show_default=True)
@click.option("--edge-kills", type=click.IntRange(0), default=20, show_default=True)
@click.option("--stalls", type=click.IntRange(0), default=5, show_default=True, help="Of the link.")
@click.option("--stall-s", type=click.FloatRange(0), default=6.0, show_default=True, help="How long each is.")
@click.option("--read-s", type=click.FloatRange(0.1), default=5.0, show_default=True, help="The edge's read deadline.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the moments and the order of the faults.")
@click.option("--json", "as_json", is_flag=True)
def main(as_json: bool, **settings: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    found = drill(**settings)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        table = Table("what", "count", title="passed" if found.passed else "failed")
        for name, value in asdict(found).items():
            table.add_row(name.replace("_", " "), str(value))
        Console().print(table)
    raise SystemExit(0 if found.passed else 1)


if __name__ == "__main__":
    main()
