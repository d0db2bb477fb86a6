"""`rewrite [continue|stop] name|type|class|ttl …`: change a question on its way, and its answer on the way back.

As in CoreDNS, exact and suffix rules undo themselves in the answer (the client sees the name that it asked for); the
others do with `answer auto`, or with an `answer name REGEX TO` rule. Left out: edns0, answer value, rcode.
Source: https://coredns.io/plugins/rewrite/
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from functools import partial

from minikube_py.cni.dnswire import WireError, encode_name, type_number
from minikube_py.coredns.corefile import Directive
from minikube_py.coredns.message import Answer, Question, Record
from minikube_py.coredns.plugins.plugin import Block, Forward, Handler, Outcome, Query, Step

__all__ = ["setup"]

_MATCHES = ("exact", "prefix", "suffix", "substring", "regex")


@dataclass(frozen=True, slots=True)
class _Rule:
    apply: Callable[[Question], Question | None]
    """Return the new question; None: the rule doesn't match."""
    undo: Callable[..., Answer]
    """Change the answer back: (answer, question before, question after)."""


def _same(answer: Answer, before: Question, after: Question) -> Answer:
    return answer


def _renamed(answer: Answer, rename: Callable[[str], str]) -> Answer:
    def of(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(record._replace(name=rename(record.name)) for record in records)

    return replace_fields(
        answer, answer=of(answer.answer), authority=of(answer.authority), additional=of(answer.additional)
    )


def _auto(answer: Answer, before: Question, after: Question) -> Answer:
    wanted = after.name.lower()
    return _renamed(answer, lambda name: before.name if name.lower() == wanted else name)


def _dotted(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _go(template: str) -> str:
    """Turn `{1}.svc` into Python's replacement syntax."""
    return re.sub(r"\{(\d+)\}", r"\\g<\1>", template.replace("\\", r"\\"))


def _compiled(pattern: str, directive: Directive) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        return directive.fail(f"plugin/rewrite: invalid regular expression {pattern!r}: {error}")


def _matcher(kind: str, from_: str, to: str, directive: Directive) -> Callable[[str], str | None]:
    """Return a function from a (lower-case) name to the new one, or None."""
    lower = from_.lower()
    match kind:
        case "exact":
            return lambda name: _dotted(to) if name == _dotted(lower) else None
        case "prefix":
            return lambda name: to + name[len(lower) :] if name.startswith(lower) else None
        case "suffix":
            suffix, new = _dotted(lower), _dotted(to)
            return lambda name: name[: len(name) - len(suffix)] + new if name.endswith(suffix) else None
        case "substring":
            return lambda name: name.replace(lower, to) if lower in name else None
        case _:
            pattern = _compiled(from_, directive)
            # As CoreDNS: the expression sees the name without its dot too, so `(.*)\.example\.org$` matches.
            return lambda name: _expanded(pattern, name, to)


def _expanded(pattern: re.Pattern[str], name: str, to: str) -> str | None:
    found = pattern.search(name) or pattern.search(name.removesuffix("."))
    return _dotted(found.expand(_go(to))) if found else None


def _name_rule(args: tuple[str, ...], answers: list[tuple[str, ...]], directive: Directive) -> _Rule:
    kind = args[0] if args and args[0] in _MATCHES else "exact"
    rest = args[1:] if args and args[0] in _MATCHES else args
    if len(rest) < 2:
        directive.fail("plugin/rewrite: name needs FROM and TO: rewrite name [exact|prefix|suffix|…] FROM TO")
    from_, to, *more = rest
    while more:
        match more:
            case ["answer", "auto", *more]:
                answers.append(("auto",))
            case ["answer", "name", pattern, replacement, *more]:
                answers.append(("name", pattern, replacement))
            case _:
                directive.fail(f"plugin/rewrite: unexpected {' '.join(more)!r} after the name rule")
    change = _matcher(kind, from_, to, directive)

    def apply(question: Question) -> Question | None:
        new = change(question.name.lower())
        if new is None:
            return None
        try:
            encode_name(new)
        except WireError:
            return None  # not a name: CoreDNS refuses; leaving it as it was at least answers something true
        return question._replace(name=new)

    undo: Callable[..., Answer] = _same
    if kind in ("exact", "suffix", "prefix") or ("auto",) in answers:
        undo = _auto
        if kind == "suffix":
            back = _matcher("suffix", to, from_, directive)

            def undo_suffix(answer: Answer, before: Question, after: Question) -> Answer:
                return _renamed(_auto(answer, before, after), lambda name: back(name.lower()) or name)

            undo = undo_suffix
    patterns = [(_compiled(rule[1], directive), rule[2]) for rule in answers if rule[0] == "name"]
    if patterns:

        def rename(name: str) -> str:
            for pattern, replacement in patterns:
                if (new := _expanded(pattern, name.lower(), replacement)) is not None:
                    return new
            return name

        undo = lambda answer, before, after: _renamed(answer, rename)  # noqa: E731 - one of three of a kind
    return _Rule(apply, undo)


def _ttl_rule(args: tuple[str, ...], directive: Directive) -> _Rule:
    kind = args[0] if args and args[0] in _MATCHES else "exact"
    rest = args[1:] if args and args[0] in _MATCHES else args
    if len(rest) != 2 or not rest[1].isdigit():
        directive.fail("plugin/rewrite: ttl needs a name and seconds: rewrite ttl [exact|…] NAME SECONDS")
    change, ttl = _matcher(kind, rest[0], "x", directive), int(rest[1])

    def of(records: tuple[Record, ...]) -> tuple[Record, ...]:
        return tuple(record._replace(ttl=ttl) for record in records)

    return _Rule(
        lambda question: question if change(question.name.lower()) is not None else None,
        lambda answer, before, after: replace_fields(
            answer, answer=of(answer.answer), additional=of(answer.additional)
        ),
    )


def _rule(field: str, args: tuple[str, ...], answers: list[tuple[str, ...]], directive: Directive) -> _Rule:
    match field, args:
        case "name", _:
            return _name_rule(args, answers, directive)
        case "type", (from_, to):
            try:
                type_number(from_), type_number(to)
            except ValueError as error:
                directive.fail(f"plugin/rewrite: {error}")
            return _Rule(lambda q: q._replace(type=to.upper()) if q.type == from_.upper() else None, _same)
        case "class", (from_, to):
            return _Rule(lambda q: q._replace(klass=to.upper()) if q.klass == from_.upper() else None, _same)
        case "ttl", _:
            return _ttl_rule(args, directive)
        case _:
            return directive.fail(f"plugin/rewrite: '{field}' is not emulated (name, type, class and ttl are)")


def setup(directive: Directive, block: Block) -> Step | None:
    """Add a rule; the block's rules are one step of the chain, tried from top to bottom."""
    args = list(directive.args)
    goes_on = args[:1] == ["continue"]
    if args[:1] in (["continue"], ["stop"]):
        args.pop(0)
    if args:
        rule = _rule(args[0], tuple(args[1:]), [], directive)
    else:
        answers = [line.args for line in directive.block if line.name == "answer"]
        rules = [line for line in directive.block if line.name != "answer"]
        if len(rules) != 1:
            directive.fail("plugin/rewrite: a block holds one rule (name, ttl, …) and its answer rules")
        rule = _rule(rules[0].name, rules[0].args, answers, rules[0])
    known: list[tuple[_Rule, bool]] = block.rewrites
    known.append((rule, goes_on))
    return None if len(known) > 1 else lambda query, next_: _rewrite(query, next_, known)


def _rewrite(query: Query, next_: Handler, rules: list[tuple[_Rule, bool]]) -> Outcome:
    applied: list[Callable[[Answer], Answer]] = []
    question = query.question
    for rule, goes_on in rules:
        after = rule.apply(question)
        if after is None:
            continue
        applied.append(partial(rule.undo, before=question, after=after))
        question = after
        if not goes_on:
            break
    if not applied:
        return next_(query)
    outcome = next_(query._replace(question=question))
    if isinstance(outcome, Forward):
        return replace_fields(outcome, after=(*outcome.after, *reversed(applied)))
    for undo in reversed(applied):
        outcome = undo(outcome)
    return outcome
