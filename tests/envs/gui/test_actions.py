from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.gui.actions import DIRECTIONS, FIELDS, NAMES_ELSEWHERE, GuiAction, Kind, parse, write
from sparring.errors import InvalidData

thousandths = st.integers(0, 1000).map(lambda at: at / 1000)
points = st.tuples(thousandths, thousandths)


@st.composite
def actions(draw: st.DrawFn) -> GuiAction:
    kind = draw(st.sampled_from(list(Kind)))
    required, optional = FIELDS[kind]
    fields = set(required) | {name for name in optional if draw(st.booleans())}
    return GuiAction(
        kind,
        point=draw(points) if "point" in fields else None,
        to=draw(points) if "to" in fields else None,
        text=draw(st.text(max_size=50)) if fields & {"text", "app"} else "",
        direction=draw(st.sampled_from(DIRECTIONS)) if "direction" in fields else None,  # type: ignore[arg-type]
        keys=tuple(draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4))) if "keys" in fields else (),
    )


@given(actions())
@settings(deadline=None)
def test_what_is_written_is_read_again(action: GuiAction) -> None:
    assert parse(write(action)) == action


@given(st.text(max_size=100))
@settings(deadline=None)
def test_any_text_is_an_action_or_invalid_data(text: str) -> None:
    try:
        assert parse(text).kind in Kind
    except InvalidData:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "[]",
        "{}",
        '{"action": "fly"}',
        '{"action": "click"}',
        '{"action": "click", "point": [1]}',
        '{"action": "click", "point": [1, 1001]}',
        '{"action": "click", "point": [-1, 5]}',
        '{"action": "click", "point": [NaN, 5]}',
        '{"action": "click", "point": [1e999, 5]}',
        '{"action": "click", "point": [1' + "0" * 400 + ", 5]}",
        '{"action": "click", "point": [true, 5]}',
        '{"action": "click", "point": ["1", 5]}',
        '{"action": "click", "point": [1, 5], "x": 1}',
        '{"action": "click", "point": [1, 5], "point": [2, 5]}',
        '{"action": "wait", "action": "click"}',
        "{'action': 'wait'}",
        '{"action": "wait"} then',
        '{"action": "type", "text": 5}',
        '{"action": "scroll", "direction": "sideways"}',
        '{"action": "press", "keys": []}',
        '{"action": "press", "keys": ["a", "b", "c", "d", "e"]}',
        '{"action": "type", "text": "' + "x" * 1001 + '"}',
        "[" * 3000,
        " " * 5000,
        "__import__('os').system('true')",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidData):
        parse(text)


def test_one_of_each_by_hand() -> None:
    assert parse('{"action": "drag", "point": [0, 500], "to": [1000, 250.5]}') == GuiAction(
        Kind.DRAG, point=(0.0, 0.5), to=(1.0, 0.2505)
    )
    assert write(GuiAction(Kind.TYPE, text="é")) == '{"action": "type", "text": "é"}'
    assert write(GuiAction(Kind.OPEN_APP, text="Mail")) == '{"action": "open_app", "app": "Mail"}'


def test_other_names_stand_for_kinds_of_ours() -> None:
    assert NAMES_ELSEWHERE["press_back"] is Kind.BACK
    assert not set(NAMES_ELSEWHERE) & {str(kind) for kind in Kind}
    assert json.loads(write(GuiAction(NAMES_ELSEWHERE["close/delete"]))) == {"action": "close"}
