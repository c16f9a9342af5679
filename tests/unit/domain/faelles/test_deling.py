"""Sharing a cost: the published tables cell by cell, and bills that sum to the total whatever is shared."""

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.faelles.aftale import (
    Aftale,
    Andel,
    Forbrug,
    Klasse,
    Linje,
    Part,
    Post,
    agreement_faults,
    participants,
    units,
)
from refusion_assets.domain.faelles.deling import (
    Deling,
    class_prices,
    compared,
    half_up,
    largest_remainder,
    shared,
    with_others,
)
from refusion_assets.domain.rules.entries import Kommune
from refusion_assets.domain.stop import Stop
from refusion_assets.rulebook.load import agreements
from tests.kit.data_root import REPO, RULEBOOK, RULES

SHIPPED = {aftale.id: aftale for aftale in agreements(RULES, RULEBOOK)}
PRINTED = tomllib.loads((REPO / "tests" / "data" / "deling.toml").read_text("utf-8"))["tabel"]
KOMMUNER = tuple(
    Kommune(kommunekode=kode, navn=navn, region=region, indbyggertal=size, aar=2026)
    for kode, navn, region, size in (
        ("101", "Storby", "Øst", 50001),
        ("147", "Mellemby", "Øst", 50000),
        ("615", "Grænseby", "Vest", 15000),
        ("741", "Lilleø", "Vest", 14999),
    )
)
CITED: dict[str, Any] = {
    "hjemmel": "ingen: prøve",
    "kilde": "prøve",
    "kontrolleret": date(2026, 11, 29),
    "sikkerhed": "prøve",
}
CLASSES = (Klasse(navn="Store", fra=50001), Klasse(navn="Mellem", fra=15000, til=50000), Klasse(navn="Små", til=14999))
ALLE = (Part(alle=True),)


def made(*poster: Post, total: str = "1.000,00", parter: Sequence[Part] = ALLE, **more: Any) -> Aftale:
    said: dict[str, Any] = {"id": "proeve", "navn": "En prøve", "enhed": "kroner", **CITED, **more}
    return Aftale(**said, total=total, parter=tuple(parter), poster=poster)


def kroner(oere: int) -> str:
    return f"{oere // 100},{oere % 100:02d}"


def faults(aftale: Aftale) -> list[str]:
    return list(agreement_faults([aftale], KOMMUNER))


def paid(aftale: Aftale, used: dict[tuple[str, str], int] | None = None) -> dict[str, int]:
    assert faults(aftale) == []
    return shared(aftale, KOMMUNER, used).priser


def post(noegle: Any = "indbyggere", **more: Any) -> Post:
    return Post(**{"navn": "Post", "noegle": noegle, **more})


@pytest.mark.parametrize("table", PRINTED, ids=lambda table: table["aftale"])
def test_every_cell_of_a_published_table_is_reproduced_from_the_rules(table: dict[str, Any]) -> None:
    deling = shared(SHIPPED[table["aftale"]], RULEBOOK.kommuner)
    [prices] = class_prices(deling).values()
    assert [asdict(one) for one in prices] == table["klasser"]
    assert sum(one.klassens for one in prices) == table["timer_i_alt"]
    assert sum(map(sum, deling.trykte)) - table["timer"] == table["for_meget"]
    each = {one.navn: one.hver for one in prices}
    assert list(deling.trykte[0]) == [each[one.navn] for one in deling.parter]


@pytest.mark.parametrize("table", PRINTED, ids=lambda table: table["aftale"])
def test_the_bills_of_a_published_table_sum_to_its_hours_and_differ_by_one_hour_within_a_class(
    table: dict[str, Any],
) -> None:
    deling = shared(SHIPPED[table["aftale"]], RULEBOOK.kommuner)
    assert sum(deling.priser.values()) == deling.total == table["timer"]
    for klasse in table["klasser"]:
        mine = {deling.priser[one.id] for one in deling.parter if one.navn == klasse["navn"]}
        assert max(mine, default=0) - min(mine, default=0) <= 1


def test_the_joint_budget_is_halved_and_the_half_shared_by_inhabitants_to_the_oere() -> None:
    priser = shared(SHIPPED["faelles-budget"], RULEBOOK.kommuner).priser
    wanted = {"751": 71001103, "741": 678746, "791": 18366486, "730": 18871276}
    assert {kode: priser[kode] for kode in wanted} == wanted
    assert priser.pop("Region Midtjylland") == 259575000
    assert (len(priser), sum(priser.values())) == (19, 259575000)


def test_posts_that_are_shared_alike_are_rounded_as_one_and_each_still_sums() -> None:
    whole = SHIPPED["faelles-budget"]
    cut = [replace(whole.poster[0], navn=line.navn, beloeb=line.beloeb, linjer=()) for line in whole.poster[0].linjer]
    deling = shared(replace(whole, poster=tuple(cut)), RULEBOOK.kommuner)
    assert deling.priser == shared(whole, RULEBOOK.kommuner).priser
    assert [sum(parts) for parts in deling.andele] == [219150000, 100000000, 200000000]
    assert [parts[0] for parts in deling.andele] == [109575000, 50000000, 100000000]


def test_the_default_agreement_is_our_own_cost_over_98_municipalities() -> None:
    first = next(iter(SHIPPED.values()))
    deling = shared(first, RULEBOOK.kommuner)
    assert (len(deling.parter), sum(deling.priser.values())) == (98, units(first.total, "kroner"))
    assert sum(deling.rows()["andel"]) == deling.total


def test_the_largest_remainders_get_what_is_left_and_the_first_of_equal_ones() -> None:
    assert largest_remainder(100, [1, 1, 1]) == [34, 33, 33]
    assert largest_remainder(10, [3, 1, 0, 1]) == [6, 2, 0, 2]
    assert largest_remainder(1, [Fraction(1, 3), Fraction(2, 3)]) == [0, 1]


def test_a_half_is_rounded_up_and_from_the_unrounded_value() -> None:
    assert [half_up(Fraction(n, 2)) for n in (1, 3, 644)] == [1, 2, 322]
    assert half_up(Fraction(149), 100) == 100
    assert half_up(Fraction(150), 100) == 200
    assert half_up(Fraction(10**30 + 1, 2)) == 5 * 10**29 + 1


def test_a_printed_price_of_several_posts_is_rounded_once_from_the_unrounded_share() -> None:
    """Copenhagen pays 616.706,4965 of the default agreement; its posts, each rounded alone, make a krone more."""
    deling = shared(SHIPPED["egen-loesning"], RULEBOOK.kommuner)
    place = next(i for i, one in enumerate(deling.parter) if one.id == "101")
    assert deling.i_alt_trykt[place] == 61_670_600
    assert sum(post[place] for post in deling.trykte) == 61_670_700
    thirds = [post("lige", navn=str(n), procent=procent) for n, procent in enumerate((33, 67))]
    halves = shared(made(*thirds, total="2", enhed="timer"), KOMMUNER)
    assert halves.i_alt_trykt == (1, 1, 1, 1)  # 0,165 + 0,335 of an hour
    assert halves.trykte == ((0, 0, 0, 0), (0, 0, 0, 0))


def test_a_class_of_a_post_in_per_cent_is_printed_from_the_unrounded_amount() -> None:
    """Half of five hours is 2,5, which prints 3, though one of the posts has two whole hours."""
    halves = [post("stoerrelse", navn=n, procent=50, klasser=(Klasse(navn="Alle"),)) for n in "ab"]
    deling = shared(made(*halves, total="5", enhed="timer"), KOMMUNER)
    assert deling.beloeb == (3, 2)
    assert [[one.klassens for one in prices] for prices in class_prices(deling).values()] == [[3], [3]]


def test_a_class_shares_by_its_inhabitants_and_all_in_it_pay_alike() -> None:
    priser = paid(made(post("stoerrelse", klasser=CLASSES), total="1.300,00"))
    assert priser == {"101": 50001, "147": 32500, "615": 32500, "741": 14999}


def test_a_class_may_have_a_weight_of_its_own() -> None:
    classes = tuple(replace(one, andel=andel) for one, andel in zip(CLASSES, (2, 2, 1), strict=True))
    assert paid(made(post("stoerrelse", klasser=classes))) == {"101": 40000, "147": 20000, "615": 20000, "741": 20000}


@pytest.mark.parametrize(("size", "klasse"), [(14999, "Små"), (15000, "Mellem"), (50000, "Mellem"), (50001, "Store")])
def test_both_bounds_of_a_class_are_in_it(size: int, klasse: str) -> None:
    assert [one.navn for one in CLASSES if one.holds(size)] == [klasse]


def test_use_is_given_or_measured_and_an_unused_party_pays_nothing() -> None:
    use = tuple(Forbrug(part=kode, antal=antal) for kode, antal in (("101", 3), ("147", 1), ("615", 0), ("741", 0)))
    wanted = {"101": 75000, "147": 25000, "615": 0, "741": 0}
    assert paid(made(post("forbrug", forbrug=use))) == wanted
    measured = made(post("forbrug", maal="raekker"))
    assert paid(measured, {("Post", "101"): 3, ("Post", "147"): 1}) == wanted
    with pytest.raises(Stop, match="posten Post deles efter afregnede rækker, og der er ikke målt nogen"):
        paid(measured, {("En anden", "101"): 3})


def test_a_fixed_share_is_whole_before_its_group_shares_it() -> None:
    parter = (Part(navn="Regionen"), Part(region="Vest", gruppe="k"), Part(region="Øst", gruppe="k"))
    andele = (Andel(part="Regionen", andel=1), Andel(gruppe="k", andel=1, noegle="lige"))
    priser = paid(made(post("faste_andele", andele=andele), total="0,05", parter=parter))
    assert priser == {"Regionen": 3, "615": 1, "741": 1, "101": 0, "147": 0}


def test_an_agreement_may_name_the_inhabitants_of_another_year_and_keeps_them_with_other_parties() -> None:
    aftale = made(post(), parter=(Part(kommunekode="741", indbyggertal=45000), Part(kommunekode="615")))
    assert paid(aftale) == {"741": 75000, "615": 25000}
    assert paid(with_others(aftale, ["741", "147", "615"], KOMMUNER)) == {"741": 40909, "615": 13636, "147": 45455}


def test_a_post_of_a_group_is_paid_by_the_group_alone() -> None:
    parter = (Part(region="Øst", gruppe="øst"), Part(region="Vest", gruppe="vest"))
    posts = (post("lige", navn="Alle", beloeb="100,00"), post("lige", navn="Vest", gruppe="vest", beloeb="10,00"))
    assert paid(made(*posts, total="110,00", parter=parter)) == {"101": 2500, "147": 2500, "615": 3000, "741": 3000}


def test_posts_in_per_cent_are_cut_from_the_total_with_nothing_lost() -> None:
    thirds = [post("lige", navn=str(n), procent=procent) for n, procent in enumerate((33, 33, 34))]
    assert shared(made(*thirds, total="0,10"), KOMMUNER).beloeb == (3, 3, 4)


@pytest.mark.parametrize(
    ("text", "enhed", "wanted"),
    [
        ("5191500", "kroner", 519150000),
        ("5.191.500", "kroner", 519150000),
        ("5.191.500,05", "kroner", 519150005),
        ("-1", "kroner", -100),
        ("7.150", "timer", 7150),
        ("7.150,00", "timer", None),
        ("7,5", "kroner", None),
        ("7.5", "kroner", None),
        ("51.91.500", "kroner", None),
        ("", "kroner", None),
        ("1 mio.", "kroner", None),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, enhed: Any, wanted: int | None) -> None:
    assert units(text, enhed) == wanted


def test_parties_known_only_together_are_as_many_and_have_the_inhabitants() -> None:
    aftale = made(post("lige"), parter=(Part(navn="Store", antal=3, indbyggertal=10),))
    assert [(one.id, one.indbyggertal) for one in participants(aftale, KOMMUNER)] == [
        ("Store 1", 4),
        ("Store 2", 3),
        ("Store 3", 3),
    ]


OTHER = Part(navn="Uden tal")
WRONG: dict[str, tuple[Aftale, str]] = {
    "negative total": (made(post(), total="-5,00"), "total = '-5,00': er under nul"),
    "no total": (made(post(), total="0"), "total er nul"),
    "unreadable total": (made(post(), total="1,5"), "total = '1,5': er ikke et beløb"),
    "too large": (made(post(), total="99999999999"), "er ikke et beløb"),
    "hours with decimals": (made(post(), total="7,50", enhed="timer"), "skriv hele timer"),
    "no post": (made(), "poster er tom"),
    "no party": (made(post(), parter=()), "parter er tom"),
    "an empty party": (made(post(), parter=(Part(),)), "parter, nr. 1: skriv præcis een af"),
    "two ways": (made(post(), parter=(Part(alle=True, navn="x"),)), "ikke alle og navn"),
    "unknown municipality": (made(post(), parter=(Part(kommunekode="999"),)), "'999': findes ikke i kommuner.csv"),
    "unknown region": (made(post(), parter=(Part(region="Nord"),)), "de kendte er Vest, Øst"),
    "twice by region": (made(post(), parter=(*ALLE, Part(kommunekode="741"))), "741 Lilleø er med to gange"),
    "twice by name": (made(post("lige"), parter=(Part(navn="A"), Part(navn="a"))), "a er med to gange"),
    "a code for a name": (made(post("lige"), parter=(Part(navn="101"),)), "ligner en kommunes kode"),
    "a municipality as another": (made(post("lige"), parter=(Part(navn="lilleø"),)), "skriv kommunekode = '741'"),
    "inhabitants of a region": (made(post(), parter=(Part(region="Øst", indbyggertal=5),)), "antal hører til navn"),
    "a number of a code": (made(post(), parter=(Part(kommunekode="741", antal=2),)), "antal hører til navn"),
    "a code without people": (made(post(), parter=(Part(kommunekode="741", indbyggertal=0),)), "skriv mindst 1"),
    "no inhabitants": (made(post(), parter=(*ALLE, OTHER)), "Uden tal har intet indbyggertal"),
    "none of them": (made(post(), parter=(Part(navn="A", antal=0, indbyggertal=5),)), "antal = 0"),
    "fewer than parties": (made(post(), parter=(Part(navn="A", antal=6, indbyggertal=5),)), "mindst een indbygger"),
    "zero inhabitants": (made(post(), parter=(Part(navn="A", indbyggertal=0),)), "mindst een indbygger"),
    "posts too small": (made(post(beloeb="900"), total="1.000"), "10.000 øre mindre end total"),
    "posts too large": (made(post(beloeb="1.000,01")), "1 øre mere end total"),
    "lines too small": (made(post(linjer=(Linje(navn="a", beloeb="1"),))), "99.900 øre mindre end total"),
    "a line below zero": (
        made(post(linjer=(Linje(navn="a", beloeb="1.001"), Linje(navn="b", beloeb="-1")))),
        "linjen b = '-1': er under nul",
    ),
    "amount and lines": (made(post(beloeb="1", linjer=(Linje(navn="a", beloeb="1"),))), "kun een af beloeb"),
    "mixed ways": (made(post(beloeb="500"), post(navn="B", procent=50)), "nogle har procent og andre beløb"),
    "a post without size": (made(post(beloeb="500"), post(navn="B")), "posten B: mangler beløb"),
    "per cent of 99": (made(post(procent=50), post(navn="B", procent=49)), "procenter er 99 i alt"),
    "per cent below zero": (made(post(procent=101), post(navn="B", procent=-1)), "procent = 101"),
    "posts of one name": (made(post(procent=50), post(navn="post", procent=50)), "to har samme navn"),
    "no classes": (made(post("stoerrelse")), "klasser mangler"),
    "classes overlap": (
        made(post("stoerrelse", klasser=(Klasse(navn="A", til=15000), Klasse(navn="B", fra=15000)))),
        "A og B overlapper",
    ),
    "two open classes": (
        made(post("stoerrelse", klasser=(Klasse(navn="A"), Klasse(navn="B", fra=15000)))),
        "A og B overlapper",
    ),
    "a gap": (made(post("stoerrelse", klasser=(CLASSES[0], Klasse(navn="B", til=49999)))), "Store er der et hul"),
    "a party below all": (
        made(post("stoerrelse", klasser=CLASSES[:2])),
        "741 Lilleø med 14.999 indbyggere er i ingen",
    ),
    "bounds turned": (made(post("stoerrelse", klasser=(Klasse(navn="A", fra=9, til=8),))), "til = 8 er under fra"),
    "an empty class with a share": (
        made(
            post("stoerrelse", klasser=tuple(replace(one, andel=1) for one in CLASSES)), parter=(Part(region="Vest"),)
        ),
        "klassen Store er tom og har andel = 1",
    ),
    "some weights": (made(post("stoerrelse", klasser=(replace(CLASSES[0], andel=1), *CLASSES[1:]))), "andre ikke"),
    "zero weights": (made(post("stoerrelse", klasser=tuple(replace(c, andel=0) for c in CLASSES))), "andel er nul"),
    "use without numbers": (made(post("forbrug")), "enten maal"),
    "use twice": (made(post("forbrug", maal="opslag", forbrug=(Forbrug(part="101", antal=1),))), "enten maal"),
    "use of a stranger": (made(post("forbrug", forbrug=(Forbrug(part="999", antal=1),))), "'999' er ikke med"),
    "use missing": (made(post("forbrug", forbrug=(Forbrug(part="101", antal=1),))), "mangler for 147 Mellemby"),
    "no use": (
        made(post("forbrug", forbrug=(Forbrug(part="101", antal=0),)), parter=(Part(kommunekode="101"),)),
        "alle tal er nul",
    ),
    "use below zero": (
        made(
            post("forbrug", forbrug=(Forbrug(part="101", antal=2), Forbrug(part="147", antal=-1))),
            parter=(Part(region="Øst"),),
        ),
        "'147' har antal = -1",
    ),
    "nobody to measure": (made(post("forbrug", maal="opslag"), parter=(Part(navn="A"),)), "intet kan måles"),
    "measured backwards": (
        made(post("forbrug", maal="opslag", fra=date(2026, 2, 1), til=date(2026, 1, 1))),
        "ligger før fra",
    ),
    "a key of another way": (made(post("lige", klasser=CLASSES)), "klasser hører til noegle = 'stoerrelse'"),
    "a share of nobody": (made(post("faste_andele", andele=(Andel(andel=1),))), "enten part eller gruppe"),
    "a share of a stranger": (made(post("faste_andele", andele=(Andel(gruppe="x", andel=1),))), "gruppen 'x' er ikke"),
    "a party without a share": (
        made(post("faste_andele", andele=(Andel(part="101", andel=1),)), parter=(Part(region="Øst"),)),
        "147 Mellemby er i ingen",
    ),
    "a party with two shares": (
        made(
            post("faste_andele", andele=(Andel(part="101", andel=1), Andel(gruppe="ø", andel=1))),
            parter=(Part(region="Øst", gruppe="ø"),),
        ),
        "101 Storby er i to",
    ),
    "shares of zero": (
        made(post("faste_andele", andele=(Andel(part="101", andel=0),)), parter=(Part(kommunekode="101"),)),
        "alle tal er nul",
    ),
    "a group of nobody": (made(post(gruppe="x")), "gruppe = 'x': ingen part er i den"),
}


@pytest.mark.parametrize(("aftale", "said"), WRONG.values(), ids=WRONG)
def test_an_impossible_agreement_is_refused_with_file_entry_and_remedy(aftale: Aftale, said: str) -> None:
    found = faults(aftale)
    assert any(said in one for one in found), found
    assert all(one.startswith("deling.toml, proeve: ") for one in found)


def test_two_agreements_of_one_id_and_an_id_that_is_no_file_name_are_refused() -> None:
    one = made(post())
    assert list(agreement_faults([one, one], KOMMUNER)) == [
        "deling.toml, proeve: står to gange; giv den ene aftale et andet id"
    ]
    assert "skriv små bogstaver" in next(agreement_faults([replace(one, id="../x")], KOMMUNER))


def test_fewer_parties_pay_more_and_the_difference_is_what_the_others_paid() -> None:
    before = made(post("lige"))
    after = with_others(before, ["101", "147"], KOMMUNER)
    changes = compared(shared(before, KOMMUNER), shared(after, KOMMUNER))
    assert [(one.part.id, one.foer, one.efter, one.forskel) for one in changes] == [
        ("101", 25000, 50000, 25000),
        ("147", 25000, 50000, 25000),
        ("615", 25000, None, -25000),
        ("741", 25000, None, -25000),
    ]


def test_a_new_municipality_is_on_the_side_of_the_others_and_those_with_a_name_stay() -> None:
    parter = (Part(navn="Regionen"), Part(region="Vest", gruppe="k"))
    andele = (Andel(part="Regionen", andel=1), Andel(gruppe="k", andel=1))
    after = with_others(made(post("faste_andele", andele=andele), parter=parter), ["615", "101"], KOMMUNER)
    assert paid(after) == {"615": 11538, "101": 38462, "Regionen": 50000}


SIDES = (Part(region="Øst", gruppe="a"), Part(kommunekode="615", gruppe="b"))
GIVEN = post("forbrug", forbrug=(Forbrug(part="101", antal=1),))


@pytest.mark.parametrize(
    ("aftale", "koder", "said"),
    [
        (made(post()), ["999"], "'999': findes ikke"),
        (made(post(), parter=SIDES), ["741"], "grupperne 'a' og 'b'"),
        (made(GIVEN, parter=(Part(kommunekode="101"),)), ["101", "147"], "forbrug mangler for 147"),
    ],
)
def test_parties_that_the_agreement_says_nothing_of_are_refused(aftale: Aftale, koder: list[str], said: str) -> None:
    with pytest.raises(Stop, match=said):
        with_others(aftale, koder, KOMMUNER)


@st.composite
def agreements_of_anything(draw: st.DrawFn) -> tuple[Aftale, dict[tuple[str, str], int]]:
    """An agreement that can stand, with any keys, amounts, groups and use."""
    counts = draw(st.lists(st.integers(1, 700_000), min_size=1, max_size=12))
    parter = [
        Part(navn=f"P{n}", indbyggertal=size, gruppe=draw(st.sampled_from("ab"))) for n, size in enumerate(counts)
    ]
    koder = draw(st.lists(st.sampled_from([k.kommunekode for k in KOMMUNER]), unique=True, min_size=1))
    parter += [Part(kommunekode=kode, gruppe="a") for kode in koder]
    names = [part.navn or part.kommunekode for part in parter]
    weights = st.lists(st.integers(0, 10**9), min_size=len(names), max_size=len(names)).filter(any)
    groups = sorted({part.gruppe for part in parter})
    bounds = sorted(draw(st.sets(st.integers(2, 600_000), max_size=4)))
    edges = zip([None, *bounds], [*(bound - 1 for bound in bounds), None], strict=True)
    uneven = st.lists(st.integers(0, 99), min_size=len(groups), max_size=len(groups)).filter(any)
    kinds = {
        "indbyggere": {},
        "lige": {},
        "stoerrelse": {"klasser": tuple(Klasse(navn=f"K{n}", fra=a, til=b) for n, (a, b) in enumerate(edges))},
        "forbrug": {"forbrug": tuple(map(lambda p, a: Forbrug(part=p, antal=a), names, draw(weights)))},
        "faste_andele": {"andele": tuple(map(lambda g, a: Andel(gruppe=g, andel=a), groups, draw(uneven)))},
    }
    noegler = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))
    oere = [draw(st.integers(0, 10**9)) for _ in noegler]
    oere[0] += 1
    poster = [
        Post(navn=f"D{n}", noegle=noegle, beloeb=kroner(amount), **kinds[noegle])
        for n, (noegle, amount) in enumerate(zip(noegler, oere, strict=True))
    ]
    poster.append(Post(navn="M", noegle="forbrug", maal="opslag", beloeb="0,07"))
    total = sum(oere) + 7
    aftale = made(*poster, total=kroner(total), parter=parter)
    return aftale, {("M", koder[0]): draw(st.integers(1, 9))}


@given(agreements_of_anything())
def test_the_bills_sum_to_the_total_and_to_each_post_whatever_is_put_in(
    said: tuple[Aftale, dict[tuple[str, str], int]],
) -> None:
    aftale, used = said
    assert faults(aftale) == []
    deling: Deling = shared(aftale, KOMMUNER, used)
    assert sum(deling.priser.values()) == units(aftale.total, "kroner") == deling.total
    assert [sum(parts) for parts in deling.andele] == list(deling.beloeb)
    assert min(map(min, deling.andele)) >= 0
    again = replace(aftale, poster=tuple(replace(one, navn=f"{one.navn} igen") for one in aftale.poster))
    twice = replace(aftale, total=kroner(2 * deling.total), poster=(*aftale.poster, *again.poster))
    measured = used | {(f"{name} igen", kode): antal for (name, kode), antal in used.items()}
    assert [sum(parts) for parts in shared(twice, KOMMUNER, measured).andele] == [*deling.beloeb, *deling.beloeb]
    rows = deling.rows()
    assert (rows.height, sum(rows["andel"])) == (len(deling.parter) * len(aftale.poster), deling.total)


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**7), min_size=1, max_size=99).filter(any))
def test_nobody_is_a_whole_unit_from_the_exact_share(total: int, weights: list[int]) -> None:
    parts = largest_remainder(total, weights)
    assert sum(parts) == total
    assert all(abs(part - Fraction(total * w, sum(weights))) < 1 for part, w in zip(parts, weights, strict=True))
