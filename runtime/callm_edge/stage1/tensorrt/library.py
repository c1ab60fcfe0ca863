"""The `tensorrt` module where it is installed, and our logger behind its own.

Everything here and in the files beside keeps to what TensorRT 10.3 (JetPack 6) and 11 both document.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

from callm_edge.errors import UserError

log = logging.getLogger("callm_edge.tensorrt")

OLDEST = (10, 3)


def installed() -> bool:
    """Whether the module is there; its libraries are only loaded by `load`."""
    return importlib.util.find_spec("tensorrt") is not None


def load() -> Any:
    """The module. Raises UserError where it is absent, cannot load its libraries, or is too old."""
    fix = "On a Jetson: sudo apt install python3-libnvinfer (JetPack); elsewhere: pip install tensorrt"
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise UserError("TensorRT is not installed", str(error), fix) from error
    version = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if version < OLDEST:
        raise UserError(
            f"TensorRT {trt.__version__} is too old", f"{OLDEST[0]}.{OLDEST[1]} or later is needed", "Update JetPack"
        )
    return trt


def make_logger(trt: Any) -> Any:
    """An ILogger that hands TensorRT's messages to `logging`, as 'callm_edge.tensorrt'."""
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        trt.ILogger.INFO: logging.DEBUG,
        trt.ILogger.VERBOSE: logging.DEBUG,
    }

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity, logging.DEBUG)
            if level == logging.ERROR:
                self.last_error = msg
            log.log(level, msg)

    return Logger()
