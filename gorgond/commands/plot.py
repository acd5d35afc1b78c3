"""The picture of what `gorgond client` has measured."""

from __future__ import annotations

from bisect import bisect_right
from math import log
from typing import Any

from gorgond.commands.report import EDGES, Report
from gorgond.errors import GorgonError
from gorgond.service.metrics import upper_edge

try:
    from matplotlib.figure import Figure
except ImportError:
    raise GorgonError("--png needs matplotlib: apt install python3-matplotlib, or pip install gorgond[plot]") from None

BLUE, ORANGE, GREY = "#2f6db5", "#e07b39", "#c9d7e8"
ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "frameon": False}
LEAST = EDGES[0] / 1000  # milliseconds: a logarithmic axis has no zero


def plot(report: Report, path: str) -> None:
    """Throughput and latency over time above, the distribution of latencies below."""
    figure = Figure(figsize=(10, 7), layout="constrained", dpi=120)
    rate, spread = figure.subplots(2, 1)
    asked = f"{report.rate:g} requests/s" if report.rate else "as fast as answered"
    errors = f", {report.errors.total():,} errors" if report.errors else ""
    figure.suptitle(f"{report.url}: {report.clients:,} clients, {asked}{errors}")

    # The second in which the last answers trickle in is not a whole one.
    seconds = report.seconds[: max(round(report.duration), 1)]
    times = [second + 0.5 for second in range(len(seconds))]
    rate.bar(times, [second.count for second in seconds], width=0.9, color=GREY, label="answers")
    rate.set(xlabel="seconds", ylabel="answers a second", xlim=(0, max(len(seconds), 1)))
    waiting = rate.twinx()
    for percent, colour in ((50, BLUE), (99, ORANGE)):
        values = [second.percentile(percent) / 1000 for second in seconds]
        waiting.plot(times, values, color=colour, marker=".", label=f"p{percent}")
    waiting.set(ylabel="latency in ms", ylim=(0, None))
    waiting.legend(**ABOVE)

    latency = report.latency
    for bucket, count in sorted(latency.buckets.items()):
        left, right = max(upper_edge(bucket - 1) / 1000 if bucket else 0.0, LEAST), upper_edge(bucket) / 1000
        if right > left:  # buckets are not of one width on this axis: their areas count, not their heights
            height = count * log(1.1) / log(right / left)
            spread.bar(left, height, width=right - left, align="edge", color=GREY)
    for percent, colour in ((50, BLUE), (99, ORANGE)):
        value = latency.percentile(percent) / 1000
        spread.axvline(max(value, LEAST), color=colour, label=f"p{percent} {float(f'{value:.3g}'):g} ms")
    edges = [edge / 1000 for edge in EDGES]
    shown = edges[max(bisect_right(edges, spread.dataLim.x0) - 1, 0) : bisect_right(edges, spread.dataLim.x1) + 1]
    spread.set(xscale="log", xlabel="latency in ms", ylabel="answers, per 10 % of latency", xlim=(shown[0], shown[-1]))
    spread.set_xticks(shown, [f"{edge:g}" for edge in shown])
    spread.set_xticks([], minor=True)
    spread.legend(**ABOVE)
    for axes in (rate, waiting, spread):
        axes.spines["top"].set_visible(False)
    figure.savefig(path)
