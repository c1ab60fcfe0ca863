"""Counters, histograms and states for Prometheus, at http://ADDRESS/metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from callm_edge import __version__
from callm_edge.errors import UsageError
from callm_edge.events.scene import KINDS, NORMAL
from callm_edge.latencies import Latencies
from callm_edge.sinks.sink import Sink
from callm_edge.sources import SourceState
from callm_edge.temperature import temperatures

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from callm_edge.cascade import Camera
    from callm_edge.errors import UserError
    from callm_edge.events.verdict import Verdict
    from callm_edge.stage2.breaker import CircuitBreaker

BREAKER_STATES = ("closed", "half-open", "open")


class Prometheus(Sink):
    """Serves metrics until closed. Numbers are read when somebody asks; a camera never waits for it.

    host, port: where; port 0 takes a free one, see `port`. sinks: whose queues are shown too.
    waiting_verdicts: how many events wait for stage 2. breaker: the one before the server, where there is one.
    failing: calls that failed by name of the report. given_up: events that wait for no verdict any more, by reason.
    Raises UsageError where the port is taken.
    """

    name = "prometheus"

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9150,
        sinks: Sequence[Sink] = (),
        waiting_verdicts: Callable[[], int] = lambda: 0,
        breaker: Callable[[], CircuitBreaker | None] = lambda: None,
        failing: Callable[[], dict[str, int]] = dict,
        given_up: Callable[[], dict[str, int]] = dict,
    ) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

        self._cameras: Sequence[Camera] = ()
        self._sinks, self._waiting, self._breaker, self._failing = tuple(sinks), waiting_verdicts, breaker, failing
        self._given_up = given_up
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._failures: Counter[str] = Counter()
        self._steps: dict[str, Latencies] = {}
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise UsageError(
                f"Metrics cannot be served at {host}:{port}",
                error.strerror or str(error),
                "Name another address in [sinks.prometheus]",
            ) from error
        self.port = int(self._server.server_address[1])

    def started(self, cameras: Sequence[Camera]) -> None:
        self._cameras = cameras

    def verdict(self, verdict: Verdict) -> None:
        self._verdicts["yes" if verdict.abnormal else "no", verdict.answered_by] += 1
        for step, ms in verdict.ledger_ms.items():
            self._steps.setdefault(step, Latencies()).add(ms / 1000)

    def failed(self, what: str, error: UserError) -> None:
        self._failures[what] += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1)

    def collect(self) -> Iterator[Metric]:
        """Every metric of now; called by the thread that answers."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        def counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
            return CounterMetricFamily(f"callm_edge_{name}", text, labels=labels)

        def gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"callm_edge_{name}", text, labels=labels)

        def histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
            return HistogramMetricFamily(f"callm_edge_{name}", text, labels=labels)

        build = gauge("build_info", "Version", "version")
        build.add_metric([__version__], 1)
        frames = counter("frames", "Frames read", "camera")
        windows = counter("windows", "Windows scored by stage 1", "camera")
        events = counter("events", "Events found", "camera")
        lost = counter("dropped", "Frames (reader_late) and scores (stage1_late) lost to lateness", "camera", "reason")
        queued = gauge("frames_waiting", "Frames read and not yet taken", "camera")
        state = gauge("camera_state", "1 for the state that the camera is in", "camera", "state")
        active = gauge("event_active", "1 while an event is open", "camera")
        scene = gauge("scene", "1 for what the camera's view is like: normal, or why not", "camera", "kind")
        threshold = gauge("threshold_psnr_db", "Windows below it are flagged", "camera")
        stages = histogram(
            "stage_seconds", "stage1: one window; behind: from capture to score, of live cameras", "camera", "stage"
        )
        for camera in self._cameras:
            name, counts = camera.source.name, camera.counts
            frames.add_metric([name], counts.frames)
            windows.add_metric([name], counts.windows)
            events.add_metric([name], counts.events)
            lost.add_metric([name, "reader_late"], camera.source.dropped)
            lost.add_metric([name, "stage1_late"], counts.skipped)
            queued.add_metric([name], camera.source.waiting)
            for one in SourceState:
                state.add_metric([name, one.value], camera.source.state is one)
            active.add_metric([name], camera.active)
            for kind in KINDS:
                scene.add_metric([name, kind], (camera.drift.kind if camera.drift else NORMAL) == kind)
            threshold.add_metric([name], camera.decision.threshold_psnr_db)
            for stage, latencies in (("stage1", counts.stage1), ("behind", counts.behind)):
                stages.add_metric([name, stage], latencies.buckets(), latencies.seconds)
        yield from (build, frames, windows, events, lost, queued, state, active, scene, threshold, stages)

        verdicts = counter("verdicts", "Answers of stage 2", "abnormal", "answered_by")
        for (abnormal, by), count in dict(self._verdicts).items():
            verdicts.add_metric([abnormal, by], count)
        steps = histogram("verdict_step_seconds", "Steps of an answer of stage 2", "step")
        for step, latencies in dict(self._steps).items():
            steps.add_metric([step], latencies.buckets(), latencies.seconds)
        waiting = gauge("verdicts_waiting", "Events that wait for stage 2")
        waiting.add_metric([], self._waiting())
        failures = counter("failures", "Sources, answers and writes to the store that failed", "what")
        for what, count in dict(self._failures).items():
            failures.add_metric([what], count)
        given_up = counter(
            "verdicts_given_up", "Events past a bound of the queue (size, age), or without room (disk)", "reason"
        )
        for reason, count in self._given_up().items():
            given_up.add_metric([reason], count)
        yield from (verdicts, steps, waiting, failures, given_up)

        if breaker := self._breaker():
            states = gauge("breaker_state", "1 for the state of the breaker before the server", "state")
            for text in BREAKER_STATES:
                states.add_metric([text], breaker.state.value == text)
            yield states
        sink_lost = counter("sink_dropped", "Messages pushed out of a full queue", "sink")
        sink_failed = counter("sink_failures", "Messages that could not be delivered", "sink")
        sink_waiting = gauge("sink_waiting", "Messages that wait", "sink")
        for number, sink in enumerate(self._sinks):
            name = sink.name if [other.name for other in self._sinks].count(sink.name) == 1 else f"{sink.name} {number}"
            sink_lost.add_metric([name], sink.dropped)
            sink_failed.add_metric([name], sink.failures)
            sink_waiting.add_metric([name], sink.waiting)
        broken = counter("report_failures", "Calls of a report that raised", "report")
        for name, count in dict(self._failing()).items():
            broken.add_metric([name], count)
        warm = gauge("temperature_celsius", "Thermal zones of the machine", "zone")
        for zone, celsius in temperatures().items():
            warm.add_metric([zone], celsius)
        yield from (sink_lost, sink_failed, sink_waiting, broken, warm)
