"""The command line: ``python -m jaxwave demo`` and ``python -m jaxwave fwi``.

Each command is a module with ``add_arguments(parser)`` and ``run(arguments)``. A mistake of the user's raises
:class:`UsageError` and ends in a message and exit status 2; a failure of storage in status 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jaxwave.cli import demo, fwi
from jaxwave.cli.report import UsageError
from jaxwave.storage import StorageError

COMMANDS = {"demo": demo, "fwi": fwi}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its arguments. Default: those of the process.

    Returns:
        The exit status: 0, or 1 where storage failed.

    Raises:
        SystemExit: With status 2, if the arguments are wrong.

    Example:
        >>> main(["demo", "--iterations", "0"])
        Traceback (most recent call last):
        SystemExit: 2
    """
    parser = argparse.ArgumentParser("python -m jaxwave", description="Full-waveform inversion with jaxwave.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parsers = {}
    for name, module in COMMANDS.items():
        summary, _, rest = module.__doc__.partition("\n\n")
        parsers[name] = commands.add_parser(name, help=summary, description=f"{summary} {' '.join(rest.split())}")
        module.add_arguments(parsers[name])
    arguments = parser.parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except UsageError as error:
        parsers[arguments.command].error(str(error))
    except StorageError as error:
        print(f"{parser.prog} {arguments.command}: {error}", file=sys.stderr)
        return 1
