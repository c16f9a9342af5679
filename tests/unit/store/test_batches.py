"""Batches: a step works one batch ahead of the store."""

from collections.abc import Callable, Iterator

import pytest

from refusion_assets.store import batches


def test_work_is_taken_in_order_one_piece_ahead_of_its_use() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[Callable[[], int]]:
        for number in range(4):
            taken.append(number)
            yield lambda number=number: 10 * number  # type: ignore[misc]

    used = [(result, list(taken)) for result in batches.ahead(pieces())]
    assert [result for result, _ in used] == [0, 10, 20, 30]
    assert [len(begun) for _, begun in used] == [2, 3, 4, 4]
    assert list(batches.ahead([])) == []


def test_what_goes_wrong_ahead_is_told_where_it_would_be_used() -> None:
    results = batches.ahead([lambda: 1, lambda: 1 // 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
