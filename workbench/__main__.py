"""Run `python -m workbench`: demo, test and lab install what they need first; any other word goes to the command line interface.

Only the standard library is imported until the packages are there, so this works with a bare Python.
"""

from __future__ import annotations

import sys

from workbench import bootstrap


def main() -> int:
    """Run the command line in `sys.argv`; return its exit code."""
    words = sys.argv[1:]
    if words and words[0] in bootstrap.COMMANDS:
        try:
            return bootstrap.run(words[0], words[1:])
        except bootstrap.BootstrapError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
    try:
        from workbench import cli
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("workbench"):
            raise
        print(f"error: {bootstrap.missing_package(error.name)}", file=sys.stderr)
        return 2
    cli.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
