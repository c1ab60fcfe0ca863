"""A whole report for the tests of what is made of reports."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def report() -> dict[str, Any]:
    """See example_report.example."""
    spec = importlib.util.spec_from_file_location("example_report", Path(__file__).with_name("example_report.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.example()
    return found
