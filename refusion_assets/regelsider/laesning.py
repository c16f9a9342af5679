"""Understands a reading as its page shows it: question, choices, what each gives, and what proves both."""

from collections.abc import Sequence

from refusion_assets.domain.stop import Stop
from refusion_assets.regelsider.bevis import proeve_link, reading_cases
from refusion_assets.regelsider.kode import SECOND, users
from refusion_assets.regelsider.tabel import Record, cited, heading, source, table, value

PAGE = "tests/data/laesninger.toml"


def _outcome(rows: Sequence[Record]) -> str:
    """The rows that one value gives, as one cell."""
    lines = ["; ".join(f"{heading(name).lower()} {value(row[name])}" for name in row) for row in rows]
    return "<br>".join(lines) or "ingen rækker"


def _reports(case: Record) -> str:
    """What is reported in a case, as a list."""
    letters = {"K": "kontanthjælp", "D": "dagpenge", "U": "SU"}
    rows = []
    for report in case["raekker"]:
        more = "".join(f", {name} {value(report[name])}" for name in report if name.startswith("Felt") and report[name])
        rows.append(f"- {letters[report['art']]} {report['fra']} til {report['til']}: {report['beloeb']} kr.{more}")
    rows += [f"- bopæl i kommune {stay['kommune']} fra {stay['fra']}" for stay in case.get("bopael", [])]
    rows += [
        f"- beregningsgrundlag for {basis['maaned']}: {basis['beregningsgrundlag']} kr., løn {basis['loen']} kr."
        for basis in case.get("grundlag", [])
    ]
    return "\n".join(rows)


def _case(reading: Record, case: Record) -> str:
    """One worked case of a reading: what is reported, and what comes out under each value."""
    proven = "" if "raekker" in case else "Vist ved prøverne nedenfor."
    parts = [f"**{case['id']}: {value(case['navn'])}** (kilde: {value(case['kilde'])})", proven]
    if "raekker" in case:
        outcomes = [[f"`{choice}`", _outcome(case["ud"][choice])] for choice in reading["muligheder"]]
        parts += [_reports(case), table(["Værdi", f"Rækker i kørsel {case['koersel']}"], outcomes)]
    links = [f"- {proeve_link(reference, PAGE)}" for reference in case["proever"]]
    return "\n\n".join([*filter(None, parts), "Prøver, der viser begge værdier:\n\n" + "\n".join(links)])


def reading(entry: Record) -> str:
    """The part of the page about one reading; Stop where no case shows what its values do."""
    name = entry["navn"]
    cases = [case for case in reading_cases() if case["laesning"] == name]
    if not cases:
        raise Stop(f"{PAGE}: læsningen {name} har intet eksempel; skriv et, hvor værdierne giver hver sit")
    asking = users().get(("laesning", name), [])
    first = [f"`{by}`" for by in asking if SECOND not in by]
    second = [f"`{by}`" for by in asking if SECOND in by]
    choices = ", ".join(f"`{choice}`" for choice in entry["muligheder"])
    return "\n\n".join(
        [
            f"### {name}",
            value(entry.get("spoergsmaal")),
            f"Valgt: **`{entry['vaerdi']}`**. Muligheder: {choices}.",
            value(entry.get("note")),
            ". ".join(
                [
                    f"Hjemmel: {cited(entry)}",
                    *([f"Kilde: {source(entry)}"] if source(entry) else []),
                    f"Kontrolleret {entry['kontrolleret']}",
                    f"Sikkerhed: {value(entry['sikkerhed'])}.",
                ]
            ),
            f"Læses af {', '.join(first)}; i den anden beregning af {', '.join(second)}.",
            *(_case(entry, case) for case in cases),
        ]
    )
