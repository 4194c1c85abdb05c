from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pbkd_ray
import pytest
from pbkd_ray import RayLauncher

from pbkd.errors import ConfigError, PluginError, WorkerError
from pbkd.execution import WorkerRequest
from pbkd.testing import check_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import ray
except ImportError:
    pytest.skip("Ray is not installed: pip install 'pbkd[ray]'", allow_module_level=True)


pytestmark = pytest.mark.xdist_group("ray")  # one cluster of Ray at a time on this machine


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, with room for the two workers of the checks."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or it leaves a token in the home folder
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or other tests get nearly all of its time
    ray.shutdown()  # of what another test on this process may have left
    ray.init(
        num_cpus=2,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
    )
    yield
    ray.shutdown()
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_contract_of_launchers() -> None:
    check_launcher(RayLauncher())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_cluster_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pbkd_ray, "_PLACEMENT_TIMEOUT", 2.0)
    with pytest.raises(WorkerError, match="no room for 50 workers"):
        RayLauncher().workers(WorkerRequest(workers=50, threads=1, configuration=""))


def test_a_cluster_that_is_not_there() -> None:
    ray.shutdown()
    with pytest.raises(ConfigError, match=r"the Ray cluster at .127\.0\.0\.1:9. cannot be reached"):
        RayLauncher("127.0.0.1:9").workers(WorkerRequest(configuration=""))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, ray.__name__, None)
    with pytest.raises(PluginError, match=r"pip install 'pbkd\[ray\]'"):
        RayLauncher().workers(WorkerRequest(configuration=""))


def test_a_worker_answers_before_it_has_imported_torch() -> None:
    code = "import sys, pbkd_ray; pbkd_ray._Process().is_new(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
