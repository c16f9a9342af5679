"""Oversigt: the statement of a run at a glance, asked of the warehouse and kept beside the files."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date

import polars as pl

from refusion_assets.assets.gate import settle_command
from refusion_assets.assets.raw.let_pass import let_passed
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings import words
from refusion_assets.domain.findings.statement import (
    AARSAGER,
    POSTER,
    SIDES,
    Aarsag,
    Nyt,
    Oversigt,
    Post,
    Sammenligning,
    compared,
    moved,
    named,
    percent,
    wrapped,
)
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import of_the_disk, of_the_system
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.figures import table
from refusion_assets.place import Place
from refusion_assets.store.session import Session, among

WITHDRAWN = "filerne fra den forrige kørsel af måneden er trukket tilbage; ret årsagen, og kør måneden igen"

# Of earlier runs the same municipalities: those that the run holds back are left out on both sides.
SUMS = """
SELECT k.koersel, r.maaned, count(*) AS kommuner, sum(raekker)::BIGINT AS raekker, any_value(r.regelversion) AS version,
       sum(refusion_oere)::BIGINT AS refusion, sum(medfinansiering_oere)::BIGINT AS medfinansiering,
       sum(rettelser_oere)::BIGINT AS rettelser
FROM opgoerelse.kommune k JOIN opgoerelse.koersel r USING (koersel)
WHERE r.maaned IN ($month, $before, $year)
  AND kommunekode IN (SELECT kommunekode FROM opgoerelse.kommune WHERE koersel = $n) GROUP BY ALL"""
PEOPLE = "SELECT count(DISTINCT borger_id) FROM opgoerelse.postering WHERE koersel = $n"

# The run's rows of earlier months, each with one cause. A week of a benefit is looked at with all its municipalities
# together (window `w`). An amount that only changes municipality has moved with the person. A new line can move the
# weeks from its period on. A change without a new line comes from the rules, if they are others than those of the run
# before. Otherwise it comes from the residence, as nothing else goes into a result.
CAUSED = """
WITH noegle AS (
    SELECT uge, maaned, borger_id, ydelse_id, kommunekode, bool_or(raekketype = 'T') AS tilbage,
           sum(refusion_oere - medfinansiering_oere)::BIGINT AS oere, sum(beloeb_oere) AS beloeb,
           sum(beloeb_oere) <> 0 OR sum(indberettet_oere) <> 0 AS andet_beloeb,
           sum(CASE raekketype WHEN 'T' THEN -procent ELSE procent END) <> 0 AS anden_procent
    FROM opgoerelse.postering WHERE koersel = $n AND maaned <> $month GROUP BY ALL
), nye AS (
    SELECT l.borger_id, l.kommunekode_betaler, min(coalesce(l.periode_start, DATE '0001-01-01')) AS fra
    FROM classified.linje l JOIN raw.fil f USING (fil_id)
    WHERE f.kendt_fra = $month AND NOT f.dublet AND l.borger_id IN (SELECT borger_id FROM noegle) GROUP BY ALL
), alle AS (SELECT borger_id, min(fra) AS fra FROM nye GROUP BY 1
), hver AS (
    SELECT noegle.*, coalesce(alle.fra <= uge + 6, false) AS ny_linje,
           coalesce(egen.fra <= uge + 6, false) AS egen_linje,
           bool_or(tilbage) OVER w AS rettet, sum(beloeb) OVER w = 0 AND beloeb <> 0 AS flyttet
    FROM noegle LEFT JOIN alle USING (borger_id)
    LEFT JOIN nye egen ON egen.borger_id = noegle.borger_id AND egen.kommunekode_betaler = noegle.kommunekode
    WINDOW w AS (PARTITION BY uge, maaned, noegle.borger_id, ydelse_id)
)
SELECT *, CASE
        WHEN {fleksbidrag} THEN 'fleksbidrag'
        WHEN flyttet THEN 'bopael'
        WHEN ny_linje AND andet_beloeb THEN CASE WHEN rettet THEN 'aendret' ELSE 'sen' END
        WHEN ny_linje AND anden_procent THEN CASE WHEN egen_linje THEN 'taeller_egen' ELSE 'taeller_anden' END
        WHEN ny_linje AND NOT $nye_regler THEN 'loft'
        WHEN $nye_regler THEN 'regler'
        WHEN andet_beloeb THEN 'bopael'
        ELSE 'uforklaret' END AS aarsag
FROM hver"""
CAUSES = "SELECT aarsag, sum(oere)::BIGINT AS oere, count(DISTINCT borger_id) AS borgere FROM ({rows}) GROUP BY 1"

NEW = """
SELECT a.regel, count(*) AS antal, coalesce(sum(a.beloeb_oere), 0)::BIGINT AS oere,
       list_sort(list_distinct(list(f.kilde || '-' || f.enhed))) AS afsendere,
       list_sort(list_distinct(list(a.kommunekode) FILTER (a.kommunekode <> $nobody))) AS kommuner
FROM opgoerelse.advis a LEFT JOIN raw.fil f ON f.filnavn = a.fil
WHERE a.koersel = $n AND a.status = $new GROUP BY 1"""
OPEN = "SELECT count(*) FROM opgoerelse.advis WHERE koersel = $n AND status <> $solved"

# Checks that are no list of findings of a rule, so that the new findings do not name them.
REMARKS = f"""
SELECT kontrol, tekst FROM kontrol.resultat WHERE maaned = $m AND NOT bestaaet AND kontrol <> 'adviseringer'
AND NOT {among("replace(kontrol, '_', '-')", "rules")} ORDER BY tabel, kontrol"""
WORST_FIRST = ("FEJL", "ADVARSEL", "INFO")


def stated(session: Session, place: Place, month: date) -> Oversigt:
    """The statement of run `month`, which is settled: the same for the same warehouse."""
    number, rules = run_number(month, place.rules), place.rules
    before, year = next_month(month, -1), next_month(month, -12)
    rows = session.frame(SUMS, n=number, month=month, before=before, year=year).rows(named=True)
    runs = {row["maaned"]: row for row in rows}
    mine = runs[month]
    remarks = session.pairs(REMARKS, m=month, rules=sorted(words.REGLER))
    return Oversigt(
        maaned=f"{month:%Y-%m}",
        tilstand="rigtig",
        kommuner=mine["kommuner"],
        borgere=session.integer(PEOPLE, n=number),
        raekker=mine["raekker"],
        regelversion=mine["version"][:12],
        poster=tuple(
            Post(
                name,
                mine[post],
                *(compared(m, runs[m][post], mine[post]) if m in runs else None for m in (before, year)),
            )
            for post, name in POSTER.items()
        ),
        aarsager=tuple(causes(session, rules, month)),
        nyt=tuple(_new(session, rules, number)),
        aabne=session.integer(OPEN, n=number, solved=words.LOEST),
        holdt_tilbage=tuple(held_back_lines(session, place, month)),
        accepteret=tuple(f"{regel} {genstand}: {why}" for regel, genstand, why in let_passed(session, month)),
        karantaene=remarks.pop("karantaene", ""),
        bemaerkninger=tuple(remarks.values()),
        filer=str(place.outgoing / f"{month:%Y-%m}"),
    )


def causes(session: Session, rules: Rulebook, month: date) -> list[Aarsag]:
    """The corrections of a run by cause, the biggest first; they sum to the corrections of its statement. Øre."""
    rows = caused(session, rules, month, CAUSES).rows(named=True)
    found = [Aarsag(row["aarsag"], AARSAGER[row["aarsag"]], row["oere"], row["borgere"]) for row in rows]
    return sorted(found, key=lambda one: (-abs(one.oere), -one.borgere, one.aarsag))


def caused(session: Session, rules: Rulebook, month: date, query: str) -> pl.DataFrame:
    """The rows of a query over `{rows}`: the run's rows of earlier months, each with its cause (`CAUSED`). Øre."""
    number = run_number(month, rules)
    versions = session.pairs("SELECT koersel, regelversion FROM opgoerelse.koersel")
    anew = number - 1 in versions and versions[number - 1] != versions.get(number)
    fleks = [entry.id for entry in rules.fleksbidrag]
    rows = CAUSED.format(fleksbidrag=among("ydelse_id", "fleks"))
    return session.frame(query.format(rows=rows), n=number, month=month, nye_regler=anew, fleks=fleks)


def _new(session: Session, rules: Rulebook, number: int) -> list[Nyt]:
    """The rules with findings that are new in a run, the worst first, and of those the most findings."""
    found = []
    for row in session.frame(NEW, n=number, new=words.NY, nobody=words.NOBODY).iter_rows(named=True):
        kontrol = rules.kontrol(row["regel"])
        who = kontrol.handling.split()[0].strip(",.").lower()
        senders, told = (tuple(row[name] or ()) for name in ("afsendere", "kommuner"))
        one = Nyt(kontrol.id, kontrol.navn, row["antal"], row["oere"], who, kontrol.handling, senders, told)
        found.append((WORST_FIRST.index(kontrol.alvor), one))
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], -pair[1].antal, pair[1].regel))]


def held_back_lines(session: Session, place: Place, month: date) -> Iterator[str]:
    """A line per municipality that the run holds back: code, name, why, and the command that settles it."""
    rows = session.frame(
        "SELECT kommunekode, begrundelse FROM opgoerelse.tilbageholdt WHERE maaned = $m ORDER BY 1", m=month
    )
    navne = place.rules.kommunenavne
    for kode, why in rows.iter_rows():
        said = f"{kode} {navne.get(kode, kode)}: {why or 'uden begrundelse'}"
        yield f"{said}; opgøres med {settle_command(month, [kode])}"


def markdown(said: Oversigt, remarks: list[str]) -> str:
    """The statement as Markdown for the UI; `remarks` came after the files."""
    [(_, first), *_] = said.lines()
    money = [
        [post.navn, kroner_text(post.oere), *(_change(side) for side in (post.sidste_maaned, post.sidste_aar))]
        for post in said.poster
    ]
    parts = [f"**{first}**", table(["", "Beløb", *SIDES.values()], money, 1)]
    if said.aarsager:
        parts.append("De største årsager til rettelserne:\n\n" + _bullets(named(said.aarsager)))
    if said.nyt:
        new = [
            [one.regel, one.navn, one.hvem, one.where(), one.antal, kroner_text(one.beloeb_oere)] for one in said.nyt
        ]
        head = ["Regel", "Prøver", "Hvem handler", "Fra", "Nye", "Beløb"]
        parts.append(f"Nyt at se på ({plural(said.aabne, 'er åben', 'er åbne')} i alt):\n\n{table(head, new, 4)}")
    told = [f"Holdt tilbage: {line}" for line in said.holdt_tilbage]
    told += [f"Accepteret: {line}" for line in said.accepteret]
    told += [f"Bemærk: {line}" for line in (said.karantaene, *said.bemaerkninger, *remarks) if line]
    if told:
        parts.append(_bullets(told))
    return "\n\n".join([*parts, f"Filer: `{said.filer}`"])


def _change(side: Sammenligning | None) -> str:
    return f"{moved(side)} {percent(side)}".strip()


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def keep(place: Place, said: Oversigt) -> list[str]:
    """The statement kept in `oversigt/<month>.txt` and `.json` of the data root; a remark if it could not be.

    It must not take back files that are in sight. The path in it is that within the data root, which may be moved.
    """
    here = replace(said, filer=f"{place.outgoing.name}/{said.maaned}" if said.filer else "")
    text = "\n".join(part for _, line in here.lines() for part in wrapped(line))
    told = json.dumps(here.as_json(), ensure_ascii=False, indent=2)
    try:
        place.statements.mkdir(parents=True, exist_ok=True)
        for suffix, content in ((".txt", text), (".json", told)):
            ready = place.statements / f".{said.maaned}{suffix}"
            ready.write_text(f"{content}\n", "utf-8")
            os.replace(ready, place.statements / f"{said.maaned}{suffix}")
    except OSError as error:
        return [f"oversigten kunne ikke skrives: {of_the_disk(error) or of_the_system(error)}"]
    return []


def stopped(place: Place, month: date, reason: str) -> Oversigt:
    """The statement of a month that has stopped, kept if it has no files; with a remark if it had some before."""
    said = Oversigt(f"{month:%Y-%m}", "stoppet", reason)
    if (place.outgoing / said.maaned).exists():
        return said
    if (place.withdrawn / said.maaned).exists():
        said = replace(said, bemaerkninger=(WITHDRAWN,))
    keep(place, said)
    return said


def stops(place: Place) -> list[Oversigt]:
    """The kept statements of months that have stopped, in order of month; a file that cannot be read is left out."""
    found = []
    for path in sorted(place.statements.glob("????-??.json")):
        with suppress(OSError, ValueError, TypeError):
            said = json.loads(path.read_text("utf-8"))
            if said["tilstand"] == "stoppet":
                found.append(Oversigt(path.stem, "stoppet", str(said["grund"])))
    return found
