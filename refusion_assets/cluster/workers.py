"""Understands the cluster: shards worked out by Dask's workers on other machines, and what is asked of them.

REFUSION_KLYNGE names its scheduler, and Dask's own variables the certificates. Without the first nothing here is used,
and Dask is not imported. This process reads and writes the warehouse alone. The frames that leave hold borger_id
and no CPR number. The rules travel with each shard; a worker of another program answers with a refusal.
"""

import logging
import os
import pickle
import platform
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from refusion_assets.domain.refusion.shard import Book
from refusion_assets.domain.stop import Stop
from refusion_assets.place import program, unforeseen
from refusion_assets.store.batches import ahead

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.security import Security

T = TypeVar("T")
KLYNGE = "REFUSION_KLYNGE"
CERTIFICATES = {
    f"tls_{name}": f"DASK_DISTRIBUTED__COMM__TLS__{variable}"
    for name, variable in (("ca_file", "CA_FILE"), ("client_cert", "CLIENT__CERT"), ("client_key", "CLIENT__KEY"))
}
PER_WORKER = 2
CONNECT_SECONDS, ALONE_SECONDS, LOOK_SECONDS = 20, 60, 2
COMPRESSION: str | None = "lz4"  # of Arrow, as the texts of result rows repeat: a thirteenth is left
Packed = tuple[bytes, list[bytes]]


def worked(work: Iterable["partial[T]"]) -> Iterator[T]:
    """The result of each piece of work, in order: from a thread beside this one, or from the cluster's workers.

    A piece is a function of `domain/` with its arguments. Pieces are taken when they are needed: one ahead, or two for
    each worker. Stop if the cluster cannot be used.
    """
    address = os.environ.get(KLYNGE, "").strip()
    return _spread(address, work) if address else ahead(work)


# --- what crosses the wire ----------------------------------------------------------------------------------


def _as_arrow(frame: pl.DataFrame, compression: str | None) -> pa.Buffer:
    """A frame in Arrow's form for streams; pyarrow writes and reads it in half the time that Polars takes."""
    table, target = frame.to_arrow(compat_level=pl.CompatLevel.newest()), pa.BufferOutputStream()
    with pa.ipc.new_stream(target, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    return target.getvalue()


def _frame(arrow: Any) -> pl.DataFrame:
    """The frame that `_as_arrow` wrote."""
    frame = pl.from_arrow(pa.ipc.open_stream(arrow).read_all())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  a table is no series
    return frame


class _Packer(pickle.Pickler):
    """Pickles frames as Arrow, beside the pickle, and a book as its rules and its last month."""

    compression: str | None

    def reducer_override(self, obj: object) -> Any:
        """How an object is made again by `unpack`."""
        if isinstance(obj, pl.DataFrame):
            return _frame, (pickle.PickleBuffer(_as_arrow(obj, self.compression)),)
        if isinstance(obj, Book):
            return _book, (pickle.dumps((obj.rules, obj.last), pickle.HIGHEST_PROTOCOL),)
        return NotImplemented


@lru_cache(maxsize=4)
def _book(packed: bytes) -> Book:
    """The book of some rules, laid out once for all the shards that a worker is given."""
    return Book(*pickle.loads(packed))  # noqa: S301  only who has a certificate of the cluster is heard


def pack(what: object, compression: str | None) -> Packed:
    """An object as it crosses the wire: its pickle, and the Arrow bytes of its frames."""
    head, frames = BytesIO(), list[bytes]()
    packer = _Packer(head, pickle.HIGHEST_PROTOCOL, buffer_callback=lambda one: frames.append(bytes(one.raw())))
    packer.compression = compression
    packer.dump(what)
    return head.getvalue(), frames


def unpack(packed: Packed) -> Any:
    """The object that was packed; its frames are equal to those it had."""
    head, frames = packed
    return pickle.loads(head, buffers=frames)  # noqa: S301  as above


def versions() -> str:
    """The program and what it counts with, which all processes have alike for the same bytes to come out."""
    return f"{program()[:12]}, polars {pl.__version__}, numpy {np.__version__}, python {platform.python_version()}"


def answer(expected: str, piece: Packed, compression: str | None) -> Packed | str:
    """The packed result of a piece of work, as a worker answers; or in one line why there is none.

    An error is no exception to Dask, as Dask would write its text, and the arguments, in the worker's log.
    """
    if (own := versions()) != expected:
        return f"en arbejder har et andet program end denne maskine: {own} mod {expected}; giv dem samme version"
    try:
        return pack(unpack(piece)(), compression)
    except Stop as stop:
        return str(stop)
    except Exception as error:  # noqa: BLE001  whatever it is, the operator gets one line
        return unforeseen(error)


# --- the one that drives ------------------------------------------------------------------------------------


def _spread(address: str, work: Iterable["partial[T]"]) -> Iterator[T]:
    """The results of the cluster, in order. A worker that is lost costs its pieces another time, nothing else."""
    expected, begun = versions(), deque["Future[Any]"]()
    with _client(address) as client:
        _wait_for_workers(client)
        for piece in work:
            begun.append(_begun(client, expected, pack(piece, COMPRESSION)))
            del piece
            if len(begun) >= PER_WORKER * max(_workers(client), 1):
                yield _result(client, begun.popleft())
        while begun:
            yield _result(client, begun.popleft())


@contextmanager
def _client(address: str) -> Iterator["Client"]:
    """A connection to the scheduler, by certificates on both sides; Stop if there is none to be had."""
    if not address.startswith("tls://"):
        raise Stop(f"{KLYNGE} er {address!r}; klyngen nås kun krypteret, fx tls://klynge.example:8786")
    try:
        import dask  # noqa: PLC0415  only with a cluster

        # Dask writes what it sees in a log of its own on standard error; the operator gets one line from us.
        logs = {"logging": dict.fromkeys(("distributed", "distributed.client", "tornado"), "critical")}
        dask.config.set({**logs, "distributed.admin.large-graph-warning-threshold": "1TB"})
        from distributed import Client  # noqa: PLC0415  reads how to log
    except ImportError:
        raise Stop(f"{KLYNGE} er sat, men pakken distributed mangler; installér tilvalget klynge") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    security = _security()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(
                address, security=security, timeout=CONNECT_SECONDS, direct_to_workers=True, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise Stop(f"klyngen {address} kan ikke nås med vores certifikat ({type(error).__name__})") from None
    try:
        yield client
    finally:
        client.close(timeout=LOOK_SECONDS)


def _security() -> "Security":
    """The certificates that Dask's variables name; Stop if one is not named or cannot be read."""
    from distributed.security import Security  # noqa: PLC0415  only with a cluster

    security = Security(require_encryption=True)
    for name, variable in CERTIFICATES.items():
        path = getattr(security, name)
        if not path:
            raise Stop(f"{KLYNGE} er sat, men {variable} er ikke; klyngen nås kun med certifikater (docs/klynge.md)")
        if not os.access(path, os.R_OK):
            raise Stop(f"{variable} er {path}, som ikke kan læses")
    return security


def _wait_for_workers(client: "Client") -> None:
    """Return when there is a worker; Stop if none comes, or the scheduler is lost."""
    end = time.monotonic() + ALONE_SECONDS
    while not _workers(client):
        if time.monotonic() > end:
            raise Stop(f"klyngen har ingen arbejdere efter {ALONE_SECONDS} sekunder; start dem, og kør igen")
        time.sleep(LOOK_SECONDS / 10)


def _workers(client: "Client") -> int:
    """The number of workers now; Stop if the scheduler does not answer."""
    try:
        return len(client.nthreads())
    except Exception as error:  # noqa: BLE001  Dask tells it in several ways
        raise _lost(error) from None


def _lost(error: BaseException) -> Stop:
    kind = type(error).__name__
    return Stop(f"forbindelsen til klyngen er tabt ({kind}), så intet er ført til ende; få den i gang, og kør igen")


def _begun(client: "Client", expected: str, piece: Packed) -> "Future[Any]":
    """A piece of work given to the cluster; Stop if that is lost."""
    try:
        return client.submit(answer, expected, piece, COMPRESSION, pure=False)
    except Exception as error:  # noqa: BLE001  as above
        raise _lost(error) from None


def _result(client: "Client", future: "Future[Any]") -> Any:
    """The result of a piece of work; Stop if the worker refuses it, or if the cluster is lost."""
    while True:
        try:
            answered = future.result(timeout=LOOK_SECONDS)
            break
        except TimeoutError:
            _wait_for_workers(client)
        except Exception as error:  # noqa: BLE001  Dask tells a lost connection in several ways
            raise _lost(error) from None
    if isinstance(answered, str):
        raise Stop(answered)
    return unpack(answered)
