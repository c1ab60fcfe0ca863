"""Who judges the events of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from callm_edge.bundle import Bundle
from callm_edge.errors import BundleError, UsageError
from callm_edge.stage2.branch import Branch

if TYPE_CHECKING:
    from callm_edge.config.settings import Stage2Settings
    from callm_edge.stage2.remote import Server

KEY_VARIABLE = "CALLM_EDGE_REMOTE_KEY"
CHOICES = ("auto", "device", "remote", "off")


def open_branch(
    bundle: Bundle,
    name: str = "auto",
    threads: int = 0,
    server: Server | None = None,
    private: bool = False,
    deadline_s: float = 5.0,
    waiting: Callable[[], int] = lambda: 1,
    attempt: Callable[[str], int] | None = None,
) -> Callable[[], Branch] | None:
    """What makes the branch, to be called in the thread that uses it; None for no stage 2.

    name: 'device', 'remote' or 'off'; 'auto' is whatever is there, and where both are, a router between them.
    server: for the remote one. private: it is sent no picture, but what the bundle's vision half makes of them.
    deadline_s, waiting: see Router. attempt: for the one on this device, see CountedBranch; None where a crash leaves
    nothing behind that would be tried again.
    Raises BundleError or UsageError where what is named is not there.
    """
    folder = bundle.stage2_path
    if name == "device" and folder is None:
        raise BundleError(
            f"The bundle '{bundle.name}' has no stage 2",
            "it only scores frames",
            "Leave --stage2 away, or take a bundle with a video-language branch, such as plaza",
        )
    if name == "remote" and server is None:
        raise UsageError("There is no server to ask", "", "Name one with --remote URL")
    if private and server is None:
        raise UsageError("There is no server to be private with", "", "Name one with --remote URL")
    if private and folder is None:
        raise BundleError(
            f"The bundle '{bundle.name}' has no vision half to encode with",
            "it only scores frames",
            "Leave --private away, or take the bundle that the server has",
        )
    here = folder if name in ("auto", "device") else None
    there = server if name in ("auto", "remote") else None
    if here is None and there is None:
        return None

    def make() -> Branch:
        device: Branch | None = None
        if here is not None:
            from callm_edge.stage2.device import DeviceBranch

            device = DeviceBranch(here, threads)
            if attempt is not None:
                from callm_edge.stage2.counted import CountedBranch

                device = CountedBranch(device, attempt)
        if there is None:
            assert device is not None
            return device
        from callm_edge.stage2.clip_encoder import ClipEncoder
        from callm_edge.stage2.remote import RemoteBranch
        from callm_edge.stage2.router import Router
        from callm_edge.stage2.spec import Stage2Spec

        spec = Stage2Spec.read(folder) if folder is not None else None
        encoder = ClipEncoder(folder, threads=threads) if private and folder is not None else None
        return Router(device, RemoteBranch(there, spec, encoder), deadline_s, waiting)

    return make


def remote_server(settings: Stage2Settings) -> Server | None:
    """The server that is named, if any; its key comes from the file, or else from CALLM_EDGE_REMOTE_KEY.

    Raises UsageError for a URL that is none, and for a key file that cannot be read or that others can read.
    """
    if settings.remote is None:
        return None
    from callm_edge.stage2.remote import Server

    key, key_file = os.environ.get(KEY_VARIABLE, ""), settings.remote_key_file
    if key_file is not None:
        try:
            if key_file.stat().st_mode & 0o077:
                raise UsageError(
                    f"Others can read the key in {key_file}", "its permissions are too wide", f"chmod 600 {key_file}"
                )
            key = key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The key file {key_file} cannot be read", str(error)) from error
    return Server(
        settings.remote,
        settings.remote_model,
        key,
        settings.remote_threshold,
        read_s=settings.remote_read_s,
        certificates=str(settings.remote_ca) if settings.remote_ca else None,
    )
