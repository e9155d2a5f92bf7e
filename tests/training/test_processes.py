"""Runs that are killed, and runs of several processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from dcfnet.training.history import History
from tests.support.training import checkpoint, network, quick_fit, same

NURSERY = """
    import os, random, select, signal, sys, time
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, sys.argv[2])
    from dcfnet.training import runs
    from dcfnet.training.batches import BatchOrder
    from tests.support.training import network, patches, quick_fit

    RUN = dict(epochs=20, average=0.9, checkpoint_seconds=0)
    folder, train, valid = Path(sys.argv[1]), patches(20), patches(3, seed=1)
    killed = folder / "killed"
    ready, tell = os.pipe()
    quick_fit(network(), train, valid, epochs=1)  # imports what is imported late

    def child(run_dir, before=lambda: None, seed=1):
        pid = os.fork()  # there are no threads, and no need to import everything again
        if pid == 0:
            before()
            quick_fit(network(seed=seed), train, valid, run_dir=run_dir, resume=True, **RUN)
            os.write(tell, b"!")
            os._exit(0)
        return pid

    def ended(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    began = time.monotonic()
    assert ended(child(folder / "whole", seed=0)) == 0
    whole_run = time.monotonic() - began

    # In the middle of writing a checkpoint; with all of it written but the name; and just after.
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def half_way():
        write = Path.write_bytes
        Path.write_bytes = lambda path, all: (
            (write(path, all[: len(all) // 2]), die()) if "checkpoint" in path.name
            else write(path, all)
        )

    def before_the_name():
        Path.replace = lambda path, name: (
            die() if "checkpoint" in path.name else os.replace(path, name)
        )

    def before_the_history():
        runs.RunFolder.publish = lambda self, history, *_: len(history) and die()

    assert ended(child(killed, before_the_history, seed=0)) == -signal.SIGKILL
    for before in (half_way, before_the_name, before_the_history):
        assert ended(child(killed, before)) == -signal.SIGKILL, before
        left = len(list(killed.glob(".checkpoint*.part")))
        assert left == (before is not before_the_history), (before, left)

    # At random moments after it has begun.
    begin = BatchOrder.__iter__
    def say_so(order):
        os.write(tell, b"!")
        return begin(order)
    BatchOrder.__iter__ = say_so

    chance, kills, places = random.Random(0), 0, set()
    while kills < 20:
        while select.select([ready], [], [], 0)[0]:  # what others have said
            os.read(ready, 1)
        pid = child(killed)
        os.read(ready, 1)
        time.sleep(chance.uniform(0, whole_run / 8))
        os.kill(pid, signal.SIGKILL)
        if ended(pid) == -signal.SIGKILL:
            kills += 1
            saved = runs.RunFolder(killed).load()
            places.add((len(saved["rows"]), saved["step"]))
        else:  # it had finished: begin another run
            killed.rename(folder / f"finished{kills}")
            assert ended(child(killed, before_the_history, seed=0)) == -signal.SIGKILL
    assert ended(child(killed)) == 0
    print("kills", kills, "places", len(places), "within", sum(step > 0 for _, step in places))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_kill_at_random_moments(tmp_path):
    """Twenty times SIGKILL, and while a checkpoint is written: the outcome is the same."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NURSERY), tmp_path, Path(__file__).parents[1]],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, kills, _, places, _, within = done.stdout.split()
    assert int(kills) == 20
    assert int(places) > 5, "the kills came too early to tell anything"
    assert int(within) > 2, "no kill came in the middle of an epoch"
    whole = checkpoint(tmp_path / "whole")
    outcomes = [tmp_path / "killed", *tmp_path.glob("finished*")]
    for folder in outcomes:
        assert same(checkpoint(folder), whole)
        one, other = (load_file(f / "weights.safetensors") for f in (folder, tmp_path / "whole"))
        assert same(one, other)
        assert same(one, whole["best"])
        one, other = (History.read(f / "history.csv") for f in (folder, tmp_path / "whole"))
        assert same(one.rows, other.rows)
        assert not list(folder.glob(".*.part"))


LAUNCHED = """
    import os, sys, torch
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    torch.set_num_threads(1)
    from tests.support.training import network, patches, quick_fit
    here = Path(__file__).parent
    said = []
    for limit in (1e-9, None):
        model = network("dicnn")
        history = quick_fit(model, patches(20), patches(3, seed=1), epochs=3, lr=1e-2,
                            run_dir=here / "two", resume=True, max_seconds=limit, accumulate=2)
        weights = sum(p.sum().item() for p in model.parameters())
        said.append(f"{history.stopped}, {len(history)} epochs, {weights}")
    (here / ("rank" + os.environ["RANK"])).write_text("\\n".join(said))
"""


@pytest.mark.slow
def test_two_processes_train_as_one(train, valid, tmp_path):
    script = tmp_path / "launched.py"
    script.write_text(textwrap.dedent(LAUNCHED))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--main_process_port", "0"]
    process = subprocess.Popen(
        [*launch, script, Path(__file__).parents[1]],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # so that the launcher's own processes can be ended with it
    )
    try:
        errors = process.communicate(timeout=300)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert first[0].startswith("time limit, 0 epochs")  # and both after the same step
    assert first[1].startswith("epochs, 3 epochs")
    assert first == second  # both are left with the best weights

    alone = quick_fit(network("dicnn"), train, valid, epochs=3, lr=1e-2)
    two = History.read(tmp_path / "two" / "history.csv")
    assert np.allclose(two["train_loss"], alone["train_loss"], rtol=1e-4)
    assert np.allclose(two["valid_loss"], alone["valid_loss"], rtol=1e-4)
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
