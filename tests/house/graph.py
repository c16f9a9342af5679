"""The asset graph as text: `.venv/bin/python -m tests.house.graph` writes graph.txt anew; read the difference."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg

from refusion_assets.definitions import build_defs
from refusion_assets.domain.findings.words import REGLER
from refusion_assets.place import Place
from tests.kit.data_root import RULES

STORED = Path(__file__).parent / "graph.txt"


def drawn(root: Path) -> str:
    """Every asset with group, cells, inputs and checks (`!` stops), every job with its assets, every sensor.

    The checks that answer a rule id are left out: the rules name them.
    """
    defs = build_defs(Place(root, RULES))
    return "\n".join([*_assets(defs), "", *_jobs(defs), "", *_sensors(defs), ""])


def _cells(grid: dg.PartitionsDefinition | None) -> str:
    """What an asset is cut by; months without the last, which the clock decides."""
    if isinstance(grid, dg.MultiPartitionsDefinition):
        return " x ".join(f"{cut.name} ({_cells(cut.partitions_def)})" for cut in grid.partitions_defs)
    keys = list(grid.get_partition_keys()) if grid else []
    months = bool(keys) and "-" in keys[0]
    return f"months from {keys[0]}" if months else f"{len(keys)} keys" if grid else "not cut"


def _named_here(checks: Iterable[dg.AssetCheckKey]) -> list[dg.AssetCheckKey]:
    return [check for check in checks if check.name.replace("_", "-") not in REGLER]


def _assets(defs: dg.Definitions) -> Iterator[str]:
    graph = defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        yield f"asset {key.to_user_string()} | {node.group_name} | {_cells(node.partitions_def)}"
        yield from (f"    from {parent.to_user_string()}" for parent in sorted(node.parent_keys))
        checks = sorted(_named_here(graph.get_check_keys_for_assets({key})), key=lambda check: check.name)
        yield from (f"    check {check.name}{'!' if graph.get(check).blocking else ''}" for check in checks)


def _jobs(defs: dg.Definitions) -> Iterator[str]:
    for name in sorted(job.name for job in defs.jobs or ()):
        layer = defs.resolve_job_def(name).asset_layer
        yield f"job {name} | {len(_named_here(layer.asset_graph.asset_check_keys))} checks"
        yield from (f"    {key.to_user_string()}" for key in sorted(layer.executable_asset_keys))


def _sensors(defs: dg.Definitions) -> Iterator[str]:
    for sensor in sorted(defs.sensors or (), key=lambda sensor: sensor.name):
        started = ", ".join(sorted(target.job_name for target in sensor.targets))
        yield f"sensor {sensor.name} | {sensor.default_status.value} | starts {started}"
    yield from (f"schedule {schedule.name}" for schedule in defs.schedules or ())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(drawn(Path(folder)), "utf-8")
