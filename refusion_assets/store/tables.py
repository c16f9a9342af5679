"""The tables of the warehouse: each with the contract it keeps, and the one module or package that writes it.

All others read it, or call a function of its owner (tests/house/test_tables.py). A name is layer and grain; most
owners lie in that layer.
"""

import pandera.polars as pa

from refusion_assets.domain.classified import Aendret, Dom, Grundlag, Krav, Linje
from refusion_assets.domain.duration.count import Vindue
from refusion_assets.domain.duration.spells import Forloeb, ForloebTaeller
from refusion_assets.domain.elsewhere import Udeladt
from refusion_assets.domain.findings.outcome import Accept, Afsender, Resultat, Tal
from refusion_assets.domain.findings.words import Advis
from refusion_assets.domain.levering import Forsendelse, Kvittering
from refusion_assets.domain.operations.opbevaring import Slettet
from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.domain.opgoerelse.chain import Kaede
from refusion_assets.domain.opgoerelse.ledger import (
    FilGrundlag,
    Foraeldet,
    Koersel,
    KommuneKoersel,
    Opslagshoved,
    Postering,
    Tilbageholdt,
)
from refusion_assets.domain.raw import (
    Bemaerket,
    Bopael,
    Borger,
    Fil,
    Fleksgrundlag,
    Indberetning,
    KendtFil,
    Laest,
    Register,
    Ukendt,
)
from refusion_assets.domain.refusion.fleksbidrag import BorgerMaanedFleksbidrag
from refusion_assets.domain.refusion.maximum import OverLoft
from refusion_assets.domain.refusion.price import AendretUge, AndenBetaler, Beregnet, BorgerUgeYdelse, UdenKommune
from refusion_assets.domain.refusion.split import Placering
from refusion_assets.domain.rules.change import Regelgrundlag

OWNERS: dict[str, dict[str, type[pa.DataFrameModel]]] = {
    "assets.raw": {"raw.fil": Fil, "raw.indberetning": Indberetning},
    "assets.raw.files_read": {"raw.laest": Laest, "kontrol.bemaerket": Bemaerket},
    "assets.raw.let_pass": {"kontrol.accept": Accept},
    "assets.raw.registers": {"raw.register": Register, "raw.bopael": Bopael, "raw.fleksgrundlag": Fleksgrundlag},
    "assets.classified": {
        "identitet.borger": Borger,
        "raw.ukendt": Ukendt,
        "classified.linje": Linje,
        "classified.dom": Dom,
        "classified.udgaaet": Linje,
        "classified.grundlag": Grundlag,
        "classified.krav": Krav,
    },
    "assets.touched": {
        "classified.aendret": Aendret,
        "refusion.aendret": AendretUge,
        "refusion.beregnet": Beregnet,
    },
    "assets.stale": {"refusion.regelgrundlag": Regelgrundlag},
    "assets.refusion": {
        "regler.genoptjening": Vindue,
        "duration.forloeb": Forloeb,
        "duration.forloeb_taeller": ForloebTaeller,
        "refusion.borger_uge_ydelse": BorgerUgeYdelse,
        "refusion.over_loft": OverLoft,
        "refusion.fleksbidrag": BorgerMaanedFleksbidrag,
        "refusion.uden_kommune": UdenKommune,
        "refusion.anden_betaler": AndenBetaler,
        "refusion.placering": Placering,
    },
    "assets.opgoerelse": {
        "opgoerelse.postering": Postering,
        "opgoerelse.foraeldet": Foraeldet,
        "opgoerelse.koersel": Koersel,
        "opgoerelse.kommune": KommuneKoersel,
        "opgoerelse.tilbageholdt": Tilbageholdt,
        "opgoerelse.kendt_fil": KendtFil,
        "opgoerelse.kaede": Kaede,
        "opgoerelse.opslagshoved": Opslagshoved,
    },
    "assets.findings.advise": {"opgoerelse.advis": Advis},
    "assets.outgoing": {"opgoerelse.fil_grundlag": FilGrundlag},
    "assets.levering": {"levering.forsendelse": Forsendelse, "levering.kvittering": Kvittering},
    "assets.opfoelgning": {f"opfoelgning.{name}": model for name, model in VIEWS.items()},
    "runs.retention": {"opgoerelse.slettet": Slettet},
    "runs.extract": {"pakke.udeladt": Udeladt},
    "assets.checks.asset": {"kontrol.resultat": Resultat, "kontrol.tal": Tal},
    "assets.checks.quality": {"kontrol.kvalitet": Afsender},
}
TABLES = {table: model for tables in OWNERS.values() for table, model in tables.items()}
