"""Where the boxes and lines of a drawn network are; one page for every way to draw it."""

import colorsys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TypeAlias
from unicodedata import east_asian_width

import numpy as np
from sklearn.isotonic import isotonic_regression

from mtlearn._typing import Floats
from mtlearn.estimators._architecture import Stage

__all__ = [
    "FONT_SIZE",
    "LINE",
    "PAD",
    "STRIP",
    "Box",
    "Drawing",
    "Point",
    "bars_of",
    "colours_of",
    "draw",
    "is_drawable",
]

FONT_SIZE, LINE = 12, 15
PAD, STRIP = 8, 5
BETWEEN_LAYERS, BETWEEN_BOXES, AROUND_LINES = 44, 14, 7
MARGIN = 6
MAX_CHARS = 30
MAX_PLACES = 1500  # of more, a picture takes seconds, and shows nothing
WIDE = 900  # about the width of a notebook's cell
COLOURS = ("#4c8ed9", "#e0812b", "#3fa66b", "#d1557a", "#9a6fd0", "#b08d1e", "#2aa5a5", "#8a7f75")

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """The box of a stage: its upper left corner, its size and its lines of text."""

    stage: Stage
    x: float
    y: float
    width: float
    height: float
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Drawing:
    """Boxes, and lines between them.

    A line is an even number of points: it is straight from the first to the second, a curve to the
    third, straight to the fourth, and so on. Curves are between layers, where no box is.
    """

    width: float
    height: float
    boxes: list[Box]
    lines: list[list[Point]]
    is_down: bool


@dataclass(eq=False)
class _Node:
    """A box, or the place where a line passes a layer; `across` is where in the layer it is."""

    layer: int
    along: float = 0.0
    size: float = 0.0
    before: list["_Node"] = field(default_factory=list)
    after: list["_Node"] = field(default_factory=list)
    across: float = 0.0

    @property
    def gap(self) -> float:
        """Half the room that it takes in its layer."""
        return self.size / 2 + (BETWEEN_BOXES / 2 if self.size else AROUND_LINES)


def draw(stages: Sequence[Stage]) -> Drawing:
    """Return the drawing of stages: in columns, or in rows where columns are too wide.

    The layer of a stage is the length of the longest path to it. Lines over several layers have a
    place in each, and stages are where their neighbours are, on the average, so that few lines
    cross.

    Raises
    ------
    ValueError
        If the network is too large.
    """
    if not is_drawable(stages):
        raise ValueError(
            f"a network to be drawn must have at most {MAX_PLACES} boxes and places where lines "
            f"pass. Got {_n_places(stages)}; `summary` of the estimator gives it as a table."
        )
    sideways = _draw(stages, is_down=False)
    if sideways.width <= WIDE:
        return sideways
    down = _draw(stages, is_down=True)
    return down if down.width < sideways.width else sideways


def is_drawable(stages: Sequence[Stage]) -> bool:
    """Tell whether a network is small enough for a picture."""
    return _n_places(stages) <= MAX_PLACES


def _n_places(stages: Sequence[Stage]) -> int:
    """Return how many boxes there are, and how many layers all lines go through."""
    nodes = _make_nodes(stages)
    starts = _by_name(nodes, stages)
    spans = (
        node.layer - starts[name].layer
        for stage, node in zip(stages, nodes, strict=True)
        for name in stage.takes
    )
    return len(nodes) + sum(spans)


def colours_of(stages: Sequence[Stage]) -> dict[str, str]:
    """Return a colour for each output, for bright and dark ground."""
    outputs = [stage.name for stage in stages if stage.kind in ("output", "constant")]
    more = []
    for i in range(len(outputs) - len(COLOURS)):
        rgb = colorsys.hls_to_rgb((0.08 + i * 0.618034) % 1, 0.55 - 0.1 * (i % 2), 0.5)
        more.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return dict(zip(outputs, [*COLOURS, *more], strict=False))


def bars_of(box: Box, outputs: Collection[str]) -> list[tuple[str, float, float]]:
    """Return a bar for each output that trains a stage of the trunk: its name, x and width.

    The bar of an output is at the same place in each box.
    """
    if box.stage.kind != "trunk":
        return []
    slot = (box.width - 2 * PAD) / max(1, len(outputs))
    gap = min(2.0, slot / 5)
    return [
        (name, box.x + PAD + i * slot + gap / 2, slot - gap)
        for i, name in enumerate(outputs)
        if name in box.stage.trained_by
    ]


def _draw(stages: Sequence[Stage], *, is_down: bool) -> Drawing:
    texts = [_texts(stage) for stage in stages]
    sizes = [_size(lines, stage) for lines, stage in zip(texts, stages, strict=True)]
    nodes = _make_nodes(stages)
    for node, (width, height) in zip(nodes, sizes, strict=True):
        node.along, node.size = (height, width) if is_down else (width, height)
    edges = _connect(nodes, stages)
    everything = list({id(n): n for n in [*nodes, *(n for edge in edges for n in edge)]}.values())
    layers = _ordered(everything)
    _settle(layers)
    starts, thickness, at = [], [], float(MARGIN)
    for layer in layers:
        starts.append(at)
        thickness.append(max((node.along for node in layer), default=0.0))
        at += thickness[-1] + BETWEEN_LAYERS
    length = at - BETWEEN_LAYERS + MARGIN
    breadth = max((n.across + n.size / 2 for n in everything), default=0.0) + MARGIN

    def place(along: float, across: float) -> Point:
        return (across, along) if is_down else (along, across)

    boxes = []
    for node, stage, lines, (width, height) in zip(nodes, stages, texts, sizes, strict=True):
        along = starts[node.layer] + (thickness[node.layer] - node.along) / 2
        x, y = place(along, node.across - node.size / 2)
        boxes.append(Box(stage, x, y, width, height, lines))
    paths = []
    for edge in edges:
        ends = []
        for i, node in enumerate(edge):
            begin, end = starts[node.layer], starts[node.layer] + thickness[node.layer]
            beside = (end - begin - node.along) / 2
            ends += [(end - beside if i == 0 else begin, node.across)]
            ends += [(begin + beside if i == len(edge) - 1 else end, node.across)]
        paths.append([place(*point) for point in ends])
    width, height = place(length, breadth)
    return Drawing(width, height, boxes, paths, is_down)


def _make_nodes(stages: Sequence[Stage]) -> list[_Node]:
    """Return a node per stage, in its layer; what nothing leads to or from is at an end."""
    layers: list[int] = []
    by_name: dict[str, int] = {}
    for i, stage in enumerate(stages):
        layers.append(1 + max((layers[by_name[t]] for t in stage.takes), default=-1))
        if stage.kind in ("input", "trunk"):
            by_name[stage.name] = i
    for i, stage in enumerate(stages):
        if stage.kind == "constant":
            layers[i] = max(layers)
        elif not stage.takes and stage.kind == "trunk":
            takers = [layers[j] for j, other in enumerate(stages) if stage.name in other.takes]
            layers[i] = max(0, min(takers, default=1) - 1)
    return [_Node(layer) for layer in layers]


def _by_name(nodes: Sequence[_Node], stages: Sequence[Stage]) -> dict[str, _Node]:
    """Return the nodes of what other stages can take."""
    pairs = zip(stages, nodes, strict=True)
    return {stage.name: node for stage, node in pairs if stage.kind in ("input", "trunk")}


def _connect(nodes: Sequence[_Node], stages: Sequence[Stage]) -> list[list[_Node]]:
    """Return the lines, each as the nodes that it passes."""
    by_name = _by_name(nodes, stages)
    edges = []
    for stage, end in zip(stages, nodes, strict=True):
        for name in stage.takes:
            start = by_name[name]
            between = [_Node(layer) for layer in range(start.layer + 1, end.layer)]
            edge = [start, *between, end]
            for one, other in pairwise(edge):
                one.after.append(other)
                other.before.append(one)
            edges.append(edge)
    return edges


def _ordered(nodes: Sequence[_Node]) -> list[list[_Node]]:
    """Return the nodes by layer, in an order in which few lines cross."""
    layers: list[list[_Node]] = [[] for _ in range(1 + max((n.layer for n in nodes), default=-1))]
    for node in nodes:
        layers[node.layer].append(node)
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for layer in layers:
        _number(layer)
    for round_ in range(8):
        is_forwards = round_ % 2 == 0
        for layer in layers if is_forwards else layers[::-1]:
            layer.sort(key=partial(_mean, is_forwards=is_forwards))
            _number(layer)
        if (n_crossings := _crossings(layers)) < fewest:
            best, fewest = [list(layer) for layer in layers], n_crossings
    return best


def _number(layer: Sequence[_Node]) -> None:
    for i, node in enumerate(layer):
        node.across = float(i)


def _mean(node: _Node, *, is_forwards: bool) -> float:
    """Return where the neighbours in the layer before, or after, are on the average."""
    around = node.before if is_forwards else node.after
    return sum(n.across for n in around) / len(around) if around else node.across


def _crossings(layers: Sequence[Sequence[_Node]]) -> int:
    found = 0
    for layer, following in pairwise(layers):
        place = {id(n): i for i, n in enumerate(following)}
        ends = [sorted(place[id(n)] for n in node.after) for node in layer]
        flat = [(i, end) for i, to in enumerate(ends) for end in to]
        found += sum(a[0] < b[0] and a[1] > b[1] for a in flat for b in flat)
    return found


def _settle(layers: Sequence[Sequence[_Node]]) -> None:
    """Put nodes where their neighbours are, as near as their order and their sizes let them."""
    linked = [[node for node in layer if node.before or node.after] for layer in layers]
    for layer in linked:
        for node, offset in zip(layer, _offsets(layer), strict=True):
            node.across = offset
    for round_ in range(12):
        is_forwards = round_ % 2 == 0
        for layer in linked if is_forwards else linked[::-1]:
            offsets = _offsets(layer)
            wanted = [_mean(node, is_forwards=is_forwards) for node in layer]
            found = isotonic_regression(wanted - offsets) + offsets if layer else offsets
            for node, across in zip(layer, found, strict=True):
                node.across = float(across)
    for layer, settled in zip(layers, linked, strict=True):
        for node in layer:
            if node not in settled:
                last = settled[-1].across + settled[-1].gap if settled else 0.0
                node.across = last + node.gap
                settled.append(node)
    start = min((n.across - n.size / 2 for layer in layers for n in layer), default=0.0) - MARGIN
    for layer in layers:
        for node in layer:
            node.across -= start


def _offsets(layer: Sequence[_Node]) -> Floats:
    gaps = np.array([node.gap for node in layer])
    return np.concatenate([[0.0], np.cumsum(gaps[:-1] + gaps[1:])])[: len(layer)]


def _texts(stage: Stage) -> tuple[str, ...]:
    shape = "" if stage.shape is None else str(stage.shape)
    if stage.kind in ("output", "constant") and stage.shape == ():
        shape = ""
    name = stage.name
    if len(name) > MAX_CHARS:  # long names often differ at the end
        name = f"{name[: MAX_CHARS - 12]}…{name[-11:]}"
    part = stage.part
    if len(part) > MAX_CHARS:
        part = f"{part[: MAX_CHARS - 1]}…"
    return tuple(text for text in (name, part, shape) if text)


def _size(texts: Sequence[str], stage: Stage) -> tuple[float, float]:
    # Letters are narrower than this on the average; the first line is bold.
    widths = [
        _n_columns(text) * FONT_SIZE * (0.66 if i == 0 else 0.58) for i, text in enumerate(texts)
    ]
    height = (
        len(texts) * LINE + 2 * PAD + (STRIP if stage.n_parameters and stage.kind == "trunk" else 0)
    )
    return max([60.0, *widths]) + 2 * PAD, float(height)


def _n_columns(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
