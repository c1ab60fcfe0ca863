"""`callm-edge serve`: the video-language branch for others, behind OpenAI's chat-completions API."""

from __future__ import annotations

from pathlib import Path

import click

_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--bundle", default="plaza", show_default=True, metavar="NAME|DIR", help="The bundle whose branch answers."
)
@click.option(
    "--model",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Instead of a bundle: a model as 'tune' writes it, run with torch, on a GPU where there is one.",
)
@click.option("--name", default="mini", show_default=True, help="What clients call the model.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; others need --key-file.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free one.")
@click.option("--key-file", type=_file, metavar="FILE", help="Bearer tokens, one a line; mode 600.")
@click.option("--certificate", type=_file, metavar="FILE", help="Certificate chain (PEM), to serve https.")
@click.option("--certificate-key", type=_file, metavar="FILE", help="Its private key (PEM).")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads of one computation; 0 is one per core.")
@click.option("--parallel", type=click.IntRange(1), default=1, show_default=True, help="Answers written at a time.")
@click.option("--batch", type=click.IntRange(1), help="Clips encoded together at most.  [default: 1; 8 with --model]")
@click.option(
    "--waiting",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Requests taken at a time; the next is answered 429.",
)
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True, help="Of an answer.")
@click.option("--max-body", type=click.IntRange(1), default=32, show_default=True, metavar="MB", help="Of a request.")
@click.option("--max-pixels", type=click.IntRange(1), default=9_000_000, show_default=True, help="Of one picture.")
@click.option(
    "--drain",
    type=click.FloatRange(min=1),
    default=30,
    show_default=True,
    help="Seconds for answers that were begun when the server is told to stop.",
)
@click.option("--ray", is_flag=True, help="On Ray Serve: the cluster of RAY_ADDRESS, or one on this machine.")
@click.option("--replicas", type=click.IntRange(1), default=1, show_default=True, help="With --ray: at least so many.")
@click.option("--max-replicas", type=click.IntRange(1), help="With --ray: as the queue grows.  [default: --replicas]")
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="With --ray: of each replica.",
)
def serve(
    bundle: str,
    folder: Path | None,
    name: str,
    host: str,
    port: int,
    key_file: Path | None,
    certificate: Path | None,
    certificate_key: Path | None,
    threads: int,
    parallel: int,
    batch: int | None,
    waiting: int,
    max_tokens: int,
    max_body: int,
    max_pixels: int,
    drain: float,
    ray: bool,
    replicas: int,
    max_replicas: int | None,
    gpus: float,
) -> None:
    """Answer questions about clips, for edges without room for a model of their own.

    Any client of OpenAI's chat-completions API can ask: 'callm-edge run --remote URL', openai, curl.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        from callm_edge.errors import MissingExtraError

        raise MissingExtraError("serve", "Serving", error.name or "?") from error
    from callm_edge.serving.app import create_app
    from callm_edge.serving.auth import Keys, is_loopback
    from callm_edge.serving.choose import open_engine
    from callm_edge.serving.limits import Limits
    from callm_edge.serving.server import Listening, run

    keys = Keys.read(key_file) if key_file is not None else None
    where = Listening(host, port, certificate, certificate_key, drain)
    where.check(keys)  # before the model is loaded, which takes a while
    limits = Limits(
        body_bytes=max_body << 20,
        picture_pixels=max_pixels,
        max_tokens=max_tokens,
        waiting=waiting,
        batch=batch or (8 if folder is not None else 1),  # a CPU gains nothing from batches
        parallel=parallel,
    )

    def say(url: str) -> None:
        asking = f"{len(keys)} keys" if keys is not None else "anyone on this machine may ask"
        click.echo(f"Serving '{name}' at {url}/v1 ({asking})", err=True)
        if keys is not None and certificate is None and not is_loopback(host):
            click.echo("Note: without --certificate the keys travel unencrypted.", err=True)

    if ray:
        try:
            from callm_edge.serving.ray_app import run_on_ray

            arguments = {
                "bundle": bundle,
                "model": str(folder.resolve()) if folder is not None else None,
                "name": name,
                "threads": threads,
                "key_file": str(key_file.resolve()) if key_file is not None else None,
                "without_keys": keys is None,
                "limits": vars(limits),
            }
            run_on_ray(arguments, where, (replicas, max(replicas, max_replicas or 0)), gpus, say)
        except ModuleNotFoundError as error:
            from callm_edge.errors import MissingExtraError

            raise MissingExtraError("ray", "Serving on Ray", error.name or "?") from error
        return
    app = create_app(open_engine(bundle, folder, threads), name, keys, limits)
    run(app, where, connections=4 * waiting + 64, on_listening=say)
