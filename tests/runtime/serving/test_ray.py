"""The app on Ray Serve: its config file, and a replica that dies under load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

from callm_edge.errors import UsageError
from callm_edge.serving import ray_app


def test_the_config_file_is_one_that_ray_takes() -> None:
    import yaml
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(Path(ray_app.__file__).with_name("ray.yaml").read_text()))
    (application,) = config.applications
    assert application.import_path == f"{ray_app.__name__}:{ray_app.build.__name__}"
    assert [deployment.name for deployment in application.deployments] == [ray_app.DEPLOYMENT]
    assert config.http_options.host == "127.0.0.1"
    ray_app.build(application.args)


def test_arguments_are_checked_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="no key file"):
        ray_app.build({})
    for wrong in ({"key_fil": "x"}, {"without_keys": True, "limits": {"cats": 1}}):
        with pytest.raises(UsageError, match="arguments"):
            ray_app.build(wrong)


@pytest.mark.slow
def test_a_killed_replica_costs_no_request(tiny_cascade: Any) -> None:
    from callm_bench.ray_drill import drill

    found = drill(tiny_cascade.folder, requests=60)
    assert (found.answered, found.lost, found.killed, found.replicas) == (60, 0, 1, 2)
