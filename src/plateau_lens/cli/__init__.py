"""The command line: one file a command, each imported when it is called."""

from __future__ import annotations

import sys
from typing import NoReturn

ISSUES = "https://github.com/plateau-lens/plateau-lens/issues"


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the user's mistake, 2 usage, 3 a defect of ours."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    import click

    from plateau_lens._errors import PlateauLensError
    from plateau_lens.cli.app import app

    try:
        result = app(arguments, standalone_mode=False, prog_name="plateau-lens")
    except PlateauLensError as error:
        print(f"plateau-lens: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        print("plateau-lens: interrupted; run the same command again to resume", file=sys.stderr)  # noqa: T201
        return 130
    except Exception:
        import traceback

        traceback.print_exc()
        print(  # noqa: T201
            f"\nplateau-lens: this is a defect of plateau-lens. Please report it with the lines above: {ISSUES}",
            file=sys.stderr,
        )
        return 3
    return result if isinstance(result, int) else 0
