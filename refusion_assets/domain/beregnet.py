"""Understands what the result rows were last calculated from, and for whom they changed."""

import pandera.polars as pa
import polars as pl


class Beregnet(pa.DataFrameModel):
    """One row: what the result rows were last calculated from."""

    maaned: pl.Date = pa.Field(description="the run month whose knowledge the rows show")
    regelversion: pl.String
    bopael_maaned: pl.Date = pa.Field(nullable=True, description="the snapshot of residences that was used")

    class Config:
        """Exactly these columns."""

        strict = True


class AendretUge(pa.DataFrameModel):
    """One row per person, run month and calculation that can have changed rows: the first week that can differ."""

    maaned: pl.Date
    borger_id: pl.Int64
    fra_uge: pl.Date
    opgjort: pl.Int64 = pa.Field(
        nullable=True, ge=1, description="which settling of the run took it in; none yet: empty"
    )

    class Config:
        """Exactly these columns; a person can stand more than once."""

        strict = True
