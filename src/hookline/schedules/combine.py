"""Curves made of curves: one after the other, or multiplied."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

from hookline.config.checks import check_number
from hookline.config.errors import ParameterError, did_you_mean
from hookline.schedules.clock import Clock
from hookline.schedules.curve import Curve, Floor
from hookline.schedules.length import LENGTH, Length, exact_length, nearest, parse_length


@dataclass(frozen=True, slots=True)
class Part:
    """One curve of a `Sequential`, from `begin` to `end` (both counted from the run's start), base times `factor`."""

    curve: Curve
    begin: Length | None = None
    end: Length | None = None
    factor: float = 1.0


class Sequential(Curve):
    """One curve after the other: from each part's `begin` to its `end` its curve runs as if that were the whole run.

    So a cosine in the second half falls to its floor over that half. Every part starts again from the base value,
    times its `factor`.

    Args:
        parts: what to run in turn, each a mapping of
            `curve`: the curve (with a warm-up of its own if it is a `WarmUp`);
            `end`: where it ends, counted from the start of the run; the run's end if not given, for the last only;
            `begin`: where it begins; if given it must be the end of the part before;
            `factor`: what its base value is multiplied with, 1 if not given.
        by_epoch: `begin` and `end` without a unit count epochs; else iterations.
    """

    def __init__(self, parts: Sequence[Mapping[str, Any]], *, by_epoch: bool = True) -> None:
        super().__init__(by_epoch=by_epoch)
        if not parts:
            raise ParameterError("parts", [], "a list with at least one part")
        self.parts = [_part(f"parts[{k}]", part, last=k == len(parts) - 1) for k, part in enumerate(parts)]

    def _fit(self, given: Self, clock: Clock) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._clocks: list[Clock] = []
        self.parts = []
        start = 0
        for k, part in enumerate(given.parts):
            end = clock.max_iters if part.end is None else self._iters(part.end, clock)
            begin = start if part.begin is None else self._iters(part.begin, clock)
            if begin != start:
                raise ParameterError(
                    f"parts[{k}].begin", part.begin, f"where the part before ends, at iteration {start} of the run"
                )
            if end < begin or (end == begin and isinstance(part.end, int)):
                raise ParameterError(
                    f"parts[{k}].end", part.end, f"after its begin, which is iteration {begin}; it is iteration {end}"
                )
            if end > begin:  # a share of the run may round to nothing
                own = Clock.for_run(clock.iters_per_epoch, max_iters=end - begin)
                curve = _named(f"parts[{k}].curve", partial(part.curve.for_run, own))
                self.parts.append(replace(part, curve=curve))
                self._starts.append(begin)
                self._ends.append(end)
                self._clocks.append(own)
            start = end
        if start < clock.max_iters:
            raise ParameterError(
                f"parts[{len(given.parts) - 1}].end",
                given.parts[-1].end,
                f"not before the run's end: it is iteration {start} of {clock.max_iters}",
            )

    def _iters(self, length: Length, clock: Clock) -> int:
        if isinstance(length, int):
            return length * clock.iters_per_epoch if self.by_epoch else length
        return nearest(exact_length(length, clock, by_epoch=False))

    def for_group(self, index: int, count: int) -> Curve:
        curves = [
            _named(f"parts[{k}].curve", partial(part.curve.for_group, index, count))
            for k, part in enumerate(self.parts)
        ]
        if all(curve is part.curve for curve, part in zip(curves, self.parts, strict=True)):
            return self
        other = copy(self)
        other.parts = [replace(part, curve=curve) for curve, part in zip(curves, self.parts, strict=True)]
        return other

    def floors(self) -> dict[str, Floor]:
        return {
            f"parts[{k}].curve.{name}": Floor(floor.value, floor.factor * part.factor)
            for k, part in enumerate(self.parts)
            for name, floor in part.curve.floors().items()
        }

    def __call__(self, base_value: float, clock: Clock) -> float:
        i = clock.iter
        k = bisect_right(self._ends, i)
        part = self.parts[k]
        return part.curve(base_value * part.factor, self._clocks[k].at(i - self._starts[k], clock.history))


class Chain(Curve):
    """Curves multiplied: `b (c_1(b) / b) (c_2(b) / b) ...`, each as it is from the base value on its own.

    Args:
        curves: the curves.
        by_epoch: each curve has its own; this one says nothing.
    """

    def __init__(self, curves: Sequence[Curve], *, by_epoch: bool = True) -> None:
        super().__init__(by_epoch=by_epoch)
        if not curves:
            raise ParameterError("curves", [], "a list with at least one curve")
        for k, curve in enumerate(curves):
            _check_curve(f"curves[{k}]", curve)
        self.curves = list(curves)

    def _fit(self, given: Self, clock: Clock) -> None:
        self.curves = [_named(f"curves[{k}]", partial(c.for_run, clock)) for k, c in enumerate(given.curves)]

    def for_group(self, index: int, count: int) -> Curve:
        curves = [_named(f"curves[{k}]", partial(c.for_group, index, count)) for k, c in enumerate(self.curves)]
        if all(new is old for new, old in zip(curves, self.curves, strict=True)):
            return self
        other = copy(self)
        other.curves = curves
        return other

    def floors(self) -> dict[str, Floor]:
        return {
            f"curves[{k}].{name}": floor
            for k, curve in enumerate(self.curves)
            for name, floor in curve.floors().items()
        }

    def __call__(self, base_value: float, clock: Clock) -> float:
        value = self.curves[0](base_value, clock)
        if base_value == 0:  # there is no ratio to a base of nothing
            return value
        for curve in self.curves[1:]:
            value *= curve(base_value, clock) / base_value
        return value


def _part(name: str, given: Mapping[str, Any], *, last: bool) -> Part:
    if not isinstance(given, Mapping):
        raise ParameterError(name, given, "a mapping with the keys curve and end")
    known = ("curve", "begin", "end", "factor")
    for key in given:
        if key not in known:
            raise ParameterError(
                f"{name}.{key}", given[key], f"left out: a part has {', '.join(known)}.{did_you_mean(key, known)}"
            )
    _check_curve(f"{name}.curve", given.get("curve"))
    begin, end, factor = given.get("begin"), given.get("end"), given.get("factor", 1.0)
    if end is None and not last:
        raise ParameterError(f"{name}.end", None, f"{LENGTH}; only the last part may leave it out")
    check_number(f"{name}.factor", factor, gt=0)
    return Part(
        curve=given["curve"],
        begin=None if begin is None else parse_length(f"{name}.begin", begin, zero=True, expected=f"0, or {LENGTH}"),
        end=None if end is None else parse_length(f"{name}.end", end),
        factor=factor,
    )


def _check_curve(name: str, value: object) -> None:
    if not isinstance(value, Curve):
        raise ParameterError(
            name, value, "a curve: a mapping whose _target_ names a subclass of hookline.schedules.Curve"
        )


def _named(prefix: str, get: Callable[[], Curve]) -> Curve:
    """Return what `get` returns; a `ParameterError` in it names the parameter by its place in the combination."""
    try:
        return get()
    except ParameterError as error:
        raise ParameterError(f"{prefix}.{error.name}", error.value, error.expected) from error
