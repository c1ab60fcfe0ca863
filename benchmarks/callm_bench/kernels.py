"""Kernels on this machine's GPU: `python -m callm_bench.kernels [--json] [--roofline]`.

How it is measured. Every launch is timed alone between two events, after a buffer twice the size of the L2 cache was
written: so inputs come from memory, as they do for a frame that has just arrived. The rounds go through all launches
in turn, so that clocks and heat hit all alike. Beside each stands what a copy of the same number of bytes takes in the
same round, and the bandwidth of a large copy. `unfused` does the same work as torch operations one by one, `library` as
few as torch offers (see `baselines`; both are left out where torch sees no GPU). `empty` is a pair of events around
nothing.

The roofline is computed, not measured: see callm_bench.roofline.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from callm_bench import roofline
from callm_edge.errors import UserError
from callm_kernels import driver
from callm_kernels.errors import KernelError
from callm_kernels.launchers import clip_pack, gptq_gemv, ingest, psnr_threshold
from callm_kernels.pictures import Format

WARM_UP = 3
COPY_BYTES = 256 << 20  # large enough that no cache helps
Timed = dict[str, Callable[[], object]]


class Gpu:
    """A stream, its events, and memory filled from arrays."""

    def __init__(self, device: int = 0) -> None:
        """Raises KernelError or UserError where there is no GPU to measure."""
        self.driver, self.gpu = driver.gpu(device)
        from callm_edge.stage1.tensorrt.cuda import Cuda, DeviceBuffer, Stream

        self.cuda = Cuda.load()
        self.cuda.call("cudaSetDevice", device)
        self.stream = Stream(self.cuda)
        self._buffer = DeviceBuffer
        self._kept: list[Any] = []
        self._events = [self.cuda.call("cudaEventCreate") for _ in range(2)]
        attribute = self.cuda.api.cudaDeviceAttr.cudaDevAttrL2CacheSize
        self.l2_bytes = int(self.cuda.call("cudaDeviceGetAttribute", attribute, device))
        self._flush_bytes = 2 * max(self.l2_bytes, 1 << 20)
        self._flush = self.empty(self._flush_bytes)

    def empty(self, size_bytes: int) -> int:
        """Address of new memory, zeros."""
        self._kept.append(self._buffer(self.cuda, size_bytes))
        return int(self._kept[-1].address)

    def put(self, array: np.ndarray) -> int:
        """Address of a copy of `array`."""
        address = self.empty(array.nbytes)
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        contiguous = np.ascontiguousarray(array)
        self.cuda.call("cudaMemcpy", address, contiguous.ctypes.data, array.nbytes, kind)
        return address

    def copy(self, source: int, target: int, size_bytes: int) -> None:
        """Enqueue a copy on the device."""
        kind = self.cuda.api.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self.cuda.call("cudaMemcpyAsync", target, source, size_bytes, kind, self.stream.handle)

    def milliseconds(self, call: Callable[[], object]) -> float:
        """Time of what `call` enqueues on the stream, with nothing of it in the L2 cache."""
        self.cuda.call("cudaMemsetAsync", self._flush, 0, self._flush_bytes, self.stream.handle)
        self.cuda.call("cudaEventRecord", self._events[0], self.stream.handle)
        call()
        self.cuda.call("cudaEventRecord", self._events[1], self.stream.handle)
        self.cuda.call("cudaEventSynchronize", self._events[1])
        return float(self.cuda.call("cudaEventElapsedTime", *self._events))


def launches(gpu: Gpu) -> Timed:
    """A call for each of roofline.works, by `name_of` it. Contents are random: the time does not depend on them."""
    rng = np.random.default_rng(0)
    timed: Timed = {}
    score = psnr_threshold.PsnrThreshold()
    for windows, work in ((1, roofline.score(1)), (16, roofline.score(16))):
        frames = rng.integers(0, 256, (windows, 256, 256), np.uint8)
        arguments = {
            "batch": windows,
            "frames": gpu.put(frames),
            "frame_stride": 256 * 256,
            "reconstructions": gpu.put((frames / 127.5 - 1).astype(np.float16)),
            "reconstruction_stride": 256 * 256,
            "thresholds_psnr_db": gpu.put(np.full(windows, 20, np.float32)),
            "workspace": gpu.empty(score.workspace_bytes(windows)),
            **{name: gpu.empty(4 * windows) for name in ("mse", "psnr_db", "patch_mse", "flags")},
            "error_map": gpu.empty(4 * windows * 128 * 128),
        }
        timed[name_of(work)] = lambda arguments=arguments: score.launch(gpu.stream, **arguments)  # type: ignore[misc]
    take = ingest.Ingest()
    for cameras, format in ((1, Format.NV12_LIMITED), (16, Format.NV12_LIMITED), (1, Format.BGR)):
        row = 1920 * format.pixel_bytes
        records = [
            ingest.describe(
                picture=gpu.put(rng.integers(0, 256, (1080, row), np.uint8)),
                ring=gpu.empty(32 * 256 * 256),
                pitch=row,
                width=1920,
                height=1080,
                format=format,
                slot=0,
            )
            for _ in range(cameras)
        ]
        address = gpu.put(np.array(records, ingest.CAMERA))
        work = roofline.ingest(cameras, 1920, 1080, format.pixel_bytes)
        timed[name_of(work)] = lambda at=address, n=cameras: take.launch(gpu.stream, cameras=at, count=n)  # type: ignore[misc]
    pack = clip_pack.ClipPack(max_width=1280)
    shape = {"pitch": 1280 * 3, "width": 1280, "height": 720, "format": Format.BGR}
    pictures = [gpu.put(rng.integers(0, 256, (720, 1280, 3), np.uint8)) for _ in range(8)]
    boxes = [None, (300, 200, 160, 160)]
    table = np.array(
        [clip_pack.describe(picture=at, box=box, **shape) for box in boxes for at in pictures],  # type: ignore[arg-type]
        clip_pack.PICTURE,
    )
    chosen, output = gpu.put(table), gpu.empty(16 * 3 * 224 * 224 * 2)
    timed[name_of(roofline.clip_pack(8, 1280, 720, 160))] = lambda: pack.launch(
        gpu.stream, pictures=chosen, count=16, output=output
    )
    multiply = gptq_gemv.GptqGemv()
    for m, k, n, group in roofline.LAYERS:
        layer = {
            "x": gpu.put(rng.normal(0, 1, (m, k)).astype(np.float16)),
            "qweight": gpu.put(rng.integers(-(2**31), 2**31, (k // 8, n), np.int32)),
            "qzeros": gpu.put(np.full((k // group, n // 8), 0x77777777, np.int32)),
            "scales": gpu.put(np.full((k // group, n), 0.01, np.float16)),
            "y": gpu.empty(2 * m * n),
            "batch": m,
            "in_features": k,
            "out_features": n,
            "group_size": group,
        }
        timed[name_of(roofline.gptq_gemv(m, k, n, group))] = lambda layer=layer: multiply.launch(gpu.stream, **layer)  # type: ignore[misc]
    return timed


def copies(gpu: Gpu) -> Timed:
    """A copy that moves as many bytes as each work (half read, half written), a large one, and nothing at all."""
    source, target = gpu.empty(COPY_BYTES), gpu.empty(COPY_BYTES)
    timed: Timed = {"empty": lambda: None, "copy": lambda: gpu.copy(source, target, COPY_BYTES)}
    for work in roofline.works():
        half = work.bytes_moved // 2
        timed[f"{name_of(work)} | copy"] = lambda half=half: gpu.copy(source, target, half)  # type: ignore[misc]
    return timed


def torch_on(gpu: Gpu) -> tuple[str, AbstractContextManager[Any]] | None:
    """Where torch computes, and the context that makes it enqueue on our stream; None where it sees no GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return "cuda", torch.cuda.stream(torch.cuda.ExternalStream(gpu.stream.handle))


def baselines(device: str, on_our_stream: AbstractContextManager[Any]) -> Timed:
    """The same work in torch.

    unfused: every result that our kernel gives, by torch operations one after another. library: the fewest operations
    that torch has for the core of it (of psnr_threshold: the mean squared error alone; of gptq_gemv: the product with
    weights that were dequantized beforehand, four times as many bytes).
    """
    import torch

    from callm_export.score import score_frame

    functional = torch.nn.functional
    half = torch.float16 if device == "cuda" else torch.float32  # what torch multiplies fast there
    timed: Timed = {}

    def add(work: roofline.Work, kind: str, call: Callable[[], object]) -> None:
        def timed_call() -> object:
            with on_our_stream, torch.inference_mode():
                return call()

        timed[f"{name_of(work)} | {kind}"] = timed_call

    for windows in (1, 16):
        frames = torch.randint(0, 256, (windows, 256, 256), dtype=torch.uint8, device=device)
        output = (frames.float() / 127.5 - 1).half()

        def score(frames: Any = frames, output: Any = output) -> object:
            result = score_frame(output.float(), frames.float() / 127.5 - 1)
            return result.psnr_db < 20.0

        add(roofline.score(windows), "unfused", score)
        add(
            roofline.score(windows),
            "library",
            lambda f=frames, o=output: functional.mse_loss(o.float(), f.float() / 127.5 - 1),  # type: ignore[misc]
        )
    ring = torch.zeros(32, 256, 256, dtype=torch.uint8, device=device)
    for cameras, pixel_bytes in ((1, 1), (16, 1), (1, 3)):
        shape = (cameras, pixel_bytes, 1080, 1920)
        pictures = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
        weights = torch.tensor([0.114, 0.587, 0.299], device=device)[None, :, None, None]

        def take(pictures: Any = pictures, colour: bool = pixel_bytes == 3, weights: Any = weights) -> None:
            gray = (
                (pictures.float() * weights).sum(1, keepdim=True) if colour else (pictures.float() - 16) * (255 / 219)
            )
            small = functional.interpolate(gray, (256, 256), mode="bilinear").round().clamp(0, 255).byte()
            for frame in small[:, 0]:
                ring[0], ring[16] = frame, frame

        add(roofline.ingest(cameras, 1920, 1080, pixel_bytes), "unfused", take)
    clip = torch.randint(0, 256, (8, 3, 720, 1280), dtype=torch.uint8, device=device)
    mean, std = (torch.tensor(v, device=device)[None, :, None, None] for v in (clip_pack.CLIP_MEAN, clip_pack.CLIP_STD))

    def pack() -> object:
        views = (clip, clip[..., 200:360, 300:460])
        resized = [functional.interpolate(view.float(), (224, 224), mode="bilinear") for view in views]
        return ((torch.cat(resized) / 255 - mean) / std).half()

    add(roofline.clip_pack(8, 1280, 720, 160), "unfused", pack)
    shifts = torch.arange(0, 32, 4, device=device)
    for m, k, n, group in roofline.LAYERS:
        x = torch.randn(m, k, device=device, dtype=half)
        words = torch.randint(-(2**31), 2**31 - 1, (k // 8, n), dtype=torch.int32, device=device)
        scales = torch.full((k // group, n), 0.01, dtype=half, device=device)

        def dequantize(words: Any = words, scales: Any = scales, k: int = k, n: int = n, group: int = group) -> Any:
            q = (words[:, None] >> shifts[None, :, None] & 15).reshape(k // group, group, n)
            return ((q - 8).to(half) * scales[:, None]).reshape(k, n)

        ready = dequantize()
        add(roofline.gptq_gemv(m, k, n, group), "unfused", lambda x=x, dequantize=dequantize: x @ dequantize())  # type: ignore[misc]
        add(roofline.gptq_gemv(m, k, n, group), "library", lambda x=x, ready=ready: x @ ready)  # type: ignore[misc]
    return timed


def name_of(work: roofline.Work) -> str:
    """How a work is called in the output."""
    return f"{work.name} {work.what}"


def measure(timed: Timed, time_ms: Callable[[Callable[[], object]], float], rounds: int) -> dict[str, dict[str, float]]:
    """Percentiles in milliseconds over `rounds` rounds, each through all of `timed`."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for at in range(rounds + WARM_UP):
        for name, call in timed.items():
            took = time_ms(call)
            if at >= WARM_UP:
                found[name].append(took)
    return {
        name: {
            **{f"p{q}_ms": round(float(np.percentile(values, q)), 5) for q in (50, 90, 99)},
            "per_second": round(1000 / max(float(np.median(values)), 1e-6), 1),
            "n": len(values),
        }
        for name, values in found.items()
    }


def bandwidths(stages: dict[str, dict[str, float]]) -> dict[str, float]:
    """GB/s achieved: bytes that a work must move over its median time; of the large copy, read and written."""
    found = {"copy": 2 * COPY_BYTES / stages["copy"]["p50_ms"] / 1e6}
    for work in roofline.works():
        found[name_of(work)] = work.bytes_moved / stages[name_of(work)]["p50_ms"] / 1e6
    return {name: round(value, 1) for name, value in found.items()}


def ratios(stages: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times as long copy, unfused and library take as our kernel."""
    found = {}
    for name, row in stages.items():
        kernel, _, other = name.partition(" | ")
        if other:
            found[f"{kernel}: {other} / fused"] = round(row["p50_ms"] / stages[kernel]["p50_ms"], 2)
    return found


def environment(gpu: Gpu) -> dict[str, Any]:
    """What the figures depend on."""
    from callm_kernels.module import Module

    return {
        "gpu": gpu.gpu.name,
        "architecture": gpu.gpu.architecture,
        "driver_cuda": ".".join(map(str, gpu.driver.version)),
        "code": Module("selftest").code,
        "l2_bytes": gpu.l2_bytes,
        "python": platform.python_version(),
    }


def print_roofline(console: Console) -> None:
    """The computed table."""
    table = Table(title="Roofline, COMPUTED from bytes moved and data-sheet bandwidth (microseconds)")
    for column in ("kernel", "work", "kB", *roofline.BANDWIDTH_GBPS):
        table.add_column(column, justify="left" if column in ("kernel", "work") else "right")
    for row in roofline.works():
        times = (f"{row.microseconds(gbps):.1f}" for gbps in roofline.BANDWIDTH_GBPS.values())
        table.add_row(row.name, row.what, f"{row.bytes_moved / 1e3:.0f}", *times)
    console.print(table)


def print_measured(console: Console, result: dict[str, Any]) -> None:
    """The measured table."""
    table = Table(title=f"Measured on {result['environment']['gpu']}, cold L2")
    for column in ("launch", "p50 us", "p90 us", "GB/s", "share of copy"):
        table.add_column(column, justify="left" if column == "launch" else "right")
    achieved = result["bandwidth_gbps"]
    for name, row in result["stages"].items():
        rate = achieved.get(name)
        share = f"{rate / achieved['copy']:.0%}" if rate else ""
        times = (f"{1000 * row[key]:.1f}" for key in ("p50_ms", "p90_ms"))
        table.add_row(name, *times, f"{rate:.0f}" if rate else "", share)
    console.print(table)
    for name, ratio in result["ratios"].items():
        console.print(f"{name}: {ratio}x")
    console.print(", ".join(f"{key} {value}" for key, value in result["environment"].items()))


def run(rounds: int) -> dict[str, Any]:
    """All that is measured. Raises KernelError or UserError where there is no GPU."""
    gpu = Gpu()
    timed = {**copies(gpu), **launches(gpu)}
    if found := torch_on(gpu):
        timed |= baselines(*found)
    stages = measure(timed, gpu.milliseconds, rounds)
    return {
        "stages": stages,
        "ratios": ratios(stages),
        "bandwidth_gbps": bandwidths(stages),
        "roofline_computed": roofline.table(),
        "environment": environment(gpu),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--roofline", action="store_true", help="only the computed figures; needs no GPU")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    if options.roofline:
        if options.json:
            print(json.dumps({"roofline_computed": roofline.table()}))
        else:
            print_roofline(console)
        return
    try:
        result = run(options.rounds)
    except (KernelError, UserError) as error:
        sys.exit(f"Nothing was measured. {error}. The computed figures need no GPU: --roofline")
    if options.json:
        print(json.dumps(result))
        return
    print_measured(console, result)
    print_roofline(console)


if __name__ == "__main__":
    main()
