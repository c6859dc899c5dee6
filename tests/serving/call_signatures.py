"""Calls every signature of a SavedModel with TensorFlow alone; run as a script in a process of its own.

    python call_signatures.py SAVED_MODEL_DIR INPUTS.npz OUTPUTS.npz [--block]

INPUTS.npz holds `text` and `image_bytes` as arrays of uint8 rows, `text/0`, `text/1`, ...; OUTPUTS.npz gets
`signature/output` for all of them. With --block, Keras, this package and all that registers operations beside
TensorFlow cannot be imported, as if they were not installed.
"""

from __future__ import annotations

import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder

BLOCKED = {"keras", "keras_hub", "keras_nlp", "tensorflow_text", "tf_keras", "xmkeras"}


class Finder(PathFinder):
    """Finds what the path holds, but for the blocked packages."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.split(".")[0] in BLOCKED else super().find_spec(fullname, path, target)


def main(model: str, inputs: str, outputs: str) -> None:
    import numpy as np
    import tensorflow as tf

    given = np.load(inputs)
    rows = {"k": tf.constant(2)}
    for name in ("text", "image_bytes"):
        count = sum(key.startswith(f"{name}/") for key in given.files)
        rows[name] = tf.constant([given[f"{name}/{row}"].tobytes() for row in range(count)], tf.string)
    loaded = tf.saved_model.load(model)
    answers = {}
    for signature, function in loaded.signatures.items():
        for output, value in function(**{k: rows[k] for k in function.structured_input_signature[1]}).items():
            value = value.numpy()
            answers[f"{signature}/{output}"] = value.astype(bytes) if value.dtype == object else value
    np.savez(outputs, **answers)
    print("imported:", *sorted(BLOCKED & set(sys.modules)))


if __name__ == "__main__":
    if "--block" in sys.argv:
        sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Finder]
        sys.argv.remove("--block")
    main(*sys.argv[1:])
