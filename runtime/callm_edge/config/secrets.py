"""Secrets in files of their own, which nobody else may read."""

from __future__ import annotations

from pathlib import Path

from callm_edge.errors import UsageError


def read_secret(path: Path, what: str) -> str:
    """The text in `path` without blanks around it. what: such as 'the password of MQTT'.

    Raises UsageError where it cannot be read, is empty, or is readable for others.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"Others can read {what}", f"the mode of {path} is too wide", f"chmod 600 {path}")
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"The file with {what} cannot be read", f"{path}: {why}") from None
    if not text:
        raise UsageError(f"The file with {what} is empty", str(path))
    return text
