"""Exposures of anonymous ids, conversions of known ones: the analysis is that of ids replaced by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipelines.analysis import analyse
from pipelines.analysis.identity import NoIdentitiesError
from pipelines.definitions.metrics import MeanMetric, ProportionMetric
from pipelines.ingest import ingest_events, ingest_exposures, ingest_identities
from pipelines.reports.breakdowns import breakdowns
from pipelines.store.snapshot import from_json, to_json

HOUR = timedelta(hours=1)
CAPPED = {"cap": {"upper_quantile": 0.8}}
METRICS = (
    ProportionMetric(name="conversion", kind="proportion", event="purchase", better="higher"),
    MeanMetric(name="revenue", kind="mean", event="purchase", better="higher"),
    MeanMetric.model_validate({"name": "capped", "kind": "mean", "event": "purchase", "better": "higher", **CAPPED}),
)
# 60 people with a phone each; every third has a laptop too; every tenth phone is shared by two people.
PEOPLE = range(60)


def known(person: int) -> str:
    return f"person-{person}"


def phone(person: int) -> str:
    return f"phone-{person}"


def laptop(person: int) -> str:
    return f"laptop-{person}"


def exposures(lab, name) -> str:
    rows = ["experiment,unit_id,variant,exposed_at,country"]
    for person in PEOPLE:
        variant, at = "new" if person % 2 else "old", lab.START + HOUR * (person + 1)
        rows.append(f"checkout,{name(phone(person))},{variant},{at.isoformat()},DE")
        if person % 3 == 0:
            rows.append(f"checkout,{name(laptop(person))},{variant},{(at + HOUR).isoformat()},AT")
    return "\n".join(row for row in rows if ",nobody," not in row) + "\n"


def events(lab, name) -> str:
    rows = ["event_id,unit_id,event,occurred_at,value"]
    for person in PEOPLE:
        at = lab.START + HOUR * (person + 5)
        if person % 4 == 0:
            rows.append(f"a{person},{name(known(person))},purchase,{at.isoformat()},{10 + person}")
        before = lab.START - HOUR * (person + 30)  # linked before the start, so that history has one unit per person
        rows.append(f"c{person},{name(known(person))},purchase,{before.isoformat()},{person}")
        rows.append(f"d{person},{name(laptop(person))},purchase,{before.isoformat()},{2 * person}")
        if person % 5 == 0:
            rows.append(f"b{person},{name(phone(person))},purchase,{at.isoformat()},{person}")
    return "\n".join(row for row in rows if ",nobody," not in row) + "\n"


def links(lab) -> str:
    rows = ["anonymous_id,known_id,linked_at"]
    for person in PEOPLE:
        at = lab.START + HOUR * (person + 2)
        rows.append(f"{phone(person)},{known(person)},{at.isoformat()}")
        rows.append(f"{laptop(person)},{known(person)},{(lab.START - HOUR).isoformat()}")
        if person % 10 == 9:
            rows.append(f"{phone(person)},{known(person - 1)},{(at + HOUR).isoformat()}")
    return "\n".join(rows) + "\n"


def shared(person: int) -> bool:
    return person % 10 == 9


def by_hand(policy):
    """What an id is called once it was replaced; rows of `nobody` are dropped."""

    def name(spelling: str) -> str:
        device, _, number = spelling.partition("-")
        person = int(number)
        if device == "phone" and shared(person) and policy == "last_touch":
            return known(person - 1)
        return "nobody" if device == "phone" and shared(person) and policy == "strict" else known(person)

    return name


def analysed(lab, tmp_path, *, policy, name=str, linked=True):
    folder = tmp_path / f"{policy}-{name.__name__}"
    folder.mkdir()
    for kind, text in (("exposures", exposures(lab, name)), ("events", events(lab, name)), ("links", links(lab))):
        (folder / f"{kind}.csv").write_text(text, encoding="utf-8")
    fields = {"secondary": ["revenue", "capped"], "segments": ["country"]}
    experiment = lab.experiment(identity=policy, **fields)
    with lab.warehouse() as warehouse:
        ingest_exposures(warehouse, folder / "exposures.csv", known={"checkout": frozenset({"old", "new"})})
        ingest_events(warehouse, folder / "events.csv")
        if linked and policy:
            ingest_identities(warehouse, folder / "links.csv")
        definitions = lab.definitions(experiment, *METRICS)
        (found,) = analyse(warehouse, definitions, ["checkout"], now=lab.END + HOUR)
    return found


def numbers(snapshot):
    return [
        (each.metric, [(arm.n, arm.mean, arm.variance) for arm in each.arms], each.comparisons[0].low)
        for each in snapshot.metrics
    ]


@pytest.mark.parametrize("policy", ["strict", "first_touch", "last_touch"])
def test_an_identified_analysis_is_that_of_ids_replaced_by_hand(lab, tmp_path, policy):
    found = analysed(lab, tmp_path, policy=policy)
    replaced = analysed(lab, tmp_path, policy=None, name=by_hand(policy))
    assert numbers(found) == numbers(replaced)
    left_out = sum(each.units for each in found.exclusions if each.reason == "ambiguous_identity")
    assert found.exposed == replaced.exposed + left_out
    assert [each.segments for each in found.metrics] == [each.segments for each in replaced.metrics]
    anonymous = analysed(lab, tmp_path, policy=None)
    assert anonymous.exposed > found.exposed
    assert numbers(anonymous) != numbers(found)  # conversions of known ids belonged to nobody


def test_strict_leaves_ambiguous_ids_out_and_accounts_for_every_unit(lab, tmp_path):
    found = analysed(lab, tmp_path, policy="strict")
    excluded = {each.reason: each.units for each in found.exclusions}
    assert excluded["ambiguous_identity"] == sum(map(shared, PEOPLE))
    assert found.exposed == sum(arm.analysed for arm in found.arms) + sum(excluded.values())
    record = found.identity
    assert record is not None
    assert (record.policy, record.anonymous_with_several_known) == ("strict", 6)
    assert record.left_out["strict"] == 6
    assert record.merged > 0
    assert any(table.key == "identity" for table in breakdowns(found))
    assert from_json(to_json(found)) == found


def test_identities_that_were_never_loaded_are_asked_for(lab, tmp_path):
    with pytest.raises(NoIdentitiesError, match="rampwise ingest identities"):
        analysed(lab, tmp_path, policy="strict", linked=False)
