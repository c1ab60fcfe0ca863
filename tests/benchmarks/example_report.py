"""A report with every part, of made-up figures, as the parts' own code writes it."""

from __future__ import annotations

from typing import Any


def row(ms: float, rounds: int = 8, **more: Any) -> dict[str, Any]:
    return {
        "p50_ms": ms,
        "p90_ms": 1.2 * ms,
        "p99_ms": 1.5 * ms,
        "per_second": round(1000 / ms, 2),
        "n": 10 * rounds,
        "unit": "frame",
        "count": 1,
        "cpu_ms": 1.9 * ms,
        "warm_up_ms": 3 * ms,
        "peak_mb": 12.5,
        "rounds_ms": [ms] * rounds,
        "yardstick_ms": [1.0] * rounds,
        **more,
    }


def example() -> dict[str, Any]:
    sides = {
        "plain torch loop": row(100.0),
        "onnxruntime, full graph": row(50.0),
        "shared (ours)": row(10.0, ours=True),
    }
    return {
        "bundle": "ped2",
        "quick": False,
        "stages": {
            "decode": row(0.4),
            "stage 1, edge, shared": row(10.0),
            "file to events, callm-edge run": row(12.0, note="all <included> & counted"),
            "glass to verdict": row(1800.0),
        },
        "ratios": {"edge: plain torch loop / shared": 10.0},
        "skipped": {"stage 1, edge, tensorrt": "this machine has no NVIDIA GPU"},
        "peers": {
            "network": {"edge": {"rows": sides}},
            "language_model": {"rows": {}},
        },
        "scaling": {
            "cameras": {
                "title": "Cameras on this CPU",
                "x": "cameras",
                "values": [1, 2, 4],
                "series": {"frames/s, all cameras": [80.0, 110.0, 112.0], "ms of CPU per frame": [20.0, 18.0, 18.0]},
                "knee": 2,
                "note": "each in a thread of its own",
            }
        },
        "accuracy": {
            "rows": [
                {
                    "bundle": "ped2",
                    "preset": "edge",
                    "backend": "shared",
                    "auc_paper": 0.9444,
                    "auc_live": 0.9551,
                    "eer_live": 0.1225,
                    "events_hit": 12,
                    "stretches": 12,
                    "false_alarms": 0,
                    "localisation_hit_rate": 0.91,
                    "flips": 0,
                    "windows": 1830,
                    "per_second": 90.0,
                    "memory_mb": 60.0,
                }
            ],
            "strides": {"stride 1": {"auc_paper": 0.94, "auc_live": 0.95}},
            "paper": {"Table I": [{"data set": "Ped2", "CALLM": 91.19, "MULDE": 99.7}]},
            "skipped": {},
        },
        "limits": {
            "peaks": {"gflops": 200.0, "gbps": 20.0},
            "cpu": [
                {
                    "stage": "stage 1, edge, shared",
                    "mflop": 1228.4,
                    "mb": 4.0,
                    "gflops": 122.8,
                    "share_of_flops": 0.614,
                    "gbps": 0.4,
                    "share_of_bandwidth": 0.02,
                }
            ],
            "boards_computed": [
                {
                    "stage": "stage 1, edge, shared",
                    "computed": {"Orin Nano 8GB": {"ms": 0.12, "bound": "compute"}},
                }
            ],
        },
        "environment": {
            "cpu": "Some CPU",
            "cores": 2,
            "mhz": 2600,
            "governor": None,
            "virtual": True,
            "memory_gb": 23.4,
            "gpu": None,
            "power_mode": None,
            "power_meter": None,
            "load": 0.1,
            "load_after": 1.8,
            "threads": 2,
            "system": "Linux 6 x86_64",
            "python": "3.11.0",
            "callm_edge": "0.1.0",
            "commit": "abc1234",
            "when": "2026-11-24 16:00 UTC",
            "versions": {"numpy": "2.0"},
        },
        "seconds": 321.0,
    }
