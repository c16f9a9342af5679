"""Understands the law pages together: one for each file of the rules, and the front page that leads to them."""

from pathlib import Path

from refusion_assets.context import REPOSITORY
from refusion_assets.domain.stop import Stop
from refusion_assets.regelsider.emner import PAGES, Emner, read_emner
from refusion_assets.regelsider.side import MARK, SURE, page, topics_of
from refusion_assets.regelsider.tabel import Record, table
from refusion_assets.rulebook import TOPICS, load

GUIDES = REPOSITORY / "docs" / "vejledning"


def _all_records(folder: Path, fil: str) -> list[Record]:
    """The entries of a file, whatever their topic."""
    return [record for records in topics_of(folder, fil).values() for record in records]


def front(emner: Emner, folder: Path) -> str:
    """The front page: from question to page to guide, and every page with its entries and doubts."""
    ways = []
    for vej in emner.veje:
        if vej.vejledning and not (GUIDES / vej.vejledning).exists():
            raise Stop(f"docs/regler/emner.toml: vejledningen {vej.vejledning} findes ikke i docs/vejledning")
        guide = f"[vejledning](../vejledning/{vej.vejledning})"
        emne = next((emne for emne in emner.sider if emne.side == vej.side), None)
        if emne is None:
            raise Stop(f"docs/regler/emner.toml, vej: siden {vej.side} findes ikke")
        ways.append([vej.spoergsmaal, f"[{emne.titel}]({emne.side}.md)", f"`rules/{emne.fil}`", guide])
    pages = []
    for emne in emner.sider:
        records = _all_records(folder, emne.fil)
        said = [record["sikkerhed"] for record in records if "sikkerhed" in record]
        unsure = str(sum(text != SURE for text in said)) if said or not records else "ikke angivet"
        link = f"[{emne.titel}]({emne.side}.md)"
        pages.append([link, "; ".join(emne.paragraffer) or "teknisk", str(len(records)), unsure])
    return (
        "\n\n".join(
            [
                MARK,
                emner.forside.format(
                    veje=table(["Jeg vil", "Læs siden", "Ret filen", "Følg"], ways),
                    sider=table(["Side", "Paragraffer", "Poster", "Heraf ikke set i lovteksten"], pages),
                ),
            ]
        )
        + "\n"
    )


def pages(folder: Path) -> dict[str, str]:
    """Every law page by file name, from the rules of `folder`; the same bytes for the same rules, code and tests.

    Stop where a file of the rules has no page, or a page names what is gone. Hjemmel: none, technical.
    """
    load(folder)
    emner = read_emner()
    for fil in dict.fromkeys(file for file, _ in TOPICS.values()):
        emner.of_file(fil)
    made = {f"{emne.side}.md": page(emne, emner, folder) for emne in emner.sider}
    return {"README.md": front(emner, folder)} | made


def write(folder: Path, target: Path = PAGES) -> list[str]:
    """The law pages of the rules of `folder` written to `target`; the names of the files, those gone taken away."""
    made = pages(folder)
    target.mkdir(parents=True, exist_ok=True)
    for stale in sorted(path for path in target.glob("*.md") if path.name not in made):
        stale.unlink()
    for name, text in made.items():
        (target / name).write_text(text, encoding="utf-8")
    return sorted(made)
