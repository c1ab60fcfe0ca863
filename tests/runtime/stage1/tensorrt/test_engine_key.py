"""Any difference between two builds is another key, and is told in words."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import BundleError
from callm_edge.stage1.tensorrt.engine_key import BuildFlags, EngineKey

KEY = EngineKey("a" * 64, "10.3.0", "8.7", BuildFlags())
CHANGES = [
    ({"onnx_sha256": "b" * 64}, "another graph"),
    ({"tensorrt": "10.13.2"}, "TensorRT 10.13.2 instead of 10.3.0"),
    ({"compute_capability": "11.0"}, "compute capability 11.0 instead of 8.7"),
    ({"flags": BuildFlags(precision="int8")}, "precision int8 instead of fp16"),
    ({"flags": BuildFlags(batch=4)}, "batch 4 instead of 1"),
    ({"flags": BuildFlags(outputs=("mse", "psnr_db"))}, "outputs mse+psnr_db instead of reconstruction"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_change_gives_another_digest_and_a_reason(change: dict[str, object], words: str) -> None:
    other = replace(KEY, **change)  # type: ignore[arg-type]
    assert other.digest != KEY.digest
    (reason,) = KEY.differences(other)
    assert words in reason


@given(
    st.builds(
        EngineKey,
        st.text(max_size=64),
        st.text(max_size=20),
        st.text(max_size=8),
        st.builds(BuildFlags, st.text(), st.lists(st.text()).map(tuple), st.integers(), st.integers()),
    )
)
def test_a_key_survives_its_sidecar(key: EngineKey) -> None:
    import json

    again = EngineKey.from_dict(json.loads(json.dumps(asdict(key))))
    assert again == key
    assert again.digest == key.digest
    assert key.differences(again) == []


@pytest.mark.parametrize("values", [None, [], {}, {"flags": 3}, {**asdict(KEY), "more": 1}, {"flags": {"outputs": 3}}])
def test_nonsense_is_no_key(values: object) -> None:
    with pytest.raises(BundleError, match="no valid key"):
        EngineKey.from_dict(values)
