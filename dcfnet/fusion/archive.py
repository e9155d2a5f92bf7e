"""Archives: thousands of scenes on many machines, by Dask; a report says how each has fared.

A scene is a task, or several if it is cut into strips. What a lost machine began goes on where
it stopped, on another one, as `dcfnet.fusion.files` does it; so all machines see the same folders.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from dcfnet.errors import DataError
from dcfnet.imagery.sensors import get_sensor
from dcfnet.paths import is_file, written_whole

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True)
class Job:
    """A scene of an archive.

    Attributes:
        ms, pan: As of `fuse_files`.
        out: The GeoTIFF to write.
        sensor: What took the images: a name or a .toml file.
        strips: In how many strips of rows of tiles it is fused, side by side.
        strip: The one to fuse; none where all are there, to be joined, or where it is whole.
    """

    ms: str
    pan: str
    out: str
    sensor: str
    strips: int = 1
    strip: int | None = None

    def cut(self) -> list[Job]:
        """Its strips, or itself where it is not cut."""
        cuts = range(self.strips) if self.strips > 1 else [None]
        return [replace(self, strip=i) for i in cuts]


def read_jobs(path: str | Path, sensor: str | None = None) -> list[Job]:
    """The scenes that a CSV file lists, taken by the sensor unless it names another.

    It has the columns ``ms``, ``pan``, ``out`` and, if need be, ``sensor``. Names of files are seen
    from its folder. With a column ``strips`` a scene is cut into so many, which several machines
    fuse.

    Raises:
        DataError: It is no such file, or two scenes have one result.
    """
    path = Path(path)
    try:
        given = {"dtype": str, "index_col": False, "keep_default_na": False}
        table = pd.read_csv(path, encoding="utf-8-sig", **given).fillna("")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): expected a list of scenes") from error
    if missing := {"ms", "pan", "out"} - {*table}:
        raise DataError(
            f"{path} has the columns {', '.join(table)}, but no {', '.join(sorted(missing))}: "
            "expected ms, pan, out and, if need be, sensor"
        )
    jobs: list[Job] = []
    for line, cells in enumerate(table.to_dict("records"), 2):
        row = {name: cell.strip() for name, cell in cells.items()}
        row["sensor"] = row.get("sensor") or sensor or ""
        if empty := [name for name in ("ms", "pan", "out", "sensor") if not row[name]]:
            raise DataError(f"{path}, line {line}, names no {' and no '.join(empty)}: expected one")
        get_sensor(row["sensor"])
        names = {key: _seen_from(path.parent, row[key]) for key in ("ms", "pan", "out")}
        strips = row.get("strips") or "1"
        if not strips.isdecimal() or int(strips) < 1:
            raise DataError(f"{path}, line {line}: strips are a number from 1 on, got {strips!r}")
        jobs.append(Job(**names, sensor=row["sensor"], strips=int(strips), strip=None))
    outs = [job.out for job in jobs]
    if twice := sorted({out for out in outs if outs.count(out) > 1}):
        raise DataError(f"{path} names {twice[0]} as the result of two scenes: expected one")
    if not jobs:
        raise DataError(f"{path} lists no scene: expected a row for each")
    return jobs


def _seen_from(folder: Path, name: str) -> str:
    if name.startswith("/vsi") or "://" in name:
        return name
    return str((folder / name).absolute())


def fuse_archive(
    fuse: Callable[[Job], Mapping[str, float]],
    jobs: Sequence[Job],
    report: str | Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Fuse many scenes side by side, and report on each as soon as it ends.

    What goes wrong with a scene is noted, and the others go on. A scene is begun again, where it
    stopped, when the machine that worked on it is lost; after the third one it is given up. The
    same call does what is missing: results that are there are left alone.

    Args:
        fuse: Makes the result of a scene, or a strip of it, as `dcfnet.fusion.files.fuse_files`
            does; numbers that it returns go into the report. It is pickled and called in other
            processes.
        jobs: The scenes, from `read_jobs`.
        report: A CSV file with a row for each scene: ``out``; ``state``, which is ``fused``,
            ``refused`` (the images cannot be fused), ``failed`` (for want of space for example),
            ``lost`` (it ended every process that tried), or empty for one that waits;
            ``seconds``; what ``fuse`` returned; ``reason``.
        scheduler: Address of Dask's scheduler, for example ``tcp://host:8786``; by default
            processes of this machine share the scenes.
        workers: How many; by default one for each core.
        progress: Show a bar.

    Returns:
        The report.

    Raises:
        DataError: There is no such scheduler, or Dask is not installed.
        OSError: The report cannot be written, or the scheduler is lost.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"many scenes need Dask, which is not there ({error}): pip install 'dcfnet[archive]'"
        ) from error
    rows = _known(Path(report), jobs)
    waiting = [job for job in jobs if rows[job.out]["state"] != "fused"]
    if not waiting:
        return _write(rows, report)
    with (
        _client(scheduler, workers) as client,
        tqdm(total=len(jobs), unit="scene", disable=not progress) as bar,
    ):
        bar.update(len(jobs) - len(waiting))
        for job, row in _carried_out(client, fuse, waiting):
            rows[job.out] |= row
            _write(rows, report)
            bar.update()
    return _write(rows, report)


def _carried_out(
    client: Client, fuse: Callable[[Job], Mapping[str, float]], jobs: Sequence[Job]
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Scenes and their rows, as they end. A scene's strips come first, then what joins them."""
    from distributed import CancelledError, KilledWorker, as_completed

    todo = deque(strip for job in jobs for strip in job.cut())
    strips: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    tasks: dict[Future[dict[str, Any]], Job] = {}
    ended = as_completed()
    # No more than there are threads: a process that dies counts against all that wait for it.
    while True:
        while todo and len(tasks) < max(1, sum(client.nthreads().values())):
            job = todo.popleft()
            future = client.submit(_fuse_one, fuse, job, pure=False)
            tasks[future] = job
            ended.add(future)
        if not tasks:
            return
        future = next(ended)
        job = tasks.pop(future)
        try:
            row = future.result()
        except KilledWorker:
            row = {"state": "lost", "reason": "it ended every process that worked on it"}
        except CancelledError as error:
            raise OSError("the scheduler is lost: the same call does what is missing") from error
        strips[job.out].append(row)
        if failed := [part for part in strips[job.out] if part["state"] != "fused"]:
            row = failed[0]
        elif job.strip is None:
            row["seconds"] = round(sum(part["seconds"] for part in strips[job.out]), 1)
        if job.strip is None or (failed and len(strips[job.out]) == job.strips):
            yield job, row
        elif len(strips[job.out]) == job.strips:
            todo.appendleft(replace(job, strip=None))


def _fuse_one(fuse: Callable[[Job], Mapping[str, float]], job: Job) -> dict[str, Any]:
    """The task: a row of the report. Nothing but the end of the process ends it early."""
    began = time.monotonic()
    row: dict[str, Any] = {"state": "fused", "reason": ""}
    try:
        row |= fuse(job)
    except ValueError as error:
        row |= {"state": "refused", "reason": str(error)}
    except Exception as error:  # whatever it is, the other scenes go on
        row |= {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
    return row | {"seconds": round(time.monotonic() - began, 1)}


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    """A connection to a cluster; without an address to one of this machine, ended afterwards."""
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler)
        except (OSError, ValueError) as error:
            raise DataError(
                f"no scheduler answers at {scheduler} ({error}): start `dask scheduler`, and "
                "`dask worker ADDRESS` on every machine"
            ) from error
        with client:
            yield client
        return
    with (
        # Dask lets a process of one thread have one thread for arithmetic too.
        LocalCluster(
            n_workers=workers or os.cpu_count(),
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,  # fmt: skip
        Client(cluster) as client,
    ):
        yield client


# --- The report --------------------------------------------------------------------------------


def _known(report: Path, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """A row for each scene: what is to do, and what an earlier call has done."""
    before: dict[str, dict[str, Any]] = {}
    if is_file(report):
        try:
            table = pd.read_csv(report, dtype={"out": str, "state": str, "reason": str})
            table = table.fillna({"state": "", "reason": ""})
            before = {row["out"]: row for row in table.to_dict("records")}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{report} is there, but is no report on an archive ({error!s:.100}): name another "
                "file"
            ) from error
    rows = {}
    for job in jobs:
        fused = is_file(Path(job.out))
        row = {"out": job.out, "state": "fused" if fused else ""}
        old = before.get(job.out, {})
        rows[job.out] = {**old, **row} if fused and old.get("state") == "fused" else row
    return rows


def _write(rows: Mapping[str, Mapping[str, Any]], report: str | Path) -> pd.DataFrame:
    table = pd.DataFrame(list(rows.values()))
    first = ["out", "state", "seconds"]
    rest = [name for name in table.columns if name not in (*first, "reason")]
    table = table.reindex(columns=[*first, *rest, "reason"])
    with written_whole(report) as temporary:
        table.to_csv(temporary, index=False)
    return table
