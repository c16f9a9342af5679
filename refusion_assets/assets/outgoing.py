"""Filer: what the municipalities get of a run, proved against the ledger before anybody sees it."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from refusion_assets.assets.checks.asset import Check, answer, keep_evidence
from refusion_assets.assets.faelles.udrulning import settling
from refusion_assets.assets.findings.advise import with_names
from refusion_assets.assets.findings.statement import keep, markdown, stated
from refusion_assets.assets.gate import AABEN, FILER, POOL, chosen_cells, settled, stopping
from refusion_assets.assets.opgoerelse import ledger_of, record
from refusion_assets.domain.findings.outcome import FEJL, Outcome
from refusion_assets.domain.findings.statement import POSTER, Oversigt
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opgoerelse.ledger import (
    LEDGER,
    beregning,
    run_day,
    run_number,
    statement,
    too_old_lines,
    ydelse_navne,
)
from refusion_assets.domain.opgoerelse.voucher import voucher, wished
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import Bilagsform
from refusion_assets.domain.stop import Stop, of_the_disk
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.files import outgoing as files
from refusion_assets.files.booked import lines_of, voucher_bytes
from refusion_assets.files.delivered import fingerprint
from refusion_assets.partitions import KOMMUNE, MAANED, OWNER, kroner
from refusion_assets.place import Place, program
from refusion_assets.store.events import together
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Session

TEXT = "Filerne på disken siger det samme som kladden; ellers vises de ikke."
CHECK = Check("filer_er_kladden", ".".join(FILER), FEJL, blocks=True)

OERE = "CAST(replace({}, ',', '') AS BIGINT)"
FILE = "read_csv([{}], delim=';', header=true, all_varchar=true, filename=true)"
KODE = "split_part(parse_filename(filename), '-', 4)"
# The sums of the files of a kind, by municipality.
SAID = {
    files.BEREGNINGSFIL: f"""sum({OERE.format('"Refusionsbeløb"')})::BIGINT AS refusion,
        sum({OERE.format('"Medfinansieringsbeløb"')})::BIGINT AS medfinansiering""",
    files.OPGOERELSESFIL: f"""
        sum({OERE.format('"Beløb i alt"')}) FILTER (Transaktionstype <> 'MEDFINANSIERING')::BIGINT AS refusion,
        sum({OERE.format('"Beløb i alt"')}) FILTER (Transaktionstype = 'MEDFINANSIERING')::BIGINT AS medfinansiering""",
}


def _files(
    session: Session, place: Place, month: date, outgoing: files.Outgoing, koder: Sequence[str], fresh: Sequence[str]
) -> None:
    """The run's files for some municipalities, made ready: the advice of all of them, the ledger of the `fresh`."""
    number = run_number(month, place.rules)
    ledger = ledger_of(session, number, fresh)
    names = ydelse_navne(place.rules)
    navne = _as_words(names, "ydelse_id", "navn")
    koder_og_navne = [(k.kommunekode, k.navn) for k in place.rules.kommuner]
    kommuner = _as_words(pl.DataFrame(koder_og_navne, schema=["kommunekode", "kommune"], orient="row"), "kommunekode")
    words = {name: frame[name].dtype for frame, name in ((navne, "ydelse_id"), (kommuner, "kommunekode"))}
    rows = ledger.cast(words, strict=False)  # type: ignore[arg-type]
    borger = session.frame("SELECT borger_id, cpr FROM identitet.borger")
    # The file names the rules of its run on every row; in the ledger a row taken back keeps the rules of its own run.
    ruled = beregning(rows).with_columns(regelversion=pl.lit(place.rules.version[:12]))
    merged = ruled.join(borger, on="borger_id").join(navne, on="ydelse_id").join(kommuner, on="kommunekode")
    totals = pl.concat([statement(rows, month, navne), _too_old(session, number, month, navne, words)])
    totals = totals.join(kommuner, on="kommunekode")
    advice = with_names(session, place, session.frame("SELECT * FROM opgoerelse.advis WHERE koersel = $n", n=number))
    bilag = voucher(ledger, names, month, place.rules)
    tables: dict[str, tuple[pl.DataFrame, files.Text]] = {
        files.BEREGNINGSFIL: (merged, files.beregning_table),
        files.OPGOERELSESFIL: (totals, partial(files.opgoerelse_table, koersel=number)),
        files.ADVISERING: (advice, files.advisering_table),
    }
    mine = {**dict.fromkeys(files.OF_THE_LEDGER, fresh), files.ADVISERING: [*koder, NOBODY]}
    for form in place.rules.bilagsformer:
        if form.id != files.BOGFOERING:
            mine[form.id] = [kode for kode in fresh if outgoing.forms.get(kode) == form.id]
        tables[form.id] = bilag, partial(voucher_bytes, form=form, rules=place.rules)
    files.stage(outgoing, tables, mine, month, place.rules)


def _too_old(
    session: Session, number: int, month: date, navne: pl.DataFrame, words: dict[str, pl.DataType]
) -> pl.DataFrame:
    """The lines of the statement for what the run lists as too old to be settled."""
    listed = session.frame("SELECT * FROM opgoerelse.foraeldet WHERE koersel = $n", n=number)
    return too_old_lines(listed.cast(words, strict=False), month, navne)  # type: ignore[arg-type]


def _as_words(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The frame with some columns of few words as numbers in the order of the words: joined and sorted faster."""
    return frame.with_columns(pl.col(name).cast(pl.Enum(frame[name].unique().sort())) for name in names)


def write_files(session: Session, place: Place, month: date) -> files.Outgoing:
    """The files of run `month` for the municipalities that it has settled, made ready to be shown (`show`).

    Files that were withdrawn and would come out the same are used again.
    """
    number = run_number(month, place.rules)
    koder = settled(session, number)
    grundlag = _made_of(session, place, number)
    before = session.frame(
        "SELECT kommunekode, grundlag, filsum FROM opgoerelse.fil_grundlag WHERE koersel = $n", n=number
    )
    same = grundlag.join(before, on=["kommunekode", "grundlag"]).filter(pl.col("kommunekode").is_in(koder))
    forms = wished(koder, run_day(month, place.rules), place.rules)
    outgoing = files.Outgoing.begun(place.outgoing / f"{month:%Y-%m}", forms)
    aside, filsum = place.withdrawn / f"{month:%Y-%m}", next(iter(same["filsum"]), "")
    files.use_again(aside, outgoing, same["kommunekode"], filsum, month, place.rules)
    _files(session, place, month, outgoing, koder, [kode for kode in koder if kode not in outgoing.koder_again])
    session.run("DELETE FROM opgoerelse.fil_grundlag")
    mine = grundlag.filter(pl.col("kommunekode").is_in(koder))
    session.insert("opgoerelse.fil_grundlag", mine.with_columns(filsum=pl.lit(outgoing.filsum)))
    return outgoing


def show(place: Place, month: date, outgoing: files.Outgoing) -> None:
    """The files of run `month` put in sight, and the run open: both, or neither where the warehouse refuses.

    In this order: a run that is killed between must be run again, and no month can follow one without files.
    """
    filsum = outgoing.filsum
    shown = False
    try:
        with place.warehouse.open() as session:
            record(session, place, month, AABEN, filsum)
            outgoing.show()
            shown = True
    except Exception:
        if shown:
            outgoing.take_back()
        raise


def stand(session: Session, place: Place, month: date) -> bool:
    """True if the shown files are those of run `month`: the run is open, and SHA256SUMS is its own."""
    row = session.frame("SELECT status, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    sums = place.outgoing / f"{month:%Y-%m}" / files.SUMS
    return row.rows() != [] and row["status"][0] == AABEN and sums.exists() and fingerprint(sums) == row["filsum"][0]


def _made_of(session: Session, place: Place, number: int) -> pl.DataFrame:
    """The basis of the ledger's files of run `number`: koersel, kommunekode, grundlag (a hash of it).

    The hash covers the ledger rows of the municipality, its rows that are too old, the rules, and this program.
    """
    rows = session.frame(
        f"""SELECT kommunekode, concat(count(*), ' ', sum(hash({", ".join(LEDGER)})::HUGEINT)) AS raekker
        FROM opgoerelse.postering WHERE koersel = $n GROUP BY 1""",
        n=number,
    )
    listed = session.frame(
        """SELECT kommunekode, concat(' ', count(*), ' ', sum(hash(f)::HUGEINT)) AS foraeldet
        FROM opgoerelse.foraeldet f WHERE koersel = $n GROUP BY 1""",
        n=number,
    )
    every = pl.DataFrame({"kommunekode": place.rules.koder}).join(rows, on="kommunekode", how="left")
    every = every.join(listed, on="kommunekode", how="left")
    made = pl.col("raekker").fill_null("0") + pl.col("foraeldet").fill_null("")
    told = pl.concat_str(pl.lit(f"{place.rules.version} {program()}"), made, separator=" ")
    return every.select(koersel=pl.lit(number, pl.Int64), kommunekode="kommunekode", grundlag=told)


# Debit and credit of each municipality's voucher, alike by its balancing line; worked out without the voucher.
OF_VOUCHERS = """
WITH linjer AS (
    SELECT kommunekode, -sum(refusion_oere)::BIGINT AS oere FROM opgoerelse.postering WHERE koersel = $n
    GROUP BY kommunekode, ydelse_id, procent
    UNION ALL
    SELECT kommunekode, sum(medfinansiering_oere)::BIGINT FROM opgoerelse.postering WHERE koersel = $n
    GROUP BY kommunekode, ydelse_id, procent
)
SELECT kommunekode, greatest(sum(greatest(oere, 0)), sum(greatest(-oere, 0)))::BIGINT AS oere FROM linjer GROUP BY 1
"""


def filer_er_kladden(session: Session, outgoing: files.Outgoing, number: int, rules: Rulebook) -> Outcome:
    """Passed if the ready files and the run's ledger have the same sums for each municipality. Øre.

    Calculation files, statements and vouchers in each form are read back from the disk as a municipality would read
    them. Files used again are left out: they passed before, from the same ledger rows (`write_files`).
    """
    ledger = session.frame(
        """SELECT kommunekode, sum(refusion_oere)::BIGINT AS refusion,
        sum(medfinansiering_oere)::BIGINT AS medfinansiering FROM opgoerelse.postering WHERE koersel = $n GROUP BY 1""",
        n=number,
    )
    made = ledger.filter(~pl.col("kommunekode").is_in(outgoing.koder_again))
    owed = session.frame(OF_VOUCHERS, n=number).select("kommunekode", refusion="oere", medfinansiering="oere")
    owed = owed.filter(~pl.col("kommunekode").is_in(outgoing.koder_again))
    found = [_gaps(made, _read_back(session, outgoing, kind), kind) for kind in SAID]
    found += [_gaps(*_vouchers_back(outgoing, form, owed), form.id) for form in rules.bilagsformer]
    gaps = pl.concat(found)
    if gaps.is_empty():
        oere = int(ledger["refusion"].sum()), int(ledger["medfinansiering"].sum())
        text = f"Filerne siger det samme som kladden: {kroner_text(oere[0])} i refusion, {kroner_text(oere[1])} i"
        return Outcome(
            True,
            f"{text} medfinansiering.",
            tal={"refusion_oere": oere[0], "medfinansiering_oere": oere[1]},
        )
    worst = gaps.row(0, named=True)
    return Outcome(
        False,
        f"{worst['fil']} for {worst['kommunekode']} er {kroner_text(worst['oere'])} fra kladden "
        f"({plural(gaps.height, 'fil', 'filer')}).",
        "Ingen filer er vist; kør opgørelsen igen, og meld fejlen til systemets ejere, hvis den bliver.",
        gaps.height,
        int(gaps["oere"].sum()),
    )


def _read_back(session: Session, outgoing: files.Outgoing, kind: str) -> pl.DataFrame:
    """The sums of the files of a kind, but for those used again: kommunekode, refusion, medfinansiering. Øre."""
    paths = outgoing.made(kind)
    if not paths:
        return pl.DataFrame(schema={"kommunekode": pl.String, "refusion": pl.Int64, "medfinansiering": pl.Int64})
    named = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return session.frame(f"SELECT {KODE} AS kommunekode, {SAID[kind]} FROM {FILE.format(named)} GROUP BY 1")


def _vouchers_back(outgoing: files.Outgoing, form: Bilagsform, owed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The sums of the ledger's vouchers and of the files of a form: kommunekode, credit and debit. Øre."""
    rows = []
    for path in outgoing.made(form.id):
        lines = lines_of(path.read_bytes(), [form])[1] if path.stat().st_size else []
        sides = [sum(line.oere for line in lines if (line.oere > 0) == debit) for debit in (False, True)]
        rows.append((files.parted(path.name)[1], -sides[0], sides[1]))
    schema = {"kommunekode": pl.String, "refusion": pl.Int64, "medfinansiering": pl.Int64}
    said = pl.DataFrame(rows, schema=schema, orient="row")
    asked = [kode for kode, wish in outgoing.forms.items() if wish == form.id]
    return owed if form.id == files.BOGFOERING else owed.filter(pl.col("kommunekode").is_in(asked)), said


def _gaps(ledger: pl.DataFrame, found: pl.DataFrame, fil: str) -> pl.DataFrame:
    """The municipalities with a file of a kind that differs from the ledger, and the difference (øre)."""
    both = ledger.join(found, on="kommunekode", how="full", coalesce=True, suffix="_fil").fill_null(0)
    off = [pl.col(f"{name}_fil") - pl.col(name) for name in ("refusion", "medfinansiering")]
    wrong = both.filter((off[0] != 0) | (off[1] != 0))
    return wrong.select(fil=pl.lit(fil), kommunekode="kommunekode", oere=off[0].abs() + off[1].abs()).sort(
        "oere", "kommunekode", descending=[True, False]
    )


def _written(place: Place, month: date, koder: Sequence[str]) -> tuple[files.Outgoing, Outcome, Oversigt, list[str]]:
    """A month's files made ready, whether they are the ledger's, the statement, and who is settled; not yet shown.

    Stop if one of the chosen `koder` in operation has not been settled: it would get files without rows.
    """
    with place.warehouse.open() as session:
        done = settled(session, run_number(month, place.rules))
        if missing := sorted(set(koder) & set(settling(session, place, month)) - set(done)):
            raise Stop(f"{', '.join(missing)} er ikke opgjort for {month:%Y-%m}; start jobbet opgoer for dem")
        outgoing = write_files(session, place, month)
        outcome = filer_er_kladden(session, outgoing, run_number(month, place.rules), place.rules)
        keep_evidence(session, month, [(CHECK, outcome)])
        if not outcome.bestaaet:  # what was found wrong is never used again
            session.run("DELETE FROM opgoerelse.fil_grundlag")
        return outgoing, outcome, stated(session, place, month), done


def _mark(context: dg.AssetExecutionContext, month: date, koder: Iterable[str]) -> None:
    """The cells of municipalities that were settled before, and have their files again, shown as made."""
    with together(context.instance, context.run.run_id):
        for kode in sorted(koder):
            cell = dg.MultiPartitionKey({KOMMUNE: kode, MAANED: f"{month:%Y-%m}"})
            context.log_event(dg.AssetMaterialization(FILER, partition=cell))


def _published(place: Place) -> list[str]:
    """The copy for analysts renewed; a line if it could not be, as nothing takes back files that are in sight."""
    try:
        publish(place.warehouse)
    except Exception as error:  # noqa: BLE001  whatever it is, it cannot take the files back
        return [copy_is_old(error)]
    return []


def published_is_current(session: Session, place: Place, month: date) -> bool:
    """True if the published copy holds the current state of run `month`."""
    query = "SELECT status, filsum, regelversion FROM opgoerelse.koersel WHERE maaned = $m"
    now = session.frame(query, m=month).rows()
    try:
        with place.warehouse.reading() as copy:
            return copy.frame(query, m=month).rows() == now
    except Exception:  # noqa: BLE001  a copy that cannot be read is none
        return False


def copy_is_old(error: Exception | None = None) -> str:
    """A sentence: the copy for analysts is of an earlier run, why, and what to do."""
    why = f" ({of_the_disk(error) or type(error).__name__})" if error else ""
    return (
        f"kopien til analytikere kunne ikke fornyes{why}; den forrige står. Filerne er hele; kør måneden igen bagefter"
    )


def build(cells: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The outgoing files, cut by run month x municipality."""

    @dg.asset(
        key=FILER,
        deps=[["opgoerelse", "postering"]],
        kinds={"csv"},
        partitions_def=cells,
        group_name="opgoerelse",
        owners=[OWNER],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        output_required=False,
        check_specs=[dg.AssetCheckSpec(CHECK.name, asset=FILER, description=TEXT, blocking=True)],
    )
    def filer(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One set of outgoing files per municipality of the run, shown all at once with their check sums.

        Reads the ledger of the run; then the copy for analysts is published. Source: output.md section 3.
        """
        said: list[Oversigt] = []
        for month, koder in chosen_cells(context).items():
            with stopping():
                outgoing, outcome, statement, done = _written(place, month, koder)
            if not outcome.bestaaet:
                yield answer(CHECK, outcome)
                return
            with stopping():
                show(place, month, outgoing)
            shutil.rmtree(place.withdrawn, ignore_errors=True)
            _mark(context, month, set(done) - set(koder))
            numbers = {f"koerslens_{name}": getattr(statement, name) for name in ("kommuner", "borgere", "raekker")}
            numbers |= {f"koerslens_{n}_kr": kroner(p.oere) for n, p in zip(POSTER, statement.poster, strict=True)}
            for kode in sorted(set(koder) & set(done)):
                context.add_asset_metadata(numbers, partition_key=f"{kode}|{month:%Y-%m}")
            said.append(statement)
            remarks = keep(place, statement)
        remarks += _published(place)
        told = [markdown(one, remarks if one is said[-1] else []) for one in said]
        yield dg.MaterializeResult(metadata={"opgoerelse": dg.MetadataValue.md("\n\n".join(told))})
        yield answer(CHECK, outcome)

    return [filer]
