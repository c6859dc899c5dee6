"""BERT's tokenizer made of TensorFlow Text's operations, for models that are served where these are at hand."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from xmkeras.data.wordpiece import CONTINUED, LONGEST_WORD, UNK, WordPieceTokenizer
from xmkeras.errors import UserError

NAME = "tf_text"


class TfTextTokenizer(tf.Module):
    """What `FastBertTokenizer` makes of texts: strings (batch,) -> int32 ids (batch, length), framed and padded alike.

    On plain captions the ids are those of `WordPieceTokenizer`. They differ on compatibility characters (ligatures and
    full-width forms: TensorFlow Text takes them to pieces, the published tokenizers do not), on control
    characters (they end a word there and vanish here), and on words of at most 100 letters in more than 100 bytes.

    Args:
        tokenizer: the one that the model was trained with.

    Raises:
        UserError: TensorFlow Text is missing, or the model wants lower case with accents, or accents stripped without.
    """

    def __init__(self, tokenizer: WordPieceTokenizer):
        super().__init__(name="tokenizer")
        lower, strip = tokenizer.lower_case, tokenizer.strip_accents
        if strip is not None and strip != lower:
            raise UserError(
                f"--export_tokenizer={NAME} lower-cases and strips accents together or not at all, and this BERT has "
                f"lower_case={lower} with strip_accents={strip}; export it with --export_tokenizer=core."
            )
        self._frame = tokenizer.frame
        self._config = tokenizer.get_config()
        self._tokenizer = import_tf_text().FastBertTokenizer(
            vocab=tokenizer.vocabulary,
            suffix_indicator=CONTINUED,
            max_bytes_per_word=LONGEST_WORD,
            token_out_type=tf.int32,
            unknown_token=UNK,
            lower_case_nfd_strip_accents=lower,
        )

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return self._frame(self._tokenizer.tokenize(texts))

    def get_config(self) -> dict[str, Any]:
        """All that decides the ids."""
        return {**self._config, "operations": NAME}


def exported_tokenizer(tokenizer: Any, name: str) -> Any:
    """The tokenizer that leaves with a model: the model's own for the name "core", TensorFlow Text's for "tf_text".

    Raises:
        UserError: TensorFlow Text's cannot stand in for it, or is missing.
    """
    if name != NAME:
        return tokenizer
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise UserError(
            f"--export_tokenizer={name} is for a text tower with BERT, and this model has none; leave the flag away."
        )
    return TfTextTokenizer(tokenizer)


def import_tf_text() -> Any:
    """The module `tensorflow_text`, whose import brings TensorFlow its operations.

    Raises:
        UserError: it is not installed, or not the one of this TensorFlow.
    """
    try:
        import tensorflow_text
    except (ImportError, tf.errors.NotFoundError) as error:
        raise UserError(
            f"A tokenizer of TensorFlow Text needs the package of TensorFlow {tf.__version__}: "
            'pip install "xmkeras[tf_text]".'
        ) from error
    return tensorflow_text
