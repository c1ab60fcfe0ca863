"""The same app on Ray Serve: many replicas on many machines, grown and shrunk with the queue.

`build` is what a config file names (serving/ray.yaml); each replica loads a model of its own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callm_edge.errors import UsageError
from callm_edge.serving.limits import Limits
from callm_edge.serving.server import Listening

DEPLOYMENT = "Branch"
APPLICATION = "callm-edge"


class RayArguments(BaseModel):
    """`args` of the config file. bundle, model, threads: see choose.open_engine. name: as clients ask for the model.

    key_file: bearer tokens, on every machine. without_keys: everybody who reaches the proxies may ask, which is for
    proxies on loopback only. limits: of one replica, by the names in Limits.
    """

    model_config = ConfigDict(extra="forbid")

    bundle: str = "plaza"
    model: str | None = None
    name: str = "mini"
    threads: int = Field(0, ge=0)
    key_file: str | None = None
    without_keys: bool = False
    limits: dict[str, int | float] = {}


def build(arguments: dict[str, Any]) -> Any:
    """A Ray Serve application of one deployment. Raises UsageError for arguments that are none."""
    return _deployment(arguments).bind()


def _deployment(arguments: dict[str, Any]) -> Any:
    from ray import serve
    from ray.serve.config import BackpressureConfig

    try:
        given = RayArguments.model_validate(arguments)
        limits = Limits(**given.limits)  # type: ignore[arg-type]
    except (ValidationError, TypeError) as error:
        raise UsageError("The arguments of the application cannot be used", str(error)) from error
    if given.key_file is None and not given.without_keys:
        raise UsageError(
            "There is no key file", "everybody who can reach the cluster could use it", "Give key_file: FILE in args"
        )

    def app() -> Any:  # runs on the replica
        from callm_edge.serving.app import create_app
        from callm_edge.serving.auth import Keys
        from callm_edge.serving.choose import open_engine

        keys = Keys.read(Path(given.key_file)) if given.key_file else None
        folder = Path(given.model) if given.model else None
        return create_app(open_engine(given.bundle, folder, given.threads), given.name, keys, limits)

    return serve.deployment(
        serve.ingress(app)(),
        name=DEPLOYMENT,
        # A replica holds a batch and the next one; what else waits does so where any replica can take it.
        max_ongoing_requests=2 * limits.batch + limits.parallel,
        max_queued_requests=limits.waiting,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=2),
        graceful_shutdown_timeout_s=60,
        health_check_period_s=5,
    )


def run_on_ray(
    arguments: dict[str, Any],
    where: Listening,
    replicas: tuple[int, int] = (1, 1),
    gpus: float = 0.0,
    on_listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Join the cluster of RAY_ADDRESS, or start one on this machine, and serve until SIGTERM or Ctrl-C.

    replicas: least and most of them. gpus: that each takes, a part of one where several share it. on_listening: hears
    the address once all is up.
    """
    stopped = threading.Event()
    with cluster(arguments, where, replicas, gpus):
        # After Ray, which brings handlers of its own.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        on_listening(f"{where.scheme}://{where.host}:{where.port}")
        stopped.wait()


@contextmanager
def cluster(
    arguments: dict[str, Any], where: Listening, replicas: tuple[int, int] = (1, 1), gpus: float = 0.0
) -> Iterator[None]:
    """The application up within the block, and taken down after it: see run_on_ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers otherwise
    import ray
    from ray import serve

    tls = {}
    if where.certificate is not None and where.certificate_key is not None:
        tls = {"ssl_certfile": str(where.certificate.resolve()), "ssl_keyfile": str(where.certificate_key.resolve())}
    least, most = replicas
    scaling: dict[str, Any] = {"num_replicas": least}
    if most > least:
        scaling = {"autoscaling_config": {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": 2}}
    deployment = _deployment(arguments).options(ray_actor_options={"num_cpus": 1, "num_gpus": gpus}, **scaling)
    ray.init(include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": where.host, "port": where.port, "request_timeout_s": 300, **tls})
        serve.run(deployment.bind(), name=APPLICATION, route_prefix="/")
        yield
    finally:
        serve.shutdown()
        ray.shutdown()
