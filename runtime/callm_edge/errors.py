"""Errors that a person can mend. The CLI prints them as sentences; anything else is our bug and keeps its traceback."""


class UserError(Exception):
    """Something outside this program is not as it should be.

    ``what`` happened, ``why``, and ``fix``: what to do about it. ``exit_code`` is 1 (failed) or 2 (wrong usage).
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(": ".join(part for part in (what, why) if part) + (f". {fix}" if fix else ""))


class UsageError(UserError):
    """The command line or a setting asks for something that does not exist."""

    exit_code = 2


class SourceError(UserError):
    """A camera, stream, file or folder gives no frames."""


class BundleError(UserError):
    """A bundle is incomplete, altered, or of a schema this version does not read."""


class MissingExtraError(UserError):
    """An optional part of the installation is absent."""

    def __init__(self, extra: str, what: str, module: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}'",
            f"the module '{module}' is not installed",
            f"Run: pip install 'callm-edge[{extra}]'",
        )
        self.extra = extra
