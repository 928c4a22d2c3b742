"""What a command shows while it works: a bar on standard error, where that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def bar(*, silent: bool = False) -> Progress:
    """Of things that are counted, so that one sees how far it is."""
    return _progress(MofNCompleteColumn(), transient=False, silent=silent)


@contextmanager
def working(what: str) -> Iterator[None]:
    """While something runs whose end is not known before."""
    with _progress(transient=True) as progress:
        progress.add_task(what, total=None)
        yield


def _progress(*columns: MofNCompleteColumn, transient: bool, silent: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=silent or not sys.stderr.isatty(),
        transient=transient,
        redirect_stdout=False,  # else what is written meanwhile is no answer any more
        redirect_stderr=False,
    )
