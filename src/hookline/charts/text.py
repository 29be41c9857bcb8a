"""Draw curves with characters, for a terminal without a display."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

LETTERS = string.ascii_letters

# A Braille character is 2 dots wide and 4 high; the bit of each dot, by row and column.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def draw_text(
    series: Sequence[Sequence[float]],
    iters_per_epoch: int,
    *,
    names: Sequence[str] = (),
    label: str = "lr",
    width: int = 60,
    height: int = 12,
) -> str:
    """Return the curves drawn in `width` by `height` characters, with its scales around it.

    Several curves with names have a letter each, where they are farthest from the others.

    Args:
        series: curves, each with one value per iteration from iteration 0; drawn over each other.
        iters_per_epoch: iterations in an epoch.
        names: the curves' names.
        label: what the values are.
        width: characters across, without the scale.
        height: lines, without the scale.
    """
    longest = max(len(values) for values in series)
    high = max(max(values) for values in series)
    low = min(0.0, *(min(values) for values in series))
    if high == low:
        high = low + 1.0
    dots = [[0] * width for _ in range(height)]
    columns, rows = 2 * width, 4 * height

    def row_of(value: float) -> int:
        return round((high - value) / (high - low) * (rows - 1))

    for values in series:
        before = None
        for x in range(columns):
            start = x * longest // columns
            stretch = values[start : max(start + 1, (x + 1) * longest // columns)]
            if not stretch:
                break
            # Every dot between the stretch's lowest and highest value, and down or up from where the last one ended.
            marks = [row_of(max(stretch)), row_of(min(stretch))]
            if before is not None:
                marks.append(before)
            before = row_of(stretch[-1])
            for y in range(min(marks), max(marks) + 1):
                dots[y // 4][x // 2] |= _BITS[y % 4][x % 2]

    cells = [[chr(0x2800 + cell) if cell else " " for cell in row] for row in dots]
    named = dict(zip(LETTERS, names, strict=False)) if len(series) > 1 else {}
    for letter, values in zip(named, series, strict=False):
        x = _most_apart(values, [other for other in series if other is not values], longest, width)
        cells[row_of(values[_middle(x, longest, width)]) // 4][x] = letter

    ticks = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    if height >= 7:
        ticks[(height - 1) // 2] = f"{high - (high - low) * (4 * ((height - 1) // 2) + 1.5) / (rows - 1):.3g}"
    margin = max(len(label), *(len(tick) for tick in ticks.values()))
    lines = [f"{label:>{margin}}"]
    for y, row in enumerate(cells):
        lines.append(f"{ticks.get(y, ''):>{margin}} {'┤' if y in ticks else '│'}{''.join(row).rstrip()}")
    lines.append(f"{'':>{margin}} └{'─' * width}")
    epochs = f"{longest / iters_per_epoch:.4g}"
    lines.append(f"{'epoch':>{margin}}  0{epochs:>{width - 1}}")
    lines.append(f"{'iter':>{margin}}  0{longest:>{width - 1}}")
    lines += [f"{letter:>{margin}}  {name}" for letter, name in named.items()]
    return "\n".join(lines)


def _middle(x: int, longest: int, width: int) -> int:
    """Return the iteration that is drawn in the middle of a column."""
    return (2 * x + 1) * longest // (2 * width)


def _most_apart(values: Sequence[float], others: Sequence[Sequence[float]], longest: int, width: int) -> int:
    """Return the column in which a curve is farthest from the nearest other one."""

    def room(x: int) -> float:
        i = _middle(x, longest, width)
        return min((abs(values[i] - other[i]) for other in others if i < len(other)), default=math.inf)

    return max((x for x in range(width) if _middle(x, longest, width) < len(values)), key=room)
