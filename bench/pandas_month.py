"""The month in pandas, as a municipality might write it: no reversals, corrections or checks; earlier weeks given."""

import sys
from pathlib import Path

import pandas as pd

STEPS = [(4, 80), (26, 40), (52, 30), (10**6, 20)]
DATES = ["Felt0214_start", "Felt0214_slut", "Felt0215_start", "Felt0215_slut"]


def main(root: Path, month: str, before: Path, work: Path) -> None:
    """One file per municipality under `work`, from the month's raw files and the weeks counted before (`before`)."""
    files = sorted((root / "raw").glob(f"*/{month}/eindkomst-*.csv"))
    rows = pd.concat(pd.read_csv(path, sep=";", dtype=str, keep_default_na=False) for path in files)
    rows = rows[(rows.Indberetningsart == "I") & (rows.CPR.str.len() == 10)].copy()
    rows["oere"] = (rows.Felt0014.where(rows.Felt0014 != "", rows.Felt0037) + "0").str.replace(",", "").str[:-1]
    rows["oere"] = pd.to_numeric(rows.oere, errors="coerce").fillna(0).astype("int64")
    for name in DATES:
        rows[name] = pd.to_datetime(rows[name], errors="coerce")
    rows["fra"] = rows.Felt0214_start.fillna(rows.Felt0215_start)
    rows["til"] = rows.Felt0214_slut.fillna(rows.Felt0215_slut)
    rows = rows.dropna(subset=["fra", "til"])
    rows = rows[rows.til >= rows.fra]
    rows["dage"] = (rows.til - rows.fra).dt.days + 1
    rows["dag"] = [list(range(days)) for days in rows.dage]
    days = rows.explode("dag")
    days["uge"] = days.fra + pd.to_timedelta(days.dag.astype("int64"), unit="D")
    days["uge"] -= pd.to_timedelta(days.uge.dt.weekday, unit="D")
    days["andel"] = days.oere // days.dage
    key = ["CPR", "uge", "Felt0115", "Felt0114", "Kommunekode"]
    weeks = days.groupby(key, as_index=False).andel.sum().sort_values(["CPR", "uge"])
    weeks["nr"] = weeks.groupby("CPR").uge.rank(method="dense").astype("int64")
    counted = pd.read_csv(before, dtype={"cpr": str}).set_index("cpr").n
    weeks["n"] = weeks.nr + weeks.CPR.map(counted).fillna(0).astype("int64")
    weeks["procent"] = pd.cut(weeks.n, [0, *(last for last, _ in STEPS)], labels=[rate for _, rate in STEPS])
    weeks["refusion"] = weeks.andel * weeks.procent.astype("int64") // 100
    for kommune, part in weeks.groupby("Kommunekode"):
        part.to_csv(work / f"pandas-{kommune or 'stat'}.csv", sep=";", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
