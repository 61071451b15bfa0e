"""Who may import whom, and what `import skvae` loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent

# From the bottom up: a module imports only from rows before its own.
LAYERS = [
    {"files", "losses", "network", "scaling", "training", "validation", "datasets"},
    {"calibration", "checkpoint", "persistence"},
    {"transformer"},
    {"plotting"},
    {"__init__"},
    {"__main__"},
]


def imported_modules(path):
    """Names of the modules of skvae that the file imports, at the top or within."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == "skvae":
                yield rest[0] if rest else "__init__"


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem
)
def test_imports_point_down(path):
    (level,) = [i for i, layer in enumerate(LAYERS) if path.stem in layer]
    below = set().union(*LAYERS[:level])
    known = below | {"ConvVAETransformer"} if path.stem == "__main__" else below
    assert set(imported_modules(path)) <= known


def test_the_rule_sees_an_import():
    assert "losses" in set(imported_modules(PACKAGE / "transformer.py"))


@pytest.mark.parametrize("blocked", ["matplotlib", "safetensors", "pandas"])
def test_extras_are_not_needed_to_import(blocked):
    """With the extra made impossible to import, as where it is not installed."""
    code = (
        f"import sys; sys.modules[{blocked!r}] = None; import skvae; "
        "skvae.ConvVAETransformer()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
