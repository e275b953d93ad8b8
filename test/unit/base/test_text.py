from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti.base import text
from ganeti.base.errors import PrereqError


@pytest.mark.parametrize(
    ("typed", "mib"),
    [
        ("128", 128),
        ("0", 0),
        ("1", 4),
        ("129", 132),
        ("512m", 512),
        ("512M", 512),
        ("1g", 1024),
        ("1.5G", 1536),
        (".5g", 512),
        ("2T", 2 * 1024**2),
        ("0.1g", 104),
        (" 10 g ", 10240),
        ("1GiB", 1024),
        ("1023.9", 1024),
    ],
)
def test_sizes_are_mib_rounded_up_to_four(typed: str, mib: int) -> None:
    assert text.parse_size(typed) == mib


@pytest.mark.parametrize("typed", ["", "g", "-5", "1.2.3", "5x", "1,5g", "5 m m", "٣", "inf"])
def test_what_is_no_size_is_refused_by_name(typed: str) -> None:
    with pytest.raises(PrereqError, match="is not a size") as caught:
        text.parse_size(typed)
    assert f"'{typed}'" in str(caught.value) and caught.value.code == "wrong_input"


@given(st.integers(min_value=0, max_value=10**9))
def test_parsed_size_covers_what_was_asked(mib: int) -> None:
    assert 0 <= text.parse_size(str(mib)) - mib < text.SIZE_STEP


@pytest.mark.parametrize(
    ("mib", "units", "shown"),
    [
        (0, "h", "0M"),
        (128, "h", "128M"),
        (1023, "h", "1023M"),
        (1024, "h", "1.0G"),
        (258048, "h", "252.0G"),
        (24105, "h", "23.5G"),
        (1024**2, "h", "1.0T"),
        (128, "m", "128"),
        (258019, "m", "258019"),
        (1536, "g", "1.5"),
        (1024**2, "t", "1.0"),
    ],
)
def test_sizes_are_shown_as_scripts_expect_them(mib: int, units: text.Units, shown: str) -> None:
    assert text.format_size(mib, units) == shown


def test_unknown_unit_is_refused() -> None:
    with pytest.raises(PrereqError, match="'k' is not a unit"):
        text.format_size(1, "k")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90", 90), ("0s", 0), ("5m", 300), ("2h", 7200), ("1d", 86400), ("4w", 4 * 604800), (" 3 m ", 180)],
)
def test_durations_are_seconds(typed: str, seconds: int) -> None:
    assert text.parse_duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "m", "-1", "1y", "1.5h", "5M"])
def test_what_is_no_duration_is_refused(typed: str) -> None:
    with pytest.raises(PrereqError, match="is not a duration"):
        text.parse_duration(typed)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(4.2, "4.2s"), (185, "3m 5s"), (3600, "1h 0m 0s"), (93600, "1d 2h 0m 0s"), (59.99, "60.0s")],
)
def test_durations_are_shown_by_their_largest_unit(seconds: float, shown: str) -> None:
    assert text.format_duration(seconds) == shown


def test_truth_has_several_words() -> None:
    assert all(map(text.parse_bool, ["yes", "True", "ON", "1"]))
    assert not any(map(text.parse_bool, ["no", "False", "off", "0"]))
    with pytest.raises(PrereqError, match="'maybe' is neither"):
        text.parse_bool("maybe")


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a,", ["a", ""]),
        (r"a\,b,c", ["a,b", "c"]),
        (r"a\\,b", ["a\\", "b"]),
        (r"a\\\,b", ["a\\,b"]),
        ("a\\", ["a\\"]),
    ],
)
def test_backslash_keeps_the_separator(typed: str, parts: list[str]) -> None:
    assert text.split_escaped(typed) == parts


@given(st.lists(st.text(alphabet="ab\\,/ ", max_size=5), min_size=1).filter(lambda parts: parts != [""]))
def test_splitting_undoes_escaping(parts: list[str]) -> None:
    escaped = [part.replace("\\", "\\\\").replace(",", "\\,") for part in parts]
    assert text.split_escaped(",".join(escaped)) == parts


def test_key_values_know_flags_and_removals() -> None:
    assert text.parse_keyval("") == {}
    assert text.parse_keyval(r"a=1,b,no_c,-d,e=,f=x=y,g=1\,2") == {
        "a": "1",
        "b": True,
        "c": False,
        "d": None,
        "e": "",
        "f": "x=y",
        "g": "1,2",
    }


@pytest.mark.parametrize("typed", ["a=1,a=2", "a,no_a", "=x", "a,,b", "no_", "-"])
def test_unclear_key_values_are_refused(typed: str) -> None:
    with pytest.raises(PrereqError, match="twice|no key"):
        text.parse_keyval(typed)


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("kvm:acpi=true,no_vnc", ("kvm", {"acpi": "true", "vnc": False})),
        ("0", ("0", {})),
        ("0:", ("0", {})),
        ("no_kvm", ("kvm", False)),
        ("-kvm", ("kvm", None)),
        ("-1:size=10g", ("-1", {"size": "10g"})),
        ("add:size=1g,name=a:b", ("add", {"size": "1g", "name": "a:b"})),
    ],
)
def test_identifier_comes_before_its_key_values(typed: str, parsed: object) -> None:
    assert text.parse_ident_keyval(typed) == parsed


@pytest.mark.parametrize("typed", ["", ":a=1", "no_kvm:a=1", "-kvm:a=1", "no_", "-"])
def test_unclear_identifiers_are_refused(typed: str) -> None:
    with pytest.raises(PrereqError):
        text.parse_ident_keyval(typed)


def test_policy_ranges_are_lists_of_groups() -> None:
    assert text.parse_multi_ident_keyval("min:a=1/max:a=2//min:a=3,b=4/max:a=5") == [
        {"min": {"a": "1"}, "max": {"a": "2"}},
        {"min": {"a": "3", "b": "4"}, "max": {"a": "5"}},
    ]
    for wrong in ("min:a=1/min:a=2", "no_min", "min:a=1//"):
        with pytest.raises(PrereqError):
            text.parse_multi_ident_keyval(wrong)


def test_numbers_in_names_sort_by_value() -> None:
    names = ["node10", "node2", "node1.b", "node1.a", "10", "9", "", "disk/0", "disk/10", "disk/9"]
    assert sorted(names, key=text.natural_key) == [
        "", "9", "10", "disk/0", "disk/9", "disk/10", "node1.a", "node1.b", "node2", "node10",
    ]  # fmt: skip


@given(st.lists(st.text(alphabet="ab019.-", max_size=8)))
def test_any_two_names_can_be_compared(names: list[str]) -> None:
    ordered = sorted(names, key=text.natural_key)
    assert sorted(ordered, key=text.natural_key) == ordered


def test_table_pads_all_but_a_last_text_column() -> None:
    rows = [["file1.example.com", "fake", "128M"], ["noin1.example.com", "kvm", "-"]]
    assert text.format_table(rows, ["Instance", "Hypervisor", "Memory"], {2}) == [
        "Instance          Hypervisor Memory",
        "file1.example.com fake         128M",
        "noin1.example.com kvm             -",
    ]
    assert text.format_table([["web", "running"], ["x", "down"]], ["Name", "Status"]) == [
        "Name Status",
        "web  running",
        "x    down",
    ]


def test_table_right_aligns_headers_of_numbers() -> None:
    assert text.format_table([["node1", "70.4G", 0]], ["Node", "DTotal", "Pinst"], {1, 2}) == [
        "Node  DTotal Pinst",
        "node1  70.4G     0",
    ]


def test_separator_switches_padding_off() -> None:
    assert text.format_table([["a", 1], ["bbb", 22]], ["Name", "N"], {1}, ":") == ["Name:N", "a:1", "bbb:22"]
    assert text.format_table([["a", 1]], None, {1}, "|") == ["a|1"]


def test_empty_table_is_its_headers() -> None:
    assert text.format_table([], ["Node", "PhysDev", "VG"]) == ["Node PhysDev VG"]
    assert text.format_table([]) == []


def test_time_stamps_are_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")
    time.tzset()
    try:
        assert text.format_timestamp(1795351714.7) == "2026-11-22 14:48:34"
        assert text.format_split_timestamp([1795351714, 123]) == "2026-11-22 14:48:34.000123"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text(max_size=20), st.integers(min_value=0, max_value=25))
def test_shortened_text_fits(value: str, length: int) -> None:
    short = text.shorten(value, length)
    assert len(short) <= length and (short == value or short.endswith("..."[:length]))
