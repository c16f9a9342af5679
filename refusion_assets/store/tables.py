"""Understands which tables there are: each by its layer and grain, with the contract it keeps."""

import pandera.polars as pa

from refusion_assets.domain.classified import Aendret, Dom, Grundlag, Krav, Linje
from refusion_assets.domain.duration.count import Vindue
from refusion_assets.domain.duration.spells import Forloeb, ForloebTaeller
from refusion_assets.domain.findings.verdict import Accept, Afsender, Resultat, Tal
from refusion_assets.domain.findings.words import Advis
from refusion_assets.domain.opgoerelse import FilGrundlag, Foraeldet, Koersel, KommuneKoersel, Postering, Tilbageholdt
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

TABLES: dict[str, type[pa.DataFrameModel]] = {
    "regler.genoptjening": Vindue,
    "identitet.borger": Borger,
    "raw.fil": Fil,
    "raw.indberetning": Indberetning,
    "raw.ukendt": Ukendt,
    "raw.laest": Laest,
    "raw.register": Register,
    "raw.bopael": Bopael,
    "raw.fleksgrundlag": Fleksgrundlag,
    "classified.linje": Linje,
    "classified.dom": Dom,
    "classified.udgaaet": Linje,
    "classified.grundlag": Grundlag,
    "classified.krav": Krav,
    "classified.aendret": Aendret,
    "duration.forloeb": Forloeb,
    "duration.forloeb_taeller": ForloebTaeller,
    "refusion.borger_uge_ydelse": BorgerUgeYdelse,
    "refusion.over_loft": OverLoft,
    "refusion.fleksbidrag": BorgerMaanedFleksbidrag,
    "refusion.uden_kommune": UdenKommune,
    "refusion.anden_betaler": AndenBetaler,
    "refusion.placering": Placering,
    "refusion.beregnet": Beregnet,
    "refusion.aendret": AendretUge,
    "refusion.regelgrundlag": Regelgrundlag,
    "opgoerelse.postering": Postering,
    "opgoerelse.foraeldet": Foraeldet,
    "opgoerelse.koersel": Koersel,
    "opgoerelse.kommune": KommuneKoersel,
    "opgoerelse.tilbageholdt": Tilbageholdt,
    "opgoerelse.fil_grundlag": FilGrundlag,
    "opgoerelse.kendt_fil": KendtFil,
    "opgoerelse.advis": Advis,
    "kontrol.resultat": Resultat,
    "kontrol.tal": Tal,
    "kontrol.kvalitet": Afsender,
    "kontrol.accept": Accept,
    "kontrol.bemaerket": Bemaerket,
}
