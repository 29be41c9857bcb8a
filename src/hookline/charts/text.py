"""Draw curves with characters, for a terminal without a display."""

from __future__ import annotations

from collections.abc import Sequence

# A Braille character is 2 dots wide and 4 high; the bit of each dot, by row and column.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def draw_text(
    series: Sequence[Sequence[float]], iters_per_epoch: int, *, label: str = "lr", width: int = 60, height: int = 12
) -> str:
    """Return the curves drawn in `width` by `height` characters, with its scales around it.

    Args:
        series: curves, each with one value per iteration from iteration 0; drawn over each other.
        iters_per_epoch: iterations in an epoch.
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

    ticks = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    if height >= 7:
        ticks[(height - 1) // 2] = f"{high - (high - low) * (4 * ((height - 1) // 2) + 1.5) / (rows - 1):.3g}"
    margin = max(len(label), *(len(tick) for tick in ticks.values()))
    lines = [f"{label:>{margin}}"]
    for y, row in enumerate(dots):
        drawn = "".join(chr(0x2800 + cell) if cell else " " for cell in row)
        lines.append(f"{ticks.get(y, ''):>{margin}} {'┤' if y in ticks else '│'}{drawn.rstrip()}")
    lines.append(f"{'':>{margin}} └{'─' * width}")
    epochs = f"{longest / iters_per_epoch:.4g}"
    lines.append(f"{'epoch':>{margin}}  0{epochs:>{width - 1}}")
    lines.append(f"{'iter':>{margin}}  0{longest:>{width - 1}}")
    return "\n".join(lines)
