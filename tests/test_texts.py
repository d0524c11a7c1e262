"""Texts of others on a terminal, in LaTeX, in spreadsheets and in figures; right values written by hand."""

import csv
import io

import pytest

from ketchup.texts import csv_cell, latex_text, markdown_text, one_line, plot_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("a\rb\x08c\x7f\x9b2J", r"a\rb\x08c\x7f\x9b2J"),  # 0x9b is CSI in one character
        ("abc\u202egnp.exe\u2066x\u2028y", r"abc\u202egnp.exe\u2066x\u2028y"),
        ("name\udcff", r"name\udcff"),  # a byte of a file name that is no UTF-8
        ("two\nlines\tand a tab: ρ, 名, 👩\u200d🔬, می\u200cخواهم", None),
    ],
)
def test_control_characters_are_shown_and_do_nothing(text, shown):
    assert printable(text) == (text if shown is None else shown)
    printable(text).encode()


def test_one_line_is_one():
    assert one_line(" a \n\n b\tc\x1b ") == r"a b c\x1b"


def test_latex_prints_every_ascii_character_as_itself():
    """TeX's special characters (The TeXbook, ch. 7) and those that OT1 has other glyphs for."""
    assert latex_text(r"\{}_%&#$") == r"\textbackslash{}\{\}\_\%\&\#\$"
    assert latex_text("a^b~c<d>e|f") == r"a\textasciicircum{}b\textasciitilde{}c\textless{}d\textgreater{}e\textbar{}f"
    assert latex_text("[5pt]*") == "{[}5pt{]}{*}"  # after \\ they would be a length and a star
    assert latex_text("a---b-c") == "a-{}-{}-b-c"
    assert latex_text("a\nb\x1b") == r"a b\textbackslash{}x1b"


def test_markdown_shows_every_character_as_it_is():
    """Backslash escapes of punctuation are CommonMark's, section 2.4."""
    assert markdown_text("a|b*c*_d_ [e](f) <g> `h` \\ &amp; ~i~ $j$") == (
        r"a\|b\*c\*\_d\_ \[e\](f) \<g\> \`h\` \\ \&amp; \~i\~ \$j\$"
    )
    assert markdown_text("a\n# b\x1b") == r"a \# b\\x1b"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\n", " =", "\ufeff=", "\uff1d", "\uff0b"])
def test_no_cell_is_a_formula(start):
    text = f'{start}cmd|"/c calc"!A1'
    out = io.StringIO()
    csv.writer(out).writerow([csv_cell(text)])
    ((read,),) = csv.reader(io.StringIO(out.getvalue()))
    assert read == f"'{text}"


def test_numbers_and_other_cells_stay():
    cells = [-1.5, None, 3, "name", "a-b", "", "runs/x=1"]
    assert [csv_cell(cell) for cell in cells] == cells


def test_a_figure_shows_dollar_signs(tmp_path):
    import matplotlib.pyplot as plt

    text = r"a$\frac{$b$_{"
    figure = plt.figure()
    figure.text(0, 0, plot_text(text))
    figure.savefig(tmp_path / "figure.png")  # it would fail to parse them
    plt.close(figure)
    assert plot_text(text) == r"a\$\frac{\$b\$_{"
