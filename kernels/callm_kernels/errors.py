"""Errors of the kernels that a person can mend; a family of its own, as this package stands below the runtime."""

from __future__ import annotations


class KernelError(Exception):
    """A kernel cannot be built, loaded or launched on this machine.

    ``what``, ``why`` and ``fix`` as in callm_edge.errors.UserError, which the runtime turns it into.
    """

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(": ".join(part for part in (what, why) if part) + (f". {fix}" if fix else ""))


class NoDriverError(KernelError):
    """No NVIDIA driver, or no GPU behind it."""


class NoCodeError(KernelError):
    """No code for this GPU's architecture, and nothing here that could build it."""
