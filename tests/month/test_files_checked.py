"""The files are read back before they are shown: one that says something else than the ledger is found."""

from pathlib import Path

from refusion_assets.assets.outgoing import filer_er_kladden, write_files
from refusion_assets.domain.calendar import month_of
from tests.conftest import Example

RUN = 52


def test_a_file_that_differs_from_the_ledger_by_an_oere_is_found_and_named(example: Example, tmp_path: Path) -> None:
    root = example.root.copy(tmp_path)
    with root.place.warehouse.open() as session:
        outgoing = write_files(session, root.place, month_of("2024-04"))
        assert filer_er_kladden(session, outgoing, RUN, root.place.rules).bestaaet
        for kind in ("beregning", "opgoerelse"):
            path = max(outgoing.ready.glob(f"*-{kind}-*.csv"), key=lambda p: p.stat().st_size)
            good = path.read_text("utf-8")
            lines = good.splitlines()
            place = lines[0].split(";").index("Refusionsbeløb" if kind == "beregning" else "Beløb i alt")
            nr = next(n for n, line in enumerate(lines[1:], 1) if not line.split(";")[place].startswith("-"))
            values = lines[nr].split(";")
            cents = int(values[place].replace(",", "")) + 1
            values[place] = f"{cents // 100},{cents % 100:02}"
            path.write_text("\n".join([*lines[:nr], ";".join(values), *lines[nr + 1 :]]) + "\n", "utf-8")
            found = filer_er_kladden(session, outgoing, RUN, root.place.rules)
            assert (found.bestaaet, found.antal, found.beloeb_oere) == (False, 1, 1)
            assert f"{kind} for {path.name.split('-')[3]} er 0,01 kr. fra kladden" in found.tekst
            path.write_text(good, "utf-8")
