import itertools

import numpy as np
import pytest
from bs4 import BeautifulSoup

from dcfnet.inside.claims.rule import GAP, LOOKS, Check, Finding, chances, grid, listed


def check(*medians, reading="", what="a check"):
    """Each training with three patches, whose median is given."""
    return Check(
        what, {f"t{i}": np.array([m - 5, m, m + 9.0]) for i, m in enumerate(medians)}, reading
    )


def finding(*checks, claim="0"):
    return Finding(claim, "Title", "measure", tuple(checks))


@pytest.mark.parametrize(
    ("signs", "outcome"),
    [
        ("", "too few"),
        ("+", "too few"),
        ("++", "too few"),
        ("+++", "holds"),
        ("++-", "open"),
        ("+--", "open"),
        ("---", "fails"),
        ("++++", "holds"),
        ("+++-", "open"),
        ("+++++-", "holds"),
        ("++++--", "open"),
        ("+-----", "fails"),
    ],
)
def test_outcome_at_its_borders(signs, outcome):
    assert check(*(1.0 if sign == "+" else -1.0 for sign in signs)).outcome == outcome


def test_patches_do_not_multiply_the_evidence():
    many = Check("", {"only": np.ones(1000)})
    assert many.as_claimed == 1
    assert many.outcome == "too few"
    most = Check("", {str(i): np.array([1.0, 1, -9]) for i in range(3)})
    assert most.outcome == "holds"  # two patches of three, in each training


def test_a_check_that_another_draw_turns_is_open():
    effects = {str(i): np.array([1.0]) for i in range(3)}
    again = {name: np.array([0.5]) for name in effects}
    assert Check("", effects, "", again).outcome == "holds"
    assert Check("", effects, "", again | {"2": np.array([-0.5])}).outcome == "open"
    assert Check("", {"0": effects["0"]}, "", {"0": again["0"]}).outcome == "too few"


def test_no_effect_is_not_as_claimed():
    assert check(0.0, 0.0, 0.0).outcome == "fails"


@pytest.mark.parametrize("count", range(8))
def test_chance_is_the_share_of_coin_tosses_that_hold(count):
    outcomes = [check(*signs).outcome for signs in itertools.product((1.0, -1.0), repeat=count)]
    chance = check(*[1.0] * count).chance
    assert chance == pytest.approx(outcomes.count("holds") / 2**count)
    assert chance == pytest.approx(outcomes.count("fails") / 2**count)
    assert chance <= 1 / 8


YES, NO, OPEN, FEW = check(1, 1, 1), check(-1, -1, -1), check(1, 1, -1), check(1, 1)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ([YES, YES], "supported"),
        ([NO, NO], "not supported"),
        ([YES, NO], "mixed"),
        ([YES, OPEN], "mixed"),
        ([NO, OPEN], "mixed"),
        ([YES, FEW], "cannot be tested here"),
        ([], "cannot be tested here"),
        ([YES, check(-1, -1, -1, reading="another")], "supported"),
    ],
)
def test_verdict(checks, verdict):
    assert finding(*checks).verdict == verdict


def test_a_claim_without_verdict_says_why():
    assert finding(YES, FEW).why == "1 of 2 checks have fewer than 3 trainings."
    assert "No training" in finding(check()).why
    assert "No training" in finding().why
    assert "be supported with probability 0.125" in finding(YES).why
    assert "be supported with probability 0.125" in finding(YES, NO).why
    assert "No check holds" in finding(NO).why
    assert "probability" not in finding(NO).why
    reading = Finding("0", "Title", "measure", (check(1, 1, 1, reading="r"),), untestable="Since.")
    assert (reading.verdict, reading.why) == ("cannot be tested here", "Since.")


def test_tables():
    other = check(-2, -3, 4, reading="the other way")
    found = finding(check(1, 2, 4, what="a < b"), other)
    (row,) = found.table().to_dict("records")
    assert found.table().index.tolist() == ["a < b"]
    assert row["effect"] == "+2 [+1,\xa0+4]"
    assert row["as claimed"] == "3\xa0of\xa03"
    assert row["check"] == "holds"
    # All patches: -4, 1, 10, -3, 2, 11, -1, 4, 13.
    assert row["over patches"] == "-1\xa0to\xa0+10"
    reading = found.readings().loc["the other way"]
    assert reading["verdict"] == "mixed"
    assert reading["effects"] == "-3\xa0to\xa0+4"
    two = finding(other, check(1, 2, 3, what="a > b", reading="the other way"))
    assert two.readings().loc["the other way", "effects"] == "-2\xa0to\xa0+2"
    assert check().row()["check"] == "too few"


def test_the_grid_has_a_row_per_claim_and_a_column_per_group():
    style = grid({"wide": [finding(YES, claim="10, x")], "narrow": [finding(NO, claim="2")]})
    page = BeautifulSoup(style.to_html(), "html.parser")
    rows = [[cell.get_text() for cell in row("td")] for row in page.select("tbody tr")]
    last = [[cell.replace(GAP, " ")[2:] for cell in row[1:]] for row in rows]
    assert last == [["", "not supported (3)"], ["supported (3)", ""]]
    assert [row[0] for row in rows] == ["Title", "Title"]


def test_the_grid_has_a_sign_and_a_colour_for_each_verdict():
    page = grid({"wide": [finding(YES, claim="1"), finding(NO, claim="2")]}, "Verdicts").to_html()
    for verdict in ("supported", "not supported"):
        sign, colour = LOOKS[verdict]
        assert f"{sign} {verdict} (3)" in page.replace(GAP, " ")
        assert colour.split(";")[0].partition(" ")[2] in page
    assert len({sign for sign, _ in LOOKS.values()}) == len(LOOKS)


def test_thousands_are_written_out():
    row = check(-1260, 2, 3).row()
    assert row["effect"] == "+2 [-1,260,\xa0+3]"


def test_claims_that_got_a_verdict_are_listed():
    found = {"wide": [finding(YES, claim="10, used"), finding(YES, FEW, claim="2")]}
    found["narrow"] = [finding(YES, OPEN, claim="1"), finding(YES, claim="2")]
    table = listed(found, "supported")
    assert table["claim"].tolist() == ["2. Title", "10, used. Title"]
    assert table["networks"].tolist() == ["narrow", "wide"]
    assert listed(found, "mixed")["checks"].tolist() == ["1\xa0×\xa0holds, 1\xa0×\xa0open"]
    assert listed(found, "cannot be tested here")["trainings"].tolist() == [2]
    assert listed(found, "not supported").empty


def test_the_printed_rule_is_the_rule():
    table = chances(range(3, 9))
    for count in table:
        needed = int(table.loc["as claimed, to hold", count])
        outcomes = [
            check(*[1.0] * yes, *[-1.0] * (count - yes)).outcome for yes in (needed - 1, needed)
        ]
        assert outcomes[1] == "holds" != outcomes[0]
    assert table.loc["probability by chance"].tolist() == [
        *("0.125", "0.062", "0.031", "0.109", "0.062", "0.035")
    ]
