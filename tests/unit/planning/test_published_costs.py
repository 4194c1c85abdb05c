from __future__ import annotations

import copy
import json
from itertools import accumulate, pairwise
from typing import Any

import pytest

from pbkd.core.schedule import Worker
from pbkd.errors import ConfigError
from pbkd.planning.cost_model import makespan
from pbkd.planning.published_costs import NETWORKS, choose_run, split_seconds, workload_of
from pbkd.plugin.registry import build_registry
from tests.paths import PUBLISHED

RUNS = json.loads(PUBLISHED.read_text())["runs"]
RECORD = choose_run(RUNS, None, PUBLISHED)
COSTS = split_seconds(RECORD)
WORKLOAD = workload_of(RECORD.setting)
REGISTRY = build_registry()


def seconds(scheduler: str, count: int) -> float:
    workers = [Worker(rank, bandwidth=12e9) for rank in range(count)]
    schedule = REGISTRY.create("scheduler", {"name": scheduler}).schedule(COSTS, workers)
    return makespan(schedule, COSTS, workers, WORKLOAD)


def test_longest_first_is_as_good_as_the_authors_own_schedule() -> None:
    assert seconds("lpt-scheduler", 4) <= 1274.77


def test_one_job_per_block_on_one_worker_takes_the_sum_of_the_record() -> None:
    assert seconds("lpt-scheduler", 1) == pytest.approx(sum(RECORD.seconds.values()))


def test_teacher_and_training_of_a_block_are_what_was_recorded() -> None:
    for cost in COSTS:
        whole = cost.prefix_seconds + cost.teacher_seconds + cost.train_seconds
        assert whole * WORKLOAD.steps == pytest.approx(RECORD.seconds[cost.name], rel=1e-12)
        assert min(cost.prefix_seconds, cost.teacher_seconds, cost.train_seconds) >= 0


def test_the_teacher_takes_longer_the_further_it_goes_and_no_more_than_macs_say() -> None:
    for before, after in pairwise(COSTS):
        assert before.prefix_seconds + before.teacher_seconds <= after.prefix_seconds + 1e-12
    macs = 0
    for target, cost in zip(NETWORKS["VGG-16"], COSTS, strict=True):
        macs += target.macs
        share = macs / (macs + 3 * target.replacement_macs)
        teacher = (cost.prefix_seconds + cost.teacher_seconds) * WORKLOAD.steps
        assert teacher <= share * RECORD.seconds[cost.name] * (1 + 1e-12)
    last = COSTS[-1]
    assert (last.prefix_seconds + last.teacher_seconds) * WORKLOAD.steps == pytest.approx(
        share * RECORD.seconds[last.name]
    )


def test_a_single_pass_is_within_what_the_record_allows() -> None:
    """The teacher up to a block is at least 0, and at most the least of this and later jobs."""
    recorded = [RECORD.seconds[cost.name] for cost in COSTS]
    most = list(accumulate(reversed(recorded), min))[::-1]
    least = sum(recorded) - sum(most) + most[-1]
    assert least == pytest.approx(1744, abs=1)
    assert least < seconds("pipeline", 1) < sum(recorded)
    assert seconds("pipeline", 1) == pytest.approx(2043, abs=1)


def test_a_relay_is_predicted_faster_than_the_authors_schedule() -> None:
    assert seconds("pipeline", 4) < seconds("pipeline", 1) / 3
    assert seconds("pipeline", 4) < 1274.77 / 2


def test_steps_and_bytes_are_of_batches_of_cifar10() -> None:
    assert WORKLOAD.steps == 30 * 196
    assert WORKLOAD.distinct_steps == WORKLOAD.steps
    second = COSTS[1]
    assert second.input_bytes == 4 * 256 * 64 * 32 * 32
    assert second.parameter_bytes == 4 * 2 * (9 * 64 + 64 * 64)


@pytest.mark.parametrize(
    ("network", "targets", "macs", "redundancy", "saved"),
    [("VGG-16", 13, 313_196_544, 7.365, 0.732), ("ResNet-50", 16, 310_575_104, 8.552, 0.372)],
)
def test_macs_are_those_of_the_networks(
    network: str, targets: int, macs: int, redundancy: float, saved: float
) -> None:
    """Up to the last target: MACs, jobs' teacher passes over one pass, share saved if replaced."""
    found = NETWORKS[network]
    until = list(accumulate(target.teacher_macs_before + target.macs for target in found))
    less = sum(target.macs - target.replacement_macs for target in found)
    assert len(found) == targets
    assert until[-1] == macs
    assert sum(until) / macs == pytest.approx(redundancy, abs=1e-3)
    assert less / macs == pytest.approx(saved, abs=1e-3)


def test_the_middle_convolution_of_a_bottleneck_follows_its_own_first_one() -> None:
    first, second = NETWORKS["ResNet-50"][:2]
    assert first.teacher_macs_before == 7 * 7 * 3 * 64 * 32**2 + 64 * 64 * 16**2
    assert second.teacher_macs_before == (64 * 256 + 64 * 256 + 256 * 64) * 16**2


def two_runs() -> list[dict[str, Any]]:
    other = copy.deepcopy(RUNS[0])
    other["setting"] = "VGG-16, CIFAR-10, cluster, batch 512, 30 epochs"
    other["by_workers"]["2"] = copy.deepcopy(other["by_workers"]["4"])
    other["by_workers"]["2"]["blocks"][0]["seconds"] = 1
    return [*RUNS, other]


def test_a_part_of_a_setting_and_a_number_of_workers_choose_a_record() -> None:
    assert choose_run(two_runs(), "CLUSTER", PUBLISHED).workers == 4
    record = choose_run(two_runs(), "cluster@2", PUBLISHED)
    assert (record.workers, record.seconds["block1_conv1"]) == (2, 1.0)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (None, "several settings with ''.*from VGG-16.*schedule; VGG-16.*cluster"),
        ("vgg", "several settings with 'vgg'"),
        ("AlexNet", "no setting with 'AlexNet'"),
        ("cluster@3", "no record of 3 workers for this setting, only of 4, 2"),
    ],
)
def test_a_choice_that_is_not_one_lists_what_there_is(wanted: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_run(two_runs(), wanted, PUBLISHED)


@pytest.mark.parametrize(
    "runs",
    [
        {},
        [],
        [1],
        [{"setting": "x"}],
        [{"setting": 3, "by_workers": {"1": {}}}],
        [{"setting": "a\nb", "by_workers": {"1": {}}}],
        [{"setting": "x", "by_workers": {}}],
        [{"setting": "x", "by_workers": {"many": {}}}],
    ],
)
def test_damaged_runs_are_an_error(runs: Any) -> None:
    with pytest.raises(ConfigError, match="must have a 'setting' and 'by_workers'"):
        choose_run(runs, None, PUBLISHED)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "3", None])
def test_seconds_that_are_none_are_an_error(value: Any) -> None:
    blocks = [{"name": "block1_conv1", "seconds": value}]
    runs = [{"setting": "x", "by_workers": {"1": {"blocks": blocks}}}]
    with pytest.raises(ConfigError, match="must have a 'name' and 'seconds'"):
        choose_run(runs, None, PUBLISHED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("VGG-16", "AlexNet"), "must name one of VGG-16, ResNet-50"),
        (("VGG-16", "ResNet-50"), "conv2_block1_2_conv to conv5_block3_2_conv of the network"),
        (("CIFAR-10", "ImageNet"), "must name CIFAR-10"),
        (("batch 256", "batches"), "must contain 'batch N' and 'N epochs'"),
        (("30 epochs", "0 epochs"), "must contain 'batch N' and 'N epochs'"),
    ],
)
def test_a_setting_must_say_what_the_split_needs(change: tuple[str, str], message: str) -> None:
    runs = copy.deepcopy(RUNS)
    runs[0]["setting"] = runs[0]["setting"].replace(*change)
    with pytest.raises(ConfigError, match=message):
        split_seconds(choose_run(runs, None, PUBLISHED))


def test_a_record_with_a_block_missing_is_an_error() -> None:
    runs = copy.deepcopy(RUNS)
    runs[0]["by_workers"]["4"]["blocks"].pop()
    with pytest.raises(
        ConfigError, match="must have exactly the blocks block1_conv1 to block5_conv3"
    ):
        split_seconds(choose_run(runs, None, PUBLISHED))
