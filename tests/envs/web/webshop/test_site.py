"""The shop as a web site, without a browser: addresses, escaping, and the server for people."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest

from sparring.envs.web.webshop.pages import Kind
from sparring.envs.web.webshop.session import Shop
from sparring.envs.web.webshop.site.pages import controls
from sparring.envs.web.webshop.site.serve import Server
from sparring.envs.web.webshop.site.site import Site

pytest.importorskip("jinja2")


class Tags(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def site(shop: Shop) -> Site:
    return Site(shop, lambda: 0)


def get(site: Site, target: str) -> str:
    answer = site.reply(target)
    assert answer.status == 200, (target, answer.body)
    return answer.body.decode()


def links(html: str) -> list[str]:
    return re.findall(r'href="(/[^"]*)"', html)


def test_each_address_names_a_visit(site: Site) -> None:
    first = site.enter(0)
    results = f"{first}/search?words=shoes+for+men"
    html = get(site, results)
    assert get(site, results) == html  # following it again leads to the same visit
    found = site.at(f"http://shop.localhost{results}")
    assert found is not None and found[0].kind is Kind.RESULTS and found[0].keywords == ("shoes", "for", "men")
    before = site.at(f"http://shop.localhost{first}")
    assert before is not None and before[0].kind is Kind.INDEX


def test_every_page_is_escaped(site: Site) -> None:
    """The awkward catalogue holds markup in every field; no tag of it may come out as one."""
    allowed = {
        "html", "head", "meta", "title", "link", "style", "body", "header", "div", "b", "p", "main", "nav", "a",
        "form", "input", "button", "article", "h1", "h2", "span", "fieldset", "legend",
    }  # fmt: skip
    seen = 0
    for row in range(len(site.shop.catalogue)):
        product = site.shop.catalogue.product(row)
        place = site.enter(0)
        html = get(site, f"{place}/search?words={'+'.join(re.findall('[a-z]+', product.name.lower())[:8]) or 'a'}")
        for link in links(html)[:12]:
            pages = [get(site, link)]
            pages += [get(site, inner) for inner in links(pages[0])[:12]]
            for page in pages:
                parsed = Tags(page)
                assert set(parsed.tags) <= allowed, set(parsed.tags) - allowed
                assert not any(name.startswith("on") for name in parsed.attributes)
                seen += 1
    assert seen > 50
    notice = get(site, f"{site.enter(0)}/search?words=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script" not in notice


def test_controls_stand_on_the_page_in_their_order(site: Site) -> None:
    queue, checked = [site.enter(0) + "/search?words=a"], 0
    while queue and checked < 40:
        address = queue.pop()
        found = site.at("http://shop.localhost" + address)
        if found is None:
            continue
        html = get(site, address)
        shown = [link for link in links(html) if "/click/" in link]
        assert [link.partition("click/")[2] for link in shown] == [
            one.address.partition("click/")[2] for one in controls(site.shop, found[0])
        ]
        queue += shown[:6]
        checked += 1
    assert checked > 5


@pytest.mark.parametrize(
    "target",
    ["/visit/999", "/visit/x", "/nothing", "/visit/1/click/9999", "/start/99999999", "/start/-1", "//[", "/x/visit/1"],
)
def test_unknown_addresses_are_not_found(site: Site, target: str) -> None:
    site.enter(0)
    assert site.reply(target).status == 404


def test_without_a_draw_no_one_chooses_a_goal(shop: Shop) -> None:
    """An agent that may write addresses must not shop for an easier goal than its task's."""
    site = Site(shop, None)
    assert site.reply("/").status == site.reply("/start/0").status == 404
    assert site.reply(site.enter(1)).status == 200


def test_old_visits_are_forgotten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.envs.web.webshop.site.site._KEPT", 5)
    first = site.enter(0)
    for _ in range(10):
        last = site.enter(0)
    assert site.reply(first).status == 404 and site.reply(last).status == 200


def test_people_are_served_on_a_port(shop: Shop) -> None:
    with Server(Site(shop, lambda: 0), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(server.site.origin + "/", timeout=10) as answer:
            html = answer.read().decode()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert shop.book.goal(0).instruction_text[:20] in Tags(html).text
        with urllib.request.urlopen(server.site.origin + links(html)[0], timeout=10) as answer:
            assert 'type="search"' in answer.read().decode()
        server.shutdown()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs started from a script's background inherit that Ctrl-C is ignored; those of a test shall not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_command_serves_until_it_is_stopped() -> None:
    command = [sys.executable, "-m", "sparring", "webshop", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", program.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0], timeout=20) as answer:
            assert answer.read().count(b"/start/") == 5
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == 130
