from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pbkd.config.load import load_config
from pbkd.data import Subset, fixed_permutation
from pbkd.errors import DataError, IdentityError
from pbkd.runs.identity import check_choices, check_identity, check_rows, write_identity
from pbkd.training.task import DistillationTask


def test_what_a_configuration_leaves_open_is_compared_when_it_is_resolved(
    digits: DistillationTask, tmp_path: Path
) -> None:
    resolved = load_config(["distill.epochs=4", "builder.share=0.3"])
    write_identity(tmp_path, resolved, digits)
    check_choices(tmp_path, load_config(["builder.share=0.3"]))
    check_identity(tmp_path, resolved, digits)
    with pytest.raises(IdentityError, match=r"builder\.share was 0\.3 and is not set"):
        check_choices(tmp_path, load_config())
    with pytest.raises(IdentityError, match=r"distill\.epochs was 4 and is not set"):
        check_identity(tmp_path, load_config(["builder.share=0.3"]), digits)


def test_a_worker_whose_data_differs_from_the_hosts_stops(
    digits: DistillationTask, tmp_path: Path
) -> None:
    data = digits.data
    check_rows(tmp_path, data)  # no identity yet, so nothing to compare with
    write_identity(tmp_path, load_config(), digits)
    check_rows(tmp_path, data)
    shuffled = Subset(data.train, fixed_permutation(len(data.train)))
    relabelled = Subset(data.train, fixed_permutation(len(data.train)))
    relabelled.labels = data.train.labels
    for train in (shuffled, relabelled, data.test):
        with pytest.raises(DataError, match="the data 'digits' gave other images or labels"):
            check_rows(tmp_path, replace(data, train=train))
