"""Run by test_metric_learning.py: values and gradients of PyTorch Metric Learning on the arrays of inputs.npz."""

from __future__ import annotations

import sys

import numpy as np

try:
    import torch
    from pytorch_metric_learning import distances, losses, miners
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

inputs = np.load("inputs.npz")
outputs = {}
labels = torch.tensor(inputs["labels"])
references, reference_labels = torch.tensor(inputs["z"]), torch.tensor(inputs["reference_labels"])


def record(name: str, loss, key: str = "x") -> None:
    x = torch.tensor(inputs[key], requires_grad=True)
    value = loss(x)
    value.backward()
    outputs[name], outputs[f"{name} gradient"] = value.detach().numpy(), x.grad.numpy()


def triplet(x, margin, *others):
    chosen = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")(x, labels, *others)
    reference = {"ref_emb": others[0], "ref_labels": others[1]} if others else {}
    return losses.TripletMarginLoss(margin=margin)(x, labels, chosen, **reference)


for margin in (0.01, 0.2):
    record(f"triplet {margin}", lambda x, margin=margin: triplet(x, margin))
record("triplet references", lambda x: triplet(x, 0.2, references, reference_labels))
record("angular", lambda x: losses.AngularLoss(alpha=40)(x, labels))
record(
    "angular references",
    lambda x: losses.AngularLoss(alpha=45)(x, labels, ref_emb=references, ref_labels=reference_labels),
)
n = torch.arange(len(labels))
# Left to itself it draws which of a class's samples is the anchor.
raw_products = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
chosen_pairs = (n, n + len(n), n[:0], n[:0])
record("n_pair", lambda x: raw_products(x, n.repeat(2), chosen_pairs), "pairs")
record("histogram", lambda x: losses.HistogramLoss(n_bins=20)(x, labels))
proxies = losses.ProxyNCALoss(len(inputs["proxies"]), inputs["x"].shape[1], softmax_scale=1)
proxies.proxies.data = torch.tensor(inputs["proxies"])
record("proxy_nca", lambda x: proxies(x, labels))
outputs["proxy_nca proxies"] = proxies.proxies.grad.numpy()
anchors = losses.ProxyAnchorLoss(len(inputs["proxies"]), inputs["x"].shape[1])
anchors.proxies.data = torch.tensor(inputs["proxies"])
record("proxy_anchor", lambda x: anchors(x, labels))
outputs["proxy_anchor proxies"] = anchors.proxies.grad.numpy()
softmax = losses.NormalizedSoftmaxLoss(len(inputs["proxies"]), inputs["x"].shape[1])
softmax.W.data = torch.tensor(inputs["proxies"].T)
record("norm_softmax", lambda x: softmax(torch.nn.functional.normalize(x), labels))
centers = losses.SoftTripleLoss(*inputs["centers"].shape[::2], centers_per_class=inputs["centers"].shape[1])
centers.fc.data = torch.tensor(inputs["centers"]).reshape(-1, inputs["x"].shape[1]).T.contiguous()
record("soft_triple", lambda x: centers(x, labels))
mined = miners.MultiSimilarityMiner(epsilon=0.1)
similarity = losses.MultiSimilarityLoss()
record("multi_similarity", lambda x: similarity(x, labels, mined(x, labels)))
record("multi_similarity all", lambda x: similarity(x, labels))
record(
    "multi_similarity references",
    lambda x: similarity(x, labels, mined(x, labels, references, reference_labels), references, reference_labels),
)
record("supcon", lambda x: losses.SupConLoss()(x, labels))
record("supcon references", lambda x: losses.SupConLoss()(x, labels, None, references, reference_labels))
np.savez("outputs.npz", **outputs)
