"""The command ``dcfnet``: which commands there are, and what ends them early.

The flags are the arguments of the functions that carry the commands out, and of the dataclasses
among them; help is their docstrings.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cyclopts import App, CycloptsError, Parameter, Token, convert
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import MINIMAL

from dcfnet.errors import RunError
from dcfnet.fusion.command import adapt, fuse
from dcfnet.imagery.command import check, data
from dcfnet.training.command import evaluate, experiment, train

TRAIN = """Examples:

    dcfnet data && dcfnet train dcfnet
    dcfnet train dcfnet --resume --max-seconds 3600
    dcfnet train fusionnet --train train_wv3.h5 --valid valid_wv3.h5 --run-dir runs/mine
    accelerate launch --multi_gpu --num_processes 4 -m dcfnet.cli train dcfnet
"""

EVALUATE = """Examples:

    dcfnet evaluate dcfnet                  # the book's trained network
    dcfnet evaluate dcfnet --weights runs/dcfnet/weights.safetensors --split valid
    dcfnet evaluate pannet --released pannet.pth --data test_wv3.h5
"""

ADAPT = """Examples:

    dcfnet adapt --ms MS.tif --pan PAN.tif --sensor wv2 adapted
    dcfnet adapt --ms MS.tif --pan PAN.tif --sensor qb adapted --network fusionnet --minutes 5
    dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv2 OUT.tif --weights adapted/weights.safetensors
"""

FUSE = """Examples:

    dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv3 OUT.tif --adapt
    dcfnet fuse --ms MS.tif --pan PAN.tif --sensor gf2 OUT.tif --method mtf-glp-fs
    dcfnet fuse --ms MS.tif --pan PAN.tif --sensor wv3 OUT.tif --weights runs/a/weights.safetensors
"""

EXPERIMENT = """Examples:

    dcfnet experiment --list
    dcfnet experiment --all --max-seconds 3600
    dcfnet experiment 'fusionnet/*' dcfnet-narrow/fold0
"""


def _converted(wanted: Any, tokens: Sequence[Token]) -> Any:
    """As cyclopts does it, but that 3.5 is no whole number, which it would round."""
    if wanted in (int, int | None) and not tokens[0].value.lstrip("+-").isdecimal():
        raise ValueError  # which cyclopts tells in words
    return convert(wanted, tokens)


app = App(
    "dcfnet",
    help="Data, training and fusion for the DCFNet book.",
    help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=MINIMAL)),
    version=lambda: version("dcfnet"),
    default_parameter=Parameter(negative_iterable=(), converter=_converted),
)
app.command(data, sort_key=1)
app.command(check, sort_key=2)
app.command(train, sort_key=3, help_epilogue=TRAIN)
app.command(evaluate, sort_key=4, help_epilogue=EVALUATE)
app.command(adapt, sort_key=5, help_epilogue=ADAPT)
app.command(fuse, sort_key=6, help_epilogue=FUSE)
app.command(experiment, sort_key=7, help_epilogue=EXPERIMENT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, by default with the process's arguments. What ends it early says so.

    Returns:
        The exit code: 0; 1 where the system fails, for want of space for example, or numbers are
        no longer finite; 2 for bad input; 130 after Ctrl-C, 143 after SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    name = f"dcfnet {argv[0]}" if argv and argv[0] in app else "dcfnet"
    with contextlib.suppress(AttributeError):  # file names need not be text
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        command, given, _ = app.parse_args(argv, exit_on_error=False, print_error=False)
        code = command(*given.args, **given.kwargs)
        sys.stdout.flush()
        if not argv:  # help was printed
            return 2
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        print(f"{name}: {error} Try {name} --help.", file=sys.stderr)
        return 2
    except (ValueError, RunError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 130
    except FloatingPointError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # then the reader has seen enough
            print(f"{name}: {error}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:  # what cannot be printed now cannot be at exit either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
