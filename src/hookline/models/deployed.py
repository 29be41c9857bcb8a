"""The form of a model that is deployed: branches and normalisation merged into one convolution where that is the same.

RepVGG (Ding et al., 2021), MobileOne (Vasu et al., 2022) and their like train with parallel branches that compute a
linear map together, and so can be replaced by one convolution with the same outputs.
"""

from __future__ import annotations

from timm.models import reparameterize_model
from torch import nn


def deployed_form(model: nn.Module) -> nn.Module:
    """Return a copy of the model in eval mode with all merged that its modules know how to merge.

    These are timm's modules with `fuse`, `reparameterize` or `switch_to_deploy`, and anyone's with such a method.
    A model without them comes back as a copy.
    """
    merged: nn.Module = reparameterize_model(model.eval(), inplace=False)
    return merged.eval()
