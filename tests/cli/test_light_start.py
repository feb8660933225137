"""The command line and the report start without the heavy libraries."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "sae_lens", "transformer_lens")


def loaded_by(code: str) -> set[str]:
    """Heavy libraries that a fresh interpreter has loaded after running ``code``."""
    script = f"import sys\n{code}\nprint('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    last = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return set(last.split()[1:])


def test_help_loads_nothing_heavy():
    assert loaded_by("from plateau_lens.cli import invoke; assert invoke(['--help']) == 0") == set()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import plateau_lens") == set()


def test_the_probe_sees_a_heavy_import():
    assert "torch" in loaded_by("import torch")
