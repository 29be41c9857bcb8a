"""What is measured of a model."""

from hookline.metrics.mean import CrossEntropyLoss, TopK
from hookline.metrics.metric import Metric
from hookline.metrics.scores import Outputs, Samples, Scores

__all__ = ["CrossEntropyLoss", "Metric", "Outputs", "Samples", "Scores", "TopK"]
