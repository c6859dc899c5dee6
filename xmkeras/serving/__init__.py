"""From trained towers to answers: the SavedModel, a client for it, and search."""

from xmkeras.serving.client import SearchModel
from xmkeras.serving.saved_model import export_saved_model

__all__ = ["SearchModel", "export_saved_model"]
