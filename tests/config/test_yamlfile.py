"""Reading and writing the files that a person writes."""

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from moa_mcp.config import yamlfile
from moa_mcp.domain.errors import InvalidConfig, InvalidPreset


def read(text: str) -> dict[str, Any]:
    return yamlfile.parse(text, "lab.yaml", InvalidPreset).data


def refusal(text: str) -> InvalidPreset:
    with pytest.raises(InvalidPreset) as refused:
        read(text)
    return refused.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("12:30", "12:30"),
        ("12:30:00", "12:30:00"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("=", "="),
        (".inf", ".inf"),
        ("1e3", 1000.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("7", 7),
        ("-3", -3),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ('"7"', "7"),
        ("'true'", "true"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(written: str, meant: object) -> None:
    value = read(f"key: {written}")["key"]

    assert (value, type(value)) == (meant, type(meant))


def test_nested_lists_and_mappings_are_plain_data() -> None:
    text = "proposers:\n  - lab/a\n  - {model: lab/b, samples: 2}\nrole: |\n  You check\n  units.\n"

    assert read(text) == {
        "proposers": ["lab/a", {"model": "lab/b", "samples": 2}],
        "role": "You check\nunits.\n",
    }


def test_a_file_of_nothing_but_comments_says_nothing() -> None:
    assert read("# default_preset: auto\n") == {}
    assert read("") == {}


def test_halves_of_an_emoji_are_joined_and_lone_ones_replaced() -> None:
    assert read('whole: "\\ud83d\\ude00"\nlone: "a\\ud83d"') == {"whole": "😀", "lone": "a\ufffd"}


def test_the_line_of_a_key_is_known_and_failing_that_the_line_of_what_is_around_it() -> None:
    document = yamlfile.parse("a: 1\nb:\n  - c: 2\n    d: 3\n  - e\n", "lab.yaml", InvalidPreset)

    assert document.line_of(("b", 0, "d")) == 4
    assert document.line_of(("b", 1)) == 5
    assert document.line_of(("b", 0, "missing", "deeper")) == 3
    assert document.line_of(("missing",)) is None


@pytest.mark.parametrize(
    ("text", "line", "key", "problem"),
    [
        ("a: 1\nb: &x 2", 2, "b", "anchors"),
        ("a: 1\nb: *x", 2, "b", "aliases"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 1, "a", "anchors"),
        ("c:\n  <<: {b: 1}", 2, "c", "merge"),
        ("a: !!python/object:os.system x", 1, "a", "tags"),
        ("a: !x [1]", 1, "a", "tags"),
        ("a: 1\nb: 2\na: 3", 3, "a", "already given on line 1"),
        ("x:\n  a: 1\n  a: 2", 3, "x.a", "already given on line 2"),
        ("? [1, 2]\n: x", 1, None, "cannot be a key"),
        ("- a\n- b", 1, None, "not a mapping"),
        ("just words", 1, None, "not a mapping"),
        ("--- ~", 1, None, "not a mapping"),
        ("a: 1\n---\nb: 2", 2, None, "second document"),
        ("a: 1\nb: 1e999", 2, "b", "too large"),
        ("a: 'open\n", 2, None, "not YAML"),
        ("a: 1\n\tb: 2", 2, None, "not YAML"),
        ("a: 1\nb: \x07", 2, None, "character that YAML forbids"),
    ],
)
def test_what_a_configuration_does_not_need_is_refused_with_its_line(
    text: str, line: int, key: str | None, problem: str
) -> None:
    error = refusal(text)

    assert (error.line, error.key) == (line, key)
    assert problem in str(error)
    assert str(error).startswith(f"lab.yaml, line {line}")


def test_more_than_256_kib_is_refused() -> None:
    assert "at most 256 KiB" in str(refusal(f"a: {'x' * yamlfile.MAX_BYTES}"))


@pytest.mark.parametrize("text", ["a: " + "[" * 2000, "a: " + "{b: " * 30, "a: " + "[" * 20 + "1" + "]" * 20])
def test_more_than_20_levels_are_refused(text: str) -> None:
    assert "at most 20 levels" in str(refusal(text))


def test_twenty_levels_are_read() -> None:
    value: Any = read("a: " + "[" * 19 + "1" + "]" * 19)["a"]
    for _ in range(19):
        (value,) = value

    assert value == 1


def test_a_file_made_of_very_many_values_is_left_before_its_end() -> None:
    assert "at most 4,000" in str(refusal("a: [" + "1," * 100_000 + "]"))


def test_the_fault_is_of_the_kind_that_the_file_is() -> None:
    with pytest.raises(InvalidConfig):
        yamlfile.parse("a: 1\na: 2", "config.yaml", InvalidConfig)


def test_a_file_that_is_not_utf_8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")

    with pytest.raises(InvalidPreset, match=r"latin, line 2: this line is not UTF-8"):
        yamlfile.read(path, "latin", InvalidPreset)


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (yamlfile.MAX_BYTES + 1))

    with pytest.raises(InvalidPreset, match="at most 256 KiB"):
        yamlfile.read(path, "large", InvalidPreset)


def test_a_folder_in_place_of_a_file_is_refused_and_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(InvalidPreset, match="this is a folder, not a file"):
        yamlfile.read(tmp_path, "folder", InvalidPreset)
    with pytest.raises(FileNotFoundError):
        yamlfile.read(tmp_path / "none", "none", InvalidPreset)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
    | st.sampled_from(["no", "1e3", "12:30", "0o17", "null", "~", "<<", "=", "a: b", " x ", "x\ny", "# no", "- a"])
)


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), SCALARS | st.lists(SCALARS, max_size=3), max_size=4)
)
def test_what_is_dumped_is_read_back_as_the_same_data(data: dict[str, Any]) -> None:
    assert read(yamlfile.dump(data)) == data


def test_one_value_in_two_places_is_written_out_twice() -> None:
    shared = {"model": "lab/a"}

    assert read(yamlfile.dump({"a": shared, "b": shared})) == {"a": shared, "b": shared}


def test_a_file_is_written_for_its_owner_alone_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lab.yaml"
    yamlfile.write(path, "a: 1\r\n")
    yamlfile.write(path, "a: 2\r\n")

    assert path.read_bytes() == b"a: 2\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("a: 1", encoding="utf-8")

    with pytest.raises(UnicodeEncodeError):
        yamlfile.write(path, "a: \ud800")

    assert path.read_text(encoding="utf-8") == "a: 1"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.yaml"
    target.write_text("a: 1", encoding="utf-8")
    link = tmp_path / "config.yaml"
    link.symlink_to(target)

    yamlfile.write(link, "a: 2")

    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "a: 2"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    layers: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inner: Inner


def test_invalid_data_is_an_error_with_file_line_and_key() -> None:
    document = yamlfile.parse("inner:\n  layers: x\n", "lab.yaml", InvalidConfig)

    with pytest.raises(InvalidConfig, match=r"^lab\.yaml, line 2: inner\.layers: .* valid integer"):
        document.into(Outer)
