"""What is measured of a model."""

from hookline.metrics.mean import CrossEntropyLoss, TopK
from hookline.metrics.metric import Metric

__all__ = ["CrossEntropyLoss", "Metric", "TopK"]
