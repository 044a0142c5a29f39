from hypothesis import given
from hypothesis import strategies as st

from pybernetes.client.informer import Cache
from pybernetes.controllers import selection
from tests.unit.controllers.objects import pod, replica_set

KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["1", "2"])
LABELS = st.dictionaries(KEYS, VALUES)


def _expression(key: str, operator: str, values: list[str]) -> dict[str, object]:
    return {"key": key, "operator": operator, "values": values if operator in ("In", "NotIn") else []}


EXPRESSIONS = st.lists(
    st.builds(
        _expression,
        KEYS,
        st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
        st.lists(VALUES, min_size=1),
    ),
    max_size=2,
)
SELECTORS = st.fixed_dictionaries({"matchLabels": LABELS, "matchExpressions": EXPRESSIONS})


def test_none_selects_nothing_and_empty_everything() -> None:
    assert not selection.matcher(None)({"a": "1"})
    assert selection.matcher({})({})


def test_operators() -> None:
    def matches(operator: str, values: list[str], labels: dict[str, str]) -> bool:
        expression = {"key": "a", "operator": operator, "values": values}
        return selection.matcher({"matchExpressions": [expression]})(labels)

    assert matches("In", ["1"], {"a": "1"}) and not matches("In", ["1"], {})
    assert matches("NotIn", ["1"], {}) and not matches("NotIn", ["1"], {"a": "1"})
    assert matches("Exists", [], {"a": ""}) and not matches("Exists", [], {})
    assert matches("DoesNotExist", [], {}) and not matches("DoesNotExist", [], {"a": ""})


@given(st.lists(LABELS, max_size=8), SELECTORS)
def test_the_index_finds_what_a_scan_finds(all_labels: list[dict[str, str]], selector: dict) -> None:  # type: ignore[type-arg]
    cache = Cache({selection.POD_LABEL_INDEX: selection.pods_by_label})
    pods = [pod(f"p{i}", labels=labels) for i, labels in enumerate(all_labels)]
    for p in pods:
        cache.put(p)
    matches = selection.matcher(selector)
    found = {p["metadata"]["name"] for p in selection.selected(cache, "default", selector)}
    assert found == {p["metadata"]["name"] for p in pods if matches(p["metadata"]["labels"])}
    assert selection.selected(cache, "other", selector) == []


@given(LABELS, st.lists(SELECTORS, max_size=8))
def test_selecting_finds_what_a_scan_finds(labels: dict[str, str], selectors: list[dict]) -> None:  # type: ignore[type-arg]
    cache = Cache({selection.SELECTOR_INDEX: selection.selectors_by_pair})
    for i, selector in enumerate(selectors):
        cache.put(replica_set(f"rs{i}", selector=selector))
    found = {rs["metadata"]["name"] for rs in selection.selecting(cache, "default", labels)}
    assert found == {f"rs{i}" for i, s in enumerate(selectors) if selection.matcher(s)(labels)}
