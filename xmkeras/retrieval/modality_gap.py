"""The gap between two modalities in one space: a linear probe as a number, t-SNE as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.plots import INK, MUTED, new_figure

Pair = tuple[EmbeddingSet, EmbeddingSet]

_FOLDS = 5
_POINTS_A_SIDE = 500
_MODALITY_COLOURS = ("#2563eb", "#d97706")


def probe_accuracy(images: EmbeddingSet, texts: EmbeddingSet) -> float:
    """How well a linear probe tells images from texts, in percent: 50 is no gap, 100 a plane between the two.

    The accuracy of a ridge classifier on standardised vectors, by cross-validation in five folds, where an image
    and its texts lie in the same fold; both modalities weigh the same. Raises ValueError for fewer than five images.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors = np.concatenate([images.vectors, texts.vectors]).astype(np.float64)
    is_text = np.repeat([0, 1], [len(images), len(texts)])
    _, groups = np.unique(np.concatenate([images.ids, texts.ids]), return_inverse=True)
    probe = make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced"))
    guesses = cross_val_predict(probe, vectors, is_text, groups=groups, cv=GroupKFold(_FOLDS))
    return 100.0 * float(np.mean([np.mean(guesses[is_text == side] == side) for side in (0, 1)]))


def tsne_figure(spaces: Mapping[str, Pair], label_names: Sequence[str], *, seed: int = 0) -> Figure:
    """t-SNE of the images and texts of each space, coloured by class above and by modality below.

    Args:
        spaces: title -> images and texts in one space, such as "before" and "after"; at most 500 of each are drawn,
            spread evenly, the same ones in every space of one split.
        label_names: the name of each label.
        seed: of t-SNE.
    """
    figure = new_figure(5.2 * len(spaces) + 1.8, 9)
    axes = figure.subplots(2, len(spaces), squeeze=False)
    for column, (title, (images, texts)) in enumerate(spaces.items()):
        parts = [_thinned(images), _thinned(texts)]
        points = _project(np.concatenate([part.vectors for part in parts]), seed)
        labels = np.concatenate([part.labels for part in parts])
        modality = np.repeat([0, 1], [len(part) for part in parts])
        _scatter(axes[0, column], points, labels, modality, label_names)
        _by_modality(axes[1, column], points, modality)
        axes[0, column].set_title(f"{title}: by class", loc="left", fontsize=11, color=INK, fontweight="bold")
        axes[1, column].set_title(f"{title}: by modality", loc="left", fontsize=11, color=INK, fontweight="bold")
    for row in range(2):
        axes[row, -1].legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, labelcolor=INK, markerscale=2
        )
    figure.tight_layout()
    return figure


def _project(vectors: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(vectors) - 1) / 3))
    projected: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        np.asarray(vectors, np.float32)
    )
    return projected


def _thinned(items: EmbeddingSet) -> EmbeddingSet:
    if len(items) <= _POINTS_A_SIDE:
        return items
    return items.take(np.linspace(0, len(items) - 1, _POINTS_A_SIDE).round().astype(int))


def _scatter(
    axes: Axes, points: np.ndarray, labels: np.ndarray, modality: np.ndarray, label_names: Sequence[str]
) -> None:
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(label_names) <= 10 else "tab20"]
    for label in np.unique(labels):
        for side, marker in enumerate(("o", "^")):
            chosen = points[(labels == label) & (modality == side)]
            name = label_names[label] if side == 0 and label < 20 else None
            colour = colours(int(label) % colours.N)
            axes.scatter(chosen[:, 0], chosen[:, 1], s=7, marker=marker, color=colour, label=name, linewidths=0)
    _bare(axes)


def _by_modality(axes: Axes, points: np.ndarray, modality: np.ndarray) -> None:
    for side, (name, marker) in enumerate((("images", "o"), ("texts", "^"))):
        chosen = points[modality == side]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=7, marker=marker, color=_MODALITY_COLOURS[side], label=name, linewidths=0
        )
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(MUTED)
    axes.spines[:].set_linewidth(0.4)
