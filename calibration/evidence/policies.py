"""Gate policies: YAML read with its line numbers, so that a typo is refused where it stands."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from labeling.errors import Refused, RowError

STATISTICS = ("kappa", "weighted_kappa", "accuracy", "alpha", "ac1", "macro_f1", "mcc")
SCHEMA: dict[str, Any] = {
    "name": str,
    "by": "names",
    "rules": "rules",
    "statistic": "statistic",
    "at_least": "number",
    "no_worse_than_baseline": {"margin": "number", "statistic": "statistic", "by": "names"},
    "max_missing": "share",
    "min_n": "count",
    "worst_slice": {"by": "names", "statistic": "statistic", "at_least": "number"},
    "max_wer": "share",
    "max_seconds": "amount",
    "max_cost": "amount",
    "on_unproven": "outcome",
    "scenario": {"value": str, "at_least": "number", "by": "names", "min_n": "count"},
}
RULE: dict[str, Any] = {
    "slice": "slice", "by": "names", "statistic": "statistic", "at_least": "number", "min_n": "count",
}  # fmt: skip
OUTCOMES = ("fail", "pass")
LIMITS = ("max_missing", "worst_slice", "max_wer", "max_seconds", "max_cost", "scenario")


@dataclass(frozen=True, slots=True)
class Rule:
    """A statistic whose whole interval must reach a bar: in one slice, or in the whole and every slice of `by`."""

    statistic: str
    at_least: float
    slice: Mapping[str, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    line: int = 0
    min_n: int = 0


@dataclass(frozen=True, slots=True)
class NoWorse:
    """The candidate may be at most `margin` below the baseline, in the whole and every slice of `by`."""

    margin: float
    statistic: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorstSlice:
    """The weakest slice by `by`, among those with enough gold, must have at least this value."""

    statistic: str
    at_least: float
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Of a simulated run, the share of conversations in which the candidate says `value` must reach a bar with its whole
    interval: in the run, and in every slice by each of `by`, such as persona."""

    value: str
    at_least: float
    by: tuple[str, ...] = ()
    min_n: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a candidate must pass. `text` is the policy as it was given."""

    text: str
    rules: tuple[Rule, ...]
    no_worse: NoWorse | None = None
    max_missing: float | None = None
    worst_slice: WorstSlice | None = None
    max_wer: float | None = None
    max_seconds: float | None = None
    max_cost: float | None = None
    scenario: Scenario | None = None
    lenient: bool = False
    name: str = ""
    named: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Every name that something is sliced by, with the line and the field that say it first."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Everything that the policy slices by."""
        named = [name for rule in self.rules for name in (*rule.by, *rule.slice)]
        return tuple(dict.fromkeys([*named, *(self.no_worse.by if self.no_worse else ())]))

    def check_known(self, names: Sequence[str], known: Collection[str], what: str) -> None:
        """Refuse names that nothing of `what` has: the one slice `unknown` would be the whole, and pass where it does."""
        wrong = []
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), 1)
                hint = f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
                line, where = self.named[name]
                wrong.append(RowError(line, where, f"{what} has no {name!r}{hint}"))
        if wrong:
            raise Refused("bad_policy", "the policy cannot be used", errors=wrong)


def read(text: str, *, statistic: str = "kappa") -> Policy:
    """The policy of a YAML text; `statistic` is the signal's, where a rule names none. Refuses with line and field."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        wrong = RowError(mark.line + 1 if mark else None, None, getattr(error, "problem", None) or "is no YAML")
        raise Refused("bad_policy", "the policy cannot be read", errors=[wrong]) from error
    reader = _Reader()
    given = reader.mapping(node, SCHEMA, "policy")
    if reader.errors:
        raise Refused("bad_policy", "the policy cannot be used", errors=reader.errors)
    by = tuple(given.get("by", ()))
    rules = [_rule(rule, by, given.get("statistic", statistic)) for rule in given.get("rules", [])]
    if "at_least" in given:
        rules.append(Rule(given.get("statistic", statistic), given["at_least"], by=by))
    compared = given.get("no_worse_than_baseline")
    no_worse = None
    if compared is not None:
        name = compared.get("statistic", given.get("statistic", statistic))
        no_worse = NoWorse(compared.get("margin", 0.05), name, tuple(compared.get("by", ())))
    if not rules and no_worse is None and not any(name in given for name in LIMITS):
        empty = RowError(1, "rules", "is empty: a policy that asks for nothing lets everything pass")
        raise Refused("bad_policy", "the policy cannot be used", errors=[empty])
    least = given.get("min_n", 0)
    asked = given.get("scenario")
    if asked is not None and not {"value", "at_least"} <= set(asked):
        empty = RowError(None, "scenario", "needs a value and at_least, such as {value: resolved, at_least: 0.8}")
        raise Refused("bad_policy", "the policy cannot be used", errors=[empty])
    return Policy(
        text,
        tuple(replace(rule, min_n=rule.min_n or least) for rule in rules),
        no_worse,
        max_missing=given.get("max_missing"),
        worst_slice=_worst(given.get("worst_slice"), by, given.get("statistic", statistic)),
        max_wer=given.get("max_wer"),
        max_seconds=given.get("max_seconds"),
        max_cost=given.get("max_cost"),
        scenario=asked
        and Scenario(asked["value"], asked["at_least"], tuple(asked.get("by", ())), asked.get("min_n", 0)),
        lenient=given.get("on_unproven") == "pass",
        name=given.get("name", ""),
        named=reader.named,
    )


def _worst(given: Mapping[str, Any] | None, by: tuple[str, ...], statistic: str) -> WorstSlice | None:
    if given is None:
        return None
    own = tuple(given.get("by", by)) or ("channel",)
    return WorstSlice(given.get("statistic", statistic), given["at_least"], own)


def _rule(given: Mapping[str, Any], by: tuple[str, ...], statistic: str) -> Rule:
    part = given.get("slice", {})
    own = tuple(given.get("by", () if part else by))
    return Rule(given.get("statistic", statistic), given["at_least"], part, own, given["line"], given.get("min_n", 0))


class _Reader:
    """Walks YAML nodes along a schema and keeps every mistake with its line."""

    def __init__(self) -> None:
        self.errors: list[RowError] = []
        self.named: dict[str, tuple[int, str]] = {}

    def wrong(self, node: yaml.Node | None, name: str, message: str) -> None:
        self.errors.append(RowError(node.start_mark.line + 1 if node is not None else 1, name, message))

    def mapping(self, node: yaml.Node | None, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, name, f"must be a mapping with {', '.join(schema)}")
            return {}
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.value not in schema:
                near = difflib.get_close_matches(str(key.value), list(schema), 1)
                hint = f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(schema)}"
                self.wrong(key, str(key.value), f"is not known{hint}")
            elif key.value in found:
                self.wrong(key, key.value, "is given twice")
            else:
                found[key.value] = self.value(value, schema[key.value], key.value)
        if schema is SCHEMA["worst_slice"] and "at_least" not in found:
            self.wrong(node, "at_least", "is missing: the weakest slice needs its bar")
        return found

    def value(self, node: yaml.Node, kind: Any, name: str) -> Any:
        if isinstance(kind, dict):
            return self.mapping(node, kind, name)
        readers = {"rules": self.rules, "names": self.names, "slice": self.slice}
        if kind in readers:
            return readers[kind](node, name)
        if not isinstance(node, yaml.ScalarNode):
            self.wrong(node, name, "must be a single value")
            return None
        if kind in ("number", "share"):
            return self.number(node, name, low=0.0 if kind == "share" else -1.0)
        if kind in ("count", "amount"):
            return self.amount(node, name, whole=kind == "count")
        if kind == "outcome" and node.value not in OUTCOMES:
            self.wrong(node, name, f"must be one of {', '.join(OUTCOMES)}, not {node.value!r}")
        if kind == "statistic" and node.value not in STATISTICS:
            self.wrong(node, name, f"{node.value!r} is not one of {', '.join(STATISTICS)}")
        return node.value

    def number(self, node: yaml.ScalarNode, name: str, *, low: float) -> float:
        try:
            found = float(node.value)
        except ValueError:
            found = float("nan")
        if not low <= found <= 1:
            self.wrong(node, name, f"must be a number from {low:g} to 1, not {node.value!r}")
            return 0.0
        return found

    def amount(self, node: yaml.ScalarNode, name: str, *, whole: bool) -> float:
        try:
            found = int(node.value) if whole else float(node.value)
        except ValueError:
            found = -1
        if not 0 <= found < float("inf"):
            self.wrong(node, name, f"must be a {'whole ' if whole else ''}number from 0 on, not {node.value!r}")
            return 0
        return found

    def names(self, node: yaml.Node, name: str) -> list[str]:
        items: Sequence[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(item, yaml.ScalarNode) for item in items):
            self.wrong(node, name, "must be a list of names, such as [channel, cohort]")
            return []
        parts = [(item, part.strip()) for item in items for part in item.value.split(",") if part.strip()]
        for item, part in parts:
            self.named.setdefault(part, (item.start_mark.line + 1, name))
        return [part for _, part in parts]

    def slice(self, node: yaml.Node, name: str) -> dict[str, str]:
        scalar = isinstance(node, yaml.MappingNode) and all(isinstance(v, yaml.ScalarNode) for _, v in node.value)
        if not scalar or not node.value:
            self.wrong(node, name, "must name a slice, such as {channel: voice}")
            return {}
        for key, _ in node.value:
            self.named.setdefault(str(key.value), (key.start_mark.line + 1, name))
        return {str(key.value): str(value.value) for key, value in node.value}

    def rules(self, node: yaml.Node, name: str) -> list[dict[str, Any]]:
        if not isinstance(node, yaml.SequenceNode):
            self.wrong(node, name, "must be a list of rules")
            return []
        found = []
        for item in node.value:
            rule = self.mapping(item, RULE, "rules")
            if isinstance(item, yaml.MappingNode) and "at_least" not in {key.value for key, _ in item.value}:
                self.wrong(item, "at_least", "is missing: a rule needs its bar")
            found.append(rule | {"line": item.start_mark.line + 1, "at_least": rule.get("at_least", 0.0)})
        return found
