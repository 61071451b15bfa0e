"""Every block of code in the README runs as it stands and prints what stands there."""

import contextlib
import io
import re
from pathlib import Path

import matplotlib
import pytest
from joblib import parallel_config

from skvae import ConvVAETransformer
from skvae.training import make_net

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(
    r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
    README,
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.slow
def test_code_of_the_readme_runs_and_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    monkeypatch.setattr(make_net, "AUTO_STEPS", 2)  # the fits are tested elsewhere
    namespace = {"__name__": "readme"}
    assert len(BLOCKS) > 10
    for code, expected in BLOCKS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), parallel_config("sequential"):
            exec(compile(code, "README.md", "exec"), namespace)
        assert printed.getvalue() == expected, code


def test_every_parameter_in_the_readme_exists():
    names = set(ConvVAETransformer().get_params())
    table = README.split("## Parameters")[1].split("## How it works")[0]
    for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        assert set(re.findall(r"`(\w+)`", cell)) <= names
