"""What pages may load, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparring.envs.web.browser import chromium
from sparring.envs.web.browser.limits import Limits
from sparring.envs.web.browser.origins import Folder, Origins, origin_of
from sparring.errors import InvalidConfig, MissingExtra


def test_only_the_named_origins_are_allowed(tmp_path: Path) -> None:
    origins = Origins(("https://example.org", "http://127.0.0.1:8080"), Folder(tmp_path))
    for url in ("https://example.org/a", "http://127.0.0.1:8080/", "http://page.localhost/x?y", "https://example.org"):
        assert origins.allow(url) and not origins.refused.match(url), url
    for url in (
        "https://example.org.evil.net/", "https://example.org@evil.net/", "http://example.org/", "https://evil.net/?https://example.org/",
        "http://127.0.0.1:80800/", "http://127.0.0.1/", "file:///etc/passwd", "javascript:alert(1)", "ftp://example.org/",
        "chrome://version", "http://[", "",
    ):  # fmt: skip
        assert not origins.allow(url), url
    for url in (
        "https://example.org.evil.net/",
        "https://example.org@evil.net/",
        "file:///etc/passwd",
        "http://evil.net/",
    ):
        assert origins.refused.match(url), url
    assert origins.hosts == {"example.org:443", "127.0.0.1:8080"}
    assert origins.refused_sockets.match("ws://127.0.0.1:80800/") and origins.refused_sockets.match("ws://evil.net/")
    assert not origins.refused_sockets.match("wss://example.org/x")
    assert not origins.refused_sockets.match("ws://127.0.0.1:8080/x?y")
    assert Origins(site=Folder(tmp_path)).refused_sockets.match("ws://page.localhost/")


def test_an_origin_has_no_path() -> None:
    assert origin_of("HTTPS://example.org:443/a") == "https://example.org"
    with pytest.raises(InvalidConfig, match=r"looks like"):
        Origins(("https://example.org/shop",))


def test_a_folder_serves_nothing_outside_of_it(tmp_path: Path) -> None:
    inside, secret = tmp_path / "site", tmp_path / "secret.txt"
    inside.mkdir()
    secret.write_text("secret")
    (inside / "index.html").write_text("hello")
    (inside / "link").symlink_to(secret)
    folder = Folder(inside)
    assert folder.reply("/").body == folder.reply("/index.html?x=1").body == b"hello"
    for target in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/link",
        "/..%2fsecret.txt",
        "//etc/passwd",
        "/%00",
        "/nothing",
    ):
        assert folder.reply(target).status == 404, target
    (inside / "sub").mkdir()
    (inside / "sub" / "index.html").symlink_to(secret)
    assert folder.reply("/sub/").status == 404
    for target in ("/" + "a" * 3_000, "//[", "/a" * 3_000, "/?[x#y"):  # strange addresses are no mistake of ours
        assert folder.reply(target).status in (200, 404), target
    assert Folder(inside / "index.html").reply("/").body == b"hello"
    assert Folder(inside / "index.html").reply("/link").status == 404


def test_a_missing_browser_names_the_package_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARRING_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtra, match=r"apt-get install chromium"):
        chromium.executable()
    monkeypatch.setenv("SPARRING_CHROMIUM", "/no/such/browser")
    with pytest.raises(MissingExtra, match=r"/no/such/browser"):
        chromium.executable()


def test_limits_are_positive() -> None:
    with pytest.raises(InvalidConfig, match=r"dialogs must be greater than 0"):
        Limits(dialogs=0)
