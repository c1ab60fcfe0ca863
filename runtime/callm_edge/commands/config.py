"""`callm-edge config`: look at a configuration before anything runs with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from callm_edge.config.settings import RunSettings

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def config() -> None:
    """Check and show configuration files of `run --config`."""


@config.command()
@_file
def check(file: Path) -> None:
    """Say what is wrong with FILE: keys, values, sources, bundles, secrets. Nothing is opened or connected."""
    from callm_edge.bundle import Bundle
    from callm_edge.config.cameras import uri_of
    from callm_edge.config.read import read_settings
    from callm_edge.errors import UsageError
    from callm_edge.names import nearest
    from callm_edge.sinks.choose import check_sinks
    from callm_edge.sources.uri import parse_uri
    from callm_edge.stage1.choose import BACKENDS
    from callm_edge.web.choose import listening

    settings = read_settings(file)
    if not settings.camera:
        click.echo(f"Note: {file} names no camera; name them with 'run --config {file} --source ...'", err=True)
    for camera in settings.camera:
        parse_uri(uri_of(camera))
    for name in sorted({settings.bundle, *_named(settings, "bundle")}):
        Bundle.load(name)
    for name in sorted({settings.backend, *_named(settings, "backend")}):
        if name not in BACKENDS:
            raise UsageError(
                f"There is no backend '{name}'", f"backends are {', '.join(BACKENDS)}", nearest(name, BACKENDS)
            )
    check_sinks(settings.sinks)
    if settings.web:
        listening(settings.web)
    cameras = len(settings.camera)
    click.echo(f"{file} is good: {cameras} camera{'' if cameras == 1 else 's'}")


@config.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="As JSON instead of TOML.")
def show(file: Path, as_json: bool) -> None:
    """Print FILE with every default filled in, and without passwords."""
    import json

    import tomli_w

    from callm_edge.config.read import read_settings

    shown = _hidden(read_settings(file).model_dump(mode="json", by_alias=True, exclude_none=True))
    for webhook in shown["sinks"]["webhook"]:
        if "url" in webhook:  # the path of many a hook is its password
            webhook["url"] = "/".join([*webhook["url"].split("/")[:3], "***"])
    click.echo(json.dumps(shown, indent=1) if as_json else tomli_w.dumps(shown).rstrip())


def _named(settings: RunSettings, key: str) -> set[str]:
    return {value for camera in settings.camera if (value := getattr(camera, key))}


def _hidden(value: Any) -> Any:
    from callm_edge.sinks.sink import redact_text

    if isinstance(value, dict):
        return {key: _hidden(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_hidden(one) for one in value]
    return redact_text(value) if isinstance(value, str) else value
