"""`callm-edge doctor`: what is missing on this machine, and the exact fix."""

from __future__ import annotations

import click


@click.command()
@click.option("--bundle", default="plaza", show_default=True, metavar="NAME|DIR", help="The bundle to try out.")
@click.option("--broker", envvar="CALLM_EDGE_BROKER", metavar="mqtt://HOST", help="Is this MQTT broker reachable?")
@click.option("--server", envvar="CALLM_EDGE_RUN_REMOTE", metavar="URL", help="Is this stage 2 server reachable?")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(bundle: str, broker: str | None, server: str | None, as_json: bool) -> None:
    """Look at everything that callm-edge needs on this machine; each line that is not well names its fix.

    Exit code 1 where something failed; warnings are no failure.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape

    from callm_jetson.checks.all import all_checks
    from callm_jetson.machine import Machine

    marks = {
        "ok": "[green]ok[/]     ",
        "warning": "[yellow]warning[/]",
        "failed": "[red]failed[/] ",
        "skipped": "[dim]skipped[/]",
    }
    console = Console(highlight=False)
    found = []
    for check in all_checks(Machine(), bundle, broker, server):
        found.append(check)
        if not as_json:
            console.print(f"{marks[check.state]} [bold]{escape(check.name)}[/]: {escape(check.detail)}", soft_wrap=True)
            if check.fix:
                console.print(f"        {escape(check.fix)}", soft_wrap=True)
    failed = sum(check.state == "failed" for check in found)
    if as_json:
        click.echo(json.dumps({"checks": [asdict(check) for check in found]}))
    else:
        warnings = sum(check.state == "warning" for check in found)
        console.print(f"{len(found)} checks: {failed} failed, {warnings} warnings")
    if failed:
        raise SystemExit(1)
