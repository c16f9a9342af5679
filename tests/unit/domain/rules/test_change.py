"""What a change of the rules touches: month by month, worked out by hand from the calendar."""

import ast
import copy
from datetime import date
from typing import Any

import pytest

from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.rules.change import (
    JUDGED,
    as_ranges,
    changes,
    data_versions,
    judgement_version,
    months_touched,
    topics_of_results,
    undeclared,
)
from refusion_assets.rulebook.load import read_topics
from tests.kit.data_root import REPO, RULES

NOW = read_topics(RULES)
MONTHS = month_range(date(2014, 7, 1), date(2026, 10, 1))
Topics = dict[str, list[dict[str, Any]]]


def changed(topic: str, *added: dict[str, Any], first: dict[str, Any] | None = None, **values: Any) -> Topics:
    """The rules with values put into the first entry of a topic that has those of `first`, and with entries added."""
    topics: Topics = copy.deepcopy(NOW)
    if values:
        wanted = next(e for e in topics.get(topic, []) if all(e.get(k) == v for k, v in (first or {}).items()))
        wanted.update(values)
    topics[topic] = [*topics.get(topic, []), *added]
    return topics


def touched(after: Topics, before: Topics = NOW) -> str:
    """The months from 2014-07 to 2026-10 that a change touches."""
    return as_ranges(months_touched(changes(before, after), MONTHS))


def staircase(gaelder_fra: date, name: str = "refusion") -> dict[str, Any]:
    """A staircase of one step of 50 per cent from a date."""
    return {"id": name, "gaelder_fra": gaelder_fra, "trin": [{"fra_uge": 1, "procent": 50, "hjemmel": "x"}]}


KTH = {"ydelse_id": "KTH"}
REFUSION = {"id": "refusion"}


@pytest.mark.parametrize(
    ("gaelder_fra", "months"),
    [
        (date(2026, 6, 29), "2026-06..2026-10"),  # a Monday: the week's last two days of June too
        (date(2026, 6, 30), "2026-07..2026-10"),  # a Tuesday: first the week of 6 July
        (date(2026, 7, 1), "2026-07..2026-10"),
        (date(2026, 7, 31), "2026-08..2026-10"),  # a Friday: first the week of 3 August
    ],
)
def test_a_staircase_from_a_date_touches_the_months_of_its_first_monday_and_later(
    gaelder_fra: date, months: str
) -> None:
    assert touched(changed("trappe", staircase(gaelder_fra))) == months


def test_a_staircase_that_is_replaced_touches_only_the_months_it_was_in_force() -> None:
    before = changed("trappe", staircase(date(2026, 3, 2)), staircase(date(2026, 6, 1)) | {"note": "x"})
    after = copy.deepcopy(before)
    after["trappe"][-2]["trin"] = [{"fra_uge": 1, "procent": 60, "hjemmel": "x"}]
    assert touched(after, before) == "2026-03..2026-05"


def test_a_category_from_a_date_touches_every_month_after_it_as_the_count_runs_on() -> None:
    kth = next(entry for entry in NOW["ydelser"] if entry["ydelse_id"] == "KTH")
    b = kth | {"gaelder_fra": "2020-03-02", "kategori": "B", "side": "ingen", "sats": "", "finansieres_fra": ""}
    back = kth | {"gaelder_fra": "2020-06-01"}
    assert touched(changed("ydelser", b, back)) == "2020-03..2026-10"
    fixed = kth | {"gaelder_fra": "2020-03-02", "sats": "fast 50"}
    assert touched(changed("ydelser", fixed, back)) == "2020-03..2020-05"


@pytest.mark.parametrize(
    "after",
    [
        changed("laesning", first={"navn": "uge_beroert"}, vaerdi="hele_ugen"),
        changed("optaelling", gaelder_fra=date(2014, 7, 7)),
        changed("overgang", gaelder_fra=date(2016, 1, 11)),
        changed("genoptjening", uger=51),
        changed("graense", first={"id": "periode_dage"}, vaerdi=365),
        changed("ydelser", first=KTH, kategori="B"),
        changed("kommuner", {"kommunekode": "999"}),
        changed("ukendt", {"id": "x", "vaerdi": 1}),
    ],
)
def test_what_holds_for_all_time_touches_every_month(after: Topics) -> None:
    assert touched(after) == "2014-07..2026-10"


def test_a_staircase_in_force_at_the_overgang_touches_every_month_that_has_money() -> None:
    # Hjemmel: § 29, stk. 3. The first money is sygedagpenge from Monday 28 December 2015.
    steps = [{"fra_uge": 1, "procent": 81, "hjemmel": "x"}]
    assert touched(changed("trappe", first=REFUSION, trin=steps)) == "2015-12..2026-10"


@pytest.mark.parametrize(
    "after",
    [
        changed("trappe", first=REFUSION, kontrolleret=date(2027, 1, 1), hjemmel="x", kilde="x", sikkerhed="x"),
        changed("laesning", note="x"),
        changed("ydelser", first=KTH, navn="Hjælp", kontering="5.57.99", kilde="x"),
        changed("konti", gyldig_fra="2014-08-01", indkomsttype="99"),
        changed("kommuner", navn="x", indbyggertal="1"),
        changed("kontrol", tekst="x", alvor="INFO"),
        changed("graense", first={"id": "stikproeve_borgere"}, vaerdi=1),
        changed("graense", {"id": "ny", "vaerdi": 1}),
        changed("kontering", gruppering="999"),
        changed("koersel", koerselsdag=4),
        changed("ikke_modelleret", hvad="x"),
        changed("tilbagevirkning", {"emne": "trappe", "fra": date(2016, 1, 1), "begrundelse": "x"}),
    ],
)
def test_texts_notes_dates_of_checking_and_what_only_files_read_touch_no_month(after: Topics) -> None:
    assert touched(after) == ""
    assert versions(after) == versions(NOW)


def test_a_new_benefit_touches_the_months_of_its_account_and_a_new_staircase_those_of_who_stands_on_it() -> None:
    ny = {"ydelse_id": "NY", "gaelder_fra": "2014-07-01", "kategori": "A", "side": "refusion", "sats": "trappe ny"}
    after = changed("ydelser", ny | {"beloebsfelter": "0014", "finansieres_fra": "2026-07-01"})
    after["trappe"].append(staircase(date(2016, 1, 4), "ny"))
    assert touched(after) == ""
    konto = {"konto": "urn:ny", "ydelse_id": "NY", "kilde_id": "ky", "felt": "0115", "kontoart": "1"}
    after["konti"].append(konto | {"gyldig_fra": "2026-07-01"})
    assert touched(after) == "2026-07..2026-10"


def test_a_dated_topic_that_is_not_known_touches_the_months_from_its_date() -> None:
    after = changed("nyt_emne", {"id": "x", "gaelder_fra": date(2026, 8, 1), "vaerdi": 1})
    assert touched(after) == "2026-08..2026-10"
    july, august = data_versions(after, "nyt_emne", [date(2026, 7, 1), date(2026, 8, 1)])
    assert july != august


def versions(topics: Topics) -> dict[str, list[str]]:
    """The data versions of every topic, month by month."""
    return {name: data_versions(topics, name, MONTHS) for name in topics_of_results(topics)}


def test_a_staircase_from_july_leaves_the_data_versions_of_the_months_before_as_they_were() -> None:
    before, after = versions(NOW), versions(changed("trappe", staircase(date(2026, 7, 1))))
    differ = {
        name: as_ranges([m for m, a, b in zip(MONTHS, before[name], after[name], strict=True) if a != b])
        for name in before
    }
    assert {name: months for name, months in differ.items() if months} == {"trappe": "2026-07..2026-10"}


def test_a_reading_changes_the_data_version_of_every_month_of_its_topic() -> None:
    before, after = versions(NOW), versions(changed("laesning", first={"navn": "fordeling"}, vaerdi="hverdage"))
    assert [a == b for a, b in zip(before["laesning"], after["laesning"], strict=True)] == [False] * len(MONTHS)


@pytest.mark.parametrize(
    ("fra", "emne", "refused"),
    [
        (date(2026, 7, 1), "trappe", False),
        (date(2026, 6, 1), "trappe", False),
        (date(2026, 8, 1), "trappe", True),
        (date(2026, 7, 1), "ydelser", True),
    ],
)
def test_a_change_of_a_closed_month_is_declared_by_topic_and_from_its_first_month(
    fra: date, emne: str, *, refused: bool
) -> None:
    after = changed("trappe", staircase(date(2026, 7, 1)))
    after["tilbagevirkning"] = [{"emne": emne, "fra": fra, "begrundelse": "dom"}]
    found = changes(NOW, after)
    assert bool(undeclared(found, month_of("2026-07"), NOW, after)) == refused
    assert not undeclared(found, month_of("2026-06"), NOW, after)


def test_a_declaration_that_an_earlier_run_has_used_declares_nothing_more() -> None:
    said = {"emne": "trappe", "fra": date(2026, 1, 1), "begrundelse": "dom", "kontrolleret": date(2026, 1, 1)}
    before = changed("tilbagevirkning", said)
    after = changed("trappe", staircase(date(2026, 7, 1)))
    after["tilbagevirkning"] = [said | {"kontrolleret": date(2027, 1, 1)}]
    found = changes(before, after)
    assert [change.emne for change in undeclared(found, month_of("2026-09"), before, after)] == ["trappe"]
    after["tilbagevirkning"].append(said | {"begrundelse": "en ny dom"})
    assert not undeclared(found, month_of("2026-09"), before, after)


def test_a_paragraph_that_a_row_shows_is_touched_but_reaches_back_without_being_declared() -> None:
    steps = [dict(step) for step in NOW["trappe"][0]["trin"]]
    steps[0]["hjemmel"] = "§ 5, stk. 2, nr. 1, litra a"
    after = changed("trappe", first=REFUSION, trin=steps)
    assert touched(after) == "2015-12..2026-10"
    assert undeclared(changes(NOW, after), month_of("2026-09"), NOW, after) == []


def test_the_judgement_of_lines_is_the_same_until_something_it_reads_is_changed() -> None:
    same = [changed("trappe", staircase(date(2026, 7, 1))), changed("ydelser", first=KTH, kategori="B", navn="x")]
    assert {judgement_version(topics) for topics in same} == {judgement_version(NOW)}
    other = [
        changed("ydelser", first=KTH, beloebsfelter="0038"),
        changed("konti", gyldig_fra="2014-08-01"),
        changed("graense", first={"id": "periode_dage"}, vaerdi=365),
        changed("laesning", first={"navn": "beloebsgrundlag"}, vaerdi="felt0014_er_foer_atp"),
        changed("kommuner", {"kommunekode": "999"}),
        changed("kilde", first={"id": "ky"}, art="national"),
    ]
    assert judgement_version(NOW) not in {judgement_version(topics) for topics in other}


def test_lines_keep_the_judgement_they_had_before_units_could_have_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    now = judgement_version(NOW)
    monkeypatch.delitem(JUDGED, "pris")
    assert judgement_version(NOW) == now


def test_each_new_price_of_units_judges_the_lines_again() -> None:
    entry = {"ydelse_id": "HJMID", "gaelder_fra": date(2026, 7, 1), "pris_oere": 25_000}
    prices = [
        [entry],
        [entry | {"pris_oere": 25_001}],
        [entry, entry | {"gaelder_fra": date(2026, 8, 1)}],
    ]
    versions = [judgement_version(NOW), *(judgement_version(NOW | {"pris": found}) for found in prices)]
    assert len(set(versions)) == len(versions)
    assert versions[1] == judgement_version(NOW | {"pris": [entry | {"hjemmel": "§ 1", "note": "x"}]})


def test_the_judgement_of_lines_reads_no_other_part_of_the_rules_than_its_fingerprint_knows() -> None:
    tree = ast.parse((REPO / "refusion_assets" / "domain" / "classified.py").read_text("utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rules"
    }
    assert read == {"graense", "kilder", "koder", "konti", "laesning", "ydelse_ids", "ydelser", "enhedspriser"}
