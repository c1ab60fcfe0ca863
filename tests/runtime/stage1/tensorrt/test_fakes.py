"""The fakes know nothing that TensorRT 10.3 and 11.4 do not both document (tests/goldens/tensorrt_api)."""

from __future__ import annotations

import enum
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOLDENS = Path(__file__).resolve().parents[3] / "goldens" / "tensorrt_api"
VERSIONS = ("10.3.0", "11.4.0")


def documented(version: str) -> dict[str, Any]:
    return json.loads((GOLDENS / f"{version}.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_of_the_fakes_is_documented(trt: ModuleType, version: str) -> None:
    known = documented(version)
    checked = 0
    for name, kind in vars(trt).items():
        if not inspect.isclass(kind) or kind.__module__ != "fake_tensorrt" or name == "Strict":
            continue
        if issubclass(kind, enum.Enum):
            assert set(kind.__members__) <= set(known["enums"][name]), name
            continue
        members = known["classes"][name]
        own = {member: value for member, value in vars(kind).items() if not member.startswith("_")}
        for knob in ("settable", "device", "writes", "fuses_names", "builds", "fails", "network", "enqueue"):
            if knob not in members:
                own.pop(knob, None)  # of the fake itself
        settable = kind.settable - {"last_error", "interrupted"} if hasattr(kind, "settable") else set()
        for member in (*own, *settable):
            assert member in members, f"{name}.{member} is not documented by {version}"
            checked += 1
            value = own.get(member)
            if inspect.isfunction(value):
                taken = [p for p in inspect.signature(value).parameters if p != "self"]
                forms = members[member]
                if member == "create_execution_context":
                    continue  # taken without arguments, which each overload allows
                if member == "deserialize_cuda_engine":
                    assert taken in forms
                    continue
                assert taken in forms, f"{name}.{member}({taken}) is documented by {version} as {forms}"
    assert checked > 45


@pytest.mark.parametrize("version", VERSIONS)
def test_what_version_11_removed_is_not_in_the_fakes(trt: ModuleType, version: str) -> None:
    """The very names with which other tools write single precision engines without noticing."""
    assert not hasattr(trt, "BuilderFlag")
    assert "FP16" in documented("10.3.0")["enums"]["BuilderFlag"]
    assert "FP16" not in documented("11.4.0")["enums"]["BuilderFlag"]
    builder = trt.IBuilderConfig("sm_87")
    for name in ("int8_calibrator", "max_workspace_size"):
        with pytest.raises(AttributeError):
            setattr(builder, name, 1)
    with pytest.raises(AttributeError):
        trt.Builder.platform_has_fast_fp16  # noqa: B018


def test_the_fake_of_cuda_has_the_names_and_forms_of_the_bindings(cuda_api: Any) -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="the extra 'gpu' is not installed")
    for name, kind in vars(type(cuda_api)).items():
        if not name.startswith("cuda"):
            continue
        real = getattr(runtime, name)
        if inspect.isclass(kind):
            assert {member.name: member.value for member in kind} == {
                m: int(getattr(real, m)) for m in kind.__members__
            }
        elif inspect.isfunction(kind):
            form = (real.__doc__ or "").split("(", 1)[1].split(")", 1)[0]
            wanted = [part.split(":")[0].split()[-1] for part in form.split(",") if part.strip()]
            assert [p for p in inspect.signature(kind).parameters if p != "self"] == wanted, name
        else:
            assert kind == int(real)
