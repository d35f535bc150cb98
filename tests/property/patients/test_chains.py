"""Chains of merges against a union-find that knows nothing of order, and against their own undoing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.reasons import REASONS
from operators.patients.chains import Chains, MergeProblem, MergeRefusedError

KEYS = "ABCDEFGH"
PAIRS = st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS))


@st.composite
def forests(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Merges that can all be in force: each key goes into one that comes later in some order, or into none."""
    order = draw(st.permutations(list(KEYS)))
    later = [order[number + 1 :] for number in range(len(order))]
    goes: list[bool] = draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    return [
        (key, draw(st.sampled_from(rest)))
        for key, rest, is_going in zip(order, later, goes, strict=True)
        if rest and is_going
    ]


def all_merged(edges: list[tuple[str, str]]) -> Chains:
    chains = Chains()
    for former, survivor in edges:
        chains = chains.merge(former, survivor)
    return chains


def groups_by_union_find(edges: list[tuple[str, str]]) -> set[frozenset[str]]:
    group = {key: frozenset({key}) for key in KEYS}
    for one, other in edges:
        joined = group[one] | group[other]
        group |= dict.fromkeys(joined, joined)
    return set(group.values())


@given(forests(), st.data())
def test_any_order_gives_the_same_patients_and_the_same_current_identifiers(
    edges: list[tuple[str, str]], data: st.DataObject
) -> None:
    chains, shuffled = all_merged(edges), all_merged(data.draw(st.permutations(edges)))
    assert [chains.current(key) for key in KEYS] == [shuffled.current(key) for key in KEYS]
    assert {chains.kin(key) for key in KEYS} == groups_by_union_find(edges)
    went = {former for former, _ in edges}
    assert all(chains.current(key) not in went for key in KEYS)


@given(forests(), PAIRS)
def test_a_merge_and_its_undoing_change_nothing(edges: list[tuple[str, str]], pair: tuple[str, str]) -> None:
    before = all_merged(edges)
    try:
        after = before.merge(*pair)
    except MergeRefusedError:
        return
    if after.into == before.into:
        return
    assert after.unmerge(pair[0]).into == before.into
    assert after.current(pair[0]) == before.current(pair[1])


@given(forests(), st.data())
def test_undoing_one_merge_leaves_the_others_as_if_it_had_never_been(
    edges: list[tuple[str, str]], data: st.DataObject
) -> None:
    if not edges:
        return
    undone = data.draw(st.sampled_from(edges))
    without = all_merged([edge for edge in edges if edge != undone])
    before = all_merged(edges)
    after = before.unmerge(undone[0])
    assert after.into == without.into
    moved = after.changed_since(before)
    assert moved == {key: without.current(key) for key in KEYS if without.current(key) != before.current(key)}


@given(forests(), PAIRS)
def test_a_merge_is_refused_exactly_when_it_could_not_be_in_force_too(
    edges: list[tuple[str, str]], pair: tuple[str, str]
) -> None:
    former, survivor = pair
    chains = all_merged(edges)
    is_one = any({former, survivor} <= group for group in groups_by_union_find(edges))
    went = dict(edges)
    expected = None
    if former == survivor:
        expected = MergeProblem.SAME
    elif is_one and former not in went:
        expected = MergeProblem.CIRCULAR
    elif former in went and not is_one:
        expected = MergeProblem.CONFLICT
    elif is_one and former in set(chains.steps(survivor)):
        expected = MergeProblem.CIRCULAR
    found = None
    try:
        chains.merge(former, survivor)
    except MergeRefusedError as refused:
        found = refused.problem
    assert found is expected


@pytest.mark.parametrize("problem", MergeProblem)
def test_every_problem_has_its_sentence(problem: MergeProblem) -> None:
    assert MergeRefusedError(problem).sentence == REASONS[MergeRefusedError(problem).code].sentence


def test_what_was_not_merged_cannot_be_undone() -> None:
    with pytest.raises(MergeRefusedError) as refused:
        Chains().merge("A", "B").unmerge("B")
    assert refused.value.problem is MergeProblem.NOT_MERGED
