"""A municipality's ledger against its voucher: every line that it has otherwise is found and named, and only those."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.opgoerelse.booked import Difference, koder_of, reconciled, told
from refusion_assets.domain.opgoerelse.form import Posted
from tests.kit.timeline import examples

NR = "YR-0052-169"
KTH = Posted(2, ("5.57.73.2.021",), -50_005, NR, "Kontanthjælp", "80,00", "Refusion 2024-04: Kontanthjælp, 80 pct.")
LOW = Posted(3, ("5.57.73.2.022",), -700, NR, "Kontanthjælp", "20,00", "Refusion 2024-04: Kontanthjælp, 20 pct.")
STATE = Posted(4, ("8.25.12.0.001",), 50_705, NR, "", "", "Mellemregning med staten 2024-04")
ALL = [KTH, LOW, STATE]
KEYS = ["0000000730", "6101000730", "0000000732"]


def found(booked: list[Posted], settled: list[Posted] = ALL) -> list[tuple[str, str, int, int, tuple[int, ...]]]:
    """The differences: kind, account booked on, øre settled and booked, lines."""
    result = reconciled(settled, booked, NR)
    return [(d.slags, d.bogfoert_konto, d.opgjort_oere, d.bogfoert_oere, d.linjer) for d in result.forskelle]


def bare(lines: list[Posted]) -> list[Posted]:
    """The lines as a form without benefit and percentage says them."""
    return [replace(line, ydelse="", procent="") for line in lines]


def test_a_voucher_booked_as_it_was_settled_agrees_in_one_line() -> None:
    result = reconciled(ALL, ALL, NR)
    assert list(told(result, "kasse.csv", NR)) == [
        "YR-0052-169 stemmer med kasse.csv: 3 linjer, debet 507,05 kr. og kredit 507,05 kr."
    ]


def test_each_kind_of_difference_is_named_with_account_amounts_and_line() -> None:
    assert found([KTH, STATE]) == [("Opgjort, ikke bogført", "", -700, 0, ())]
    assert found([*ALL, Posted(5, ("5.99",), 100, NR, "Andet", "50,00")]) == [
        ("Bogført, ikke opgjort", "5.99", 0, 100, (5,))
    ]
    assert found([KTH, replace(LOW, oere=-701), STATE]) == [("Andet beløb", "5.57.73.2.022", -700, -701, (3,))]
    assert found([KTH, replace(LOW, konto=("5.57.73.2.99",)), STATE]) == [
        ("Anden konto", "5.57.73.2.99", -700, -700, (3,))
    ]
    assert found([KTH, replace(LOW, konto=("5.57.73.2.021",)), STATE]) == [
        ("Anden konto", "5.57.73.2.021", -700, -700, (3,))
    ]
    assert found([KTH, LOW, replace(LOW, linje=9), STATE]) == [
        ("Bogført 2 gange", "5.57.73.2.022", -700, -1_400, (3, 9))
    ]
    assert [kind for kind, *_ in found(ALL + ALL)] == ["Bogført 2 gange"] * 3


def test_on_the_other_side_is_another_amount() -> None:
    assert found([KTH, replace(LOW, oere=700), STATE]) == [("Andet beløb", "5.57.73.2.022", -700, 700, (3,))]


def test_a_line_booked_in_parts_or_corrected_to_the_right_amount_agrees() -> None:
    assert found([KTH, replace(LOW, oere=-600), replace(LOW, oere=-150), replace(LOW, oere=50), STATE]) == []
    assert found([*ALL, Posted(5, ("5.99",), 100), Posted(6, ("5.99",), -100)]) == []


def test_accounts_and_percentages_are_the_same_however_a_spreadsheet_writes_them() -> None:
    odd = [replace(KTH, konto=("55773 2 021",), procent="80 %"), replace(LOW, procent="20"), STATE]
    assert found(odd) == []
    assert found([replace(line, konto=("0" + line.konto[0],)) for line in ALL]) == []


def test_lines_of_other_vouchers_are_left_out_and_counted_and_a_ledger_s_own_numbers_are_not() -> None:
    booked = [*ALL, replace(KTH, bilagsnr="YR-0051-169"), replace(KTH, bilagsnr="YR-0052-101")]
    result = reconciled(ALL, booked, NR)
    assert (result.forskelle, result.andre, koder_of(booked)) == ([], 2, ["101", "169"])
    assert found([replace(line, bilagsnr="4900012345") for line in ALL]) == []


def test_without_benefit_and_percentage_the_text_names_the_line_also_when_it_is_cut() -> None:
    same = [replace(line, konto=("XG",)) for line in bare(ALL)]
    assert found([replace(line, tekst=line.tekst[:38]) for line in same], same) == []
    assert found([same[0], replace(same[1], oere=-1), same[2]], same) == [("Andet beløb", "XG", -700, -1, (3,))]


def test_without_a_text_of_ours_the_only_line_of_an_account_is_the_one_booked_there() -> None:
    other = [replace(line, tekst="Refusion april") for line in bare(ALL)]
    assert found(other, bare(ALL)) == []
    assert found([replace(other[0], konto=("5.1",)), *other[1:]], bare(ALL)) == [
        ("Anden konto", "5.1", -50_005, -50_005, (2,))
    ]


def test_a_text_of_a_ledger_that_may_hold_a_person_s_number_is_not_told() -> None:
    odd = Posted(7, ("5.99",), 100, NR, tekst="Udbetalt til 680482-1234")
    lines = list(told(reconciled(bare(ALL), [*bare(ALL), odd], NR), "kasse.csv", NR))
    assert lines[1] == "  Bogført, ikke opgjort: 5.99; (vises ikke); bogført 1,00 kr. i debet (linje 7)"
    assert "680482" not in "".join(lines)


def test_an_account_that_is_the_municipality_s_own_is_told_also_if_it_has_ten_digits() -> None:
    own = [replace(line, konto=("29700000", f"XG-{number}-00001")) for line, number in zip(ALL, KEYS, strict=True)]
    [first, *_] = reconciled(own, own[1:], NR).forskelle
    assert first.konto == "29700000 / XG-0000000730-00001"
    [second] = reconciled(own, [own[0], replace(own[1], oere=-1), own[2]], NR).forskelle
    assert second.konto == second.bogfoert_konto == "29700000 / XG-6101000730-00001"
    [third] = reconciled(own, [*own, replace(own[0], konto=("XG-0000000731",), oere=9, ydelse="Andet")], NR).forskelle
    assert third.bogfoert_konto == "XG-0000000731"


def test_what_an_account_has_under_another_name_is_no_difference_and_the_rest_is() -> None:
    same = [replace(line, konto=("XG",)) for line in bare([KTH, LOW])] + bare([STATE])
    cut = [replace(line, tekst="Refusion 2024-04: Kont") for line in same[:2]]
    assert found([*cut, STATE], same) == []
    assert found([replace(cut[0], oere=-50_705), STATE], same) == []
    assert found([cut[0], STATE], same) == [("Opgjort, ikke bogført", "", -700, 0, ())]
    assert found([*cut, cut[0], STATE], same) == [("Bogført, ikke opgjort", "XG", 0, -50_005, (2,))]
    halves = [replace(line, konto=("XG",), procent="0,5") for line in (KTH, LOW)]
    assert found([*halves, STATE], [replace(line, konto=("XG",)) for line in (KTH, LOW)] + [STATE]) == []


def test_the_differences_are_told_with_both_amounts_and_the_sums() -> None:
    booked = "bogført 0,05 kr. i kredit"
    assert list(told(reconciled(ALL, [replace(KTH, oere=-5), LOW], NR), "kasse.csv", NR)) == [
        "YR-0052-169 stemmer ikke med kasse.csv; antal forskelle: 2.",
        f"  Andet beløb: {KTH.konto[0]}; Kontanthjælp, 80 pct.; opgjort 500,05 kr. i kredit; {booked} (linje 2)",
        "  Opgjort, ikke bogført: 8.25.12.0.001; Mellemregning med staten 2024-04; opgjort 507,05 kr. i debet",
        "  Opgjort: debet 507,05 kr. og kredit 507,05 kr.",
        "  Bogført: debet 0,00 kr. og kredit 7,05 kr.",
    ]


@examples(25)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-999, 999)), max_size=6), st.booleans())
def test_the_differences_sum_to_the_difference_of_the_sums(changes: list[tuple[int, int]], plain: bool) -> None:
    booked = ALL + [replace(ALL[place], oere=oere, linje=10 + nr) for nr, (place, oere) in enumerate(changes)]
    settled = bare(ALL) if plain else ALL
    differences: list[Difference] = reconciled(settled, bare(booked) if plain else booked, NR).forskelle
    off = sum(one.bogfoert_oere - one.opgjort_oere for one in differences)
    assert off == sum(line.oere for line in booked) - sum(line.oere for line in ALL)
    assert len(differences) == len({place for place, _ in changes if sum(o for p, o in changes if p == place)})
