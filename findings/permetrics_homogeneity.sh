#!/usr/bin/env bash
# permetrics' homogeneity leaves out the clusters beyond the number of classes, so that
# random clusters look pure if there are many of them. Completeness leaves out classes
# in the same way, and the V-measure follows both.
#
# Version: permetrics 2.1.0, scikit-learn 1.9.1, 2026-11-29
# Expected: near 0 for random clusters.
# Output:
#     3 classes, 3 clusters: homogeneity 0.002 (scikit-learn 0.002)
#     3 classes, 6 clusters: homogeneity 0.504 (scikit-learn 0.004)
#     3 classes, 12 clusters: homogeneity 0.759 (scikit-learn 0.026)
#     12 classes, 3 clusters: completeness 0.759 (scikit-learn 0.026)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    permetrics==2.1.0 scikit-learn==1.9.1 numpy==2.3.5
venv/bin/python - <<'END'
import numpy as np
from permetrics import ClusteringMetric
from sklearn.metrics import completeness_score, homogeneity_score

rng = np.random.default_rng(0)
three = rng.integers(3, size=600)
for n_clusters in [3, 6, 12]:
    many = rng.integers(n_clusters, size=600)
    score = ClusteringMetric(y_true=three, y_pred=many).homogeneity_score()
    other = homogeneity_score(three, many)
    text = f"homogeneity {score:.3f} (scikit-learn {other:.3f})"
    print(f"3 classes, {n_clusters} clusters: {text}")
    assert other < 0.03 and (score > 0.4) == (n_clusters > 3)
score = ClusteringMetric(y_true=many, y_pred=three).completeness_score()
other = completeness_score(many, three)
print(f"12 classes, 3 clusters: completeness {score:.3f} (scikit-learn {other:.3f})")
assert score > 0.4 and other < 0.03
END
