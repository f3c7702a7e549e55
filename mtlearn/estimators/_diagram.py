"""A network as a picture in a notebook."""

from collections.abc import Mapping, Sequence
from html import escape

from mtlearn.estimators._architecture import Stage
from mtlearn.estimators._drawing import (
    FONT_SIZE,
    LINE,
    PAD,
    STRIP,
    Box,
    Point,
    bars_of,
    colours_of,
    draw,
    is_drawable,
)

__all__ = ["as_svg", "note"]

CAPTION = "Network. A bar in an output's colour: its loss trains the stage. Dashed: no loss does."


def as_svg(stages: Sequence[Stage], title: str) -> str:
    """Return HTML with the network drawn as SVG, in the colours of the text around it.

    Of a network that is too large for a picture, it says where to find a table.

    Parameters
    ----------
    stages : sequence of Stage
        The stages.
    title : str
        What the picture is of.
    """
    if not is_drawable(stages):
        return note(f"{title} has {len(stages)} stages, too many lines to draw; see summary().")
    drawing, colours = draw(stages), colours_of(stages)
    size = f"{drawing.width:.0f} {drawing.height:.0f}"
    width, height = size.split()
    # Colours of lines and text are the notebook's; nothing has an id, since pages hold many.
    return (
        '<figure style="margin:1em 0;overflow-x:auto">'
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {size}" width="{width}" height="{height}" fill="currentColor" '
        f'font-family="sans-serif" font-size="{FONT_SIZE}" text-anchor="middle">'
        f"<title>{escape(title)}</title>"
        '<g fill="none" stroke="currentColor" stroke-opacity="0.5">'
        + "".join(_line(points, is_down=drawing.is_down) for points in drawing.lines)
        + "</g>"
        + "".join(_box(box, colours) for box in drawing.boxes)
        + f'</svg><figcaption style="font-size:smaller">{CAPTION}</figcaption></figure>'
    )


def note(text: str) -> str:
    """Return HTML with a remark in the place of a picture."""
    return f'<p style="font-size:smaller">{escape(text)}</p>'


def _line(points: Sequence[Point], *, is_down: bool) -> str:
    parts = [f"M{_text(*points[0])}L{_text(*points[1])}"]
    for (x, y), (to_x, to_y), end in zip(points[1::2], points[2::2], points[3::2], strict=False):
        middle_x, middle_y = (x + to_x) / 2, (y + to_y) / 2
        bends = (x, middle_y, to_x, middle_y) if is_down else (middle_x, y, middle_x, to_y)
        parts.append(f"C{_text(*bends, to_x, to_y)}L{_text(*end)}")
    return f'<path d="{"".join(parts)}"/>'


def _box(box: Box, colours: Mapping[str, str]) -> str:
    stage = box.stage
    paint = colours.get(stage.name) if stage.kind in ("output", "constant") else None
    is_idle = stage.kind == "constant" or (stage.n_parameters and not stage.trained_by)
    outline = f'stroke="{paint}"' if paint else 'stroke="currentColor" stroke-opacity="0.5"'
    inside = f'fill="{paint}" fill-opacity="0.18"' if paint else 'fill-opacity="0.05"'
    dashes = ' stroke-dasharray="4 3"' if is_idle else ""
    corner = ' rx="12"' if stage.kind == "input" else ' rx="4"'
    frame = (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        f"{corner} {inside} {outline}{dashes}/>"
    )
    texts = "".join(
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + PAD + LINE * (i + 0.8):.1f}"'
        f"{_WEIGHTS[min(i, 1)]}>{escape(text)}</text>"
        for i, text in enumerate(box.texts)
    )
    return f"<g><title>{escape(_details(stage))}</title>{frame}{texts}{_bars(box, colours)}</g>"


def _bars(box: Box, colours: Mapping[str, str]) -> str:
    return "".join(
        f'<rect x="{x:.1f}" y="{box.y + box.height - STRIP - 4:.1f}" width="{width:.1f}" '
        f'height="{STRIP}" rx="2" fill="{colours[name]}"/>'
        for name, x, width in bars_of(box, colours)
    )


def _details(stage: Stage) -> str:
    by = ", ".join(stage.trained_by) or "none"
    lines = [f"{stage.name}: {stage.part}"]
    lines += [f"rows of shape {stage.shape}"] if stage.shape is not None else []
    lines += [f"{stage.n_parameters:,} parameters, trained by {by}"] if stage.n_parameters else []
    return "\n".join(lines)


def _text(*numbers: float) -> str:
    return " ".join(f"{number:.1f}" for number in numbers)


_WEIGHTS = (' font-weight="600"', ' opacity="0.8"')
