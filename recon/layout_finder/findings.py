"""What the finder has decided so far, why, and what it leaves to a person.

Lives here: choices, questions, and the list of them while a file is looked at. Must not live here: how anything is
decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Value = None | bool | int | str | list["Value"] | dict[str, "Value"]


class Strength(StrEnum):
    """What a choice rests on, the strongest first."""

    SAID = "said"  # a person said so
    PROVEN = "proven"  # sums that would not hold otherwise
    SEEN = "seen"  # every cell agrees, and with nothing else
    NAMED = "named"  # the name of the column, nothing speaks against it
    ASSUMED = "assumed"  # a convention; look at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A key of the layout, its value, and the evidence in one sentence."""

    key: str
    value: Value
    strength: Strength
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A key that nothing in the file decides: what it could be (empty: anything), and why nobody can tell.

    A layout is complete when no question that `blocks` is open.
    """

    key: str
    candidates: tuple[Value, ...]
    why: str
    blocks: bool = True


@dataclass(slots=True)
class Findings:
    """Choices and questions in the order they were made; `said` are a person's own."""

    said: Mapping[str, Value]
    choices: list[Choice] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def choose(self, key: str, value: Value, strength: Strength, evidence: str) -> None:
        """Note a choice, unless a person said something else."""
        if key in self.said:
            value, strength, evidence = self.said[key], Strength.SAID, "you said so"
        self.choices = [each for each in self.choices if each.key != key]
        self.choices.append(Choice(key=key, value=value, strength=strength, evidence=evidence))

    def ask(self, key: str, candidates: tuple[Value, ...], why: str, *, blocks: bool = True) -> None:
        """Note what cannot be decided, unless a person said it."""
        if key in self.said:
            self.choose(key, None, Strength.SAID, "")
        else:
            self.questions.append(Question(key=key, candidates=candidates, why=why, blocks=blocks))

    def value(self, key: str) -> Value:
        """The chosen value of a key, or what a person said; None when there is none."""
        return next((each.value for each in self.choices if each.key == key), self.said.get(key))
