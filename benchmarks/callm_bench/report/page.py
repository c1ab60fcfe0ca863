"""The report as one HTML file: no script, no request to anywhere, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from callm_bench.environment import is_busy
from callm_bench.report.charts import DARK, LIGHT, Chart, peer_groups, render
from callm_bench.report.style import STYLE
from callm_bench.report.table import ACCURACY
from callm_bench.report.words import ENVIRONMENT, milliseconds, number

Cells = Sequence[str]


def page(report: dict[str, Any], drawn: dict[str, tuple[str, Chart]]) -> str:
    """drawn: see charts."""
    parts = [
        _headline(report),
        _part("stages", "Stages", STAGES_NOTE, _chart(drawn, "stages"), _stages(report["stages"])),
        _part("peers", "Beside others", PEERS_NOTE, _chart(drawn, "peers"), *_peers(report)),
        _part("scaling", "Scaling", SCALING_NOTE, *_scaling(report, drawn)),
        _part("accuracy", "Accuracy beside speed", ACCURACY_NOTE, *_accuracy(report)),
        _part("limits", "Limits", LIMITS_NOTE, _chart(drawn, "limits"), *_limits(report)),
        _part("against", "Against an older report", AGAINST_NOTE, _comparison(report)),
        _part("history", "Releases", "", _chart(drawn, "history")),
        _part("skipped", "Left out here", SKIPPED_NOTE, _skipped(report)),
        _part("machine", "Machine", "", _machine(report)),
    ]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, body in parts if body and title)
    bodies = "".join(body for _, _, body in parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>callm-edge bench</title><style>{STYLE}</style></head>"
        f"<body><main><header><h1>callm-edge bench</h1>{_subtitle(report)}<nav>{links}</nav></header>"
        f"{bodies}</main></body></html>\n"
    )


STAGES_NOTE = (
    "All stages take turns within one run; the first call of each turn is not counted. CPU is the time of all threads, "
    "warm-up is the very first call; memory is what opening a stage and calling it first added to the process."
)
PEERS_NOTE = "The same network, input and number of threads, in turn in one run. Ours in colour."
SCALING_NOTE = "The knee is the point farthest from the line between the ends of a curve (Satopää et al., 2011)."
ACCURACY_NOTE = (
    "AUC paper: PSNR of the frame, min-max per clip, which needs the whole clip. AUC live: the bundle's own causal "
    "score, as a device sees it. Flips: windows that are flagged by one of the backend and the FP32 graph, not by both."
)
LIMITS_NOTE = (
    "FLOP are counted in the graphs; bytes are weights, inputs and outputs, once. The second table is computed from "
    "data sheets: no engine can be faster, and none of these boards was measured."
)
AGAINST_NOTE = (
    "New time over old, above 1 is slower: after each run's yardstick, and raw. Beyond a limit is beyond noise."
)
SKIPPED_NOTE = "Named with the reason, never guessed."


def _part(name: str, title: str, note: str, *bodies: str) -> tuple[str, str, str]:
    """Name, title, HTML; all of it empty where there is nothing to show."""
    body = "".join(bodies)
    if not body:
        return name, title, ""
    said = f"<p class=note>{escape(note)}</p>" if note else ""
    return name, title, f'<section id="{name}"><h2>{escape(title)}</h2>{said}{body}</section>'


def _subtitle(report: dict[str, Any]) -> str:
    at = report["environment"]
    busy = (
        f"<p class=busy>The machine was busy with other work, load {at['load']} before and {at['load_after']} after on "
        f"{at['cores']} cores: the ratios of this report mean more than its figures.</p>"
        if is_busy(at)
        else ""
    )
    kind = "quick run, " if report.get("quick") else ""
    return (
        f"<p class=subtitle>{escape(at['cpu'])}, {at['cores']} cores, {escape(at['gpu'] or 'no GPU')} · "
        f"callm-edge {escape(at['callm_edge'])} at {escape(str(at['commit']))} · {kind}{escape(at['when'])} · bundle "
        f"{escape(report['bundle'])}</p>{busy}"
    )


def _headline(report: dict[str, Any]) -> tuple[str, str, str]:
    """The figures that a visitor came for."""
    cards = []
    for title, rows in peer_groups(report).items():
        ours = {name: row["per_second"] for name, row in rows.items() if row.get("ours")}
        others = {name: row["per_second"] for name, row in rows.items() if not row.get("ours")}
        if not ours or not others or ("preset edge" not in title and "Language" not in title):
            continue
        best, slowest = max(ours, key=lambda name: ours[name]), min(others, key=lambda name: others[name])
        what, unit = title.split(": ")
        cards.append((number(ours[best]), unit, f"{what}, {best}; {ours[best] / others[slowest]:.1f} times {slowest}"))
    for name, unit in (("file to events, callm-edge run", "frames/s"), ("glass to verdict", "")):
        row = report["stages"].get(name)
        if row and unit:
            cards.append((number(row["per_second"]), unit, name))
        elif row:
            cards.append((milliseconds(row["p50_ms"]), unit, f"{name}, {row.get('note', '')}".rstrip(", ")))
    judged = [row for row in report.get("accuracy", {}).get("rows", []) if row.get("auc_live") is not None]
    if judged:
        best_row = max(judged, key=lambda row: float(row["auc_live"]))
        where = f"Ped2 live, bundle {best_row['bundle']}; by the paper's protocol {100 * best_row['auc_paper']:.2f}"
        cards.append((f"{100 * best_row['auc_live']:.2f}", "AUC", where))
    body = "".join(
        f"<div class=card><b>{escape(value)}</b> <span>{escape(unit)}</span><p>{escape(text)}</p></div>"
        for value, unit, text in cards
    )
    return "headline", "", f"<section class=cards>{body}</section>" if cards else ""


def _chart(drawn: dict[str, tuple[str, Chart]], name: str) -> str:
    if name not in drawn:
        return ""
    title, chart = drawn[name]
    pictures = []
    for look, media in ((DARK, "(prefers-color-scheme: dark)"), (LIGHT, "")):
        picture = render(chart, look, "svg")
        if picture is None:
            return ""
        data = f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"
        pictures.append(
            f'<source media="{media}" srcset="{data}">' if media else f'<img alt="{escape(title)}" src="{data}">'
        )
    return f"<figure><figcaption>{escape(title)}</figcaption><picture>{''.join(pictures)}</picture></figure>"


def _table(head: Cells, rows: Iterable[Cells], marked: Sequence[int] = ()) -> str:
    """First column to the left, the others to the right. marked: rows that are ours."""
    body = ""
    for at, row in enumerate(rows):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        body += f"<tr{' class=ours' if at in marked else ''}>{cells}</tr>"
    if not body:
        return ""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _stages(stages: dict[str, dict[str, Any]]) -> str:
    joules = any("joules" in row for row in stages.values())
    head = ["stage", "p50", "p90", "p99", "per second", "CPU", "warm-up", "memory, MB", *(["joules"] if joules else [])]
    rows = []
    for name, row in stages.items():
        times = [milliseconds(row.get(key)) for key in ("p50_ms", "p90_ms", "p99_ms")]
        late = [milliseconds(row.get(key)) for key in ("cpu_ms", "warm_up_ms")]
        memory = number(row.get("peak_mb", row.get("rss_mb")))
        rows.append([name, *times, number(row["per_second"]), *late, memory])
        if joules:
            rows[-1].append(number(row.get("joules")))
    notes = [[name, str(row["note"])] for name, row in stages.items() if row.get("note")]
    more = f"<details><summary>What some of them are</summary>{_table(['stage', ''], notes)}</details>" if notes else ""
    return _table(head, rows) + more


def _peers(report: dict[str, Any]) -> list[str]:
    found = []
    for title, rows in peer_groups(report).items():
        rows = dict(sorted(rows.items(), key=lambda item: -float(item[1]["per_second"])))
        ours = [row["per_second"] for row in rows.values() if row.get("ours")]
        body = [
            [
                name,
                number(row["per_second"]),
                *(milliseconds(row.get(key)) for key in ("p50_ms", "p90_ms", "cpu_ms")),
                number(row.get("peak_mb")),
                f"{max(ours) / row['per_second']:.2f}" if ours else "",
            ]
            for name, row in rows.items()
        ]
        marked = [at for at, row in enumerate(rows.values()) if row.get("ours")]
        what, unit = title.split(": ")
        head = ["side", unit, "p50", "p90", "CPU", "memory, MB", "our best is faster by"]
        found.append(f"<h3>{escape(what)}</h3>" + _table(head, body, marked))
    return found


def _scaling(report: dict[str, Any], drawn: dict[str, tuple[str, Chart]]) -> list[str]:
    found = []
    for name, curve in report.get("scaling", {}).items():
        rows = [
            [
                f"{x:g}" + (" (knee)" if x == curve.get("knee") else ""),
                *(number(v[at]) for v in curve["series"].values()),
            ]
            for at, x in enumerate(curve["values"])
        ]
        note = f"<p class=note>{escape(curve['note'])}</p>" if curve.get("note") else ""
        found += [_chart(drawn, f"scaling_{name}"), note, _table([curve["x"], *curve["series"]], rows)]
    return found


def _accuracy(report: dict[str, Any]) -> list[str]:
    found = report.get("accuracy")
    if not found:
        return []

    def cell(row: dict[str, Any], key: str) -> str:
        value = row.get(key)
        return f"{100 * value:.2f}" if key.startswith("auc") and value is not None else number(value)

    parts = [_table(list(ACCURACY.values()), [[cell(row, key) for key in ACCURACY] for row in found["rows"]])]
    if found.get("strides"):
        keys = list(next(iter(found["strides"].values())))
        rows = [[name, *(cell(row, key) for key in keys)] for name, row in found["strides"].items()]
        parts.append("<h3>Fewer windows</h3>" + _table(["", *(key.replace("_", " ") for key in keys)], rows))
    for title, table in found.get("paper", {}).items():
        head = list(table[0])
        body = _table(
            head, [[f"{v:.2f}" if isinstance(v := row[key], float) else number(v) for key in head] for row in table]
        )
        parts.append(f"<h3>{escape(title)}</h3>" + body)
    if found.get("skipped"):
        parts.append(_table(["left out", "why"], [[a, b] for a, b in found["skipped"].items()]))
    return parts


def _limits(report: dict[str, Any]) -> list[str]:
    found = report.get("limits")
    if not found:
        return []
    best = found["peaks"]
    cpu = [
        [
            row["stage"],
            number(row["mflop"]),
            number(row["gflops"]),
            f"{row['share_of_flops']:.1%}",
            number(row["mb"]),
            number(row["gbps"]),
            f"{row['share_of_bandwidth']:.1%}",
        ]
        for row in found["cpu"]
    ]
    head = ["stage", "MFLOP", "GFLOP/s", f"of {best['gflops']:g}", "MB", "GB/s", f"of {best['gbps']:g}"]
    boards = [
        [row["stage"], *(f"{milliseconds(one['ms'])} ({one['bound']})" for one in row["computed"].values())]
        for row in found["boards_computed"]
    ]
    names = list(found["boards_computed"][0]["computed"]) if boards else []
    return [
        _table(head, cpu),
        "<h3>Computed least time on boards, not measured</h3>" + _table(["stage", *names], boards) if boards else "",
    ]


def _comparison(report: dict[str, Any]) -> str:
    found = report.get("comparison")
    if not found:
        return ""
    rows = [
        [name, *(f"{one[key]:.3f}" for key in ("ratio", "limit", "raw_ratio", "raw_limit")), one["verdict"]]
        for name, one in found["changes"].items()
    ]
    said = f"<p class=busy>{escape(found['machines'])}</p>" if found["machines"] else ""
    return said + _table(["stage", "ratio", "limit", "raw", "limit", ""], rows)


def _skipped(report: dict[str, Any]) -> str:
    return _table(["stage", "why"], [[name, reason] for name, reason in report["skipped"].items()])


def _machine(report: dict[str, Any]) -> str:
    at = report["environment"]
    rows = [[label, str(at[key])] for key, label in ENVIRONMENT.items() if at.get(key) is not None]
    rows += [[name, version] for name, version in at["versions"].items()]
    rows.append(["this run took", f"{report['seconds']:.0f} s"])
    return _table(["", ""], rows)
