"""Batches: how a step walks a large table in runs of ids, and works one batch ahead of the store."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import polars as pl

T = TypeVar("T")


def ranges(ids: pl.Series, weights: pl.Series, most: int) -> Iterator[tuple[int, int]]:
    """First and last id of runs of the sorted `ids`; the weights of a run sum to `most` or little more."""
    bucket = (weights.cum_sum() - 1) // most
    for _, run in pl.DataFrame({"id": ids, "bucket": bucket}).group_by("bucket", maintain_order=True):
        yield run["id"][0], run["id"][-1]


def ahead(work: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The result of each piece of work, in order; while the caller uses one, a thread works out the next.

    So one core counts and prices a shard while the other stores the shard before. The caller's thread takes the next
    piece from `work`, and so reads the warehouse.
    """
    with ThreadPoolExecutor(max_workers=1) as worker:
        begun: Future[T] | None = None
        for piece in work:
            following = worker.submit(piece)
            if begun is not None:
                yield begun.result()
            begun = following
        if begun is not None:
            yield begun.result()


def sql_list(numbers: pl.Series) -> str:
    """Numbers as a list in SQL. DuckDB leaves rows unread that a list rules out, but not rows that a join rules out."""
    return ", ".join(map(str, numbers.unique().sort())) or "NULL"
