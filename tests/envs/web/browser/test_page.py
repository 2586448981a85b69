"""A page of one's own: every action, what is seen, tasks, and snapshots of both kinds."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparring.envs.base import restore, snapshot
from sparring.envs.web.browser import actions as act
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.marks import draw
from sparring.envs.web.browser.page import Browser
from sparring.envs.web.browser.session import Session
from sparring.envs.web.browser.tasks import Listed, PageTask
from sparring.envs.web.browser.view import Node
from sparring.errors import EnvNotSearchable, InvalidConfig, ReplayDiverged
from sparring.types import SnapshotKind

Page = Callable[..., Browser]
FORM = """
<h1>Form</h1>
<label>Name <input id=name></label><input type=password aria-label=Secret><textarea aria-label=Notes></textarea>
<select aria-label=Size><option>Small<option>Large</select><input type=checkbox aria-label=Agree>
<input type=date aria-label=Day><button onclick="document.title='Done'">Send</button><button disabled>Off</button>
<p>Read <b>this <i>bold</i></b> text</p><div style="display:none">hidden</div><script>var x = "script";</script>
<output></output>
<script>document.querySelector('#name').oninput = (e) =>
  document.querySelector('output').textContent = e.target.value</script>
"""


def number(env: Browser, role: str, name: str | None = None) -> int:
    node = env.look.find(role, name)
    assert node is not None and node.number is not None, env.observe()[0]
    return node.number


def do(env: Browser, action: str) -> str:
    text, _, _, _, info = env.step(action)
    assert "no_op" not in info, (action, info)
    return text


def test_a_form_is_filled_and_sent(page: Page) -> None:
    env = page(FORM)
    text, info = env.reset(seed=0)
    assert info["task"] == "task" and info["instruction"] == "Do it."
    assert "Read this bold text" in text and 'heading "Form"' in text
    assert "hidden" not in text and "script" not in text
    assert "Ann" in do(env, f"fill[{number(env, 'textbox', 'Name')}] Ann").splitlines()[-1]
    assert 'value="•••"' in do(env, f"fill[{number(env, 'textbox', 'Secret')}] abc")
    assert 'value="one two"' in do(env, f"fill[{number(env, 'textbox', 'Notes')}] one\ntwo")
    assert 'value="Large"' in do(env, f"select[{number(env, 'combobox', 'Size')}] Large")
    assert "checked" in do(env, f"click[{number(env, 'checkbox', 'Agree')}]")
    assert 'value="2024-02-03"' in do(env, f"fill[{number(env, 'date', 'Day')}] 2024-02-03")
    _, _, _, _, info = env.step(f"fill[{number(env, 'date', 'Day')}] tomorrow")
    assert "does not take" in info["no_op"]
    do(env, f"click[{number(env, 'textbox', 'Name')}]")
    do(env, "press[End]")
    assert 'value="Ann B"' in do(env, "type[ B]")
    assert f"click[{number(env, 'button', 'Off')}]" not in info["actions"].choices
    _, reward, terminated, _, info = env.step(f"click[{number(env, 'button', 'Send')}]")
    assert (reward, terminated, info["score"], info["success"]) == (1.0, True, 1.0, True)


def test_what_finds_nothing_is_a_no_op(page: Page) -> None:
    env = page("<input aria-label=A readonly><button>B</button><select aria-label=C><option>one</select>")
    text, _ = env.reset(seed=0)
    for action, why in {
        "click[99]": "no element", "fill[1] x": "can't be changed", "fill[2] x": "no field",
        "select[3] two": "no such option",
        "select[2] x": "no list", "scroll[down]": "nothing further", "tab[2]": "no tab 2", "close_tab": "only tab",
        "back": "no earlier page", "goto[http://example.org/]": "not allowed",
        "click[5000,5]": "outside", "nonsense": "no action",
        "goto[javascript:document.title='Done']": "not allowed",
    }.items():  # fmt: skip
        shown, reward, terminated, _, info = env.step(action)
        assert why in info["no_op"] and reward == 0 and not terminated, (action, info)
        assert [line for line in shown.splitlines() if not line.startswith("(not allowed")] == text.splitlines(), action


def test_tabs_frames_shadows_scrolling_and_dragging(page: Page) -> None:
    env = page(
        """<a href="second.html" target=_blank>Second</a>
        <iframe srcdoc="<button onclick='parent.framed()'>In frame</button>">
        </iframe><div id=host></div><div style="height:3000px"></div><button>Below</button>
        <div id=from tabindex=0 style="position:absolute;top:200px;left:300px;width:30px;height:30px"></div>
        <div id=to tabindex=0 style="position:absolute;top:300px;left:500px;width:60px;height:60px"></div>
        <p id=said></p><script>
        const say = (t) => said.textContent += t + ' ';
        framed = () => say('framed');
        host.attachShadow({mode: 'open'}).innerHTML = '<button>In shadow</button>';
        host.shadowRoot.firstChild.onclick = () => say('shadowed');
        from.onmousedown = () => say('down'); to.onmouseup = () => say('up');
        onscroll = () => say('scrolled');
        </script>""",
        files={"second.html": "<title>Other</title><p>second page</p>"},
    )
    env.reset(seed=0)
    assert "framed" in do(env, f"click[{number(env, 'button', 'In frame')}]")
    assert "shadowed" in do(env, f"click[{number(env, 'button', 'In shadow')}]")
    boxes = [node.number for node in env.look.nodes if node.role == "div"]
    assert "down up" in do(env, f"drag[{boxes[0]}] {boxes[1]}")
    assert "scrolled" in do(env, "scroll[down]")
    do(env, f"click[{number(env, 'button', 'Below')}]")
    text = do(env, f"click[{number(env, 'link', 'Second')}]")
    assert "second page" in text and "Tabs: 1 Page, 2* Other" in text
    assert "In frame" in do(env, "tab[1]")
    do(env, "tab[2]")
    assert "In frame" in do(env, "close_tab")


def test_navigation_and_going_back(page: Page) -> None:
    env = page("<a href=two.html>Two</a>", files={"two.html": "<form action=three.html><button>Go</button></form>",
                                                  "three.html": "<p>third</p>"})  # fmt: skip
    env.reset(seed=0)
    do(env, f"click[{number(env, 'link')}]")
    assert "third" in do(env, f"click[{number(env, 'button')}]")
    assert "Go" in do(env, "back")
    assert "Two" in do(env, "goto[http://page.localhost/]")


def test_going_back_to_the_same_address(page: Page) -> None:
    env = page("<p id=p>0</p><button onclick=\"history.pushState({}, ''); p.textContent = 1\">Push</button>"
               "<script>onpopstate = () => p.textContent = 'back'</script>")  # fmt: skip
    env.reset(seed=0)
    assert env.step("back")[4]["no_op"] == "there is no earlier page"
    do(env, "click[1]")
    assert "\nback\n" in do(env, "back")


def test_what_is_hidden_is_neither_clicked_nor_filled(page: Page) -> None:
    env = page("<button onclick='document.title = \"Done\"' style='position:absolute;left:0;top:0'>Corner</button>"
               "<p>&nbsp;<input id=i><button id=h onclick='i.hidden = h.hidden = true; j.focus()'>Hide</button>"
               "<input id=j>")  # fmt: skip
    env.reset(seed=0)
    do(env, "click[3]")
    for action in ("click[3]", "fill[2] secret", "drag[3] 4"):
        text, _, terminated, _, info = env.step(action)
        assert info["no_op"] == "this element is not shown now" and not terminated and "secret" not in text


def test_an_element_is_clicked_where_no_other_covers_it(page: Page) -> None:
    style = "position:absolute;width:40px;height:40px"
    env = page(
        f"<button style='{style};left:81px;top:70px' onclick='document.title = \"Done\"'>One</button>"
        f"<button style='{style};left:96px;top:68px' onclick='document.title = \"Other\"'>Two</button>"
    )
    env.reset(seed=0)
    assert env.step(f"click[{number(env, 'button', 'One')}]")[1:3] == (1.0, True)


def test_long_texts_are_typed_in_many_inputs() -> None:
    pytest.importorskip("playwright")
    inputs: list[str] = []

    async def one(text: str) -> None:
        inputs.append(text)

    class _Tab:
        page = SimpleNamespace(keyboard=SimpleNamespace(type=lambda text: text))
        input = staticmethod(one)

    text = "".join(str(n % 10) for n in range(4_000))
    session = Session(None, None, Limits(), None, 500)  # type: ignore[arg-type]
    assert asyncio.run(session._type(_Tab(), act.Type(text))) is None  # type: ignore[arg-type]
    assert "".join(inputs) == text and max(map(len, inputs)) <= 100


def test_marks_take_no_longer_for_boxes_of_any_size() -> None:
    pillow = pytest.importorskip("PIL.Image")
    image = io.BytesIO()
    pillow.new("RGB", (80, 60)).save(image, "PNG")
    began = time.process_time()
    tall = [Node("button", "x", 0, (10, -1e9, 3e7, 3e9), number) for number in range(1, 50)]
    marked = draw(image.getvalue(), tall)
    assert time.process_time() - began < 5
    assert marked == draw(image.getvalue(), [Node("button", "x", 0, (10, -9, 90, 80), one.number) for one in tall])


def test_time_and_chance_belong_to_the_episode(page: Page) -> None:
    body = """<p id=out>-</p><button onclick="setTimeout(() => out.textContent = 'late', 700)">Start</button>
    <script>document.body.append(Math.random().toFixed(6) + ' ' + new Date().toISOString()); let ticks = 0;
    setInterval(() => { document.body.dataset.ticks = ++ticks; document.title = 'ticks ' + ticks }, 100)</script>"""
    first, second = page(body), page(body)
    texts = [env.reset(seed=0)[0] for env in (first, second)]
    assert texts[0] == texts[1] and "2024-01-01T12:00:00.000Z" in texts[0]
    assert "ticks 5" in do(first, f"click[{number(first, 'button')}]")
    assert "late" not in first.observe()[0]
    assert "late" in do(first, "wait") and "ticks 10" in first.observe()[0]


def test_requests_are_waited_for(page: Page) -> None:
    env = page(
        "<p id=out>-</p><button onclick=\"fetch('a.txt').then((r) => r.text()).then((t) => fetch(t))"
        ".then((r) => r.text())"
        '.then((t) => out.textContent = t)">Load</button>',
        files={"a.txt": "b.txt", "b.txt": "loaded"},
    )
    env.reset(seed=0)
    assert "loaded" in do(env, f"click[{number(env, 'button')}]")


def test_markup_positions_and_marks(page: Page) -> None:
    env = page("<button style='position:absolute;left:10px;top:20px;width:50px;height:30px'>&lt;b&gt; \"q\"</button>",
               observation="html", boxes=True)  # fmt: skip
    text, _ = env.reset(seed=0)
    assert '<button id="1">&lt;b&gt; &quot;q&quot;</button> at 10,20,50,30' in text
    plain, marked = env.screenshot(), env.screenshot(marks=True)
    assert plain[:4] == marked[:4] == b"\x89PNG" and plain != marked


def test_snapshots_by_replay_are_checked(page: Page) -> None:
    env = page("<button onclick='n.textContent++'>More</button><p id=n>0</p>")
    env.reset(seed=0)
    do(env, "click[1]")
    saved = snapshot(env)
    assert saved.kind is SnapshotKind.REPLAY
    after = do(env, "click[1]")
    text, _ = restore(env, saved)
    assert text.endswith("1") and do(env, "click[1]") == after
    (env._folder.path / "index.html").write_text("<title>Page</title><button>Other</button>")  # type: ignore[union-attr]
    with pytest.raises(ReplayDiverged, match=r"turn 1"):
        restore(env, saved)


def test_pages_that_expose_their_state_are_restored_from_it(browser: None) -> None:
    env = Browser()
    try:
        _, info = env.reset(seed=0)
        env.step("fill[1] wash the cat")
        saved = env.snapshot()
        assert saved.kind is SnapshotKind.COPY
        first = env.step("press[Enter]")
        env.reset(seed=1)
        played: list[str] = []
        step, env.step = env.step, lambda action: (played.append(action), step(action))[1]  # type: ignore[method-assign]
        text, _ = env.restore(saved)
        assert not played and 'value="wash the cat"' in text  # no action was taken again
        env.step = step  # type: ignore[method-assign]
        env.step("click[1]")
        assert env.step("press[Enter]")[0] == first[0]
        assert info["task"] == env._task
    finally:
        env.close()


def test_time_and_chance_come_back_with_an_exposed_state(page: Page) -> None:
    env = page("<p id=out></p><button onclick='change()'>Draw</button><script>let state = []; "
               "window.pageState = {get: () => state, set: (saved) => { state = saved; draw(); }};"
               "const draw = () => out.textContent = state.join(' '), change = () => "
               "{ state = [...state, Math.random(), Date.now()]; draw(); }; setInterval(draw, 1)</script>")  # fmt: skip
    env.reset(seed=0)
    do(env, "click[1]")
    saved = env.snapshot()
    assert saved.kind is SnapshotKind.COPY
    after = do(env, "click[1]")
    env.restore(saved)
    assert do(env, "click[1]") == after


def test_answers_and_infeasible_tasks(browser: None, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>The sky is blue.</p>")
    tasks = Listed([
        PageTask("colour", "Which colour?", answer="Blue"),
        PageTask("no", "Press the button.", infeasible=True),
    ])  # fmt: skip
    env = Browser(tasks, html=tmp_path / "page.html")
    try:
        for task, action, score in (
            ("colour", "answer[ BLUE ]", 1.0), ("colour", "answer[red]", 0.0), ("colour", "infeasible[x]", 0.0),
            ("no", "infeasible[there is none]", 1.0), ("no", "answer[done]", 0.0),
        ):  # fmt: skip
            env.reset(seed=0, options={"task": task})
            _, reward, terminated, _, info = env.step(action)
            assert (reward, terminated, info["score"]) == (score, True, score), action
    finally:
        env.close()


def test_real_time_has_no_snapshots(page: Page) -> None:
    env = page("<button>x</button>", step_ms=None)
    env.reset(seed=0)
    with pytest.raises(EnvNotSearchable, match=r"step_ms"):
        env.snapshot()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"step_ms": -1}, "step_ms"),
        ({"width": 10}, "pixels"),
        ({"html": "/no/such/file"}, "does not exist"),
        ({"observation": "pdf"}, "tree"),
        ({"verbs": "click"}, ""),
    ],
)
def test_settings_are_checked(options: dict[str, object], why: str) -> None:
    pytest.importorskip("playwright")
    tasks = Listed([PageTask("a", "Do it.", answer="x")])
    if not why:
        assert Browser(tasks, html=".", **options).view.verbs == ("click",)  # type: ignore[arg-type]
        return
    with pytest.raises(InvalidConfig, match=why):
        Browser(tasks, **{"html": ".", **options})  # type: ignore[arg-type]


def test_tasks_are_checked() -> None:
    with pytest.raises(InvalidConfig, match=r"neither a check nor"):
        Listed([PageTask("a", "Do it.")])
    with pytest.raises(InvalidConfig, match=r"an id of its own"):
        Listed([PageTask("a", "Do it.", answer="x"), PageTask("a", "Do it.", answer="x")])
