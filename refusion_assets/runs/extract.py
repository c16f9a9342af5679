"""Extracts one municipality's part of the published copy: its citizens' weeks, and money that is its own.

Copies each table by its query in `CONTENT`, and leaves those without one empty. So no new table or column comes into a
package before somebody has judged it (docs/adr/0032-package.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from refusion_assets.domain.calendar import last_day, make_grid
from refusion_assets.domain.classified import AS_WRITTEN, CLAIM, Linje, classify, judge
from refusion_assets.domain.elsewhere import Known, as_reports, weeks_elsewhere
from refusion_assets.domain.raw import NAMES
from refusion_assets.domain.refusion.residence import NO_KOMMUNE, residence
from refusion_assets.domain.rules.change import judgement_version
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import Place, rules_of_runs
from refusion_assets.store.session import Relation, Session, Warehouse
from refusion_assets.store.tables import ContractError

# Files as a look-up sees them; one of another municipality keeps only its month and place in the order of judgement.
FILES = """SELECT * REPLACE (min(kendt_fra) OVER (
        PARTITION BY CASE WHEN antal_raekker > 0 THEN sha256 ELSE sti END) AS kendt_fra),
    row_number() OVER (ORDER BY dublet, modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS fil_orden,
    kilde IN ({kommunale}) AS kommunal, kilde IN ({kommunale}) AND enhed <> '{kode}' AS fremmed
    FROM landet.raw.fil QUALIFY NOT dublet"""
CITIZENS = """SELECT borger_id, cpr FROM landet.identitet.borger SEMI JOIN (
    SELECT borger_id FROM landet.opgoerelse.postering WHERE kommunekode = '{kode}'
    UNION SELECT borger_id FROM landet.opgoerelse.foraeldet WHERE kommunekode = '{kode}'
    UNION SELECT borger_id FROM landet.refusion.borger_uge_ydelse WHERE kommunekode = '{kode}'
    UNION SELECT borger_id FROM landet.refusion.fleksbidrag WHERE kommunekode = '{kode}'
    UNION SELECT borger_id FROM landet.opgoerelse.advis WHERE kommunekode = '{kode}') USING (borger_id)"""
LINES = """SELECT l.*, f.kendt_fra, f.fil_orden, f.enhed, f.kilde, f.kommunal, f.fremmed,
        coalesce(l.periode_start, i.Loenperiode_start) AS fra, coalesce(l.periode_slut, i.Loenperiode_slut) AS til
    FROM landet.classified.linje l SEMI JOIN {borgere} b USING (borger_id)
    SEMI JOIN landet.classified.grundlag USING (fil_id) JOIN {filer} f USING (fil_id)
    LEFT JOIN landet.raw.indberetning i USING (fil_id, linje)"""
# A reversal of a whole report names no person.
POINTING = """SELECT l.*, f.kendt_fra, f.fil_orden, f.enhed, f.kilde, f.kommunal, f.fremmed
    FROM landet.classified.linje l JOIN {filer} f USING (fil_id) SEMI JOIN landet.classified.grundlag USING (fil_id)
    WHERE l.art = 'T' AND l.borger_id IS NULL
    AND (l.reference_id, l.pligt_se) IN (SELECT indberetning_id, pligt_se FROM {linjer} WHERE art = 'I')"""
# A report with an id that came before is judged by every file with the id, also by lines about other people.
RIVALS = """SELECT l.indberetning_id, l.fil_id, min(l.linje) AS linje, any_value(f.kendt_fra) AS kendt_fra,
        any_value(f.fil_orden) AS fil_orden
    FROM landet.classified.linje l JOIN {filer} f USING (fil_id)
    ANTI JOIN {linjer} m ON m.fil_id = l.fil_id AND m.linje = l.linje
    WHERE l.art = 'I' AND l.indberetning_id IN (SELECT m.indberetning_id FROM {linjer} m
        JOIN landet.classified.dom d USING (fil_id, linje) WHERE d.regel = 'EI-013')
    GROUP BY l.indberetning_id, l.fil_id"""
FINANCED = """SELECT DISTINCT l.fil_id, l.linje FROM {linjer} l JOIN (
        SELECT DISTINCT borger_id, ydelse_id, uge FROM landet.refusion.borger_uge_ydelse WHERE kommunekode = '{kode}'
        UNION SELECT DISTINCT borger_id, ydelse_id, uge FROM landet.opgoerelse.postering WHERE kommunekode = '{kode}'
    ) r ON r.borger_id = l.borger_id AND r.ydelse_id = l.ydelse_id AND r.uge <= l.til AND r.uge + 6 >= l.fra"""
STAYS = """SELECT borger_id, kommunekode, bopael_start, bopael_slut FROM landet.raw.bopael JOIN {borgere} USING (cpr)
    WHERE modtaget_maaned = (SELECT bopael_maaned FROM landet.refusion.beregnet)"""
AS_RECEIVED = """SELECT i.*, l.kilde, l.enhed FROM landet.raw.indberetning i JOIN {alle} l USING (fil_id, linje)"""
JUDGEMENT = ("borger_id", "ydelse_id", "konto", "periode_start", "periode_slut", "beloeb_oere", "regel")
SHARD = 5_000
"""People whose weeks are in memory at a time."""

# A text with the number of somebody who is no citizen of the municipality, wherever ten digits of it may begin.
NAMED = """SELECT DISTINCT tekst FROM (
        SELECT tekst, substring(tal, unnest(range(1, length(tal) - 8)), 10) AS cifre FROM (
            SELECT DISTINCT tekst, regexp_replace(tekst, '([0-9]{{6}})[- ]([0-9]{{4}})', '\\1\\2', 'g') AS tal
            FROM (SELECT unnest([{kolonner}]) AS tekst FROM {tabel}))
        WHERE regexp_matches(tal, '[0-9]{{10}}'))
    SEMI JOIN (SELECT cpr AS cifre FROM landet.identitet.borger ANTI JOIN {borgere} USING (borger_id)) USING (cifre)
    ORDER BY 1"""
TEXTS = {
    "linjer": ("indberetning_id", "reference_id", "pligt_se", "konto"),
    "raa": ("IndberetningsID", "ReferenceID", "Pligt_SE", "Person_SE", "Indkomsttype", "Indtaegtsart", "Felt0114",
            "Felt0115"),
    "krav": ("pligt_se",),
    "fund": ("konto", "indberetning_id", "kilde", "felt", "vaerdi", "fil", "tekst", "handling"),
}  # fmt: skip

LEFT_OUT = """SELECT DISTINCT borger_id, maaned FROM (
    SELECT borger_id, maaned, kommunekode FROM landet.refusion.borger_uge_ydelse
    UNION ALL SELECT borger_id, maaned, kommunekode FROM landet.refusion.fleksbidrag
    UNION ALL SELECT borger_id, maaned, kommunekode FROM landet.opgoerelse.postering
    UNION ALL SELECT borger_id, maaned, kommunekode FROM landet.opgoerelse.foraeldet
    UNION ALL SELECT borger_id, maaned, '' FROM andres)
    SEMI JOIN {borgere} USING (borger_id) WHERE kommunekode <> '{kode}'"""
_OWN = "SELECT {names} FROM landet.{table} WHERE kommunekode = '{kode}'"
_OF_CITIZENS = "SELECT {names} FROM landet.{table} SEMI JOIN {borgere} b USING (borger_id)"
_WHOLE = "SELECT {names} FROM landet.{table}"
LINJE = (
    "fil_id, linje, art, indberetning_id, reference_id, pligt_se, kommunekode_betaler, borger_id, ydelse_id, konto, "
    "kilde_id, periode_start, periode_slut, beloeb_oere, regel, uventet_indkomst, uden_for_gyldighed"
)
BELOEB = "indberettet_oere, beloeb_oere, procent, refusion_oere, medfinansiering_oere"
# The tables of a package: the columns of each, and its query. All others are empty in it. A column without a name here
# makes a test fail, and so does the package.
CONTENT: dict[str, tuple[str, str]] = {
    "raw.fil": (
        """fil_id, sti, filnavn, kilde, enhed, modtaget_maaned, loebenr, sha256, antal_raekker, foerste_modtaget,
            dublet, kendt_fra, bedoemt_med""",
        """SELECT fil_id, CASE WHEN fremmed THEN 'anden-afsender-' || fil_id ELSE sti END AS sti,
            CASE WHEN fremmed THEN 'anden-afsender-' || fil_id ELSE filnavn END AS filnavn,
            CASE WHEN fremmed THEN 'andre' ELSE kilde END AS kilde, CASE WHEN fremmed THEN '' ELSE enhed END AS enhed,
            modtaget_maaned, CASE WHEN fremmed THEN 0 ELSE loebenr END AS loebenr,
            CASE WHEN kommunal AND NOT fremmed THEN sha256 ELSE '' END AS sha256,
            CASE WHEN kommunal AND NOT fremmed THEN antal_raekker ELSE 0 END AS antal_raekker, foerste_modtaget, dublet,
            kendt_fra, NULL AS bedoemt_med FROM {filer} SEMI JOIN {linjer} USING (fil_id)
            UNION ALL SELECT * FROM fil_andre""",
    ),
    "raw.indberetning": (", ".join(["fil_id", "linje", *NAMES, "udfyldt", "ulaeselig"]), "SELECT * FROM {raa}"),
    # What a look-up asks is which months have a snapshot.
    "raw.register": (
        "sti, art, modtaget_maaned, sha256, antal_raekker, antal_ulaeselige, foerste_ulaeselige",
        """SELECT sti, art, modtaget_maaned, '' AS sha256, 0 AS antal_raekker, 0 AS antal_ulaeselige,
            NULL AS foerste_ulaeselige FROM landet.raw.register""",
    ),
    "raw.bopael": (
        "modtaget_maaned, cpr, kommunekode, bopael_start, bopael_slut",
        """SELECT modtaget_maaned, cpr, CASE WHEN kommunekode = '{kode}' THEN kommunekode ELSE '999' END AS kommunekode,
            bopael_start, bopael_slut FROM landet.raw.bopael SEMI JOIN {borgere} USING (cpr)
            WHERE kommunekode IN ({koder})""",
    ),
    "raw.fleksgrundlag": (
        "modtaget_maaned, raekke, cpr, maaned, beregningsgrundlag_oere, loen_oere",
        """SELECT g.* FROM landet.raw.fleksgrundlag g JOIN {borgere} b USING (cpr)
            SEMI JOIN (SELECT borger_id, maaned FROM landet.refusion.fleksbidrag WHERE kommunekode = '{kode}'
                UNION SELECT borger_id, maaned FROM landet.opgoerelse.postering
                WHERE kommunekode = '{kode}' AND ydelse_id IN ({fleksbidrag})) m
            ON m.borger_id = b.borger_id AND m.maaned = g.maaned""",
    ),
    "identitet.borger": ("borger_id, cpr", "SELECT * FROM {borgere}"),
    # Texts stand as they were written in a package, or as another word.
    "classified.linje": (LINJE, "SELECT {names} FROM {linjer} UNION ALL SELECT {names} FROM linje_andre"),
    "classified.dom": (
        "fil_id, linje, status, regel, trukket, beloeb_oere",
        """SELECT {names} FROM landet.classified.dom SEMI JOIN (FROM {linjer} WHERE slags <> 'anden') USING (fil_id,
            linje) UNION ALL SELECT {names} FROM dom_andre""",
    ),
    "classified.grundlag": ("fil_id", "SELECT DISTINCT fil_id FROM {linjer} UNION ALL SELECT fil_id FROM fil_andre"),
    "classified.krav": (
        """borger_id, ydelse_id, konto, kilde_id, periode_start, periode_slut, pligt_se, kommunekode_betaler,
            beloeb_oere, antal_raekker""",
        "SELECT {names} FROM {krav} UNION ALL SELECT {names} FROM krav_andre",
    ),
    "refusion.beregnet": ("maaned, regelversion, bopael_maaned", _WHOLE),
    "regler.genoptjening": ("gaelder_fra_uge, uger, vindue_aar, ved_opnaaelse", _WHOLE),
    "duration.forloeb": ("borger_id, fra_uge, antal_uger, art, taelling, n_foer, taeller, genoptjent", _OF_CITIZENS),
    "duration.forloeb_taeller": (
        "borger_id, fra_uge, antal_uger, art, taelling, n_foer, taeller, genoptjent, taeller_id",
        _OF_CITIZENS,
    ),
    "refusion.borger_uge_ydelse": (
        f"""uge, maaned, borger_id, ydelse_id, kommunekode, {BELOEB}, ydelsestaeller, genoptjeningstaeller, trin,
            hjemmel, regelversion""",
        _OWN,
    ),
    "refusion.over_loft": (
        "uge, maaned, borger_id, ydelse_id, kommunekode, loft_id, beloeb_oere, refusion_oere, hjemmel",
        _OWN,
    ),
    "refusion.fleksbidrag": (
        """uge, maaned, borger_id, ydelse_id, kommunekode, beregningsgrundlag_oere, loen_oere, tilskud_refusion_oere,
            dage_paa_trin, dage, refusion_oere, hjemmel, regelversion""",
        _OWN,
    ),
    # Money that found no municipality is none's, so it is no other municipality's.
    "refusion.uden_kommune": ("uge, maaned, borger_id, ydelse_id, beloeb_oere", _OF_CITIZENS),
    "opgoerelse.postering": (
        f"""uge, maaned, borger_id, ydelse_id, kommunekode, raekketype, {BELOEB}, ydelsestaeller, genoptjeningstaeller,
            trin, koersel, oprindelig_koersel, hjemmel, regelversion""",
        _OWN,
    ),
    "opgoerelse.foraeldet": (
        f"""uge, maaned, borger_id, ydelse_id, kommunekode, raekketype, {BELOEB}, koersel, oprindelig_koersel,
            gaelder_fra, hjemmel""",
        _OWN,
    ),
    "opgoerelse.koersel": ("koersel, maaned, status, regelversion, filsum", _WHOLE),
    "opgoerelse.kommune": (
        "koersel, kommunekode, raekker, borgere, refusion_oere, medfinansiering_oere, rettelser_oere",
        _OWN,
    ),
    "opgoerelse.advis": (
        """noegle, regel, alvor, kommunekode, borger_id, uge_fra, uge_til, ydelse_id, konto, indberetning_id, kilde,
            felt, vaerdi, beloeb_oere, fil, linje, tekst, handling, koersel, status""",
        "SELECT * FROM {fund}",
    ),
}


CLAIMS = """SELECT k.* FROM landet.classified.krav k
    SEMI JOIN (FROM {linjer} WHERE slags = 'egen' AND art = 'I') l ON l.borger_id = k.borger_id
    AND l.konto = k.konto AND l.pligt_se = k.pligt_se AND l.periode_start = k.periode_start
    AND l.periode_slut = k.periode_slut AND l.kommunekode_betaler IS NOT DISTINCT FROM k.kommunekode_betaler"""
RAW = """SELECT i.* REPLACE (CASE WHEN CPR IN (SELECT cpr FROM {borgere}) THEN CPR END AS CPR,
        CASE WHEN Felt0216 IN (SELECT cpr FROM {borgere}) THEN Felt0216 END AS Felt0216)
    FROM landet.raw.indberetning i
    SEMI JOIN (FROM {linjer} WHERE slags = 'egen' OR (slags = 'peger' AND NOT fremmed)) USING (fil_id, linje)"""
MASKED = """SELECT fil_id, row_number() OVER (ORDER BY fil_id, linje) AS linje, 'I' AS art, indberetning_id,
    'andre' AS kilde_id, 0 AS beloeb_oere, false AS uventet_indkomst, false AS uden_for_gyldighed, 'anden' AS slags,
    true AS fremmed"""
Names = dict[str, object]


def extract(place: Place, kode: str, target: Warehouse) -> dict[str, str]:
    """Write the municipality's part of the published copy as that of `target`; the content of each table."""
    with place.warehouse.extracting(target) as session:
        _Part(session, place, kode).fill()
        tables = [*CONTENT, "pakke.udeladt"]
        broken = {table: found for table in tables if (found := session.breaches(table))}
        if broken:
            raise ContractError(f"pakken bryder kontrakten: {broken}")
        return {table: session.content(table) for table in tables}


@dataclass(frozen=True)
class _Part:
    """One municipality's part on its way from the country's copy into a package."""

    session: Session
    place: Place
    kode: str

    def fill(self) -> None:
        """Fill the tables of the package, each from its query in `CONTENT`."""
        rules, session = self.place.rules, self.session
        names: Names = {
            "kode": self.kode,
            "koder": _texts(rules.koder),
            "kommunale": _texts([kilde.id for kilde in rules.kilder if kilde.art == "kommunal"]),
            "fleksbidrag": _texts([one.id for one in rules.fleksbidrag]),
        }
        names["filer"] = session.temp("filer", FILES.format(**names))
        names["borgere"] = session.temp("borgere", CITIZENS.format(**names))
        every = names["linjer"] = session.temp("alle", LINES.format(**names))
        lines = self._judged_own(every, names)
        with session.lending("valgt", lines.filter("egen").select("fil_id", "linje")):
            own = names["linjer"] = session.temp("egne", f"FROM {every} SEMI JOIN valgt USING (fil_id, linje)")
        pointing, rivals = (query.format(**names) for query in (POINTING, RIVALS))
        parts = [
            f"SELECT *, 'egen' AS slags FROM {own}",
            f"SELECT *, 'peger' AS slags FROM ({pointing}) WHERE NOT fremmed",
            f"SELECT * EXCLUDE (kommunekode_betaler), 'peger' AS slags FROM ({pointing}) WHERE fremmed",
            f"{MASKED} FROM ({rivals})",
        ]
        names["linjer"] = session.temp("linjer", " UNION ALL BY NAME ".join(parts))
        names["krav"] = session.temp("krav", CLAIMS.format(**names))
        names["raa"] = session.temp("raa", RAW.format(**names))
        names["fund"] = session.temp("fund", f"SELECT * FROM landet.opgoerelse.advis WHERE kommunekode = '{self.kode}'")
        self._hide(names)
        frames = self._elsewhere(lines, every, names)
        with (
            session.lending("fil_andre", frames["fil"]), session.lending("linje_andre", frames["linje"]),
            session.lending("dom_andre", frames["dom"]), session.lending("krav_andre", frames["krav"]),
        ):  # fmt: skip
            for table, (columns, query) in CONTENT.items():
                session.take(table, columns, query.format(**names | {"names": columns, "table": table}))
        with session.lending("andres", self._months_elsewhere(lines)):
            session.insert("pakke.udeladt", session.frame(LEFT_OUT.format(**names)))

    def _hide(self, names: Names) -> None:
        """Put another word for each text with the number of somebody who is no citizen of the municipality.

        The texts are those that were written, not their codes (`raw.skrevet`).
        """
        for name, columns in TEXTS.items():
            for column in set(columns) & set(AS_WRITTEN):
                self.session.reword_all(names[name], column, "landet.raw.skrevet")
        found = {
            name: self.session.frame(NAMED.format(kolonner=", ".join(columns), tabel=names[name], **_only(names)))
            for name, columns in TEXTS.items()
        }
        texts = pl.concat(list(found.values()))["tekst"].unique().sort()
        for number, text in enumerate(texts, 1):
            for name, columns in TEXTS.items():
                for column in columns:
                    self.session.reword(names[name], column, text, f"udeladt-{number}")

    def _judged_own(self, every: Relation, names: Names) -> pl.DataFrame:
        """The lines about the citizens, and whether each is the municipality's own (`egen`).

        Own are the lines that it reported, and those of national sources about weeks that it finances or where the
        person lived in it, or in no known municipality. A reversal follows the report it takes back.
        """
        rules = self.place.rules
        lines = self.session.frame(f"SELECT * FROM {every}")
        national = ~pl.col("kommunal")
        if rules.laesning("finansieringskommune_refusion") == "bopael":
            national |= pl.col("fremmed")
        financed = self.session.frame(FINANCED.format(**names)).with_columns(afregnet=True)
        lines = lines.join(financed, on=["fil_id", "linje"], how="left").with_columns(
            national=national, hjemme=self._at_home(lines, names)
        )
        by_weeks = pl.col("afregnet").fill_null(value=False) | pl.col("hjemme")
        lines = lines.with_columns(egen=pl.when("national").then(by_weeks).otherwise(~pl.col("fremmed")))
        keys = ["borger_id", "pligt_se", "indberetning_id"]
        aims = lines.filter(pl.col("art") == "I").group_by(keys).agg(maal=pl.col("egen").any())
        lines = lines.join(
            aims, left_on=["borger_id", "pligt_se", "reference_id"], right_on=keys, how="left", nulls_equal=False
        )
        follows = pl.col("national") & (pl.col("art") == "T") & pl.col("maal").is_not_null()
        return lines.with_columns(egen=pl.when(follows).then("maal").otherwise("egen"))

    def _months_elsewhere(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The months (borger_id, maaned) with a week that a line of others is about, whether it is used or not."""
        basis = self.place.rules.optaelling.gaelder_fra
        through = last_day(self.session.day("SELECT maaned FROM landet.refusion.beregnet") or basis)
        first, last = (pl.col(name).clip(basis, through).dt.truncate("1w") for name in ("fra", "til"))
        told = lines.filter(
            ~pl.col("egen") | pl.col("fremmed"),
            pl.col("art").ne_missing("T") | pl.col("maal").is_null(),
            pl.col("fra") <= pl.col("til"),
        )
        months = pl.date_ranges(first.dt.truncate("1mo"), last.dt.offset_by("6d"), "1mo")
        return told.select("borger_id", maaned=months).explode("maaned").unique()

    def _at_home(self, lines: pl.DataFrame, names: Names) -> pl.Series:
        """Whether the person of each line lived in the municipality in one of its weeks, or nowhere that is known."""
        rules = self.place.rules
        through = last_day(self.session.day("SELECT maaned FROM landet.refusion.beregnet") or date.min)
        grid = make_grid(rules.optaelling.gaelder_fra, through)
        stays = self.session.frame(STAYS.format(**names))
        who = lines["borger_id"].unique().sort().to_numpy().astype(np.int64)
        told = lines.select("fra", "til").with_columns(pl.col("til").fill_null(pl.col("fra"))).fill_null(through)
        first, last = (np.clip(grid.offsets(told[name]) // 7, 0, grid.weeks - 1) for name in ("fra", "til"))
        person = np.searchsorted(who, lines["borger_id"].to_numpy())
        lived, known = np.zeros(lines.height, np.bool_), np.zeros(lines.height, np.bool_)
        for begin in range(0, len(who), SHARD):
            homes = residence(stays, who[begin : begin + SHARD], grid, rules)
            mine = np.flatnonzero((person >= begin) & (person < begin + SHARD))
            for found, there in ((lived, homes == int(self.kode)), (known, homes != NO_KOMMUNE)):
                before = np.vstack([np.zeros((1, there.shape[1]), np.int32), there.cumsum(axis=0, dtype=np.int32)])
                column = person[mine] - begin
                found[mine] = before[last[mine] + 1, column] > before[first[mine], column]
        return pl.Series(lived | ~known) & lines["fra"].is_not_null()

    def _elsewhere(self, lines: pl.DataFrame, every: Relation, names: Names) -> Mapping[str, pl.DataFrame]:
        """The weeks of the citizens that belong elsewhere, as the rows of the package (`as_reports`)."""
        who = lines.filter(~pl.col("egen"), pl.col("art") == "I")["borger_id"].unique()
        mine = lines.filter(pl.col("borger_id").is_in(who.implode()))
        with self.session.lending("bestemte", mine.select("fil_id", "linje")):
            told = self.session.temp("andres", f"FROM {every} SEMI JOIN bestemte USING (fil_id, linje)")
        more = {**names, "linjer": told}
        others = [self.session.frame(query.format(**more)) for query in (POINTING, RIVALS)]
        others[1] = others[1].with_columns(art=pl.lit("I"), beloeb_oere=pl.lit(0, pl.Int64))
        columns = [*Linje.to_schema().columns, "kendt_fra", "fil_orden", "egen"]
        alle = pl.concat([mine.select(columns), *others], how="diagonal_relaxed").with_columns(
            pl.col("egen").fill_null(value=False)
        )
        koersler = self.session.frame("SELECT koersel, maaned, regelversion FROM landet.opgoerelse.koersel ORDER BY 1")
        regler = rules_of_runs(self.place, koersler["regelversion"].unique().to_list())
        judged = self._judged_then(told, regler, names)
        runs = []
        for koersel, maaned, version in koersler.iter_rows():
            known = alle.filter(pl.col("kendt_fra") <= maaned)
            if version in judged:
                own = pl.col("borger_id").is_not_null()
                again = known.filter(own).drop(JUDGEMENT).join(judged[version], on=["fil_id", "linje"], how="left")
                known = pl.concat([again.select(known.columns), known.filter(~own)], how="vertical_relaxed")
            owned = known.filter(pl.col("art") == "I").group_by(CLAIM).agg(pl.col("egen").any())
            krav = classify(known).krav.filter(pl.col("beloeb_oere") > 0, pl.col("borger_id").is_in(who.implode()))
            krav = krav.join(owned, on=CLAIM, how="left", nulls_equal=True)
            runs.append(Known(koersel, maaned, regler[version], krav))
        return as_reports(weeks_elsewhere(runs), runs)

    def _judged_then(self, told: Relation, regler: Mapping[str, Rulebook], names: Names) -> dict[str, pl.DataFrame]:
        """The lines under each version of the rules that judges them differently from those in force."""
        now = judgement_version(self.place.rules.emner)
        other = {version: rules for version, rules in regler.items() if judgement_version(rules.emner) != now}
        if not other:
            return {}
        rows = self.session.frame(AS_RECEIVED.format(alle=told))
        borgere = self.session.frame(f"SELECT cpr AS subjekt, borger_id FROM {names['borgere']}")
        return {
            version: judge(rows, rules).join(borgere, on="subjekt", how="left").select("fil_id", "linje", *JUDGEMENT)
            for version, rules in other.items()
        }


def _texts(words: Sequence[str]) -> str:
    """Words as a list in SQL; an empty word where there is none."""
    return ", ".join("'" + word.replace("'", "''") + "'" for word in words) or "''"


def _only(names: Names) -> Names:
    return {"borgere": names["borgere"]}
