"""schemathesis: what the schema allows, and much of what it forbids, is answered as it says, and never with a 500."""

from __future__ import annotations

from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode, checks  # noqa: E402

HEADERS = {"Authorization": "Bearer 0123456789abcdef-first"}
CHECKS = [checks.not_a_server_error, checks.status_code_conformance, checks.response_schema_conformance]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_one_that_the_schema_tells_of(shared_server: Any, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{shared_server.url}/openapi.json", headers=HEADERS)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        examples = 25 if operation.method == "post" else 4
        if mode == GenerationMode.NEGATIVE and operation.method == "get":
            continue  # nothing to violate

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.validate_response(case.call(headers=HEADERS), checks=CHECKS)

        check()
