"""What an episode copies is pasted in that episode alone, whichever others share its browser."""

from __future__ import annotations

from collections.abc import Callable

from sparring.envs.web.browser.page import Browser

Page = Callable[..., Browser]
FIELDS = "<input aria-label=From><input aria-label=To><textarea aria-label=Notes></textarea>"


def do(env: Browser, *actions: str) -> str:
    text = ""
    for action in actions:
        text, _, _, _, info = env.step(action)
        assert "no_op" not in info, (action, info)
    return text


def test_what_is_copied_is_pasted_by_the_same_episode_and_no_other(page: Page) -> None:
    first, second = page(FIELDS), page(FIELDS)
    first.reset(seed=0)
    second.reset(seed=0)
    assert first.session._browser is second.session._browser  # which has one clipboard
    do(first, "fill[1] mine", "press[Control+a]", "press[Control+c]")
    assert 'textbox "To" value=""' in do(second, "click[2]", "press[Control+v]")
    do(second, "fill[1] yours", "press[Control+a]", "press[Control+x]")
    assert 'textbox "To" value="yours"' in do(second, "click[2]", "press[Control+v]")
    text = do(first, "click[2]", "press[Control+v]", "press[Control+Shift+V]")
    assert 'textbox "From" value="mine"' in text and 'textbox "To" value="minemine"' in text
    assert 'value="minemine"' in do(first, "press[Control+Alt+v]")  # no browser pastes by this

    first.reset(seed=0)
    assert 'textbox "From" value=""' in do(first, "click[1]", "press[Control+v]")


def test_pages_take_part_in_copying_and_pasting(page: Page) -> None:
    env = page(
        FIELDS
        + "<button onclick=\"notes.select(); document.execCommand('copy')\">Copy</button><p>Plain text</p><script>"
        "const [from, to, notes] = document.querySelectorAll('input, textarea'); "
        "from.oncopy = (event) => { event.clipboardData.setData('text/plain', 'set'); event.preventDefault(); };"
        "to.onpaste = (event) => { to.value = `<${event.clipboardData.getData('text')}>`; event.preventDefault(); };"
        "from.onkeydown = (event) => { if (event.key === 'v' && event.ctrlKey) event.preventDefault(); }</script>"
    )
    env.reset(seed=0)
    do(env, "fill[1] x", "press[Control+a]", "press[Control+c]")
    assert 'textbox "To" value="<set>"' in do(env, "click[2]", "press[Control+v]")
    assert 'textbox "From" value="x"' in do(env, "click[1]", "press[Control+v]")  # the page says no
    do(env, "fill[3] one two", "click[4]")
    assert 'textbox "To" value="<one two>"' in do(env, "click[2]", "press[Control+v]")


def test_text_is_carried_over_pages_tabs_and_frames_but_no_password(page: Page) -> None:
    env = page(
        "<input aria-label=Secret type=password value=abc><p id=p tabindex=0>Words</p><a href=two.html>Two</a>"
        "<iframe srcdoc='<input aria-label=Framed>'></iframe>",
        files={"two.html": "<input aria-label=Name><a href=/ target=_blank>Home</a>"},
    )
    env.reset(seed=0)
    do(env, "click[1]", "press[Control+a]", "press[Control+c]", "click[2]", "press[Control+a]", "press[Control+c]")
    assert "abc" not in env.session.copied and "Words" in env.session.copied
    assert "Words" in do(env, "click[3]", "click[1]", "press[Control+v]")
    do(env, "fill[1] over", "press[Control+a]", "press[Control+c]", "click[2]")
    framed = env.look.find("textbox", "Framed")
    assert framed is not None and len(env.look.tabs) == 2
    assert 'textbox "Framed" value="over"' in do(env, f"click[{framed.number}]", "press[Control+v]")
    do(env, f"fill[{framed.number}] under", "press[Control+a]", "press[Control+x]")
    assert env.session.copied == "under"


def test_a_saved_state_holds_what_was_copied(browser: None) -> None:
    env = Browser()
    try:
        env.reset(seed=0)
        do(env, "fill[1] wash the cat", "press[Control+a]", "press[Control+c]")
        saved = env.snapshot()
        do(env, "fill[1] x", "press[Control+a]", "press[Control+c]")
        env.restore(saved)
        assert 'value="wash the cat"' in do(env, "fill[1] y", "press[Control+a]", "press[Control+v]")
    finally:
        env.close()
