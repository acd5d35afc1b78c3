"""A drill as one self-contained SVG: what clients got, how long they waited, what piled up, and what was done to whom,
all on the same seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gorgond.chaos.attempts import GOOD, Attempt
from gorgond.chaos.drill import Result
from gorgond.chaos.faults import Fault
from gorgond.chaos.gauges import Sample
from gorgond.chaos.verdict import percentile
from gorgond.errors import GorgonError

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
except ImportError:
    raise GorgonError("--svg needs matplotlib: apt install python3-matplotlib, or pip install gorgond[plot]") from None

BLUE, ORANGE, GREY, RED, GREEN = "#2f6db5", "#e07b39", "#c9d7e8", "#c0392b", "#2e7d4f"
KINDS = {  # the colours of faults; what is not here is grey
    "kill": RED, "stop": "#8e5ea2", "pause": ORANGE, "restart": BLUE, "add": GREEN, "reset": RED,
    "half-open": ORANGE, "latency": "#d9a441", "disk full": "#8e5ea2", "maxmemory": "#8e5ea2",
}  # fmt: skip
OTHER, SHADE = "#8a8f98", "#eef0f3"
NARROW = 0.004  # of the whole time: how wide a fault is drawn at least
ROW = 0.24  # inches


def draw(result: Result, path: Path) -> None:
    """Write the picture of a drill that was played."""
    names = sorted({fault.name for fault in result.faults})
    span = max((each.end for each in result.attempts), default=1.0)
    height = 6.4 + ROW * len(names) + 0.2 * ((len(result.verdict.checks) + 1) // 2)
    rows = [1.4, 1.4, 1.4, max(ROW * len(names), 0.4)]
    figure = Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=rows)
    _answers(axes[0], result.attempts, span)
    _waiting(axes[1], result.attempts)
    _backlog(axes[2], result.samples)
    _faults(axes[3], result.faults, names, span)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
        for fault in result.faults:
            if fault.kind != "add":
                axis.axvspan(fault.begin, max(fault.end, fault.begin + NARROW * span), color=SHADE, lw=0, zorder=0)
    axes[-1].set(xlabel="seconds", xlim=(0, span))
    figure.align_ylabels(axes)
    verdict = result.verdict
    figure.suptitle(
        f"{result.drill.name}: {'passed' if verdict.passed else 'DEVIATED'}", weight="bold", size=15,
        color=GREEN if verdict.passed else RED,
    )  # fmt: skip
    axes[0].set_title(f"{result.what}; seed {result.seed}", size=10, color="#444444", loc="left")
    figure.supxlabel(_summary(result), size=8.5, family="monospace", x=0.01, ha="left", linespacing=1.35)
    with mpl.rc_context({"svg.hashsalt": "gorgond"}):
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})


def _answers(axis: Any, attempts: Sequence[Attempt], span: float) -> None:
    """How many attempts ended well and badly, second by second."""
    seconds = range(int(span) + 1)
    good, bad = [0] * len(seconds), [0] * len(seconds)
    for each in attempts:
        (good if each.result in GOOD else bad)[min(int(each.end), len(seconds) - 1)] += 1
    at = [second + 0.5 for second in seconds]
    axis.bar(at, good, width=1.0, color=GREY, label="well")
    axis.bar(at, bad, bottom=good, width=1.0, color=RED, label="refused, broken")
    axis.set_ylabel("answers a second")
    _legend(axis)


def _waiting(axis: Any, attempts: Sequence[Attempt]) -> None:
    """How long what was answered well in each second had waited."""
    waits: dict[int, list[float]] = defaultdict(list)
    for each in attempts:
        if each.result in GOOD:
            waits[int(each.end)].append(each.latency * 1000)
    at = range(max(waits, default=0) + 1)
    for percent, colour in ((50, BLUE), (99, ORANGE)):
        values = [percentile(waits[second], percent) if second in waits else float("nan") for second in at]
        axis.plot([second + 0.5 for second in at], values, color=colour, marker=".", ms=4, lw=1.2, label=f"p{percent}")
    axis.set(yscale="log", ylabel="latency in ms")
    axis.yaxis.set_major_formatter("{x:g}")
    _legend(axis)


def _backlog(axis: Any, samples: Sequence[Sample]) -> None:
    """Messages that wait or are in hand, of each broker; nothing where it did not answer."""
    for name, colour in (("broker", BLUE), ("calls", ORANGE)):
        mine = [sample for sample in samples if sample.broker == name]
        values = [float(sample.backlog) if sample.counts is not None else float("nan") for sample in mine]
        if mine:
            axis.plot([sample.at for sample in mine], values, color=colour, lw=1.2, label=name)
    axis.set_ylabel("backlog")
    axis.set_ylim(bottom=0)
    _legend(axis)


def _faults(axis: Any, faults: Sequence[Fault], names: Sequence[str], span: float) -> None:
    """Draw which victim was hurt when, and until when."""
    for fault in faults:
        width = max((fault.end or span) - fault.begin, NARROW * span)
        axis.barh(names.index(fault.name), width, left=fault.begin, height=0.7, color=KINDS.get(fault.kind, OTHER))
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    kinds = dict.fromkeys(fault.kind for fault in faults)
    patches = [Patch(color=KINDS.get(kind, OTHER), label=kind) for kind in kinds]
    axis.set_ylabel("faults")
    _legend(axis, handles=patches)


def _legend(axis: Any, **what: Any) -> None:
    """Above the panel, so that it covers nothing."""
    above = {"loc": "lower right", "bbox_to_anchor": (1, 0.96), "ncols": len(KINDS)}
    axis.legend(frameon=False, fontsize=8, **above, **what)


def _summary(result: Result) -> str:
    """The checks in two columns, those that failed first."""
    checks = sorted(result.verdict.checks, key=lambda check: check.passed)
    cells = [f"{'✓' if check.passed else '✗'} {check.name:13}{check.text}"[:80] for check in checks]
    half = (len(cells) + 1) // 2
    left, right = cells[:half], [*cells[half:], ""]
    return "\n".join(f"{one:82}{other}".rstrip() for one, other in zip(left, right, strict=False))
