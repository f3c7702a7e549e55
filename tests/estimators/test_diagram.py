"""The picture of the network below the HTML of a fitted estimator."""

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from mtlearn import Inputs, MultiOutputNet
from mtlearn.estimators._architecture import Stage, find_architecture
from mtlearn.estimators._diagram import as_svg
from mtlearn.estimators._drawing import WIDE, colours_of, draw
from mtlearn.heads import Classification, Regression
from mtlearn.trunks import MLP, Embedding, Graph, Recurrent

RNG = np.random.default_rng(0)
IDS, EXTRA = RNG.integers(1, 50, size=(40, 8)), RNG.normal(size=(40, 3))
SPAM = np.where(EXTRA[:, 0] > 0, "spam", "ham")
SVG = "{http://www.w3.org/2000/svg}"


def make_guide():
    return MultiOutputNet(
        trunk=Graph(
            [
                ("embed", Embedding(50, 16), "main_input"),
                ("lstm", Recurrent(8), "embed"),
                ("dense", MLP((16, 16)), ["lstm", "aux_input"]),
            ]
        ),
        heads={
            "main_output": Classification(at="dense"),
            "aux_output": Classification(at="lstm", target="main_output"),
        },
        max_epochs=1,
        random_state=0,
    ).fit(Inputs({"main_input": IDS, "aux_input": EXTRA}), {"main_output": SPAM})


def svg_of(html):
    return ElementTree.fromstring(re.search("<svg.*</svg>", html, flags=re.DOTALL)[0])


def boxes_of(svg):
    """Return the group of each stage by its name."""
    return {group.find(f"{SVG}text").text: group for group in svg.findall(f"{SVG}g")[1:]}


def make_stages(n_outputs, n_layers=2, name="the output with a long name, number"):
    """Return stages of a network in which many lines pass many layers."""
    stages = [
        Stage(f"input number {i}", "float64", (), (3,), 0, (), "input") for i in range(n_layers)
    ]
    outputs = [f"{name} {i}" for i in range(n_outputs)]
    before = "input number 0"
    for i in range(n_layers):
        takes = tuple(dict.fromkeys([before, f"input number {i}"]))
        part = "Recurrent(32, 'gru', n_layers=2, bidirectional=True)"
        before = f"a stage with a long name, number {i}"
        trains = tuple(outputs[i::2])
        stages.append(Stage(before, part, takes, (100, 64), 10, trains, "trunk"))
    names = [stage.name for stage in stages if stage.kind == "trunk"]
    for i, output in enumerate(outputs):
        takes = tuple(dict.fromkeys([names[i % n_layers], names[-1 - i % min(2, n_layers)]]))
        stages.append(Stage(output, "Regression()", takes, (), 5, (output,), "output"))
    return stages


def test_a_fitted_estimator_shows_its_network_and_another_does_not():
    net = make_guide()
    html = net._repr_html_()
    svg = svg_of(html)
    assert list(boxes_of(svg)) == [stage.name for stage in find_architecture(net)]
    lines = svg.find(f"{SVG}g").findall(f"{SVG}path")
    assert len(lines) == sum(len(stage.takes) for stage in find_architecture(net))
    assert net._repr_mimebundle_()["text/html"].endswith(html[html.index("<figure") :])
    assert "Network." not in clone(net)._repr_html_()


def test_a_stage_has_a_bar_in_the_colour_of_each_output_that_trains_it():
    net = make_guide()
    colours = colours_of(find_architecture(net))
    assert len({*colours.values()}) == 2
    bars = {
        name: {rect.get("fill") for rect in group.findall(f"{SVG}rect")[1:]}
        for name, group in boxes_of(svg_of(net._repr_html_())).items()
    }
    assert bars["embed"] == bars["lstm"] == {*colours.values()}
    assert bars["dense"] == {colours["main_output"]}
    assert bars["main_input"] == bars["aux_input"] == set()


def test_an_output_has_its_colour_and_what_no_loss_trains_is_dashed():
    net = MultiOutputNet(
        MLP((4, 4)),
        loss_weights={"b": 0},
        param_groups={"trunk.0": {"lr": 0}},
        max_epochs=1,
        random_state=0,
    ).fit(EXTRA, {"a": EXTRA[:, 0], "b": EXTRA[:, 1]})
    colours = colours_of(find_architecture(net))
    frames = {
        name: group.find(f"{SVG}rect")
        for name, group in boxes_of(svg_of(net._repr_html_())).items()
    }
    assert [frames[name].get("stroke") for name in "ab"] == [colours["a"], colours["b"]]
    dashed = {name for name, frame in frames.items() if frame.get("stroke-dasharray")}
    assert dashed == {"hidden_1", "b"}


def test_the_text_around_it_gives_the_colours_and_pictures_do_not_disturb_each_other():
    html = as_svg(find_architecture(make_guide()), "The network")
    svg = svg_of(html)
    assert svg.get("fill") == "currentColor"
    painted = {element.get(key) for element in svg.iter() for key in ("fill", "stroke")}
    assert painted <= {
        None,
        "none",
        "currentColor",
        *colours_of(find_architecture(make_guide())).values(),
    }
    assert not any(element.get("id") or element.get("class") for element in svg.iter())
    assert "<style" not in html


def test_it_can_be_read_aloud():
    svg = svg_of(make_guide()._repr_html_())
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "The network of MultiOutputNet")
    assert svg.find(f"{SVG}title").text == "The network of MultiOutputNet"
    title = boxes_of(svg)["lstm"].find(f"{SVG}title").text
    assert title.startswith("lstm: Recurrent(8)")
    assert "trained by main_output, aux_output" in title


def test_names_are_escaped_and_long_ones_are_whole_in_the_title():
    name = '<b>"price" & more</b>' + "x" * 40
    net = MultiOutputNet(MLP((4,)), max_epochs=1, random_state=0).fit(EXTRA, {name: EXTRA[:, 0]})
    html = net._repr_html_()
    assert "<b>" not in html[html.index("<figure") :]
    group = list(boxes_of(svg_of(html)).values())[-1]
    assert group.find(f"{SVG}title").text.startswith(name)
    assert group.find(f"{SVG}text").text == name[:18] + "…" + name[-11:]


@pytest.mark.parametrize("n_outputs", [1, 2, 8, 20])
@pytest.mark.parametrize("n_layers", [1, 3, 7])
def test_boxes_hold_their_text_and_overlap_nothing(n_outputs, n_layers):
    drawing = draw(make_stages(n_outputs, n_layers))
    assert len(drawing.boxes) == n_outputs + 2 * n_layers
    for box in drawing.boxes:
        assert min(box.x, box.y) >= 0
        assert box.x + box.width <= drawing.width
        assert box.y + box.height <= drawing.height
        assert max(map(len, box.texts)) * 6.5 < box.width  # the mean width of a letter of 12 px
    for one, other in combinations(drawing.boxes, 2):
        assert (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y
            or other.y + other.height <= one.y
        )


@pytest.mark.parametrize("n_layers", [1, 3, 7])
def test_no_line_passes_through_a_box(n_layers):
    drawing = draw(make_stages(6, n_layers))
    for line in drawing.lines:
        for (x, y), (to_x, to_y) in zip(line[::2], line[1::2], strict=True):
            for box in drawing.boxes:
                assert (
                    max(x, to_x) <= box.x + 1e-6
                    or min(x, to_x) >= box.x + box.width - 1e-6
                    or max(y, to_y) <= box.y + 1e-6
                    or min(y, to_y) >= box.y + box.height - 1e-6
                )


def test_lines_lead_from_the_edge_of_what_is_taken_to_the_edge_of_what_takes():
    stages = find_architecture(make_guide())
    drawing = draw(stages)
    boxes = {box.stage.name: box for box in drawing.boxes}
    ends = {(line[0], line[-1]) for line in drawing.lines}
    expected = {
        (
            (boxes[name].x + boxes[name].width, boxes[name].y + boxes[name].height / 2),
            (boxes[stage.name].x, boxes[stage.name].y + boxes[stage.name].height / 2),
        )
        for stage in stages
        for name in stage.takes
    }
    assert np.allclose(sorted(ends), sorted(expected))


def test_what_would_be_too_wide_is_drawn_downwards():
    short, deep = (
        find_architecture(
            MultiOutputNet(MLP((4,) * n), max_epochs=1).fit(EXTRA, {"a": EXTRA[:, 0]})
        )
        for n in (2, 9)
    )
    assert (draw(short).is_down, draw(deep).is_down) == (False, True)
    assert draw(deep).width < WIDE < draw(deep).height
    for stages in (short, deep):
        drawing = draw(stages)
        at = {b.stage.name: b.y if drawing.is_down else b.x for b in drawing.boxes}
        assert all(at[name] < at[stage.name] for stage in stages for name in stage.takes)


def test_two_chains_side_by_side_do_not_cross():
    stages = [Stage(n, "float64", (), (3,), 0, (), "input") for n in "ab"]
    stages += [Stage(f"{n}1", "MLP()", (n,), (3,), 1, (), "trunk") for n in "ba"]
    stages += [Stage(f"{n}2", "MLP()", (f"{n}1",), (3,), 1, (), "trunk") for n in "ab"]
    lines = draw(stages).lines
    assert all(len({y for _, y in line}) == 1 for line in lines)
    assert len({line[0][1] for line in lines}) == 2


def test_many_outputs_have_colours_of_their_own():
    assert len({*colours_of(make_stages(30)).values()}) == 30


def test_stages_may_have_the_names_of_outputs():
    heads = {"main": Regression(at="main"), "other": Regression(at="main")}
    net = MultiOutputNet(Graph([("main", MLP((4,)), "X")]), heads, max_epochs=1, random_state=0)
    net.fit(EXTRA, {"main": EXTRA[:, 0], "other": EXTRA[:, 1]})
    drawing = draw(find_architecture(net))
    assert [box.stage.name for box in drawing.boxes] == ["X", "main", "main", "other"]
    assert len(drawing.lines) == 3


class Blocks(nn.Module):
    """A loop of blocks, each of which takes what all before it added."""

    def __init__(self, n_blocks):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(n_blocks))

    def forward(self, x):
        for block in self.blocks:
            x = x + 0.01 * block(x)
        return x


def find_blocks(n_blocks):
    net = MultiOutputNet(Blocks(n_blocks), max_epochs=1).fit(EXTRA, {"a": EXTRA[:, 0]})
    return find_architecture(net)


@pytest.mark.parametrize("stages", [find_blocks(60), make_stages(2000, 1)], ids=["deep", "wide"])
def test_a_network_of_too_many_lines_is_not_drawn(stages):
    with pytest.raises(ValueError, match=r"must have at most \d+ boxes and places .* `summary`"):
        draw(stages)
    html = as_svg(stages, "The network")
    assert f"The network has {len(stages)} stages, too many lines to draw; see summary()." in html
    assert "<svg" not in html


def test_a_loop_of_some_blocks_is_drawn():
    assert len(boxes_of(svg_of(as_svg(find_blocks(8), "The network")))) == 10


class FailsLater(nn.Linear):
    fails = False

    def forward(self, x):
        if self.fails:
            raise KeyError("no such row")
        return super().forward(x)


def test_where_the_network_cannot_be_traced_the_rest_is_shown():
    net = MultiOutputNet(FailsLater(3, 4), max_epochs=1).fit(EXTRA, {"a": EXTRA[:, 0]})
    net.module_.trunk.fails = True
    for html in (net._repr_html_(), net._repr_mimebundle_()["text/html"]):
        assert "<td>a</td>" in html
        assert "MultiOutputNet could not be drawn. KeyError: &#x27;no such row&#x27;" in html
