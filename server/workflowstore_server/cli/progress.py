"""The only place that knows how a long command shows how far it has come: a bar on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

TIMES_A_SECOND: Final = 5
"""How often the bar is drawn anew."""


@contextmanager
def progress_bar(
    words: str, total: int | None, *, shown: bool, in_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """A bar for the time of the scope; what is returned is told how much is done in all.

    Args:
        words: What goes on.
        total: How much there is to do. None = not known.
        shown: Whether somebody is there to see it. Without a bar, what is told is let go.
        in_bytes: Whether it is bytes that are counted.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        # It cannot draw a line anew.
        yield lambda _: None
        return
    with Progress(
        TextColumn(words),
        BarColumn(),
        DownloadColumn(binary_units=True) if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=TIMES_A_SECOND,
        transient=True,
        # Nothing else is written meanwhile, and standard output has to stay what it is.
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        task = progress.add_task(words, total=total)

        def tell(done: int) -> None:
            progress.update(task, completed=done)

        yield tell
