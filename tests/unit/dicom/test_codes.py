"""Names, codes and colours of segments: from a table, or proposed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pydicom")

from nnunetv2_masam.dicom.codes import propose, read_segments


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("liver", "10200004:SCT:Liver"),
        ("Pancreas", "15776009:SCT:Pancreas"),
        ("inferior_vena_cava", "64131007:SCT:Inferior vena cava"),
        ("kidneys", "64033007:SCT:Kidney"),
        ("PortalVein", "32764006:SCT:Portal vein"),
        ("left ventricle", "87878005:SCT:Left ventricle"),
        ("edema", "79654002:SCT:Edema"),
        ("stent", "65818007:SCT:Stent"),
        ("widget 7", "widget_7:99MASAM:widget 7"),
        ("left", "left:99MASAM:left"),
        ("Leber:groß", "Leber_gro:99MASAM:Leber groß"),
        ("肝", "label_5:99MASAM:肝"),
    ],
)
def test_proposed_types(name, code):
    assert propose(0, name, "5").type == code


def test_sides_become_modifiers():
    assert propose(0, "kidney_left", "1").modifier == "7771000:SCT:Left"
    assert propose(0, "RightAdrenalGland", "1").modifier == "24028007:SCT:Right"
    assert propose(0, "liver", "1").modifier == ""
    assert propose(0, "left ventricle", "1").modifier == ""


def test_proposed_categories():
    names = ("spleen", "tumor", "stent", "muscle tissue")
    assert [propose(0, name, "1").category.split(":")[2] for name in names] == [
        "Anatomical Structure",
        "Morphologically Abnormal Structure",
        "Physical object",
        "Tissue",
    ]


def test_colours_differ():
    assert len({propose(number, "x", "1").colour for number in range(60)}) == 60


def read(tmp_path: Path, *rows: str, header: str = "label,name,category,type,colour"):
    path = tmp_path / "segments.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return read_segments(path)


def test_a_table(tmp_path):
    first, second = read(
        tmp_path,
        "1,Liver of mine,,,#00ff00",
        "2 3,Lesion,49755003:SCT:Morphologically Abnormal Structure,4147007:SCT:Mass,",
    )
    assert (first.labels, first.name, first.colour) == ([1], "Liver of mine", "#00ff00")
    assert first.type == "Liver_of_mine:99MASAM:Liver of mine"
    assert (second.labels, second.type) == ([2, 3], "4147007:SCT:Mass")


def test_a_table_of_labels_and_names(tmp_path):
    (segment,) = read(tmp_path, "4;spleen", header="label;name")
    assert segment.type == "78961009:SCT:Spleen"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0,liver,,,"], "line 2: label: got '0', expected whole numbers above 0"),
        (["1,liver,,,", "x,spleen,,,"], "line 3: label: got 'x'"),
        ([",liver,,,"], "line 2: label: got ''"),
        (["1,liver,,,green"], "line 2: colour: got 'green', expected #RRGGBB"),
        (["1,liver,,10200004,"], "line 2: type: got '10200004', expected value:scheme:meaning such as"),
        (["1,liver,Organ,,"], "line 2: category: got 'Organ'"),
        (["1,liver,,,", "1,spleen,,,"], "has two rows for the same labels"),
        (["1,liver,,,", "01,spleen,,,"], "has two rows for the same labels"),
        (["1 2,liver,,,", "2 1,spleen,,,"], "has two rows for the same labels"),
        (["1 2,liver,,,", "1  2 02,spleen,,,"], "has two rows for the same labels"),
        ([], "has no rows"),
    ],
)
def test_tables_that_are_refused(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, *rows)
