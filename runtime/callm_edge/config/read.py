"""From a TOML file to settings, or to sentences that name file, line, key and the nearest right one."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from callm_edge.config.lines import line_of
from callm_edge.config.settings import RunSettings, known_keys
from callm_edge.errors import UsageError
from callm_edge.names import nearest
from callm_edge.sinks.sink import redact_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_settings(path: Path) -> RunSettings:
    """The settings in `path`; relative paths in it are relative to its folder.

    Raises UsageError for a file that cannot be read, is no TOML, or holds an unknown key or a wrong value: all of them
    at once, a line each.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"The configuration {path} cannot be read", why, "Name a TOML file with --config") from None
    return parsed(text, path)


def parsed(text: str, path: Path) -> RunSettings:
    """The settings in `text`, which stands in `path`. Raises UsageError as `read_settings` does."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML", str(error), "See docs/config.md for an example") from None
    try:
        settings = RunSettings.model_validate(found)
    except ValidationError as error:
        complaints = [_sentence(one, text) for one in error.errors(include_url=False, include_context=False)]
        what = f"{path} has {len(complaints)} mistakes" if len(complaints) > 1 else f"{path} has a mistake"
        raise UsageError(what, "\n       ".join(dict.fromkeys(complaints))) from None
    return _located(settings, path.absolute().parent)


def _sentence(error: Any, text: str) -> str:
    loc = _in_file(error["loc"])
    line = line_of(text, loc)
    where = f"line {line}: " if line else ""
    name = _readable(loc)
    if error["type"] == "extra_forbidden":
        model = _model_at(loc[:-1])
        known = known_keys(model) if model else []
        hint = nearest(str(loc[-1]), known) or f"Keys here are {', '.join(known)}"
        return f"{where}there is no key '{name}'. {hint}"
    if error["type"] == "missing":
        return f"{where}'{name}' is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = error.get("input")
    # Only plain values are shown, and of those none that could hold a secret.
    shown = f" (it is {given!r})" if isinstance(given, (bool, int, float)) else ""
    if isinstance(given, str) and error["type"] in ("literal_error", "enum"):
        shown = f" (it is '{given}')"
    return redact_text(f"{where}'{name}': {message}{shown}" if name else f"{where}{message}{shown}")


def _in_file(loc: Sequence[str | int]) -> tuple[str | int, ...]:
    """`loc` without what pydantic adds to it: the names of a union's members."""
    kept: list[str | int] = []
    model: Any = RunSettings
    for part in loc:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, BaseModel):
            model = _field_type(model, part)
            kept.append(part)
        elif isinstance(part, int):
            model = _item_type(model)
            kept.append(part)
        elif not kept or model is not None:
            break
    return tuple(kept) if kept else tuple(loc)


def _model_at(loc: Sequence[str | int]) -> type[BaseModel] | None:
    model: Any = RunSettings
    for part in loc:
        is_table = isinstance(model, type) and issubclass(model, BaseModel)
        model = _field_type(model, str(part)) if is_table else _item_type(model)
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _field_type(model: type[BaseModel], key: str) -> Any:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return _plain(field.annotation)
    return None


def _item_type(kind: Any) -> Any:
    arguments = get_args(kind)
    return _plain(arguments[0]) if arguments else None


def _plain(kind: Any) -> Any:
    """Without Annotated and without '| None'."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = next((one for one in get_args(kind) if one is not type(None)), None)
        else:
            return kind


def _readable(loc: Sequence[str | int]) -> str:
    """camera[2].ignore[1].box, counted from 1 as people do."""
    text = ""
    for part in loc:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _located(model: Any, folder: Path) -> Any:
    """`model` with every relative path in it taken from `folder`, since a service starts anywhere."""
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            changes[name] = folder / value.expanduser()
        elif isinstance(value, BaseModel):
            changes[name] = _located(value, folder)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            changes[name] = [_located(one, folder) for one in value]
        elif name in ("source", "bundle") and isinstance(value, str) and _beside(value, folder):
            changes[name] = str(folder / value)
            if name == "source" and not model.name:
                changes["name"] = value  # as the file has it, which is shorter
    return model.model_copy(update=changes) if changes else model


def _beside(text: str, folder: Path) -> bool:
    """Whether `text`, which may also be a URL or the name of a bundle, is a file or folder in `folder`."""
    try:
        return bool(text) and not Path(text).is_absolute() and (folder / text).exists()
    except (OSError, ValueError):
        return False
