"""From settings to the page of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callm_edge.config.settings import RunSettings, WebSettings
from callm_edge.stage2.asking import Asker, device_branch
from callm_edge.stage2.choose import open_branch
from callm_edge.web.listening import Listening
from callm_edge.web.live import Live
from callm_edge.web.server import WebServer

if TYPE_CHECKING:
    from callm_edge.config.cameras import Cameras
    from callm_edge.events.store import EventStore
    from callm_edge.stage2.branch import Branch


@dataclass(frozen=True)
class Page:
    """live: hears of the run, as a report and as a viewer. server: not started yet."""

    live: Live
    server: WebServer


def listening(settings: WebSettings) -> Listening:
    """Raises UsageError as Listening.parse does."""
    return Listening.parse(
        settings.listen, settings.token_file, settings.certificate, settings.certificate_key, tuple(settings.hosts)
    )


def open_page(settings: RunSettings, opened: Cameras, store: EventStore, make: Callable[[], Branch] | None) -> Page:
    """The page of a run. make: what opens stage 2 for it, as it does for the run's own events, or None.

    A question opens a second branch beside the one that judges, since one answers one thing at a time and events are
    not to wait for questions. Raises what Listening.parse and WebServer raise.
    """
    assert settings.web is not None
    by_name = {bundle.name: bundle for bundle in opened.bundles.values()}

    def branch_for(name: str) -> Callable[[], Branch]:
        if make is not None:
            return make
        if name in by_name:
            found = open_branch(by_name[name], "device")
            assert found is not None
            return found
        return device_branch(name)

    live = Live(opened.cameras, lambda: len(store.waiting()))
    return Page(live, WebServer(live, store, Asker(branch_for), listening(settings.web)))
