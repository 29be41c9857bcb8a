"""Any transform of torchvision's v2 as a per-sample transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torchvision.transforms import v2

from hookline.config.errors import ParameterError
from hookline.data.transforms.sample.base import SampleTransform

# All of torch's functions that draw from its global generator unless they are given another.
_DRAWING = frozenset(
    {
        *(torch.bernoulli, torch.multinomial, torch.normal, torch.poisson, torch.rand, torch.randint, torch.randn),
        *(torch.randperm, torch.rand_like, torch.randint_like, torch.randn_like, torch._sample_dirichlet),
        *(Tensor.bernoulli, Tensor.bernoulli_, Tensor.cauchy_, Tensor.exponential_, Tensor.geometric_),
        *(Tensor.log_normal_, Tensor.multinomial, Tensor.normal_, Tensor.random_, Tensor.uniform_),
    }
)


class OwnGenerator(TorchFunctionMode):
    """Inside this context torch draws from another generator, in this thread alone.

    To seed torch's global generator under a lock would keep the threads that transform apart, but not the one that
    trains: what dropout draws on the CPU would depend on when a worker had the lock.

    Args:
        seed: of the generator, which is made only if something is drawn.
    """

    def __init__(self, seed: Callable[[], int]) -> None:
        super().__init__()
        self.seed = seed
        self.generator: torch.Generator | None = None

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        arguments = dict(kwargs or {})
        if func in _DRAWING and arguments.get("generator") is None:
            if self.generator is None:
                self.generator = torch.Generator().manual_seed(self.seed())
            arguments["generator"] = self.generator
        return func(*args, **arguments)


class V2Transform(SampleTransform):
    """Apply a transform of `torchvision.transforms.v2`, with random numbers that come from the sample's generator.

    One that draws from another place than torch's global generator, as a user's own may, is not made repeatable by
    this; it is better written as a `SampleTransform`.

    Args:
        transform: what is applied; it has to give uint8 images.
    """

    def __init__(self, transform: v2.Transform) -> None:
        self.transform = transform
        kind = type(transform)
        # Of torchvision's own, those that draw have one of these two methods anew.
        self.draws = kind.make_params is not v2.Transform.make_params or kind.forward is not v2.Transform.forward

    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        with OwnGenerator(lambda: int(random.integers(2**63))):
            result = self.transform(image)
        if not isinstance(result, Tensor) or result.dtype != torch.uint8 or result.ndim != 3:
            name = type(self.transform).__name__
            kind = getattr(result, "dtype", type(result).__name__)
            raise ParameterError("_target_", name, f"a transform that gives uint8 images [C, H, W], not {kind}")
        return result
