"""Each line of the README's table of readers, on a file that its package writes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from skvae import ConvVAETransformer

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "README.md").read_text().split("### From what you keep to X")[1]
WINDOWS = re.search(r"`(X = recording.*)`", TABLE)[1]
ROWS = dict(
    re.findall(r"^\| (`.*?) \| `(.*?)` \|", TABLE.split("###")[0], re.MULTILINE)
)

# Twelve signals of two channels, whole numbers, which all formats hold exactly.
rng = np.random.default_rng(0)
phase = 2 * np.pi * (np.arange(24) / 24 + rng.uniform(size=(12, 2, 1)))
X = rng.uniform(20, 100, (12, 2, 1)) * np.sin(phase) + rng.normal(0, 5, (12, 2, 24))
X = np.round(X)
ONE = X[:, 0].copy()
RAGGED = [signal[: 24 - i] for i, signal in enumerate(ONE)]
RECORDING = X.swapaxes(0, 1).reshape(2, -1)

# The packages' own, which say nothing of what they read.
pytestmark = [
    pytest.mark.doors,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def objects(signals):
    """A one-dimensional array of arrays, as scipy.io writes to a cell array."""
    return np.fromiter(signals, object, len(signals))


def write_ts(path):
    y = np.repeat(["a", "b"], 6)
    pytest.importorskip("aeon.datasets").save_to_ts_file(
        X, y, label_type="classification", path=path.parent, problem_name=path.name
    )
    return {"path": f"{path}.ts"}, X


def write_arff(path):
    names = [f"@attribute t{i} numeric" for i in range(24)]
    head = ["@relation loads", *names, "@attribute target {a,b}", "@data"]
    rows = [",".join([*map(str, signal), "ab"[i % 2]]) for i, signal in enumerate(ONE)]
    path.write_text("\n".join(head + rows))
    return {"path": path}, ONE[:, None]


def make_series(path):
    return {"series": [signal.T for signal in X]}, X


def make_recordings(path):
    recordings = [four.swapaxes(1, 2).reshape(-1, 2) for four in np.split(X, 3)]
    return {"recordings": recordings, "y": np.arange(3)}, X


def write_epochs(path):
    import mne

    volts = X * 1e-6
    epochs = mne.EpochsArray(volts, mne.create_info(2, 100.0, "eeg"))
    path = path.with_name("x-epo.fif")
    epochs.save(path, fmt="double")
    return {"path": path}, volts


def write_edf(path):
    highlevel = pytest.importorskip("pyedflib.highlevel")
    limits = {
        f"{kind}_{end}": value
        for kind in ("physical", "digital")
        for end, value in (("min", -32768), ("max", 32767))
    }
    headers = [
        highlevel.make_signal_header(name, sample_frequency=24, **limits)
        for name in "ab"
    ]
    highlevel.write_edf(f"{path}.edf", RECORDING, headers)
    return {"path": f"{path}.edf"}, X


def write_wfdb(path):
    import wfdb

    wfdb.wrsamp(
        path.name,
        fs=24,
        units=["mV", "mV"],
        sig_name=["a", "b"],
        p_signal=RECORDING.T,
        fmt=["16", "16"],
        adc_gain=[1, 1],
        baseline=[0, 0],
        write_dir=str(path.parent),
    )
    return {"path": str(path)}, X


def write_jcamp(path):
    head = "##TITLE=a\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"
    head += "##XUNITS=1/CM\n##YUNITS=ABSORBANCE\n##XFACTOR=1\n##YFACTOR=1\n"
    head += "##FIRSTX=1000\n##LASTX=1023\n##NPOINTS=24\n##XYDATA=(X++(Y..Y))\n"
    paths = [path.with_name(f"{i}.jdx") for i in range(len(ONE))]
    for file, signal in zip(paths, ONE.astype(int), strict=True):
        lines = [
            f"{1000 + start} " + " ".join(map(str, signal[start : start + 8]))
            for start in (0, 8, 16)
        ]
        file.write_text(head + "\n".join(lines) + "\n##END=\n")
    return {"paths": paths}, ONE


def make_spectra(path):
    import pandas as pd

    axis = np.arange(1000.0, 1024.0)
    return {"spectra": pd.DataFrame(ONE, columns=axis), "axis": axis}, ONE[:, 4:20]


def write_nem(path):
    lines = ["100,NEM12,202401010000,MDA1,Ret1"]
    days = np.tile(np.abs(ONE), 2)  # 48 half hours
    for register, half in (("E1", days[:6]), ("E2", days[6:])):
        head = f"200,NMI0000001,E1E2,{register},{register},N1,METER1,kWh,30,"
        lines.append(head)
        for day, values in enumerate(half, 1):
            readings = ",".join(map(str, values))
            lines.append(f"300,2024010{day},{readings},A,,,20240201000000,")
    path.write_text("\n".join([*lines, "900\n"]))
    return {"path": str(path)}, days


def write_tdms(path):
    from nptdms import ChannelObject, TdmsWriter

    with TdmsWriter(path) as file:
        shots = [ChannelObject("shots", str(i), x) for i, x in enumerate(RAGGED)]
        file.write_segment(shots)
    expected = np.full(ONE.shape, np.nan)
    for row, signal in zip(expected, RAGGED, strict=True):
        row[: len(signal)] = signal
    return {"path": path}, expected


def write_mat(path):
    import scipy.io

    path = path.with_name("x.mat")
    scipy.io.savemat(path, {"trials": objects(RAGGED)})
    return {"path": path}, RAGGED


def write_mat73(path):
    import h5py

    path = path.with_name("x.mat")
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_dataset("trials", (1, 12), h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for i, signal in enumerate(RAGGED):
            cell = file.create_dataset(f"#refs#/{i}", data=signal[:, None])
            cell.attrs["MATLAB_class"] = np.bytes_("double")
            cells[0, i] = cell.ref
    return {"path": path}, [signal[None] for signal in RAGGED]


def write_hdf5(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["X"] = X
    return {"path": path}, X


def write_parquet(path):
    import pandas as pd

    pytest.importorskip("pyarrow")
    pd.DataFrame({"signal": RAGGED}).to_parquet(path)
    return {"path": path}, RAGGED


def write_rows(path):
    import datasets

    rows = datasets.Dataset.from_dict({"signal": list(map(list, ONE))})
    rows.to_parquet(path)
    return {"path": str(path)}, ONE


def write_netcdf(path):
    import xarray as xr

    array = xr.DataArray(ONE.T, dims=("time", "sample"), name="load")
    array.to_netcdf(path, engine="scipy")
    return {"path": path}, ONE


def write_zarr(path):
    zarr = pytest.importorskip("zarr")
    zarr.save(str(path), X)
    return {"path": str(path)}, X


def write_awkward(path):
    import awkward as ak

    ak.to_parquet(ak.Array(RAGGED), str(path))
    return {"path": str(path)}, RAGGED


def write_mdf(path):
    from asammdf import MDF, Signal

    signals = [
        Signal(samples=x, timestamps=np.arange(len(x)) / 24.0, name=f"shot {i}")
        for i, x in enumerate(RAGGED)
    ]
    path = path.with_name("x.mf4")
    with MDF() as file:
        for signal in signals:
            file.append([signal])
        file.save(path)
    return {"path": path}, RAGGED


MAKERS = {
    "`aeon.datasets`, .ts": write_ts,
    "`aeon.datasets`, .arff": write_arff,
    "`sktime.datasets`": write_ts,
    "`tslearn.utils`": make_series,
    "`seglearn.transform`": make_recordings,
    "`mne`": write_epochs,
    "`pyedflib.highlevel`": write_edf,
    "`edfio`": write_edf,
    "`wfdb`": write_wfdb,
    "`jcamp`": write_jcamp,
    "`chemotools.feature_selection`": make_spectra,
    "`nemreader`": write_nem,
    "`nptdms`": write_tdms,
    "`scipy.io`, .mat": write_mat,
    "`mat73`, .mat of version 7.3": write_mat73,
    "`h5py`": write_hdf5,
    "`pandas`, Parquet": write_parquet,
    "`polars`": write_parquet,
    "`datasets`": write_rows,
    "`xarray`": write_netcdf,
    "`zarr`": write_zarr,
    "`dask.array`": write_zarr,
    "`awkward`": write_awkward,
    "`asammdf`": write_mdf,
}


def latents(X, **params):
    vae = ConvVAETransformer(4, random_state=0, max_epochs=0, **params)
    return np.asarray(vae.fit_transform(X))


def prepare(reader, tmp_path):
    """Names for the code of a reader, and what its file was made from."""
    module = re.match("`(.*?)`", reader)[1]
    pytest.importorskip(module)
    namespace, expected = MAKERS[reader](tmp_path / "x")
    root = module.split(".")[0]
    return namespace | {root: sys.modules[root], "np": np, "n": 12, "t": 24}, expected


@pytest.mark.parametrize("reader", ROWS)
def test_line_of_the_readme(reader, tmp_path):
    namespace, expected = prepare(reader, tmp_path)
    line = ROWS[reader]
    exec(f"{line}; {WINDOWS}" if line.startswith("recording") else line, namespace)
    read = namespace["X"]
    if isinstance(expected, list):
        for signal, of_file in zip(read, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(signal), of_file)
    else:
        np.testing.assert_array_equal(np.asarray(read), expected)
    np.testing.assert_array_equal(latents(read), latents(expected))


READ_TOO = [
    ("`sktime.datasets`", "sktime.datasets.load_from_tsfile(path)[0]"),
    ("`mne`", "mne.read_epochs(path)"),
    ("`nptdms`", "nptdms.TdmsFile.read(path)['shots'].channels()"),
    ("`scipy.io`, .mat", "scipy.io.loadmat(path)['trials']"),
    ("`pandas`, Parquet", "pandas.read_parquet(path)"),
    ("`polars`", "polars.read_parquet(path)"),
    ("`datasets`", "datasets.Dataset.from_parquet(path)['signal']"),
    ("`xarray`", "xarray.open_dataarray(path).T"),
    ("`zarr`", "zarr.load(path)"),
]


@pytest.mark.parametrize(("reader", "code"), READ_TOO)
def test_other_objects_of_readers_are_read(reader, code, tmp_path):
    namespace, expected = prepare(reader, tmp_path)
    np.testing.assert_array_equal(latents(eval(code, namespace)), latents(expected))


MENDED = [
    (
        "`tslearn.utils`",
        "tslearn.utils.to_time_series_dataset(series)",
        "pass X.transpose",
    ),
    (
        "`seglearn.transform`",
        "seglearn.transform.PadTrunc(600).fit_transform(recordings, y)[0]",
        "pass X.transpose",
    ),
    ("`mne`", "mne.read_epochs(path).average()", "not an array. Pass X.get_data"),
    ("`nptdms`", "nptdms.TdmsFile.read(path)['shots'].as_dataframe()", "pass X.T"),
    ("`xarray`", "xarray.open_dataarray(path)", "pass X.T"),
    ("`xarray`", "xarray.open_dataset(path)", "Pass X.key"),
    ("`asammdf`", "asammdf.MDF(path).to_dataframe()", "pass X.T"),
    ("`awkward`", "awkward.from_parquet(path)", r"pass list.X"),
    ("`datasets`", "datasets.Dataset.from_parquet(path)", "x.key. for x in X"),
    ("`nemreader`", "nemreader.NEMFile(path).get_data_frame()", "X.pivot_table"),
    ("`nemreader`", "nemreader.NEMFile(path).get_pivot_data_frame()", "X.pivot_table"),
]


@pytest.mark.parametrize(("reader", "code", "said"), MENDED)
def test_what_is_no_x_is_answered_by_what_to_do(reader, code, said, tmp_path):
    namespace, _ = prepare(reader, tmp_path)
    X = eval(code, namespace)
    with pytest.raises((ValueError, UserWarning), match=said):
        latents(X)


def test_cells_of_matlab_7_3_through_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    namespace, expected = write_mat73(tmp_path / "x")
    with h5py.File(namespace["path"]) as file:
        X = file["trials"]
        with pytest.raises(ValueError, match="references") as refused:
            latents(X)
        line = re.search(r"point to: (.*)\.$", str(refused.value))[1]
        X = eval(line, {"numpy": np, "file": file, "X": X})
    np.testing.assert_array_equal(latents(X), latents([x[0] for x in expected]))


def test_readers_of_the_readme_are_the_extra():
    setup = (ROOT / "setup.cfg").read_text()
    extra = re.search(r"^doors =\n((?:    .*\n)+)", setup, re.MULTILINE)[1]
    packages = {re.match(r"\w+", name)[0].lower() for name in extra.split()}
    readers = {re.match(r"`(\w+)", reader)[1] for reader in ROWS}
    assert list(ROWS) == list(MAKERS)
    assert packages == readers - {"scipy"} | {"pyarrow"}
