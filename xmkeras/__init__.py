"""Cross-modal (image and text) embeddings with TensorFlow and Keras 3: train, measure, export, search."""

__version__ = "0.1.0"
