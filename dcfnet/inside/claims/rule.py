"""The one rule of all verdicts: what a check is, when it holds, and what chance would make of it.

A claim is cut into *checks*: things that would be so if the claim were true. The unit of a check is
a *training*, that is a network trained from its own seed or on its own fold of the scene, because
that is what was drawn independently. Patches of one network show its spread; they do not multiply
the evidence. The *effect* of a training is a number above 0 where it behaves as the claim says.

A check *holds* where so many trainings behave as claimed that a fair coin for each would give as
many in at most one case of eight. It *fails* where so few do, by the same count, and is *open*
between. So at least three trainings are needed, and three of three are enough. Where a measure has
a choice that should not matter, the order of the patches or the seed of a draw, it was made twice:
a check is open as well if the two do not agree.

The coin bounds what chance can do *for* a claim alone. An effect that asks for a margin, or for the
worst of several numbers, is below 0 by itself: to fail is no evidence of the opposite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import binom

from dcfnet.measure.tables import headed

Outcome = Literal["holds", "fails", "open", "too few"]
Verdict = Literal["supported", "not supported", "mixed", "cannot be tested here"]
Numbers = npt.NDArray[np.float64]
Effects = Mapping[str, Numbers]
"""By the name of a training, its effect on each patch; one number where there are no patches."""

CHANCE = 1 / 8
"""What a fair coin may do at most for a check to hold; one fails by as few as it holds by many."""

LEAST = 3
"""With fewer trainings nothing is that improbable."""

LOOKS: Mapping[Verdict, tuple[str, str]] = {
    "supported": ("●", "background: #c5dcf0; color: #111"),
    "mixed": ("◐", "background: #f3e7b8; color: #111"),
    "not supported": ("○", "background: #f2cdb8; color: #111"),
    "cannot be tested here": ("–", ""),
}
"""Sign and colours of each verdict in a table: they print, and colour-blind readers tell them."""

GAP = "\N{NO-BREAK SPACE}"
"""In tables: an interval stays on its line."""


@dataclass(frozen=True, eq=False)
class Check:
    """One thing that would be so if the claim were true.

    Attributes:
        what: In words, for example ``"branch 1 sees further than branch 0"``.
        effects: By training, above 0 where it is as claimed.
        reading: Of the claim, where it is not the one that the verdict rests on.
        again: The effects once more, with another order of patches and other draws.
    """

    what: str
    effects: Effects
    reading: str = ""
    again: Effects = field(default_factory=dict)

    @property
    def of_trainings(self) -> Numbers:
        """The effect of each training: the median over its patches."""
        return _medians(self.effects)

    @property
    def as_claimed(self) -> int:
        """How many trainings behave as claimed."""
        return int((self.of_trainings > 0).sum())

    @property
    def outcome(self) -> Outcome:
        """By the rule of this module."""
        first = _outcome(self.of_trainings)
        return first if not self.again or _outcome(_medians(self.again)) == first else "open"

    @property
    def chance(self) -> float:
        """The probability that the check holds if every training is a fair coin."""
        count = len(self.effects)
        tails = binom.sf(np.arange(count + 1) - 1, count, 0.5)
        return float(max((tail for tail in tails if tail <= CHANCE), default=0.0))

    def row(self) -> dict[str, str]:
        """The check as a row of a table."""
        found, count = self.of_trainings, len(self.effects)
        if not count:
            return {"effect": "", "over patches": "", "as claimed": "", "check": self.outcome}
        effect = _signed(np.median(found))
        if count > 1:
            effect += f" [{_signed(found.min())},{GAP}{_signed(found.max())}]"
        patches, spread = np.concatenate(list(self.effects.values())), ""
        if len(patches) > count:
            low, high = np.quantile(patches, (0.25, 0.75))
            spread = f"{_signed(low)}{GAP}to{GAP}{_signed(high)}"
        return {
            "effect": effect,
            "over patches": spread,
            "as claimed": f"{self.as_claimed}{GAP}of{GAP}{count}",
            "check": self.outcome
            if self.outcome == _outcome(found)
            else "open: turned when repeated",
        }


@dataclass(frozen=True, eq=False)
class Finding:
    """What became of a claim, or of one of the questions that it is cut into.

    Attributes:
        claim: Its number, with the question where it has several: ``"9, used"``.
        title: The claim in a few words.
        measure: What an effect is, in a line.
        checks: What the verdict rests on, and other readings beside it.
        notes: What was measured besides, a line each.
        untestable: Why the claim cannot be tested as it is written, a sentence; its checks are
            then readings.
    """

    claim: str
    title: str
    measure: str
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    untestable: str = ""

    @property
    def counted(self) -> list[Check]:
        """The checks that the verdict rests on."""
        return [check for check in self.checks if not check.reading]

    @property
    def trainings(self) -> int:
        """How many trainings the check that has fewest rests on."""
        return min((len(check.effects) for check in self.counted), default=0)

    @property
    def verdict(self) -> Verdict:
        """All checks hold: supported. All fail: not supported. Else mixed, if all can be made."""
        return _verdict(self.counted)

    @property
    def chance(self) -> float:
        """The probability of *supported* if every training is a coin; at most, as checks agree."""
        return min((check.chance for check in self.counted), default=0.0)

    @property
    def why(self) -> str:
        """Why there is no verdict, or what chance would give; a sentence."""
        if self.untestable:
            return self.untestable
        if self.verdict == "not supported":
            return "No check holds; that the opposite is so does not follow."
        if self.verdict != "cannot be tested here":
            chance = f"{self.chance:.3g}"
            return f"By chance alone it would be supported with probability {chance} at most."
        if not self.trainings:
            return "No training is there that could show it."
        short = sum(check.outcome == "too few" for check in self.counted)
        return f"{short} of {len(self.counted)} checks have fewer than {LEAST} trainings."

    def table(self) -> pd.DataFrame:
        """A row for each check that the verdict rests on.

        Columns: ``effect``, the median over trainings with the smallest and the largest; ``over
        patches``, the quartiles over all patches; ``as claimed``, how many trainings; ``check``,
        its outcome.
        """
        return pd.DataFrame.from_dict({c.what: c.row() for c in self.counted}, orient="index")

    def readings(self) -> pd.DataFrame:
        """A row for each other reading of the claim, and the verdict that it would give.

        Columns: ``effects``, the smallest and the largest median over trainings of its checks, or
        of the trainings where there is one check; ``hold`` and ``fail``, how many of its checks;
        ``verdict``.
        """
        rows = {}
        for reading in dict.fromkeys(check.reading for check in self.checks if check.reading):
            checks = [check for check in self.checks if check.reading == reading]
            medians = [float(np.median(c.of_trainings)) for c in checks if c.effects]
            if len(medians) == 1:
                medians = [x for c in checks for x in c.of_trainings]
            outcomes = [check.outcome for check in checks]
            rows[reading] = {
                "effects": f"{_signed(min(medians))}{GAP}to{GAP}{_signed(max(medians))}"
                if medians
                else "",
                "hold": f"{outcomes.count('holds')}{GAP}of{GAP}{len(checks)}",
                "fail": f"{outcomes.count('fails')}{GAP}of{GAP}{len(checks)}",
                "verdict": _verdict(checks),
            }
        return pd.DataFrame.from_dict(rows, orient="index")


def _signed(effect: float) -> str:
    """Three digits, and of thousands all of them."""
    return f"{effect:+.3g}" if abs(effect) < 999.5 else f"{effect:+,.0f}"


def _medians(effects: Effects) -> Numbers:
    return np.array([np.median(each) for each in effects.values()], np.float64)


def _outcome(effects: Numbers) -> Outcome:
    """Of a check, from the effect of each training."""
    count, yes = len(effects), int((effects > 0).sum())
    if count < LEAST:
        return "too few"
    if binom.sf(yes - 1, count, 0.5) <= CHANCE:
        return "holds"
    return "fails" if binom.cdf(yes, count, 0.5) <= CHANCE else "open"


def _verdict(checks: Sequence[Check]) -> Verdict:
    outcomes = {check.outcome for check in checks}
    if not outcomes or "too few" in outcomes:
        return "cannot be tested here"
    if outcomes == {"holds"}:
        return "supported"
    return "not supported" if outcomes == {"fails"} else "mixed"


def chances(counts: Sequence[int]) -> pd.DataFrame:
    """What the rule demands of so many trainings, and what chance would give."""
    rows = {}
    for count in counts:
        check = Check("", {str(i): np.ones(1) for i in range(count)})
        tails = binom.sf(np.arange(count + 1) - 1, count, 0.5)
        rows[count] = {
            "as claimed, to hold": f"{int((tails > CHANCE).sum())}",
            "probability by chance": f"{check.chance:.3f}",
        }
    return pd.DataFrame(rows).rename_axis("trainings", axis="columns")


def grid(findings: Mapping[str, Sequence[Finding]], caption: str = "") -> Styler:
    """A row for each claim; by group of networks the verdict, its sign and colour, and trainings.

    Args:
        findings: By group of networks.
        caption: What stands above the table.
    """
    rows: dict[str, dict[str, str | Finding]] = {}
    for group, found in findings.items():
        for finding in found:
            row = rows.setdefault(finding.claim, {"what is claimed": finding.title})
            row[group] = finding
    rows = dict(sorted(rows.items(), key=lambda row: int(row[0].split(",")[0])))

    def words(finding: Finding) -> str:
        verdict = finding.verdict
        text = f"{LOOKS[verdict][0]} {verdict} ({finding.trainings})"
        return text if "tested" in verdict else text.replace(" ", GAP)

    def colour(cell: object) -> str:
        return LOOKS[cell.verdict][1] if isinstance(cell, Finding) else ""

    groups = [*findings]
    table = pd.DataFrame.from_dict(rows, orient="index")[["what is claimed", *groups]]
    style = table.style.map(colour, subset=groups)
    # Else the verdicts, of which no line breaks, leave it a word a line.
    style = style.set_properties(subset=["what is claimed"], **{"min-width": "11rem"})
    return headed(style.format(words, subset=groups, na_rep=""), caption)


def listed(findings: Mapping[str, Sequence[Finding]], verdict: Verdict) -> pd.DataFrame:
    """A row for each claim and group of networks that got a verdict.

    Columns: ``claim``; ``networks``; ``trainings``, how many it rests on; ``checks``, what became
    of each; ``because``, what chance would give, or why there is no verdict.
    """
    rows = {}
    for group, found in findings.items():
        for finding in found:
            if finding.verdict != verdict:
                continue
            outcomes = [check.outcome for check in finding.counted]
            counts = (f"{outcomes.count(o)}{GAP}×{GAP}{o}" for o in dict.fromkeys(outcomes))
            rows[finding.claim, group] = {
                "claim": f"{finding.claim}. {finding.title}",
                "networks": group,
                "trainings": finding.trainings,
                "checks": ", ".join(counts),
                "because": finding.why,
            }
    rows = dict(sorted(rows.items(), key=lambda row: int(row[0][0].split(",")[0])))
    return pd.DataFrame(list(rows.values()))
