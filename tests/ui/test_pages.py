"""The page of a municipality in a browser, as wide as a phone and as a desk: nothing cut, nothing faint, no error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from refusion_assets.report.write import write
from refusion_assets.rulebook.load import load
from tests.kit.data_root import RULES
from tests.kit.opfoelgning import MONTH, statement_of, views_of
from tests.ui.browser import CHROMIUM, FLAGS

PHONE, DESK, HIGH = 360, 1280, 800
KODER = ["101", "630"]
NAMES = ["630", "000", "751"]  # its own, the country, and one without any rows

# Texts that stick out of their place, or out of the window; a table may be wider within the box that scrolls it.
CUT = r"""() => {
    const found = []
    const wide = document.documentElement.clientWidth
    for (const one of document.querySelectorAll('body *')) {
        const box = one.closest('.box'), at = one.getBoundingClientRect(), style = getComputedStyle(one)
        if (!at.width || one.closest('.hide, .skip')) continue
        const within = box && one !== box
        if (!within && (at.right > wide + 0.5 || at.left < -0.5)) found.push(`outside: ${one.tagName} ${one.className}`)
        const clips = style.overflowX !== 'visible' && style.overflowX !== 'auto'
        const text = one.textContent.slice(0, 40)
        if (clips && one.scrollWidth > one.clientWidth + 1) found.push(`cut: ${one.tagName} ${text}`)
        if (one.tagName !== 'text') continue
        const room = one.closest('svg').getBoundingClientRect()
        const inside = at.left > room.left - 1 && at.right < room.right + 1 && at.top > room.top - 1
        if (!inside || at.bottom > room.bottom + 1) found.push(`cut: ${text}`)
    }
    return found
}"""
# Texts with less contrast to what is behind them than WCAG 2 AA asks of small ones.
FAINT = r"""() => {
    const light = colour => {
        const parts = colour.match(/[\d.]+/g).slice(0, 3).map(n => n / 255)
            .map(n => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4)
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    }
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor
            if (!/, 0\)$/.test(colour) && colour !== 'transparent') return colour
        }
        return 'rgb(255, 255, 255)'
    }
    const found = []
    for (const one of document.querySelectorAll('body *')) {
        const own = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
        if (!own || one.closest('svg title, svg desc')) continue
        const style = getComputedStyle(one), colour = one.tagName === 'text' ? style.fill : style.color
        const [a, b] = [light(colour), light(behind(one))].sort((x, y) => y - x)
        if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${one.tagName} ${one.className} ${colour} on ${behind(one)}`)
    }
    return found
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a run of made-up municipalities."""
    rules = load(RULES)
    made = tmp_path_factory.mktemp("opfoelgning") / "2026-10"
    views = views_of(KODER, rules)
    write(made, MONTH, rules, views, poster=statement_of(KODER), koder=[*KODER, "751"])
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield made
        made.close()


def opened(browser: Browser, folder: Path, kode: str, wide: int) -> tuple[Page, list[Any]]:
    """A page of the report in a window of a width, and all that it complains of or asks for outside itself."""
    page = browser.new_page(viewport={"width": wide, "height": HIGH})
    said: list[Any] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("file:") else None)
    (path,) = folder.glob(f"*-{kode}-*.html")
    page.goto(path.as_uri())
    page.screenshot(path=folder.parent / f"{kode}-{wide}.png", full_page=True)
    return page, said


@pytest.mark.parametrize("wide", [PHONE, DESK])
@pytest.mark.parametrize("kode", NAMES)
def test_a_page_is_whole_on_a_phone_and_on_a_desk(browser: Browser, folder: Path, kode: str, wide: int) -> None:
    page, said = opened(browser, folder, kode, wide)
    assert said == []
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= wide
    assert page.evaluate(FAINT) == []
    page.close()


def test_the_first_screen_of_a_desk_answers_the_four_questions(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder, "630", DESK)
    heads = page.locator("#overblik h3")
    for text in ("Egen andel", "Hvorfor flyttede", "Hvem når et nyt trin", "Rettelser til", "Hvad hænger"):
        box = heads.filter(has_text=text).first.bounding_box()
        assert box, text
        assert box["y"] + box["height"] < HIGH, text
    page.close()


def test_a_table_can_be_scrolled_with_the_keyboard_on_a_phone(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder, "630", PHONE)
    box = page.locator(".box").first
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.box').scrollLeft > 0")
    page.close()


def test_the_first_stop_of_the_keyboard_leads_past_the_top(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder, "630", PHONE)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#overblik"
    page.close()


def test_a_page_prints_on_sheets_of_paper(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder, "630", DESK)
    assert page.pdf(format="A4", prefer_css_page_size=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator("nav.toc").is_visible()
    page.close()
