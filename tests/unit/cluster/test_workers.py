"""What is asked of a cluster and what crosses the wire, without one: pieces, answers, and how many at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import polars as pl
import pytest

from refusion_assets.cluster import workers as cluster
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.refusion.shard import Book
from refusion_assets.domain.stop import Stop
from refusion_assets.store.tables import TABLES
from tests.kit.data_root import RULEBOOK
from tests.kit.timeline import CPR


def fails_with_a_number() -> None:
    raise ValueError(CPR)


def stops() -> None:
    raise Stop("der mangler noget")


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_frames_of_every_contract_come_back_with_their_types_and_nulls(compression: str | None) -> None:
    for name, contract in TABLES.items():
        types = {column: found.dtype.type for column, found in contract.to_schema().columns.items()}
        one = pl.DataFrame({column: pl.Series([None, None], dtype=kind) for column, kind in types.items()})
        for frame in (one, one.clear()):
            back = cluster.unpack(cluster.pack({name: frame}, compression))[name]
            assert back.schema == frame.schema
            assert back.equals(frame)


def test_the_rules_travel_with_the_piece_and_are_laid_out_once() -> None:
    book = Book(RULEBOOK, month_of("2024-03"))
    first, second = (cluster.unpack(cluster.pack(book, None)) for _ in range(2))
    assert (first.rules.version, first.last) == (book.rules.version, book.last)
    assert first is second
    assert first.rates.procent.tolist() == book.rates.procent.tolist()


@pytest.mark.parametrize(
    ("function", "said"),
    [(stops, "der mangler noget"), (fails_with_a_number, "uventet fejl, ValueError i test_workers.py")],
)
def test_a_worker_answers_an_error_in_one_line_without_what_it_holds(function: Any, said: str) -> None:
    told = cluster.answer(cluster.versions(), cluster.pack(partial(function), None), None)
    assert isinstance(told, str)
    assert told.startswith(said)
    assert CPR not in told
    assert "\n" not in told


def test_a_worker_of_another_version_answers_with_both_and_reads_nothing() -> None:
    told = cluster.answer("et andet", (b"ikke til at pakke ud", []), None)
    assert told == (
        f"en arbejder har et andet program end denne maskine: {cluster.versions()} mod et andet; giv dem samme version"
    )


class Later:
    """A piece that the fake cluster has been given."""

    def __init__(self, given: "set[Later]", arguments: tuple[Any, ...]) -> None:  # noqa: D107  of a test
        self.given, self.arguments = given, arguments
        given.add(self)

    def result(self, **_: Any) -> Any:
        self.given.discard(self)
        return cluster.answer(*self.arguments)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_two_pieces_for_each_worker_are_begun_and_none_is_read_before_its_time(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, most, read = set[Later](), [0], [0]

    class Fake:
        def nthreads(self) -> dict[str, int]:
            return dict.fromkeys(map(str, range(workers)), 1)

        def submit(self, function: Any, *arguments: Any, **_: Any) -> Later:
            assert function is cluster.answer
            later = Later(given, arguments)
            most[0] = max(most[0], len(given))
            return later

    @contextmanager
    def fake(address: str) -> Iterator[Fake]:
        assert address == "tls://et.sted:8786"
        yield Fake()

    def pieces() -> Iterator["partial[int]"]:
        for number in range(20):
            read[0] += 1
            yield partial(abs, -number)

    monkeypatch.setenv(cluster.KLYNGE, "tls://et.sted:8786")
    monkeypatch.setattr(cluster, "_client", fake)
    ahead = [(result, read[0] - result) for result in cluster.worked(pieces())]
    assert [result for result, _ in ahead] == list(range(20))
    assert most[0] == 2 * workers
    assert max(more for _, more in ahead) == 2 * workers
