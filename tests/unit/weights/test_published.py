"""The table of published checkpoints, and checkpoints at URLs."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from nnunetv2_masam.architecture import TIMM, TINY_VIT_PRESETS, VIT_PRESETS
from nnunetv2_masam.weights.published import CHECKPOINTS, DEFAULT_FOR_VIT, at_url, known_by_sha256, tomllib

PROJECT = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
PAGE = Path(__file__).resolve().parents[3] / "docs" / "weights.md"


def test_entries_are_consistent() -> None:
    assert len({known.file_name for known in CHECKPOINTS.values()}) == len(CHECKPOINTS)
    for name, known in CHECKPOINTS.items():
        assert known.name == name
        assert known.url is None or known.url.startswith("https://")
        assert bool(known.url) != bool(known.package and known.package_file and known.extra and known.sha256)
        assert known.vit in {*VIT_PRESETS, *TINY_VIT_PRESETS} or str(known.vit).startswith(TIMM)
        assert known.trained_on
        assert known.licence
        assert known.source
        assert known.citations
        assert bool(known.rounded) <= (known.bytes is None)
        assert re.fullmatch("[0-9a-f]{32}", known.md5 or 32 * "0")
        if known.sha256 is not None:
            assert known.bytes
            assert known.member is None
            assert re.fullmatch("[0-9a-f]{64}", known.sha256)
            assert known_by_sha256(known.sha256.upper()) is known
    assert {vit: CHECKPOINTS[name].vit for vit, name in DEFAULT_FOR_VIT.items()} == {
        vit: vit for vit in DEFAULT_FOR_VIT
    }
    assert set(DEFAULT_FOR_VIT) == {*VIT_PRESETS, *TINY_VIT_PRESETS} - {"vit_t"}
    assert known_by_sha256(hashlib.sha256(b"").hexdigest()) is None


def test_page_has_the_table() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## The known checkpoints\n")[2].partition("\n## ")[0]
    listed = [line for line in section.splitlines() if re.match(r"\| `\w+` \|", line)]
    known = CHECKPOINTS.values()
    assert listed == [f"| `{each.name}` | `{each.vit}` | {each.licence} | {each.trained_on} |" for each in known]


def test_extra_installs_the_package() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    for known in CHECKPOINTS.values():
        if known.package:
            assert [re.split("[<>=!]", name)[0] for name in extras[known.extra]] == [known.package]


def test_a_url_has_one_file_in_the_cache() -> None:
    hashed = at_url(f"https://example.org/a%20b/My%20model.pth?token=secret#sha256={'AB' * 32}")
    assert hashed.url == "https://example.org/a%20b/My%20model.pth?token=secret"
    assert hashed.sha256 == "ab" * 32
    assert hashed.name == "https://example.org/a%20b/My%20model.pth"
    assert re.fullmatch(r"url-[0-9a-f]{12}-My_model\.pth", hashed.file_name)
    assert at_url("https://example.org/").file_name.endswith("-weights")
    assert at_url(hashed.url).file_name == hashed.file_name
    assert at_url("https://example.org/b/model.pth").file_name != at_url("https://example.org/c/model.pth").file_name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file:///etc/passwd", r"expected an address that starts with https:// or http://, got file://"),
        ("https:///model.pth", "expected an address"),
        ("https://me:secret@example.org/model.pth", "user name or password"),
        ("https://example.org/model.pth#sha256=12", "expected #sha256= and 64 hexadecimal digits"),
        ("https://example.org/model.pth#md5=12", "got #md5=12"),
    ],
)
def test_other_addresses_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        at_url(text)
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith(
        text.replace("me:secret@", "") + ":"
    )  # whoever gave it, an option or a variable
