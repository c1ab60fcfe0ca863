"""`callm-edge deploy`: a release onto running devices, over SSH, with a way back."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@click.option("--bundle", metavar="NAME|DIR", help="What the devices run; default: the one that ships inside.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.env",
    help="Settings of the service: options of `run` as variables, CALLM_EDGE_RUN_SOURCES=csi:0.",
)
@click.option("--rollback", is_flag=True, help="Go back to the release before.")
@click.option("--wheel", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.whl", help="callm-edge's own.")
@click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Wheels fetched before, for a workstation without internet.",
)
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="An extra of callm-edge. Repeatable.")
@click.option("--no-engine", is_flag=True, help="Leave the TensorRT engine to the service's first start.")
@click.option(
    "--health-seconds", type=click.FloatRange(min=0), default=10.0, show_default=True, help="Watch the service so long."
)
@click.option("--keep", type=click.IntRange(2), default=3, show_default=True, help="Releases that stay on a device.")
@click.option("--parallel", type=click.IntRange(1, 64), default=8, show_default=True, help="Devices at a time.")
@click.option("--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE", help="For ssh -o. Repeatable.")
@click.option("--prefix", default="/", help="A folder of the device that stands for /: needs no root, for a trial.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def deploy(
    hosts: tuple[str, ...],
    bundle: str | None,
    config: Path | None,
    rollback: bool,
    wheel: Path | None,
    wheelhouse: Path | None,
    extras: tuple[str, ...],
    no_engine: bool,
    health_seconds: float,
    keep: int,
    parallel: int,
    ssh_options: tuple[str, ...],
    prefix: str,
    as_json: bool,
) -> None:
    """Install a release on running devices, switch to it, and go back by itself where it is not healthy.

    HOST is [USER@]NAME[:PORT], as ssh takes it. The devices need SSH and Python 3.10 or later, and no internet.
    """
    import shutil
    import tempfile
    from concurrent.futures import ThreadPoolExecutor

    from callm_edge.errors import UsageError, UserError
    from callm_jetson import deploying
    from callm_jetson.deploy_report import DeployReport
    from callm_jetson.flash_plan import cache_folder
    from callm_jetson.release_cache import ReleaseCache
    from callm_jetson.ssh import Device

    if shutil.which("ssh") is None:
        raise UserError("ssh is not installed", "", "Run: sudo apt-get install openssh-client")
    if len(set(hosts)) != len(hosts):
        raise UsageError("A host is named twice", "", "Name each once")
    devices = [Device(host, ssh_options, prefix) for host in hosts]
    with tempfile.TemporaryDirectory(prefix="callm-release-") as folder, DeployReport(hosts, as_json=as_json) as report:
        releases = ReleaseCache(
            Path(folder),
            cache_folder(),
            bundle=bundle,
            config=config,
            wheel=wheel,
            wheelhouse=wheelhouse,
            extras=extras,
        )
        if not rollback:
            releases.check()

        def one(device: Device) -> deploying.Outcome:
            watcher = report.watcher(device.name)
            with device:
                if rollback:
                    return deploying.roll_back(device, watcher, health_s=health_seconds)
                return deploying.deploy(
                    device, releases.get, watcher, health_s=health_seconds, keep=keep, engine=not no_engine
                )

        with ThreadPoolExecutor(parallel) as pool:
            outcomes = list(pool.map(one, devices))
    report.finished(outcomes)
    if not deploying.every(outcomes):
        raise SystemExit(1)
