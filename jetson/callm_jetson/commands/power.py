"""`callm-edge power`: power mode, clocks, watts, temperatures."""

from __future__ import annotations

import click


@click.command()
@click.option("--mode", metavar="NAME|ID", help="Switch to this mode of nvpmodel.")
@click.option("--reboot", is_flag=True, help="Start the board anew where the mode needs it.")
@click.option("--clocks", type=click.Choice(["on", "off"]), help="Pin the clocks at their maximum, or free them.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="How long power is measured.",
)
@click.option("--yes", is_flag=True, help="Do not ask before something is changed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def power(mode: str | None, reboot: bool, clocks: str | None, seconds: float, yes: bool, as_json: bool) -> None:
    """Show and set the power mode; measure power and temperatures."""
    import json
    from dataclasses import asdict

    from rich.console import Console

    from callm_jetson import nvpmodel
    from callm_jetson.machine import Machine
    from callm_jetson.power_report import measure, print_report

    machine = Machine()
    if mode is not None:
        wanted = nvpmodel.by_name(machine, mode)
        now = nvpmodel.current(machine)
        question = f"Switch from {now.name if now else 'the present mode'} to {wanted.name}"
        if not yes:
            click.confirm(f"{question}{', starting the board anew if needed' if reboot else ''}?", abort=True, err=True)
        nvpmodel.set_mode(machine, wanted, reboot=reboot)
    if clocks is not None:
        if not yes:
            what = "Pin the clocks at their maximum (more heat)" if clocks == "on" else "Free the clocks"
            click.confirm(f"{what}?", abort=True, err=True)
        nvpmodel.set_clocks(machine, clocks == "on")
    report = measure(machine, seconds)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        print_report(report, Console(highlight=False))
