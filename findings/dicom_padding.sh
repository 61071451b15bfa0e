#!/usr/bin/env bash
# A DICOM waveform names the number that stands for a missing sample
# (WaveformPaddingValue). pydicom scales it like a sample: a gap becomes a spike of
# -82 mV in an ECG of a few uV.
#
# Version: pydicom 3.0.2, 2026-11-29
# Expected: NaN or a mask.
# Output:
#     [2.5, -81920.0, 7.5]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pydicom==3.0.2 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage

unit = Dataset()
unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "uV"
channel = Dataset()
channel.ChannelSensitivity = 2.5
channel.ChannelSensitivityUnitsSequence = [unit]
channel.ChannelSensitivityCorrectionFactor = 1
channel.ChannelBaseline = 0
channel.WaveformBitsStored = 16
ecg = Dataset()
ecg.NumberOfWaveformChannels = 1
ecg.NumberOfWaveformSamples = 3
ecg.SamplingFrequency = 500
ecg.ChannelDefinitionSequence = [channel]
ecg.WaveformBitsAllocated = 16
ecg.WaveformSampleInterpretation = "SS"
ecg.WaveformPaddingValue = np.array([-32768], "<i2").tobytes()
ecg.WaveformData = np.array([1, -32768, 3], "<i2").tobytes()
file = Dataset()
file.file_meta = FileMetaDataset()
file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
file.SOPClassUID = TwelveLeadECGWaveformStorage
file.SOPInstanceUID = "1.2.3"
file.WaveformSequence = [ecg]
file.save_as("x.dcm", enforce_file_format=True)

values = dcmread("x.dcm").waveform_array(0).ravel()
print(values.tolist())
assert values.tolist() == [2.5, -81920, 7.5]
END
