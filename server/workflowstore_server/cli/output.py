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

_CHANGE_START: Final = "{:<17}  "
_CHANGE_END: Final = "  {}  {:>10}"
"""Of a table of changes, before and after the id."""


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
        self._coloured = wants_colour()
        self._id_cells = max(terminal.width - len(_COLUMNS.format(*[""] * 5)), 16)
        self._lines: list[str] = []
        self._printed = time.monotonic()
        header = self._line("WORKFLOW ID", "STATUS", "UPDATED (UTC)", "REVISION", "EVENTS", "BYTES")
        self._lines.append(click.style(header, bold=True) if self._styled else header)

    def add(self, state: "WorkflowState") -> None:
        """Add a row; it is printed with the next ones, or soon."""
        self._lines.append(
            self._line(
                shown(state.workflow_id),
                _status(state.status, self._coloured),
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
        return _filled(workflow_id, self._id_cells, self._id_cells) + _COLUMNS.format(*columns)


class ChangeTable:
    """A table of changes, each printed at once."""

    def __init__(self) -> None:
        terminal = console()
        self._coloured = wants_colour()
        others = len(_CHANGE_START.format("") + _CHANGE_END.format(_status("", coloured=False), 0))
        self._id_cells = max(terminal.width - others, 16)
        header = self._line("CHANGE", "WORKFLOW ID", f"{'STATUS':<9}", "REVISION")
        click.echo(click.style(header, bold=True) if terminal.color_system is not None else header)

    def add(self, words: str, workflow_id: str, state: "WorkflowState | None", revision: int) -> None:
        """Print a row."""
        status = _status("" if state is None else state.status, self._coloured)
        click.echo(self._line(words, shown(workflow_id), status, revision))

    def _line(self, words: str, workflow_id: str, status: str, revision: object) -> str:
        start = _CHANGE_START.format(words)
        indent = len(start) + self._id_cells
        return start + _filled(workflow_id, self._id_cells, indent) + _CHANGE_END.format(status, revision)


def _filled(workflow_id: str, cells: int, indent: int) -> str:
    """An id filled up with spaces to `cells`. It is never cut short: people copy it. A long one ends the line."""
    from rich.cells import cell_len

    missing = cells - cell_len(workflow_id)
    return workflow_id + " " * missing if missing >= 0 else f"{workflow_id}\n{' ' * indent}"


def _status(status: str, coloured: bool) -> str:
    """The column of a status."""
    text = f"{status or '-':<9}"
    return click.style(text, fg=STATUS_COLOURS[status]) if coloured and status in STATUS_COLOURS else text


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


def print_saved(saved: "WorkflowState", lines: JsonLines | None, done: str) -> None:
    """Print what became of a state that was written: `lines` for programs, None = for people, in the word `done`."""
    if lines is None:
        click.echo(f"{shown(saved.workflow_id)} {done} at revision {saved.revision}")
        return
    from workflowstore_server.cli.state_json import time_text

    lines.write(
        {
            "workflow_id": saved.workflow_id,
            "revision": saved.revision,
            "created_at": time_text(saved.created_at),
            "updated_at": time_text(saved.updated_at),
        }
    )
    # A source may be followed as it grows, and then it is long until the next one.
    lines.flush()


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


def wants_colour() -> bool:
    """Whether standard output is a terminal that shows colours, on which they are wanted."""
    terminal = console()
    return terminal.color_system is not None and not terminal.no_color


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
