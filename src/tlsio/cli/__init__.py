"""The command `tlsio`: arguments, printing and exit codes. The floors below do the work.

Nothing is imported here: `main` says what to install if the extra is missing.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command with this process's arguments, and exit."""
    try:
        import click as click  # noqa: PLC0415 - may be missing
        import rich as rich  # noqa: PLC0415
    except ImportError as error:
        sys.stderr.write(f"tlsio: the package {error.name} is not installed: pip install 'tlsio[cli]'\n")
        sys.exit(2)
    from tlsio.cli.program import run  # noqa: PLC0415
    from tlsio.cli.streams import replace_closed  # noqa: PLC0415

    replace_closed()
    sys.exit(run(sys.argv[1:]))
