"""The grammar of actions: what is taken, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.actions import BadAction, parse, verb_of

GOOD = {
    "click[7]": act.Click(7),
    "click[40,25]": act.Click((40, 25)),
    "hover[7]": act.Click(7, hover=True),
    "fill[7] some text": act.Fill(7, "some text"),
    "fill[7] [a] b]": act.Fill(7, "[a] b]"),
    "type[a]b]": act.Type("a]b"),
    "type[40,25] some text": act.Type("some text", (40, 25)),
    "type[7] [a]": act.Type("[a]", 7),
    "select[3] Large size": act.Select(3, "Large size"),
    "press[Enter]": act.Press("Enter"),
    "press[Control+Shift+a]": act.Press("Control+Shift+a"),
    "press[+]": act.Press("+"),
    "scroll[down]": act.Scroll("down"),
    "scroll[7] up": act.Scroll("up", 7),
    "drag[7] 9": act.Drag(7, 9),
    "drag[5,6] 40,25": act.Drag((5, 6), (40, 25)),
    "goto[http://page.localhost/a?b=c]": act.Goto("http://page.localhost/a?b=c"),
    "back": act.Simple("back"),
    "tab[2]": act.Tab(2),
    "close_tab": act.Simple("close_tab"),
    "wait": act.Simple("wait"),
    "answer[42]": act.Say("42"),
    "infeasible[no such thing]": act.Say("no such thing", infeasible=True),
}
BAD = (
    "", " ", "click", "click[]", "click[x]", "click[-1]", "click[1,2,3]", "click[٣]", "click[123456]", " click[1]",
    "click[1] ",
    "click[1]; click[2]", "CLICK[1]", "fill[7]", "fill[1,2] x", "fill[x] y", "select[1,2] a", "press[F1]",
    "press[Meta+q]", "press[]", "scroll[sideways]", "scroll[1] sideways", "drag[1] x", "tab[1,2]", "back[1]", "wait[1]",
    "eval[1]", "__import__('os')", "page.click('x')", "click[1]\x00", "answer[\ud800]", "answer[a\x1b[31m]",
    "x" * 5_000,
)  # fmt: skip


@pytest.mark.parametrize(("text", "action"), GOOD.items())
def test_actions_are_understood(text: str, action: act.PageAction) -> None:
    assert parse(text) == action
    assert text.startswith(verb_of(action))


@pytest.mark.parametrize("text", BAD)
def test_nothing_else_is(text: str) -> None:
    with pytest.raises(BadAction, match=r".{8}"):
        parse(text)


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(click|fill|drag|press|goto|scroll)\[.{0,12}\]( .{0,12})?")))
def test_any_text_is_an_action_or_a_reason(text: str) -> None:
    try:
        action = parse(text)
    except BadAction:
        return
    assert verb_of(action) in act.VERBS
