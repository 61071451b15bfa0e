"""The recipes for Dask, on a real cluster of two processes of this machine."""

import os
import pickle
import re
import sys
import uuid
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import ConvVAETransformer
from skvae.command import transform
from skvae.datasets import make_load_profiles

README = (Path(__file__).parents[1] / "README.md").read_text()
X, Y = make_load_profiles(90, n_timepoints=48, random_state=0)
pytestmark = [
    pytest.mark.extra,
    # Dask's own: sockets that it leaves to the collector, a port that is taken.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Port 8787"),
]


SEARCH = re.search(
    r"<!-- run by tests/test_scale.py -->\n```py\n(.*?)```", README, re.DOTALL
)[1]


def blocks(folder):
    """The recipe of `command.transform`, its files in a folder of all workers."""
    recipe = re.search(r"::\n\n(.*?)\n\n\S", transform.__doc__, re.DOTALL)[1]
    code = dedent(recipe)
    code = f"import numpy as np\n{code}"
    return code.replace('"vae.safetensors"', f'"{folder}/vae.safetensors"')


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("dask.distributed")
    with distributed.Client(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as client:
        yield client


def test_a_search_on_dask_finds_what_one_process_finds():
    distributed = pytest.importorskip("dask.distributed")
    name = "MALLOC_TRIM_THRESHOLD_"
    with distributed.Client(n_workers=1, dashboard_address=None):
        assert os.environ[name] == "65536"  # and stays there after the cluster
    vae = ConvVAETransformer(max_epochs=2, random_state=0, device="cpu")
    pipeline = Pipeline([("vae", vae), ("knn", KNeighborsClassifier())])
    grid = {"vae__latent_dim": [2, 8], "vae__feature_weight": [0.0, 1.0]}
    names = {"pipeline": pipeline, "grid": grid, "X": X, "y": Y}
    names["GridSearchCV"] = GridSearchCV
    exec(SEARCH, names)
    workers = names["client"].run(lambda: "skvae" in sys.modules)
    thresholds = names["client"].run(lambda: os.environ.get(name))
    names["client"].shutdown()
    assert list(thresholds.values()) == [None, None]
    assert list(workers.values()) == [True, True]
    found = names["search"].cv_results_
    expected = GridSearchCV(pipeline, grid, cv=3, n_jobs=1).fit(X, Y).cv_results_
    assert found.keys() == expected.keys()
    for key in found:
        if not key.endswith("_time"):
            np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_blocks_of_dask_have_the_bits_of_numpy(client, n_dims, tmp_path):
    signals = X.copy()
    signals[::3, 5:9] = np.nan
    code = blocks(tmp_path).replace("10_000", "37")
    if n_dims == 3:
        signals = signals.reshape(90, 2, 24)
        code = code.replace("(37, -1)", "(37, -1, -1)").replace(
            "drop_axis=[]", "drop_axis=[2]"
        )
    vae = ConvVAETransformer(8, max_epochs=1, random_state=0, device="cpu")
    Z = vae.fit(signals).transform(signals)
    names = {"X": signals, "vae": vae, "ConvVAETransformer": ConvVAETransformer}
    exec(code, names)
    assert names["Z"].shape == (90, 8)  # before anything is computed
    assert names["Z"].chunks == ((37, 37, 16), (8,))
    assert names["Z"].dtype == np.float32
    np.testing.assert_array_equal(names["Z"].compute(), Z)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_blocks_go_back_to_signals_with_the_bits_of_numpy(client, n_dims, tmp_path):
    signals = X.reshape(90, 2, 24) if n_dims == 3 else X
    code = blocks(tmp_path).replace("10_000", "37")
    code = code.replace("model.transform", "model.inverse_transform")
    if n_dims == 2:
        code = code.replace("(vae.latent_dim,)", "(48,)")
    else:
        code = code.replace("(vae.latent_dim,)", "(2,), (24,)")
        code = code.replace("drop_axis=[]", "new_axis=[2]").replace(
            "(0, 0)", "(0, 0, 0)"
        )
    vae = ConvVAETransformer(3, max_epochs=1, random_state=0, device="cpu").fit(signals)
    latents = vae.transform(signals)
    names = {"X": latents, "vae": vae, "ConvVAETransformer": ConvVAETransformer}
    exec(code, names)
    assert names["Z"].shape == signals.shape
    assert names["Z"].dtype == np.float32
    expected = vae.inverse_transform(latents)
    np.testing.assert_array_equal(names["Z"].compute(), expected)


def test_workers_read_the_signals_of_a_stack_of_files(client, tmp_path):
    da = pytest.importorskip("dask.array")
    da.to_npy_stack(tmp_path / "signals", da.from_array(X, chunks=(37, -1)))
    code = blocks(tmp_path).replace(
        "da.from_array(X, chunks=(10_000, -1))",
        f"da.from_npy_stack({str(tmp_path / 'signals')!r})",
    )
    vae = ConvVAETransformer(3, max_epochs=1, random_state=0, device="cpu").fit(X)
    names = {"vae": vae, "ConvVAETransformer": ConvVAETransformer}
    exec(code, names)
    assert names["Z"].shape == (90, 3)
    assert len(pickle.dumps(dict(names["signals"].dask))) < X.nbytes / 4
    np.testing.assert_array_equal(names["Z"].compute(), vae.transform(X))


def test_a_model_is_loaded_once(client, tmp_path):
    loaded = tmp_path / "loaded"
    loaded.mkdir()
    vae = ConvVAETransformer(8, max_epochs=1, random_state=0, device="cpu").fit(X)

    class Counted:
        @staticmethod
        def load(path):
            (loaded / uuid.uuid4().hex).touch()
            return ConvVAETransformer.load(path)

    names = {"X": X, "vae": vae, "ConvVAETransformer": Counted}
    exec(blocks(tmp_path).replace("10_000", "10"), names)
    np.testing.assert_array_equal(names["Z"].compute(), vae.transform(X))
    assert len(list(loaded.iterdir())) == 1
