"""Understands the rules of earlier runs: exact copies by hash, so that a run can be made again and a change be seen."""

import os
import shutil
from pathlib import Path

from refusion_assets.context import Place
from refusion_assets.domain.regeltid import Topics
from refusion_assets.domain.stop import Stop
from refusion_assets.rulebook import RuleError, load, read_topics

FORMS = ("*.toml", "*.csv")


def archive(place: Place) -> Path:
    """Where the rules of earlier calculations and runs lie: a folder for each hash."""
    return place.root / "regler"


def keep(place: Place) -> None:
    """The files of the rules in force kept as they are, under their hash; Stop if the disk holds others by now."""
    folder = archive(place) / place.rules.version
    if folder.exists():
        return
    ready = folder.with_name(f".{folder.name}")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    for path in sorted(path for form in FORMS for path in place.rules_folder.glob(form)):
        shutil.copyfile(path, ready / path.name)
    if load(ready, kept=True).version != place.rules.version:
        shutil.rmtree(ready)
        raise Stop("reglerne på disken er ændret, siden de blev læst; start kommandoen (eller kørslen) igen")
    os.rename(ready, folder)


def kept(place: Place, version: str) -> Path:
    """The folder of the rules with a hash; Stop if they were not kept, or are not what they were."""
    folder = archive(place) / version
    short = version[:12]
    if not folder.exists():
        raise Stop(f"reglerne {short} er ikke gemt; læg deres filer tilbage i {folder.parent.name}/{version}")
    try:
        found = load(folder, kept=True).version
    except RuleError as error:
        raise Stop(f"de gemte regler {short} kan ikke læses: {error}") from None
    if found != version:
        raise Stop(f"de gemte regler {short} er ændret: indholdet er nu {found[:12]}; læg de rigtige filer tilbage")
    return folder


def topics_of(place: Place, version: str) -> Topics | None:
    """The content of the rules with a hash, as it stands in their files; None if they were not kept."""
    if version == place.rules.version:
        return place.rules.emner
    folder = archive(place) / version
    return read_topics(folder) if folder.exists() else None
