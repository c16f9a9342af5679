"""Understands the pages of Dagster as an operator clicks through them: launch a job, wait for a run, read a check."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

PICTURES = Path(__file__).parents[2] / "docs" / "billeder"
CHROMIUM = "/usr/bin/chromium"
# Nothing of the browser's own goes out: no first page, no updates, no accounts.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
WIDE, HIGH, COLOURS = 1280, 800, 128
# A run starts a process and imports Dagster; a backfill waits for a daemon that looks every thirty seconds.
RUN_SECONDS, LOOKS, SECONDS_BETWEEN_LOOKS, CLICK_SECONDS = 240, 80, 3, 60

# A run shows its status at the top; a backfill beside the word, as it also heads two columns by these names.
STATUS = r"""() => {
    const shown = document.body.innerText
    const found = shown.match(/^(Success|Failure|Canceled)$/m) || shown.match(/^Status\s+(Succeeded|Failed|Canceled)$/m)
    return found && found[1]
}"""


@dataclass(frozen=True)
class Operator:
    """Somebody who has the user interface at an address open in a browser."""

    page: Page
    address: str

    def open(self, *names: str) -> None:
        """Go from the start page by the menu, then by links; the page of the last one is open."""
        self.page.goto(self.address)
        self._click(names)

    def table(self, table: str, *names: str) -> None:
        """Go to the page of a table, as a saved link does, and on by links: the list of all does not fit the window."""
        self.page.goto(f"{self.address.rstrip('/')}/assets/{table.replace('.', '/')}")
        self._click(names)

    def _click(self, names: Sequence[str]) -> None:
        for name in names:
            self.page.locator("a").filter(has_text=re.compile(f"{re.escape(name)}$")).first.click()

    def launch(self, job: str, *choices: Sequence[str]) -> str:
        """Launch a job on chosen cells, one choice of keys for each dimension; the id of its run or backfill.

        A choice that begins with `alle` takes every key but those that follow.
        """
        self.open("Jobs", job)
        self.page.get_by_role("button", name=re.compile("Materialize")).first.click()
        dialog = self.page.get_by_role("dialog")
        # The last dimension first: a list with a choice no longer shows the text that it is found by.
        for number, keys in reversed(list(enumerate(choices))):
            field = dialog.get_by_text("Select a partition or create one").nth(number)
            field.wait_for()
            if keys[0] == "alle":
                dialog.get_by_role("button", name="All", exact=True).nth(number).click()
                field = dialog.get_by_text(re.compile("partitions selected$")).first
            self._mark(field, [key for key in keys if key != "alle"])
        dialog.get_by_role("button", name=re.compile("^Launch (1 run|backfill)$")).click()
        return str(self.page.get_by_text(re.compile("^(Launched run|Created backfill) ")).inner_text()).split()[2]

    def _mark(self, field: Locator, keys: Sequence[str]) -> None:
        """Open a list of cells, and mark or unmark some."""
        if not keys:
            return
        field.click()
        for key in keys:
            self.page.get_by_placeholder("Filter partitions").fill(key)
            self.page.get_by_role("menuitem").filter(has_text=key).last.click()
        self.page.keyboard.press("Escape")
        # The list fades out; the next one would be found beside it.
        self.page.get_by_placeholder("Filter partitions").first.wait_for(state="hidden")

    def start(self, job: str) -> str:
        """Launch a job without cells by its launchpad; the id of its run."""
        self.open("Jobs", job, "Launchpad")
        self.page.get_by_role("button", name="Launch Run").click()
        self.page.wait_for_url(re.compile("/runs/[0-9a-f]{8}-"))
        return self.page.url.rpartition("/")[2][:8]

    def ended(self, run: str) -> str:
        """The status of a run or a backfill once it has ended, read on its page."""
        self.open("Runs", run)
        said = self.page.wait_for_function(STATUS, timeout=RUN_SECONDS * 1000)
        return str(said.json_value())

    def followed(self, run: str, sensor: str) -> str:
        """The id of the newest run, once it is one that a sensor has started after a given run."""
        for _ in range(LOOKS):
            self.open("Runs")
            row = self.page.locator("[class*=RunsFeedRow_rowGrid]").filter(has=self.page.locator("a[href*='/runs/']"))
            row.filter(has_text=run).wait_for()
            if sensor in row.first.inner_text():
                return str(row.first.locator("a[href*='/runs/']").first.inner_text())
            self.page.wait_for_timeout(SECONDS_BETWEEN_LOOKS * 1000)
        raise AssertionError(f"{sensor} never started a run after {run}")

    def check(self, table: str, name: str) -> None:
        """Open a check on the page of its table."""
        self.table(table, "Checks")
        self.page.get_by_text(name, exact=True).locator("visible=true").first.click()

    def sees(self, text: str) -> bool:
        """True once the page shows a text; it is not shown when it is missing, as it may be about a person."""
        shown = self.page.get_by_text(text).locator("visible=true").first
        shown.wait_for()
        shown.scroll_into_view_if_needed()
        return True

    def switch(self, sensor: str, *, on: bool) -> None:
        """Turn a sensor on or off on its page, and wait until the page says so."""
        self.open("Automation", sensor)
        knob = self.page.locator("label:has(input[type=checkbox]:enabled)").first
        knob.wait_for()
        assert knob.locator("input").is_checked() is not on
        knob.click()
        turned = "input[type=checkbox]:checked" if on else "input[type=checkbox]:not(:checked)"
        self.page.locator(turned).first.wait_for(state="attached")

    def picture(self, name: str) -> None:
        """A picture of the page in the documentation, if the environment asks for pictures."""
        if os.environ.get("REFUSION_BILLEDER"):
            PICTURES.mkdir(exist_ok=True)
            self.page.wait_for_timeout(SECONDS_BETWEEN_LOOKS * 1000)  # a page moves a little after it has its text
            shown = Image.open(BytesIO(self.page.screenshot()))
            shown.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE).save(
                PICTURES / f"{name}.png", optimize=True
            )


def log_in(page: Page, address: str, navn: str, kode: str) -> None:
    """Type a name and a password on the page that a visitor is led to."""
    page.goto(address)
    page.get_by_label("Brugernavn").fill(navn)
    page.get_by_label("Adgangskode").fill(kode)
    page.get_by_role("button", name="Log ind").click()


def logged_in(browser: Browser, address: str, navn: str, kode: str) -> Operator:
    """A user who has logged in, with cookies of its own."""
    context = browser.new_context(
        viewport={"width": WIDE, "height": HIGH}, locale="da-DK", timezone_id="Europe/Copenhagen"
    )
    page = context.new_page()
    page.set_default_timeout(CLICK_SECONDS * 1000)
    log_in(page, address, navn, kode)
    page.get_by_label("Adgangskode").wait_for(state="detached")
    return Operator(page, address)


@contextmanager
def operator(address: str, navn: str, kode: str, *flags: str) -> Iterator[Operator]:
    """A user with a new browser who has logged in; it is closed at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=[*FLAGS, *flags])
        try:
            yield logged_in(browser, address, navn, kode)
        finally:
            browser.close()
