"""The only place that knows how results reach standard output: as tables for people, as JSON Lines for programs."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from workflowstore_server.cli.text import shown, shown_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from workflowstore import WorkflowState

LINES_HELD_MAX: Final = 100
"""Lines of a table that are kept back to be printed at once."""

HOLD_SECONDS_MAX: Final = 0.2
"""How long output is kept back while more of it comes."""

STATUS_COLOURS: Final = {"running": "cyan", "completed": "green", "failed": "red", "canceled": "yellow"}

_COLUMNS: Final = "  {:<9}  {:<19}  {:>10}  {:>6}  {:>8}"
"""Of a table of states, after the id."""


class JsonLines:
    """Writes one JSON value a line, as UTF-8, soon after it is given."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._stream = sys.stdout.buffer
        self._flushed = time.monotonic()

    def write(self, value: Mapping[str, Any]) -> None:
        """Write a value; integers and decimals keep every digit."""
        from workflowstore.client._json import to_json

        self._stream.write(shown_json(to_json(value, "output")).encode() + b"\n")
        if time.monotonic() - self._flushed > HOLD_SECONDS_MAX:
            self.flush()

    def flush(self) -> None:
        """Send what is kept back."""
        self._stream.flush()
        self._flushed = time.monotonic()


class StateTable:
    """A table of states that is printed while they come, in memory that does not grow with their number.

    A table of rich would have to know all of its rows first, and takes ten times as long for each.
    """

    def __init__(self) -> None:
        terminal = console()
        self._styled = terminal.color_system is not None
        self._coloured = self._styled and not terminal.no_color
        self._id_cells = max(terminal.width - len(_COLUMNS.format(*[""] * 5)), 16)
        self._lines: list[str] = []
        self._printed = time.monotonic()
        header = self._line("WORKFLOW ID", "STATUS", "UPDATED (UTC)", "REVISION", "EVENTS", "BYTES")
        self._lines.append(click.style(header, bold=True) if self._styled else header)

    def add(self, state: "WorkflowState") -> None:
        """Add a row; it is printed with the next ones, or soon."""
        status = f"{state.status or '-':<9}"
        if self._coloured and state.status in STATUS_COLOURS:
            status = click.style(status, fg=STATUS_COLOURS[state.status])
        self._lines.append(
            self._line(
                shown(state.workflow_id),
                status,
                time_shown(state.updated_at),
                state.revision,
                state.history_count,
                state.document_bytes,
            )
        )
        if len(self._lines) >= LINES_HELD_MAX or time.monotonic() - self._printed > HOLD_SECONDS_MAX:
            self.flush()

    def flush(self) -> None:
        """Print what is kept back."""
        if self._lines:
            click.echo("\n".join(self._lines))
        self._lines.clear()
        self._printed = time.monotonic()

    def _line(self, workflow_id: str, *columns: object) -> str:
        from rich.cells import cell_len

        missing = self._id_cells - cell_len(workflow_id)
        # An id is never cut short: people copy it. A long one has the line to itself.
        start = workflow_id + " " * missing if missing >= 0 else f"{workflow_id}\n{' ' * self._id_cells}"
        return start + _COLUMNS.format(*columns)


def print_state(state: "WorkflowState") -> None:
    """Print one state for people: its fields, and its history if it was read."""
    from workflowstore import WorkflowView

    rows = [
        ("workflow id", state.workflow_id),
        ("run id", state.run_id),
        ("status", state.status),
        ("error", state.error),
        ("created", f"{time_shown(state.created_at)} UTC"),
        ("updated", f"{time_shown(state.updated_at)} UTC"),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(state.labels.items()))),
        ("revision", str(state.revision)),
        ("events", str(state.history_count)),
        ("bytes", str(state.document_bytes)),
    ]
    if state.view is WorkflowView.FULL:
        rows += [("input", _payload(state.input)), ("result", _payload(state.result))]
    print_fields(rows)
    if state.history:
        _print_history(state)


def print_fields(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line."""
    from rich.text import Text

    table = _grid()
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(shown(value) or "-"))
    console().print(table)


def print_counts(groups: Sequence[tuple[str, int]], total: int) -> None:
    """Print numbers under one another, the total last; the total alone where nothing is counted apart."""
    if not groups:
        click.echo(total)
        return
    rows = [(shown(name), number) for name, number in [*groups, ("total", total)]]
    names, numbers = max(len(name) for name, _ in rows), len(str(total))
    for name, number in rows:
        click.echo(f"{name:<{names}}  {number:>{numbers}}")


def console() -> "Console":
    """Standard output for people, coloured where that is wanted (NO_COLOR), in which no markup is obeyed."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def time_shown(moment: datetime | None) -> str:
    """A time in UTC to the second."""
    return "-" if moment is None else moment.replace(tzinfo=None).isoformat(" ", "seconds")


def _print_history(state: "WorkflowState") -> None:
    from rich.text import Text

    table = _grid()
    table.title, table.title_justify, table.title_style = "history", "left", "bold"
    for name in ("ID", "TYPE", "TIME (UTC)", "DETAILS"):
        table.add_column(name, overflow="fold", header_style="bold", no_wrap=name == "TIME (UTC)")
    table.show_header = True
    for event in state.history:
        details = [
            ("activity", event.activity_name),
            ("signal", event.signal_name),
            ("input", _payload(event.input)),
            ("result", _payload(event.result)),
            ("payload", _payload(event.signal_payload)),
            ("error", event.error),
            ("duration", f"{event.duration_ns / 1e9:g} s" if event.duration_ns else ""),
        ]
        text = "  ".join(f"{name} {value}" for name, value in details if value)
        table.add_row(str(event.id), event.type or "-", time_shown(event.timestamp), Text(shown(text)))
    console().print()
    console().print(table)


def _payload(value: Any) -> str:
    from workflowstore.client._json import to_json

    return shown_json(to_json(value, "payload"))


def _grid() -> "Table":
    from rich.table import Table

    return Table(box=None, pad_edge=False, show_header=False)
