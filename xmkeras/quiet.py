"""Keeps TensorFlow's start-up notes off the terminal, where they bury what a command has to say."""

from __future__ import annotations

import os
import sys


def import_tensorflow() -> None:
    """Imports TensorFlow and touches its devices with the C++ side's standard error shut.

    TensorFlow 2.21 writes its first notes before it reads TF_CPP_MIN_LOG_LEVEL. Python's own errors still show, and
    XMKERAS_TF_NOTES=1 lets everything through.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or os.environ.get("XMKERAS_TF_NOTES"):
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import tensorflow as tf

        tf.config.list_physical_devices()
        import keras  # noqa: F401 (looks for further devices)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
