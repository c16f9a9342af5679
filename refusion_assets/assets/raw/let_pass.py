"""Let pass: the stops that an operator may let pass, with a reason, and the checks of the files received."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.domain.findings.outcome import FEJL, MOST_NAMED
from refusion_assets.domain.findings.words import CPR_FORM
from refusion_assets.domain.stop import Fault, Refused, in_one_line
from refusion_assets.domain.wording import kroner_text
from refusion_assets.files.unread import without_persons
from refusion_assets.store.session import Session

# The rules whose stops an operator may let pass, and the form of the thing that a decision names.
ACCEPTABLE = {
    "FIL-006": "<kilde>-<enhed>",
    "REG-001": "<filnavn>",
    "EI-017": "<filnavn>:<linje>",
    "FIL-008": "<filnavn>",
    "EI-020": "<filnavn>:<linje>",
    "OPG-001": "<kommunekode>:<ydelse>",
}
# The rules that stop a run before any line is read; FIL-008 stops a reload only.
BEFORE_READING = ("FIL-006", "REG-001", "FIL-008")
# A decision on this rule holds for one command only.
BY_COMMAND = "FIL-008"
BY_LINE, BY_WEEK, BY_MONTH = "EI-017", "EI-020", "OPG-001"
# Known only when lines have been judged, weeks priced, or a month settled: their checks stop the month then.
AFTER_READING = (BY_LINE, BY_WEEK, BY_MONTH)
FILE_CHECKS: dict[str, tuple[tuple[str, ...], str]] = {
    "filer_er_hele": (("FIL-001", "FIL-002"), "Hver fil er den, manifestet siger, og har den aftalte form."),
    "afsendere_har_leveret": (("FIL-006",), "Hver afsender, der leverede sidste måned, har leveret."),
    "laeste_filer_er_der": (("FIL-008",), "Hver fil, der læses ind igen, er den, en tidligere kørsel læste."),
}
REGISTER_CHECKS: dict[str, tuple[tuple[str, ...], str]] = {
    "registre_er_hele": (
        ("FIL-001", "FIL-002", "FIL-008"),
        "Bopæl og fleksgrundlag er, hvad manifesterne siger, og hvad en tidligere kørsel læste.",
    ),
    "bopael_er_kendt": (("REG-001", "REG-002"), "Der er et bopælsregister, og det har de borgere, det plejer."),
}
Accepted = Sequence[tuple[str, str, str]]
FileChecks = Mapping[str, tuple[tuple[str, ...], str]]


class Knowingly(dg.Config):
    """The stops that the operator lets pass in this run (`FIL-006:ksd-657`), and the reason in words."""

    accepter: list[str] = []  # noqa: RUF012  Dagster reads the default
    begrundelse: str = ""


def wanted(config: Knowingly) -> list[tuple[str, str]]:
    """The stops that the operator wants to let pass (rule, thing); Refused if one cannot be, or on a bad reason."""
    found = [accepted.partition(":")[::2] for accepted in config.accepter]
    for regel, genstand in found:
        if regel not in ACCEPTABLE or not genstand:
            forms = ", ".join(f"{rule}:{form}" for rule, form in ACCEPTABLE.items())
            raise Refused(f"{without_persons(regel)}:{without_persons(genstand)} kan ikke accepteres; kun {forms} kan")
        if not config.begrundelse.strip():
            raise Refused(f"{regel}:{without_persons(genstand)} kan kun accepteres med en begrundelse")
        refuse_number(config.begrundelse)
    return found


def refuse_number(begrundelse: str) -> None:
    """Refused if a reason holds a CPR number, as the warehouse keeps it and the UI shows it."""
    if re.search(CPR_FORM, begrundelse):
        raise Refused("begrundelsen må ikke indeholde et personnummer; skriv den uden")


def refuse_unneeded(config: Knowingly, stops: Sequence[Fault], rules: Collection[str] = tuple(ACCEPTABLE)) -> None:
    """Refused if the operator lets something pass that does not stop the run; looks only at decisions on `rules`."""
    standing = {(fault.regel, fault.genstand) for fault in stops}
    for regel, genstand in wanted(config):
        if regel in rules and (regel, genstand) not in standing:
            others = sorted(as_accepted(fault) for fault in stops if fault.regel == regel)
            instead = f"; det gør {', '.join(others[:MOST_NAMED])}" if others else ""
            raise Refused(
                f"{regel}:{without_persons(genstand)} standser ikke kørslen og kan derfor ikke accepteres{instead}"
            )


def as_accepted(fault: Fault) -> str:
    """A stop in the form that `--accepter` takes."""
    return f"{fault.regel}:{fault.genstand}"


def let_pass(session: Session, month: date, config: Knowingly, stops: Sequence[Fault]) -> list[Fault]:
    """The stops that no decision lets pass, when the operator's decisions are stored in `kontrol.accept`.

    Deletes decisions of an earlier attempt without a stop now. Refused as `wanted` and `refuse_unneeded`.
    """
    refuse_unneeded(config, stops)
    before = {decision for decision in decided(session, month) if decision[0] != BY_COMMAND}
    gone = before - {(fault.regel, fault.genstand) for fault in stops}
    for regel, genstand in sorted(gone):
        _forget(session, month, regel, genstand)
    keep_decisions(session, month, config)
    passed = before | set(wanted(config))
    return [fault for fault in stops if (fault.regel, fault.genstand) not in passed]


def keep_decisions(session: Session, month: date, config: Knowingly) -> None:
    """Store the operator's decisions in `kontrol.accept`, in place of earlier decisions on the same stops."""
    for regel, genstand in wanted(config):
        _forget(session, month, regel, genstand)
        row = {"maaned": month, "regel": regel, "genstand": genstand, "begrundelse": config.begrundelse.strip()}
        session.insert("kontrol.accept", pl.DataFrame([row]))


def repeat_decisions(session: Session, decisions: pl.DataFrame) -> None:
    """Put decisions of an earlier run (`Accept`) in `kontrol.accept`, when the run is made again."""
    session.insert("kontrol.accept", decisions)


def forget_decisions(session: Session, month: date, regel: str) -> None:
    """Delete a month's decisions on one rule from `kontrol.accept`."""
    session.run("DELETE FROM kontrol.accept WHERE maaned = $m AND regel = $r", m=month, r=regel)


def _forget(session: Session, month: date, regel: str, genstand: str) -> None:
    same = "maaned = $m AND regel = $r AND genstand = $g"
    session.run(f"DELETE FROM kontrol.accept WHERE {same}", m=month, r=regel, g=genstand)


def let_passed(session: Session, month: date) -> Accepted:
    """The decisions of a month: rule, thing and reason."""
    query = "SELECT regel, genstand, begrundelse FROM kontrol.accept WHERE maaned = $m ORDER BY ALL"
    return session.frame(query, m=month).rows()


def decided(session: Session, month: date) -> set[tuple[str, str]]:
    """The decisions of a month: rule and thing."""
    return {(regel, genstand) for regel, genstand, _ in let_passed(session, month)}


def check_specs(checks: FileChecks, asset: list[str]) -> list[dg.AssetCheckSpec]:
    """The file checks of an asset; the asset answers them itself, as it writes no table when they fail."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True) for name, (_, text) in checks.items()]


def answers(
    faults: Sequence[Fault],
    checks: FileChecks,
    accepted: Accepted = (),
) -> Iterator[dg.AssetCheckResult]:
    """The result of each file check, from the faults and the decisions."""
    for name, (rules, text) in checks.items():
        mine = [fault for fault in faults if fault.regel in rules]
        passed = [f"{regel} {genstand} er accepteret: {why}" for regel, genstand, why in accepted if regel in rules]
        oere = sum(fault.beloeb_oere for fault in mine)
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not mine,
            severity=dg.AssetCheckSeverity.ERROR,
            description=in_one_line(mine) if mine else " ".join([text, *passed]),
            metadata={
                "alvor": FEJL,
                "antal": len(mine),
                "beloeb_oere": oere,
                "beloeb": kroner_text(oere),
                "fejl": dg.MetadataValue.json([str(fault) for fault in mine]),
                "accepteret": dg.MetadataValue.json(passed),
            },
        )
