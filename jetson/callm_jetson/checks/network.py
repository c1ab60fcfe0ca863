"""Whom the device talks to: the MQTT broker and the server that answers for stage 2."""

from __future__ import annotations

import os
import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from callm_edge.sources.uri import redact
from callm_jetson.checks.check import Check

TIMEOUT_S = 5.0
_PORTS = {"mqtt": 1883, "mqtts": 8883, "http": 80, "https": 443}


def broker(url: str | None) -> Check:
    """url: mqtt://HOST[:PORT] or HOST[:PORT], None where none is named."""
    if not url:
        return Check("broker", "skipped", "none is named (--broker mqtt://HOST, or CALLM_EDGE_BROKER)")
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    port = parts.port or _PORTS.get(parts.scheme, 1883)
    name = f"{parts.hostname}:{port}"
    try:
        with socket.create_connection((parts.hostname or "", port), TIMEOUT_S):
            return Check("broker", "ok", f"{name} accepts connections")
    except OSError as error:
        return Check(
            "broker", "failed", f"{name}: {error.strerror or error}", "Check its name, its port and the firewall"
        )


def server(url: str | None) -> Check:
    """url: base of an OpenAI-compatible server, None where none is named. Asks /readyz, then /v1/models."""
    if not url:
        return Check("server", "skipped", "none is named (--server URL, or CALLM_EDGE_RUN_REMOTE)")
    shown = redact(url)
    if urlsplit(url).scheme not in ("http", "https"):
        return Check("server", "failed", f"{shown} is no http URL", "Write http://HOST:PORT or https://HOST")
    base = url.rstrip("/").removesuffix("/v1")
    key = os.environ.get("CALLM_EDGE_API_KEY") or os.environ.get("OPENAI_API_KEY")
    for path in ("/readyz", "/v1/models"):
        request = urllib.request.Request(base + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return Check("server", "ok", f"{shown} answers {path} with {answer.status}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue
            if error.code in (401, 403):
                return Check("server", "failed", f"{shown} refuses us ({error.code})", "Set CALLM_EDGE_API_KEY")
            if error.code == 503:
                return Check("server", "warning", f"{shown} is there but not ready", "Wait, or look at its log")
            return Check("server", "failed", f"{shown} answers {path} with {error.code}", "Look at its log")
        except ssl.SSLError as error:
            return Check(
                "server", "failed", f"{shown}: {error.reason}", "Check its certificate and this machine's clock"
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            return Check("server", "failed", f"{shown}: {why}", "Check its name, its port and the firewall")
    return Check("server", "failed", f"{shown} knows neither /readyz nor /v1/models", "Check the base URL")
