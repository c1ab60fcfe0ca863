"""The command `callm-edge`: finds the subcommands of every room and turns errors into sentences."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click

from callm_edge import __version__
from callm_edge.errors import MissingExtraError, UserError
from callm_edge.names import nearest

GROUP = "callm_edge.commands"
EXTRA_OF = {"callm_export": "train", "callm_bench": "train", "callm_jetson": "jetson"}


class Commands(click.Group):
    """Subcommands from entry points, each imported only when it is asked for; their modules import click alone."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._found: dict[str, EntryPoint] | None = None

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._entries().get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self._entries():
            hint = nearest(args[0], self._entries())
            raise click.UsageError(f"There is no command '{args[0]}'. {hint}".strip(), ctx)
        return super().resolve_command(ctx, args)

    def _entries(self) -> dict[str, EntryPoint]:
        if self._found is None:
            self._found = {entry.name: entry for entry in entry_points(group=GROUP)}
        return self._found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="callm-edge")
def cli() -> None:
    """Video anomaly detection on the edge: score every frame, ask a video-language model about the abnormal ones."""


def main() -> None:
    """Entry point. Exit code 0: done; 1: failed; 2: wrong usage. A person's mistake never prints a traceback."""
    try:
        # Every option can also come from a variable, CALLM_EDGE_RUN_SOURCES: a service's settings are no command line.
        code = cli.main(standalone_mode=False, auto_envvar_prefix="CALLM_EDGE")
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2 if isinstance(error, click.UsageError) else 1)
    except UserError as error:
        _say(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = _extra_for(error)
        if extra is None:
            raise
        _say(MissingExtraError(extra, "This command", error.name or "?"))
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        sys.exit(0)


def _say(error: UserError) -> None:
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {error.what.rstrip('.')}.", err=True)
    if error.why:
        click.echo(f"  Why: {error.why}", err=True)
    if error.fix:
        click.echo(f"  Fix: {error.fix}", err=True)


def _extra_for(error: ModuleNotFoundError) -> str | None:
    """The extra that brings the missing module, judged by which room wanted it; None where it is our own bug."""
    if (error.name or "").split(".")[0].startswith("callm_"):
        return None
    trace = error.__traceback__
    extra = None
    while trace is not None:
        extra = EXTRA_OF.get(trace.tb_frame.f_globals.get("__name__", "").split(".")[0], extra)
        trace = trace.tb_next
    return extra
