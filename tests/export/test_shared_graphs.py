"""Shared work gives the scores of the whole window, whatever is scored, skipped or lost in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

import onnx  # noqa: E402

from callm_edge.bundle import SCORE, SHARED, Bundle  # noqa: E402
from callm_edge.errors import BundleError, UsageError  # noqa: E402
from callm_edge.stage1.choose import open_backend  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer, WindowStream  # noqa: E402
from callm_edge.stage1.shared import SharedWork  # noqa: E402
from callm_export.autoencoder import PRESETS, Autoencoder  # noqa: E402
from callm_export.exporting import export_stage1  # noqa: E402
from callm_export.onnx_graph import score_graph  # noqa: E402
from callm_export.shared_graphs import shared_graphs  # noqa: E402


def model(channels: tuple[int, ...], seed: int = 0) -> Autoencoder:
    torch.manual_seed(seed)
    made = Autoencoder(channels).eval()
    for layer in made.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.01, 0.1)
            layer.bias.data.normal_(0, 0.2)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    export_stage1(model((3, 4, 5, 6)), folder)
    return folder


@pytest.fixture
def frames(walkers: np.ndarray) -> np.ndarray:
    return np.concatenate([walkers, walkers[::-1]])


def assert_same(folder: Path, frames: np.ndarray, scored: list[bool], gaps: set[int]) -> int:
    """Push all frames, score some of them, both ways; returns how many scores there were."""
    streams = SharedWork(folder / SHARED, threads=1).stream(), WindowStream(OrtScorer(folder / SCORE, threads=1))
    count = 0
    for index, wanted in enumerate(scored):
        for stream in streams:
            if index in gaps:
                stream.clear()
            stream.push(frames[index % len(frames)])
        if wanted:
            ours, theirs = (stream.score() for stream in streams)
            assert (ours is None) == (theirs is None)
            if ours is not None and theirs is not None:
                count += 1
                np.testing.assert_allclose(ours.psnr_db, theirs.psnr_db, atol=1e-4)
                np.testing.assert_allclose(ours.patch_psnr_db, theirs.patch_psnr_db, atol=1e-4)
                np.testing.assert_allclose(ours.error_map, theirs.error_map, atol=1e-5)
    return count


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_every_stride_gives_the_scores_of_the_whole_window(folder: Path, frames: np.ndarray, stride: int) -> None:
    assert assert_same(folder, frames, [index % stride == 0 for index in range(50)], set()) >= 34 // stride


@settings(max_examples=12, deadline=None)
@given(st.lists(st.booleans(), min_size=17, max_size=60), st.sets(st.integers(1, 59), max_size=3), st.integers(0, 99))
def test_whatever_is_skipped_or_lost(folder: Path, scored: list[bool], gaps: set[int], seed: int) -> None:
    assert_same(folder, np.random.default_rng(seed).integers(0, 256, (60, 256, 256), np.uint8), scored, gaps)


@pytest.mark.parametrize("preset", ["edge", "nano"])
def test_presets(tmp_path: Path, frames: np.ndarray, preset: str) -> None:
    export_stage1(model(PRESETS[preset]), tmp_path)
    assert assert_same(tmp_path, frames, [index > 15 for index in range(22)], set()) == 6


def test_two_streams_of_one_backend_do_not_mix(folder: Path, frames: np.ndarray) -> None:
    backend = SharedWork(folder / SHARED, threads=1)
    alone = backend.stream()
    for frame in frames[:20]:
        alone.push(frame)
    wanted = alone.score()
    first, second = backend.stream(), backend.stream()
    for index in range(20):
        first.push(frames[index])
        second.push(frames[-1 - index])
        second.score()
    got = first.score()
    assert wanted is not None
    assert got is not None
    np.testing.assert_array_equal(got.psnr_db, wanted.psnr_db)


def test_the_results_of_earlier_windows_stay_as_they_were(folder: Path, frames: np.ndarray) -> None:
    stream = SharedWork(folder / SHARED, threads=1).stream()
    kept = []
    for frame in frames[:24]:
        stream.push(frame)
        if (scores := stream.score()) is not None:
            kept.append((scores, scores.error_map.copy()))
    assert len(kept) == 9
    assert all((scores.error_map == copy).all() for scores, copy in kept)


def test_a_new_frame_costs_one_result_of_each_layer(
    folder: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SharedWork(folder / SHARED, threads=1).stream()
    for frame in frames[:30]:
        stream.push(frame)
        stream.score()
    computed = []
    for results in (stream._conv1, stream._conv2, stream._conv3):
        compute = results.compute
        monkeypatch.setattr(results, "compute", lambda n, c=compute, **x: (computed.append(n), c(n, **x)))
    stream.push(frames[30])
    stream.score()
    assert sorted(computed) == [27, 29, 29]


def test_no_multiplication_is_by_a_zero_that_was_put_in() -> None:
    for graph in shared_graphs(model((3, 4, 5, 6))).values():
        for weight in graph.graph.initializer:
            if "tap" in weight.name:
                assert (onnx.numpy_helper.to_array(weight) != 0).all(), weight.name


def test_a_bundle_without_shared_graphs_runs_on_whole_windows(tiny_bundle: Bundle) -> None:
    assert open_backend(tiny_bundle).name.startswith("shared-cpu")
    assert open_backend(tiny_bundle, "onnxruntime").name.startswith("onnxruntime-cpu")
    files = {name: digest for name, digest in tiny_bundle.manifest.files.items() if not name.startswith(SHARED)}
    older = Bundle(tiny_bundle.folder, tiny_bundle.manifest.model_copy(update={"files": files}))
    assert open_backend(older).name.startswith("onnxruntime-cpu")
    with pytest.raises(BundleError, match="no shared graphs"):
        open_backend(older, "shared")


def test_a_damaged_graph_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    for path in (folder / SHARED).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "conv2.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="conv2.onnx"):
        SharedWork(tmp_path)


def test_graphs_do_not_weigh_twice_the_network() -> None:
    def size(graph: onnx.ModelProto) -> int:
        return sum(int(np.prod(weight.dims)) for weight in graph.graph.initializer)

    made = model((16, 16, 16, 16))
    assert sum(size(graph) for graph in shared_graphs(made).values()) < 2 * size(score_graph(made))


def test_cameras_can_share_calls_of_whole_windows(tiny_bundle: Bundle) -> None:
    assert open_backend(tiny_bundle, batch=4).name.endswith("batch 4")
    with pytest.raises(UsageError, match="one window at a time"):
        open_backend(tiny_bundle, "shared", batch=4)
