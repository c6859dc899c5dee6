"""What the report of a run over feature pairs shows beside the tables: precision over scope, and the modality gap."""

from __future__ import annotations

from xmkeras import assembly
from xmkeras.config import Config
from xmkeras.evaluation import Evaluator, Measured
from xmkeras.retrieval.embeddings import EmbeddingSet
from xmkeras.retrieval.modality_gap import probe_accuracy, tsne_figure
from xmkeras.retrieval.report import Picture, Section
from xmkeras.retrieval.scope_plot import precision_scope_figure
from xmkeras.run import RunDirectory

_FEWEST = 5


def feature_sections(config: Config, run: RunDirectory, split: str, measured: Measured) -> list[Section]:
    """Sections of the report, and their numbers put into `measured.results`.

    "Before" are the towers with their first weights, "after" those of the run; both embed `split`.
    """
    curves = precision_scope_figure({run.path.name: measured.curves})
    sections = [Section("Precision over scope", "", (Picture("scope", "Precision among the first K answers", curves),))]
    if len(measured.images) < _FEWEST:
        return sections
    table = assembly.load_table(config)
    train = table.split("train")
    untrained = assembly.build_method(config, assembly.feature_inputs(train), train.num_labels)
    before = Evaluator(config, table.split(split), untrained, run.embeddings(f"{split}-untrained")).embed()
    shared = untrained.retrieval_towers.embedding_dim - untrained.retrieval_towers.private_dims
    spaces = {
        "before training": (_first(before[0], shared), _first(before[1], shared)),
        "after training": (_first(measured.images, shared), _first(measured.texts, shared)),
    }
    gaps = {name: probe_accuracy(*space) for name, space in spaces.items()}
    for name, value in gaps.items():
        measured.results[f"modality_probe/{name.replace(' ', '_')}"] = value
    cases = " and ".join(f"{value:.1f} % of the cases {name}" for name, value in gaps.items())
    text = f"A linear probe tells images from texts in {cases}; 50 % would be no gap."
    figure = tsne_figure(spaces, table.label_names, seed=config.train.seed)
    picture = Picture("space", "t-SNE of images and texts before and after training, by class and by modality", figure)
    return [*sections, Section("The space", text, (picture,))]


def _first(items: EmbeddingSet, dims: int) -> EmbeddingSet:
    """The items in their first dimensions, without those that tell nothing but the modality."""
    return EmbeddingSet(items.ids, items.labels, items.vectors[:, :dims])
