"""The command: what it refuses before it loads a model, and our own client against it over TLS."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

from callm_edge.commands.serve import serve
from callm_edge.errors import UsageError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.remote import RemoteBranch, Server

KEY = "0123456789abcdef-first"
JPEG = cv2.imencode(".jpg", np.full((60, 80, 3), 90, np.uint8))[1].tobytes()
CLIP = Clip("e1", "h", 20.0, tuple(ClipFrame(i, i / 25, JPEG, 18.0, ((5.0, 6.0),)) for i in range(20)))


def refused(*options: str) -> UsageError:
    found = CliRunner().invoke(serve, ["--bundle", "absent", *options]).exception
    assert isinstance(found, UsageError)
    return found


def test_it_does_not_listen_wider_without_keys() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "gpu.local"):
        assert "--key-file" in refused("--host", host).fix


def test_half_of_tls_and_bad_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("no certificate")
    assert "only one of them" in refused("--certificate", str(tmp_path / "pem")).why
    both = ["--certificate", str(tmp_path / "pem"), "--certificate-key", str(tmp_path / "pem")]
    assert "no certificate with its key" in refused(*both).what
    (tmp_path / "keys").write_text(KEY)
    (tmp_path / "keys").chmod(0o644)
    assert "Others can read" in refused("--key-file", str(tmp_path / "keys")).what


def certificate(folder: Path) -> tuple[Path, Path]:
    names = folder / "cert.pem", folder / "key.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-out", str(names[0]), "-keyout", str(names[1])],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return names


def test_our_own_client_asks_it_over_tls(tiny_cascade: Any, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "callm_edge", "serve", "--bundle", str(tiny_cascade.folder), "--port", "0"]
        + ["--host", "0.0.0.0", "--key-file", str(keys), "--certificate", str(cert), "--certificate-key", str(key)]
        + ["--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"https://0\.0\.0\.0:(\d+)/v1", line)
        assert found, line
        assert KEY not in line
        url = f"https://localhost:{found[1]}/v1"
        trusting = RemoteBranch(Server(url, "mini", KEY, retries=0, certificates=str(cert)))
        assert "".join(trusting.ask(CLIP, "Who?"))
        with pytest.raises(Unreachable, match="no such API key"):
            list(RemoteBranch(Server(url, "mini", KEY[:-1], retries=0, certificates=str(cert))).ask(CLIP, "Who?"))
        with pytest.raises(Unreachable, match="(?i)certificate"):
            list(RemoteBranch(Server(url, "mini", KEY, retries=0)).ask(CLIP, "Who?"))
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
