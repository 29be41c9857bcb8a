"""Where the first number that is not finite comes from: the module, in the forward or in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class FirstNonFinite:
    """Watch a model, and note where the first NaN or infinity arises.

    While it is attached, each module's output is looked at in the order of the forward pass, so that a module is named
    before those that hold it; and in the backward pass the gradients of each module's output, input and parameters, in
    the order in which they come up. Of a module in whose backward pass it arises the output's gradient is finite, and
    the input's or a parameter's is not. Every look waits for the device.

    Attributes:
        found: where it arose, such as `the output of layer1.0.conv1 (Conv2d) in the forward pass`; empty as long as all
            is finite.
        detail: what else is known, such as the range of the module's input.
        backward: whether it arose in the backward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.found = self.detail = ""
        self.backward = False
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> FirstNonFinite:
        for name, module in self.model.named_modules():
            told = f"{name or 'the model'} ({type(module).__name__})"
            self._handles.append(module.register_forward_pre_hook(self._before(told, name)))
            self._handles.append(module.register_forward_hook(self._after(told)))
            for key, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad:
                    self._handles.append(parameter.register_hook(self._gradient(f"{told}, of its {key}")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def note(self, found: str, detail: str = "", *, backward: bool = False) -> None:
        """Note where it arose, if it is the first time."""
        if not self.found:
            self.found, self.detail, self.backward = found, detail, backward

    def clear(self) -> None:
        """Forget what was found."""
        self.found, self.detail, self.backward = "", "", False

    def _before(self, told: str, name: str) -> Any:
        def look(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not name and not self.found and not all(map(_finite, tensors_in(inputs))):
                self.note("the images that go into the model")
            first = inputs[0] if inputs else None
            if not isinstance(first, Tensor) or not first.requires_grad or next(module.children(), None) is not None:
                return None
            if getattr(module, "inplace", False):  # what a module changes in place is not its own input any more
                return None
            # A view of the input's own has the gradient of what this module does with it, and not of what others do.
            own = first.view_as(first)
            own.register_hook(self._gradient(f"{told}, of its input"))
            return (own, *inputs[1:])

        return look

    def _after(self, told: str) -> Any:
        def look(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
            for output in tensors_in(outputs):
                if not self.found and not _finite(output):
                    parameters = _range(list(module.parameters(recurse=False)))
                    detail = f"its input {_range(inputs)}, its parameters {parameters}"
                    self.note(f"the output of {told} in the forward pass", detail)
                if output.requires_grad:
                    output.register_hook(self._gradient(f"what follows {told}, of its output"))

        return look

    def _gradient(self, told: str) -> Any:
        def look(gradient: Tensor) -> None:
            if not self.found and not _finite(gradient):
                self.note(f"the gradient that comes, in the backward pass, from {told}", backward=True)

        return look


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of floating-point numbers in a value: itself, or what a list, tuple or dict holds."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, list | tuple | dict):
        for child in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(child)


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())


def _range(value: Any) -> str:
    found = [tensor.detach() for tensor in tensors_in(value) if tensor.numel()]
    if not found:
        return "are none"
    if not all(map(_finite, found)):
        return "not all finite"
    low, high = (op(torch.stack([op(t).float() for t in found])).item() for op in (torch.min, torch.max))
    return f"in [{low:.3g}, {high:.3g}]"
