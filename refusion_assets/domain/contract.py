"""Understands the contract of a table: exactly its columns, of their types, and one row per key."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pandera.polars as pa
import polars as pl


class Contract(pa.DataFrameModel):
    """A frame or table with exactly these columns; `class Krav(Contract, key=[...])` has one row per key.

    Nothing is coerced. A column is never null and its place does not matter, unless its field says so.
    """

    class Config:
        """Settings of every contract."""

        strict = True

    def __init_subclass__(cls, *, key: Sequence[str] = (), **kwargs: Any) -> None:
        """Give the columns of the key to pandera; without a key of its own, a contract has that of its base."""
        if key:
            cls.Config = type("Config", (cls.Config,), {"unique": list(key), "name": cls.__name__})  # type: ignore[assignment, misc]
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]


def kinds_of(model: type[pa.DataFrameModel]) -> Any:
    """The type of each column of a contract, for a frame that may have no rows."""
    return {name: column.dtype.type for name, column in model.to_schema().columns.items()}


@cache
def at_once(model: type[pa.DataFrameModel]) -> pa.DataFrameSchema:
    """A contract without its key, with the columns, their types and all conditions in one question.

    pandera asks a frame twice for each column: four fifths of the time for the small frames of most months.
    """
    schema, kinds = model.to_schema(), kinds_of(model)
    broken = [condition for name, column in schema.columns.items() for condition in _breaks(name, column)]

    def kept(data: Any) -> bool:
        if dict(data.lazyframe.collect_schema()) != kinds:
            return False
        return not broken or not data.lazyframe.select(pl.any_horizontal(broken)).collect().item()

    return pa.DataFrameSchema(checks=[*schema.checks, pa.Check(kept, name="kontrakt")])


# Each pandera check as an expression that is true where a value breaks it.
BREAKS: dict[str, Callable[[pl.Expr, dict[str, Any]], pl.Expr]] = {
    "isin": lambda value, said: ~value.is_in(list(said["allowed_values"])),
    "greater_than": lambda value, said: value <= said["min_value"],
    "greater_than_or_equal_to": lambda value, said: value < said["min_value"],
    "less_than_or_equal_to": lambda value, said: value > said["max_value"],
    "str_matches": lambda value, said: ~value.str.contains(f"^(?:{said['pattern']})"),
    "str_length": lambda value, said: (
        ~value.str.len_chars().is_between(said["min_value"] or 0, said["max_value"] or 2**31)
    ),
}


def _breaks(name: str, column: Any) -> Iterator[pl.Expr]:
    """The conditions of a column's contract, each true if a row of the frame breaks it."""
    if not column.nullable:
        yield pl.col(name).is_null().any()
    for check in column.checks:
        yield BREAKS[check.name](pl.col(name), check.statistics).any()


# A column of a name means the same in every table that has it; a field with a description of its own means that.
COLUMNS = {
    # The files, and the rows as they were delivered (input.md sections 1 and 2).
    "fil_id": "number of the file in raw.fil",
    "sti": "path of the file under raw/",
    "filnavn": "name of the file",
    "kilde": "source: the system that reports, as in kilder.toml",
    "kilde_id": "source: the system that reports, as in kilder.toml",
    "enhed": "unit of the source: a municipality code, or an SE number",
    "modtaget_maaned": "month of receipt, first day",
    "loebenr": "running number of the file for its source and unit",
    "sha256": "hash of the file",
    "manifest_sha256": "hash of its manifest",
    "manifest_stoerrelse": "bytes of its manifest",
    "manifest_aendret_ns": "when the disk says the manifest was changed",
    "antal_raekker": "lines of the file, without the header",
    "foerste_modtaget": "earliest readable time of receipt among its lines",
    "dublet": "the same content was delivered before, so its lines do not count (FIL-004)",
    "linje": "line of the file; the header is line 1",
    "Lb_nr": "number of the row in the file, from 1",
    "IndberetningsID": "id of the report, or of the reversal",
    "ReferenceID": "of a reversal: id of the report that it takes back",
    "Indberetningsart": "I = report, T = reversal",
    "Pligt_SE": "SE number of the liable payer",
    "Kommunekode": "municipality that reports; empty from national sources",
    "CPR": "CPR number of the person; empty where Person_SE is given",
    "Person_SE": "SE number of the employer, for accounts of KontoArt 2",
    "Loenperiode_start": "first day of the pay period",
    "Loenperiode_slut": "last day of the pay period",
    "Dispositionsdato": "day the money is at disposal",
    "Indkomsttype": "kind of income in eIndkomst",
    "Indtaegtsart": "income code in eIndkomst",
    "Felt0014": "A-income without contribution, øre",
    "Felt0037": "grant to an enterprise, øre",
    "Felt0038": "B-income without contribution, øre",
    "Felt0046": "ATP contribution, øre",
    "Felt0048": "tax-free allowance, øre",
    "Felt0098": "repaid help, øre: lowers the benefit",
    "Felt0114": "account in Ydelsesrefusion, of a national benefit",
    "Felt0115": "account in Ydelsesrefusion, of a municipal benefit",
    "Felt0214_start": "first day of the benefit period, KontoArt 1",
    "Felt0214_slut": "last day of the benefit period, KontoArt 1",
    "Felt0215_start": "first day of the grant period, KontoArt 2 and 3",
    "Felt0215_slut": "last day of the grant period, KontoArt 2 and 3",
    "Felt0216": "CPR number that releases the grant, KontoArt 2",
    "Modtaget_tidspunkt": "when the register received the row",
    "udfyldt": "bit mask of the delivered columns with a value, or that the record of a reversal (4101) cannot hold",
    "ulaeselig": "bit mask of the delivered columns that cannot be read",
    # The registers.
    "cpr": "CPR number of the person",
    "bopael_start": "first day of the stay",
    "bopael_slut": "last day of the stay; empty while it lasts",
    "raekke": "line of the file; the header is line 1",
    "beregningsgrundlag_oere": "basis of the fleksbidrag, øre",
    "loen_oere": "wage of the month from the employer, øre",
    # Lines and claims.
    "borger_id": "surrogate of the person; identitet.borger has the CPR number",
    "skrevet": "the text as the line has it",
    "indberetning_id": "id of the report",
    "reference_id": "of a reversal: id of the report that it takes back",
    "pligt_se": "SE number of the liable payer",
    "kommunekode_betaler": "municipality that pays the benefit; empty for national benefits",
    "ydelse_id": "benefit, as in ydelser.csv",
    "konto": "account in Ydelsesrefusion",
    "periode_start": "first day of the benefit period",
    "periode_slut": "last day of the benefit period",
    "regel": "id of the rule",
    "fra_dag": "first day that differs",
    # Weeks and money.
    "fra_uge": "Monday of the first week",
    "antal_uger": "number of weeks",
    "gaelder_fra_uge": "Monday from which the rule is in force",
    "uger": "weeks of self-support that a restart needs",
    "vindue_aar": "years of the window in which they must lie",
    "taeller_id": "counter, as in the rules",
    "uge": "Monday of the week",
    "uge_fra": "Monday of the first week",
    "uge_til": "Monday of the last week",
    "maaned": "benefit month, first day",
    "kommunekode": "municipality that the money is settled with",
    "bopael_kommunekode": "municipality of residence",
    "indberettet_oere": "whole amount of the claims that begin here, øre",
    "beloeb_oere": "amount, øre",
    "procent": "percentage of refusion or medfinansiering",
    "refusion_oere": "refusion from the state, øre",
    "medfinansiering_oere": "medfinansiering from the municipality, øre",
    "ydelsestaeller": "weeks of support so far (n); empty outside the staircase",
    "genoptjeningstaeller": "weeks of self-support in the window; empty outside the staircase",
    "trin": "step of the staircase; empty outside it",
    "hjemmel": "legal basis",
    "regelversion": "hash of the rules in force in the calculation",
    "loft_id": "maximum, as in the rules",
    "dage_paa_trin": "days of the month on the step of fleksbidrag",
    "foer_finansiering_oere": "before the first day that is financed, øre",
    "ikke_forfalden_oere": "days after the month of the run, øre",
    "uden_afregning_oere": "benefits without money, øre",
    # The follow-up.
    "borgeruger": "weeks of people",
    "brutto_oere": "amount, øre",
    "egen_oere": "the municipality's own share, øre",
    "egen_promille": "own share of the amount, per mille",
    "egen_pr_indbygger_oere": "own share per inhabitant, øre",
    "median_trin4_promille": "the group's median of the same",
    "median_pr_indbygger_oere": "the group's median of the own share per inhabitant, øre",
    "maaneder_forsinket": "run month less benefit month, months",
    "antal": "number of findings",
    "betaler": "who paid the person; another municipality: payer and residence are two municipalities",
    "budget_oere": "budget of the year on the account, øre",
    "helaar_oere": "settled so far and expected in the rest of the year, øre",
    "gevinst_id": "id of the gain, as in gevinster.toml",
    "ejer": "who owns the gain",
    "baseline_fra": "first month of the baseline",
    "baseline_til": "last month of the baseline",
    "forskel": "now less the baseline",
    # Runs and what they say.
    "koersel": "number of the run; 1 is run month 2020-01, 0 the opening",
    "oprindelig_koersel": "of a T row: run that settled what it takes back",
    "raekketype": "N = new, T = taken back, K = corrected, Å = opening",
    "raekker": "ledger rows of the run",
    "borgere": "people with ledger rows in the run",
    "alvor": "FEJL, ADVARSEL or INFO",
    "felt": "column of the delivered row that the advice is about",
    "fil": "name of the delivered file",
    "tekst": "one Danish sentence",
    "handling": "who must do what, in Danish",
    "kontrol": "name of the check",
    "tabel": "table or asset that the check is about",
    "bestaaet": "the check has passed",
    "blokerer": "the month stops if the check fails",
    "navn": "name of the count or sum",
    "genstand": "sender, file or line that was let pass",
    "begrundelse": "reason that the operator gave",
    "linjer": "lines of the month",
    "karantaene_oere": "amount in quarantine, øre",
}


def described(model: type[pa.DataFrameModel]) -> dict[str, str]:
    """The meaning of each column of a contract: that of its field, or of its name; KeyError if it has neither."""
    columns = model.to_schema().columns
    return {name: column.description or COLUMNS[name] for name, column in columns.items()}
