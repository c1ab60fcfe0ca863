"""`callm-edge flash`: a Jetson from NVIDIA's BSP to a device that runs callm-edge."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--board", "board_name", required=True, metavar="NAME", help="orin-nano, orin-nx, agx-orin or agx-thor.")
@click.option("--bsp", required=True, type=click.Path(path_type=Path), metavar="DIR", help="NVIDIA's Linux_for_Tegra.")
@click.option(
    "--storage", metavar="nvme|emmc|sd|usb", help="Where the root file system goes; default: the board's own."
)
@click.option("--board-config", metavar="NAME", help="NVIDIA's configuration of another carrier, a *.conf of the BSP.")
@click.option("--hostname", default="callm-edge", show_default=True, help="Of the device.")
@click.option("--user", default="edge", show_default=True, help="Created with the key only: it has no password.")
@click.option(
    "--ssh-key",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("~/.ssh/id_ed25519.pub"),
    show_default=True,
    metavar="FILE.pub",
    help="Who may log in.",
)
@click.option("--wifi", metavar="SSID", help="Join this Wi-Fi; its password is asked for.")
@click.option(
    "--wifi-password-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of asking."
)
@click.option("--power-mode", metavar="NAME|ID", help="Of nvpmodel, such as MAXN_SUPER or 25W.")
@click.option("--clocks", is_flag=True, help="Pin the clocks at their maximum (jetson_clocks) at every start.")
@click.option("--bundle", metavar="NAME|DIR", help="What the device runs; default: the one that ships inside.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.env",
    help="Settings of the service: CALLM_EDGE_RUN_SOURCES=csi:0 and the like.",
)
@click.option("--wheel", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.whl", help="callm-edge's own.")
@click.option(
    "--wheelhouse", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Wheels fetched before."
)
@click.option("--no-release", is_flag=True, help="Leave callm-edge out; deploy it later.")
@click.option("--erase-all", is_flag=True, help="Erase every storage of the board first (NVIDIA's --erase-all).")
@click.option("--install-prerequisites", is_flag=True, help="Let NVIDIA's script install the host packages it needs.")
@click.option("--accept-license", is_flag=True, help="You have read and accept NVIDIA's licence in the BSP.")
@click.option("--resume", is_flag=True, help="Go on after the last step that ended well.")
@click.option("--dry-run", is_flag=True, help="Print every command, and run none.")
@click.option("--yes", is_flag=True, help="Do not ask before the board is erased.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@click.option("--sysfs", type=click.Path(path_type=Path), default=Path("/sys"), hidden=True)
def flash(
    board_name: str,
    bsp: Path,
    storage: str | None,
    board_config: str | None,
    hostname: str,
    user: str,
    ssh_key: Path,
    wifi: str | None,
    wifi_password_file: Path | None,
    power_mode: str | None,
    clocks: bool,
    bundle: str | None,
    config: Path | None,
    wheel: Path | None,
    wheelhouse: Path | None,
    no_release: bool,
    erase_all: bool,
    install_prerequisites: bool,
    accept_license: bool,
    resume: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    sysfs: Path,
) -> None:
    """Flash a Jetson with NVIDIA's own tools, and make it run callm-edge from its first start on.

    Needs an Ubuntu machine (x86), an unpacked BSP (Jetson Linux and its sample root file system) and the board in
    force recovery mode on USB.
    """
    import shlex
    import sys

    from callm_edge.errors import UsageError, UserError
    from callm_jetson import flash_plan
    from callm_jetson.boards import board
    from callm_jetson.flash_report import JsonReport, TextReport
    from callm_jetson.seed import Wifi, read_keys

    chosen = board(board_name)
    keys = read_keys(ssh_key)
    network = None
    if wifi is not None:
        if wifi_password_file is not None:
            try:
                password = wifi_password_file.read_text().rstrip("\n")
            except OSError as error:
                raise UserError(f"{wifi_password_file} cannot be read", error.strerror or "") from None
        else:
            password = "" if dry_run else click.prompt(f"Password of {wifi}", hide_input=True, default="", err=True)
        network = Wifi(wifi, password)
    plan = flash_plan.make_plan(
        flash_plan.Wanted(
            board=chosen,
            bsp=bsp,
            storage=storage,
            board_config=board_config,
            hostname=hostname,
            user=user,
            keys=keys,
            wifi=network,
            power_mode=power_mode,
            clocks=clocks,
            bundle=bundle,
            config=config,
            wheel=wheel,
            wheelhouse=wheelhouse,
            with_release=not no_release,
            erase_all=erase_all,
            install_prerequisites=install_prerequisites,
        ),
        sysfs=sysfs,
    )
    report = JsonReport() if as_json else TextReport()
    if dry_run:
        report.dry(plan)
        return
    plan.check()
    if not accept_license:
        raise UsageError(
            "NVIDIA's licence must be accepted",
            "a device that is set up beforehand does not show it at its first start",
            f"Read {plan.bsp.folder}/nv_tegra/LICENSE, then add --accept-license",
        )
    if not yes:
        click.confirm(plan.warning(), abort=True, err=True)
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    again = shlex.join(["callm-edge", *arguments, "--resume"])
    try:
        plan.run(report, resume=resume, resume_command=again)
    finally:
        report.stopped()
    report.flashed(plan)
