"""The contenders of the loss benchmark: forward and backward of each loss, ours and its PyTorch twin.

A twin is the same function in PyTorch Metric Learning, or else the nearest of its kind, which is named so. Ours run
inside tf.function, with `jit` compiled by XLA. Each returns its value and whether all gradients are finite.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tools import benchmark_worker

Run = Callable[[], dict[str, float]]
Inputs = types.SimpleNamespace
_OF_A_CLASS = 4
_TOKENS = 4


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss: what of the inputs gets gradients, ours (library, inputs), the twin (library, inputs) and its name."""

    name: str
    wanted: tuple[str, ...]
    ours: Callable[[Any, Inputs], Any]
    twin_name: str = ""
    twin: Callable[[Any, Inputs], Any] | None = None


def _pml(name: str, **options: Any) -> Callable[[Any, Inputs], Any]:
    return lambda library, i: getattr(library.losses, name)(**options)(i.x, i.labels)


def _pml_triplet(library: Any, i: Inputs) -> Any:
    mined = library.miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")(i.x, i.labels)
    return library.losses.TripletMarginLoss(margin=0.2, reducer=library.reducers.MeanReducer())(i.x, i.labels, mined)


def _pml_proxies(library: Any, i: Inputs) -> Any:
    loss = library.losses.ProxyNCALoss(*i.proxies.shape, softmax_scale=9)
    del loss.proxies
    loss.proxies = i.proxies
    return loss(i.x, i.labels)


def _pml_softmax(library: Any, i: Inputs) -> Any:
    loss = library.losses.NormalizedSoftmaxLoss(i.weights.shape[1], i.weights.shape[0], temperature=1)
    del loss.W
    loss.W = i.weights
    return loss(i.x, i.labels)


def _pml_n_pair(library: Any, i: Inputs) -> Any:
    both, own = i.stack([i.x, i.z]), i.stack([i.own, i.own])
    raw = library.distances.DotProductSimilarity(normalize_embeddings=False)
    return library.losses.NPairsLoss(distance=raw)(both, own)


def _domain_regulariser(losses: Any, i: Inputs) -> Any:
    classifiers = losses.fit_domain_classifiers(i.words, i.regions)
    errors = losses.domain_error_matrix(i.words, i.regions, *classifiers)
    return losses.domain_regulariser(errors, i.next, i.next)


_X, _XZ = ("x",), ("x", "z")
CASES = (
    Case("cmpm", _XZ, lambda losses, i: losses.cmpm(i.x, i.z, i.labels)),
    Case("cmpc", (*_XZ, "weights"), lambda losses, i: losses.cmpc(i.x, i.z, i.labels, i.weights)),
    Case("softmax_loss", ("x", "weights"), lambda losses, i: losses.softmax_loss(i.x, i.labels, i.weights)),
    Case(
        "norm_softmax",
        ("x", "weights"),
        lambda losses, i: losses.norm_softmax(i.x, i.labels, i.weights),
        "NormalizedSoftmaxLoss (near)",
        _pml_softmax,
    ),
    Case(
        "projection_softmax",
        (*_XZ, "weights"),
        lambda losses, i: losses.projection_softmax(i.x, i.z, i.labels, i.weights),
    ),
    Case("bi_rank, sum", _XZ, lambda losses, i: losses.bi_rank(i.x, i.z)),
    Case("bi_rank, max", _XZ, lambda losses, i: losses.bi_rank(i.x, i.z, negatives="max")),
    Case("n_pair", _XZ, lambda losses, i: losses.n_pair(i.x, i.z), "NPairsLoss", _pml_n_pair),
    Case("histogram", _X, lambda losses, i: losses.histogram(i.x, i.labels), "HistogramLoss", _pml("HistogramLoss")),
    Case(
        "contrastive",
        _X,
        lambda losses, i: losses.contrastive(i.x, i.labels),
        "ContrastiveLoss (near)",
        _pml("ContrastiveLoss"),
    ),
    Case("triplet_semihard", _X, lambda losses, i: losses.triplet_semihard(i.x, i.labels, margin=0.2, normalize=True)),
    Case(
        "triplet_semihard_all",
        _X,
        lambda losses, i: losses.triplet_semihard_all(i.x, i.labels, margin=0.2),
        "TripletMarginLoss, semihard",
        _pml_triplet,
    ),
    Case("angular", _XZ, lambda losses, i: losses.angular(i.x, i.z)),
    Case(
        "angular_all_pairs",
        _X,
        lambda losses, i: losses.angular_all_pairs(i.x, i.labels, normalize="pairs"),
        "AngularLoss",
        _pml("AngularLoss", alpha=45),
    ),
    Case(
        "proxy_nca",
        ("x", "proxies"),
        lambda losses, i: losses.proxy_nca(i.x, i.labels, i.proxies, smoothing=0.0),
        "ProxyNCALoss",
        _pml_proxies,
    ),
    Case("energy_confusion", _X, lambda losses, i: losses.energy_confusion(i.x, i.labels)),
    Case("coupled_correlation", _XZ, lambda losses, i: losses.coupled_correlation(i.x, i.z, i.labels)),
    Case("domain_regulariser", ("words", "regions"), _domain_regulariser),
)


def case(name: str) -> Case:
    return next(one for one in CASES if one.name == name)


def inputs(batch: int, dim: int, seed: int) -> dict[str, np.ndarray]:
    """Standard normal vectors, four of a class; classifiers and proxies for as many classes."""
    generator = np.random.default_rng(seed)
    classes = max(1, batch // _OF_A_CLASS)
    shapes = {
        "x": (batch, dim),
        "z": (batch, dim),
        "weights": (dim, classes),
        "proxies": (classes, dim),
        "words": (batch, _TOKENS, dim),
        "regions": (batch, _TOKENS, dim),
    }
    made = {name: generator.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    rows = np.arange(batch)
    return made | {"labels": rows % classes, "own": rows, "next": (rows + 1) % batch}


def ours(name: str, batch: int, dim: int, seed: int, jit: bool) -> Run:
    """The loss and its gradients in a tf.function."""
    tf = benchmark_worker.tensorflow()
    from xmkeras import losses

    one = case(name)
    values = {key: tf.constant(value) for key, value in inputs(batch, dim, seed).items()}

    @tf.function(jit_compile=jit)
    def step(wanted: list[Any]) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(wanted)
            value = one.ours(losses, Inputs(**values | dict(zip(one.wanted, wanted, strict=True))))
        return value, tape.gradient(value, wanted)

    def run() -> dict[str, float]:
        value, gradients = step([values[key] for key in one.wanted])
        # Reading a number of each waits for what XLA or a thread has not finished.
        return {"value": float(value), "finite": float(all(np.isfinite(g[0].numpy()).all() for g in gradients))}

    return run


def twin(name: str, batch: int, dim: int, seed: int) -> Run:
    """The twin and its gradients, run eagerly as PyTorch Metric Learning is."""
    import pytorch_metric_learning as library
    from pytorch_metric_learning import distances, losses, miners, reducers  # noqa: F401 - attributes of the library

    torch = benchmark_worker.torch()
    one = case(name)
    assert one.twin
    compute = one.twin
    values: dict[str, Any] = {key: torch.from_numpy(value) for key, value in inputs(batch, dim, seed).items()}

    def run() -> dict[str, float]:
        wanted = {key: values[key].detach().requires_grad_() for key in one.wanted}
        as_parameters = {
            key: torch.nn.Parameter(value) if key in ("weights", "proxies") else value for key, value in wanted.items()
        }
        value = compute(library, Inputs(**values | as_parameters, stack=torch.cat))
        value.backward()
        finite = all(bool(torch.isfinite(leaf.grad).all()) for leaf in as_parameters.values() if leaf.grad is not None)
        return {"value": float(value), "finite": float(finite)}

    return run
