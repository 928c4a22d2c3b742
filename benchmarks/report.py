"""Makes the tables and plots of `docs/performance.md` from `benchmarks/results.json`.

    python -m benchmarks.report

What stands between the markers is replaced; the text around it is written by hand.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks import results
from services.local.installation import find_installation

DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = DOCS / "performance.md"
PLOTS: Final = DOCS / "performance"
BEGIN: Final = "<!-- begin: {} -->"
END: Final = "<!-- end: {} -->"
PER_S: Final = "_per_s"
LIBRARIES: Final = (
    "aio-pika",
    "aiormq",
    "uvloop",
    "cryptography",
    "PyJWT",
    "pydantic",
    "SQLAlchemy",
    "faststream",
    "celery",
)
OURS: Final = ("carnet", "sealed")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach and what it aims at: at least, or at most."""

    must: float
    aim: float
    at_most: bool = False

    def met(self, figure: float) -> bool:
        return figure <= self.must if self.at_most else figure >= self.must


GROWTH: Final = Target(0.9, 1.0)
TARGETS: Final[Mapping[str, Target]] = {
    "consume.carnet_over_handwritten_unverified": Target(1.0, 1.2),
    "consume.carnet_over_handwritten_pyjwt": Target(1.8, 2.5),
    "consume.carnet_over_faststream_pyjwt": Target(3.5, 5),
    "consume.carnet_over_client_limit": Target(0.4, 0.6),
    "publish.sealed_over_unsealed": Target(0.8, 0.95),
    "store.sqlite_over_handwritten": Target(3, 6),
    "store.postgres_over_handwritten": Target(3, 6),
    "store.sqlite_over_consume": Target(0.6, 0.8),
    "store.postgres_over_consume": Target(0.6, 0.8),
    "accept.carnet_over_trustless": Target(0.8, 0.95),
    "system.carnet_over_http_introspection": Target(2, 4),
    "growth.sessions": GROWTH,
    "growth.sessions_first": GROWTH,
    "growth.revocations": GROWTH,
    "growth.keys": GROWTH,
    "growth.depth": GROWTH,
    "growth.body": GROWTH,
    "growth.workers": GROWTH,
    "rpc.concurrent_100_of_100ms_s": Target(0.3, 0.15, at_most=True),
    "revocation.p99_ms": Target(50, 10, at_most=True),
    "start.carnet_ready_s": Target(3, 1, at_most=True),
    "memory.consumer_mib": Target(80, 60, at_most=True),
}


def ratios(figures: Mapping[str, float]) -> str:
    """What was to be reached, and what is."""
    lines = ["| name | measured | must | aim | |", "|---|--:|--:|--:|---|"]
    for name, target in TARGETS.items():
        sign = "≤ " if target.at_most else ""
        figure = figures.get(name)
        said = "" if figure is None else f"{figure:.3g}"
        met = "" if figure is None else "met" if target.met(figure) else "not met"
        lines.append(f"| `{name}` | {said} | {sign}{target.must:g} | {target.aim:g} | {met} |")
    return "\n".join(lines)


def contenders(figures: Mapping[str, float]) -> dict[str, list[str]]:
    """By case, who was measured in messages a second; the fastest first."""
    found: dict[str, list[str]] = {}
    for name in figures:
        if name.endswith(PER_S):
            case, _, contender = name.removesuffix(PER_S).rpartition(".")
            found.setdefault(case, []).append(contender)
    for case, names in found.items():
        names.sort(key=lambda name: -figures[f"{case}.{name}{PER_S}"])
    return found


def throughputs(figures: Mapping[str, float]) -> str:
    """Everybody's messages a second, processor time, the broker's and memory; the fastest first."""
    lines = [
        "| case | contender | messages/s | µs CPU each | broker's µs each | MiB peak |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for case, names in contenders(figures).items():
        for name in names:
            key = f"{case}.{name}"
            cells = [f"{figures[key + PER_S]:,.0f}"]
            for unit in ("_cpu_us", "_broker_us", "_mib"):
                figure = figures.get(key + unit)
                cells.append("" if figure is None else f"{figure:,.0f}")
            lines.append(f"| {case} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plots(figures: Mapping[str, float]) -> str:
    """Draw each case that has contenders, and growth; the page's links to the drawings."""
    mpl.rcParams.update({"svg.hashsalt": "carnet", "font.size": 9})
    PLOTS.mkdir(exist_ok=True)
    return "\n\n".join(
        f"![{title}](performance/{_draw(name, title, bars)}.svg)"
        for name, title, bars in _drawings(figures)
    )


def _drawings(figures: Mapping[str, float]) -> Iterator[tuple[str, str, dict[str, float]]]:
    for case, names in contenders(figures).items():
        if not case.startswith("growth."):
            yield (
                case,
                f"{case}: messages a second",
                {n: figures[f"{case}.{n}{PER_S}"] for n in names},
            )
    growth = {
        name.removeprefix("growth."): figures[name]
        for name in TARGETS
        if name.startswith("growth.") and name in figures
    }
    if growth:
        yield "growth", "growth: throughput at the largest, over that at the smallest", growth


def _draw(name: str, title: str, bars: Mapping[str, float]) -> str:
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.32 * len(bars)), layout="constrained")
    ours = ["#1f6f8b" if n.startswith(OURS) or "_carnet" in n else "#b8bec4" for n in bars]
    drawn = axes.barh(list(bars), list(bars.values()), color=ours)
    axes.bar_label(drawn, fmt="{:,.4g}", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=9)
    if name == "growth":
        axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    return name


def machine() -> str:
    """What it was measured on, and with which versions."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    total = Path("/proc/meminfo").read_text(encoding="ascii").split()[1]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {len(os.sched_getaffinity(0))} cores of {names[0]}, "
        f"{int(total) / 2**20:.0f} GiB, {platform.system()} "
        f"{'.'.join(platform.release().split('.')[:2])}; "
        f"Python {platform.python_version()}; "
        f"{find_installation() or 'RabbitMQ 4 in a container'}; {libraries}."
    )


def replace_part(page: str, name: str, text: str) -> str:
    """The page with what stands between one pair of markers replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no part {name}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def main() -> None:
    """Write the page anew."""
    figures = results.read()
    page = PAGE.read_text(encoding="utf-8")
    for name, text in (
        ("ratios", ratios(figures)),
        ("throughputs", throughputs(figures)),
        ("plots", plots(figures)),
        ("machine", machine()),
    ):
        page = replace_part(page, name, text)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
