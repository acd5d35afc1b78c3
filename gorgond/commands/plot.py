"""The picture of what `gorgond client` has measured."""

from __future__ import annotations

from gorgond.commands.report import Report
from gorgond.errors import GorgonError
from gorgond.service.metrics import upper_edge

try:
    from matplotlib.figure import Figure
except ImportError:
    raise GorgonError("--png needs matplotlib: apt install python3-matplotlib, or pip install gorgond[plot]") from None

BLUE, ORANGE, GREY = "#2f6db5", "#e07b39", "#c9d7e8"


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
    rate.set(xlabel="seconds", ylabel="answers a second", xlim=(0, len(seconds)))
    waiting = rate.twinx()
    for percent, colour in ((50, BLUE), (99, ORANGE)):
        values = [second.percentile(percent) / 1000 for second in seconds]
        waiting.plot(times, values, color=colour, marker=".", label=f"p{percent}")
    waiting.set(ylabel="latency in ms", ylim=(0, None))
    waiting.legend(loc="upper right")

    latency = report.latency
    buckets = sorted(latency.buckets)
    lefts = [upper_edge(bucket - 1) / 1000 if bucket else 0.0 for bucket in buckets]
    widths = [upper_edge(bucket) / 1000 - left for bucket, left in zip(buckets, lefts, strict=True)]
    spread.bar(lefts, [latency.buckets[bucket] for bucket in buckets], width=widths, align="edge", color=GREY)
    for name, percent, colour in (("p50", 50, BLUE), ("p99", 99, ORANGE)):
        value = latency.percentile(percent) / 1000
        spread.axvline(value, color=colour, label=f"{name} {value:g} ms")
    spread.set(xscale="log", xlabel="latency in ms", ylabel="answers")
    spread.xaxis.set_major_formatter("{x:g}")
    spread.legend(loc="upper right")
    for axes in (rate, waiting, spread):
        axes.spines["top"].set_visible(False)
    figure.savefig(path)
