"""Who may import whom, what is private, and what `import skvae` loads."""

import ast
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import skvae

PACKAGE = Path(skvae.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From the bottom up: a file imports only from rows before its own. A name that ends in
# a dot is a folder, whose files may import each other, in one direction.
LAYERS = [
    ("distributed", "messages", "sklearn_private", "threads"),
    ("model.features", "model.layers", "model.likelihoods", "scaling", "batches",
     "datasets."),
    ("inputs.", "model."),
    ("training.",),
    ("saving.", "summary"),
    ("transformer",),
    ("plotting", "plotting."),
    ("onnx",),
    ("__init__",),
    ("command.",),
    ("__main__",),
]  # fmt: skip


def level(name):
    """Index of the first of `LAYERS` that the file belongs to."""
    for i, members in enumerate(LAYERS):
        for member in members:
            if name == member or (member[-1] == "." and name.startswith(member)):
                return i
    raise AssertionError(f"{name} has no place in LAYERS")


def imports(path):
    """(file, name or None) of all that a file imports of skvae, also within functions.

    The file is as in `FILES`: a folder is its ``__init__``.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = node.module
            if module.split(".")[0] == "skvae":
                for alias in node.names:
                    yield resolve(f"{module}.{alias.name}")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "skvae":
                    yield resolve(alias.name)


def resolve(dotted):
    """The file that a dotted name is of, and the name in it."""
    parts = dotted.split(".")[1:]
    for n in range(len(parts), -1, -1):
        stem = ".".join(parts[:n])
        for name in (stem, f"{stem}.__init__".lstrip(".")):
            if name in FILES:
                return name, ".".join(parts[n:]) or None
    raise AssertionError(dotted)


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    for other, what in imports(FILES[name]):
        if name == "__main__" and what == "ConvVAETransformer":
            continue
        is_own_folder = level(name) == level(other) and "." in name and "." in other
        assert level(other) < level(name) or is_own_folder, (other, what)


def test_no_file_imports_itself_by_way_of_others():
    graph = {name: {other for other, _ in imports(FILES[name])} for name in FILES}
    while leaves := {name for name, others in graph.items() if not others}:
        graph = {n: others - leaves for n, others in graph.items() if n not in leaves}
    assert graph == {}


def test_the_folders_are_walked():
    assert {"model.network", "training.net", "saving.files", "batches"} <= FILES.keys()
    assert ("model.likelihoods", "LIKELIHOODS") in imports(FILES["transformer"])
    assert level("model.layers") < level("model.network") < level("training.net")


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("name", FILES)
def test_nothing_private_of_another_file_is_used(name):
    """Neither imported nor read as an attribute of what is not `self`."""
    folder = name.rpartition(".")[0]
    for other, what in imports(FILES[name]):
        own = other == name or (other.startswith(folder) and folder)
        assert what is None or not is_private(what), (other, what)
        assert own or not is_private(other.rpartition(".")[2]), other

    tree = ast.parse(FILES[name].read_text())
    defined = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    defined |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value
            is_self = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
            is_super = isinstance(owner, ast.Call) and ast.unparse(owner) == "super()"
            is_public = node.attr in ("_asdict", "_replace")  # of a NamedTuple
            is_own = is_self or is_super or node.attr in defined
            is_own |= name == "sklearn_private"
            assert is_own or is_public, ast.unparse(node)


@pytest.mark.parametrize("name", [n for n in FILES if n != "sklearn_private"])
def test_what_scikit_learn_keeps_private_is_used_in_one_file(name):
    tree = ast.parse(FILES[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("sklearn"):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not any(part.startswith("_") for part in parts), ast.unparse(node)
            assert node.module not in ("sklearn.utils.fixes", "sklearn.callback")
    for word in ("_skl_callbacks", "_sklearn_output_config", "_init_callback_context"):
        assert word not in FILES[name].read_text()


@pytest.mark.parametrize("name", FILES)
def test_each_file_says_in_its_first_line_what_it_is_for(name):
    docstring = ast.get_docstring(ast.parse(FILES[name].read_text()))
    assert docstring
    first = docstring.splitlines()[0]
    assert first.endswith((".", ":")) or len(docstring.splitlines()) > 1


EXTRAS = ["matplotlib", "safetensors", "pandas", "dask", "onnx", "skl2onnx"]


def test_extras_are_not_needed_to_import():
    """With all of them made impossible to import, as where they are not installed."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS})); import skvae; "
        "skvae.ConvVAETransformer()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_loads_no_extra():
    """None beyond what PyTorch, scikit-learn and skorch load by themselves."""
    code = "import sys; import {}; print(*(m for m in {} if m in sys.modules))"

    def loaded(modules):
        command = [sys.executable, "-c", code.format(modules, EXTRAS)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        return set(result.stdout.split())

    assert loaded("skvae") <= loaded("torch, sklearn, skorch, scipy")


def test_nothing_loads_the_compiler_of_pytorch(tmp_path):
    """Which takes a second or more: no fit, and none that goes on from a file."""
    code = """if True:
        import sys
        import numpy as np
        from skvae import ConvVAETransformer
        X = np.random.default_rng(0).standard_normal((40, 20))
        vae = ConvVAETransformer(2, max_epochs=1, checkpoint="checkpoint")
        vae.fit(X).transform(X)
        vae.save("vae.safetensors", training=True)
        ConvVAETransformer.load("vae.safetensors").partial_fit(X).score(X)
        print(*{"torch._dynamo", "sympy"} & sys.modules.keys())
    """
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert result.stdout.split() == []


def test_the_oldest_versions_of_ci_are_those_that_setup_allows():
    root = Path(__file__).parents[1]
    setup = ConfigParser()
    setup.read(root / "setup.cfg")
    extras = [setup["options.extras_require"][name] for name in ("job", "test")]
    allowed = "\n".join([setup["options"]["install_requires"], *extras])
    allowed = dict(re.findall(r"^(.+)>=([\d.]+)$", allowed, re.MULTILINE))
    text = (root / ".ci/oldest.txt").read_text()
    installed = dict(re.findall(r"^([\w-]+)==([\d.]+)", text, re.MULTILINE))
    assert installed.pop("torch") != allowed.pop("torch")  # whose CPU build is newer
    assert installed.items() >= {n: pad(v) for n, v in allowed.items()}.items()


def pad(version):
    """A version with three numbers, as 1.6.0 for 1.6."""
    return ".".join([*version.split("."), "0", "0"][:3])
