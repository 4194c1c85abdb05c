from __future__ import annotations

import pytest

import pbkd
from pbkd.errors import UnknownNameError
from pbkd.hookspecs import CONTRACT
from pbkd.plugin.registry import BrokenPlugin, Registry, build_registry
from pbkd.plugin.slots import SLOTS
from tests.unit.plugin.sources import HEAD, MISSPELT, OWN, Install, registers, scheduler

ZOO = (
    "its hook register_zoo is skipped, since this version of pbkd has no such hook, and it has no"
    " other. Known: "
)


def broken(registry: Registry) -> BrokenPlugin:
    """Return the one broken plugin; all of pbkd's own must work."""
    assert [name for name in registry.plugins if name in OWN] == OWN
    (found,) = registry.broken
    return found


def test_pbkds_own_plugins_all_load(registry: Registry) -> None:
    assert list(registry.plugins) == OWN
    assert registry.broken == []
    assert registry.strategies.keys() == SLOTS.keys()
    assert registry.plugins["greedy"].provides == {"scheduler": ("greedy",)}
    assert all(plugin.provides for plugin in registry.plugins.values())
    for (slot, name), owner in registry.owners.items():
        assert name in registry.strategies[slot]
        assert name in registry.plugins[owner].provides[slot]


def test_an_installed_plugin_is_found(install: Install) -> None:
    install("thrifty", scheduler("thrifty"))
    registry = build_registry()
    assert registry.find("scheduler", "thrifty").__name__ == "Mine"
    plugin = registry.plugins["thrifty"]
    assert (plugin.version, plugin.origin) == ("2.1", "third-party 2.1")
    assert plugin.provides == {"scheduler": ("thrifty",)}
    assert list(registry.plugins) == [*OWN, "thrifty"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (MISSPELT, "unknown hook 'register_sheduler'"),
        (
            registers("pass", hook="run_finished"),
            "the hook 'run_finished' is gone: register a class with a method run_finished in",
        ),
        ("register_schedulers = list", "it has no function marked @pbkd.hookimpl."),
        ("def register_data(): return []", "marked @pbkd.hookimpl: mark register_data."),
        (
            HEAD + "@hookimpl\ndef register_models(registry): return []",
            "its register_models requires 'registry', but the hook has no arguments: remove it.",
        ),
        (
            HEAD + "@hookimpl(hookwrapper=True)\ndef register_models(): yield",
            "its register_models is a wrapper of other hooks: mark it with @pbkd.hookimpl.",
        ),
        (registers("return []", hook="register_zoo"), ZOO),
        (
            registers("return [type('X', (), {'name': 'x', 'schedule': lambda s, costs: 1})]"),
            "which has a method schedule that does not take (self, costs, workers)",
        ),
        (
            registers("return [type('X', (), {'name': 'x', 'schedule': lambda s, c, w, n: 1})]"),
            "which has a method schedule that does not take (self, costs, workers)",
        ),
        (
            registers(
                "return [type('X', (), {'name': 'x', 'render': lambda s, run: 1})]",
                hook="register_sections",
            ),
            "which has no attribute title",
        ),
        (registers("return None"), "register_schedulers registers None, not a list"),
        (registers("return [object]"), "which has no name"),
        (registers("return [type('X', (), {'name': ''})]"), "which has no name"),
        (registers("return [type('X', (), {'name': 'a:b'})]"), "which has the name 'a:b', which"),
        (registers("return [type('X', (), {'name': 'auto'})]"), "which has the name 'auto', which"),
        (registers("return [type('X', (), {'name': 'x'})()]"), "which is not a class"),
        (registers("return [type('X', (), {'name': 'x'})]"), "which has no method schedule"),
        (
            registers("return [type('X', (), {'name': 'x'})]", hook="register_models"),
            "which is not a pbkd.ZooModel",
        ),
        (
            registers("return [type('X', (), {'name': 'x'})]", hook="register_losses"),
            "which has no method error",
        ),
        (registers("raise SystemExit"), "SystemExit"),
        (registers("1 / 0"), "ZeroDivisionError: division by zero"),
        (
            registers("return 2 * [type('X', (), {'name': 'x', 'schedule': print})]"),
            "it registers the scheduler 'x', a name already taken by 'sick'",
        ),
        (
            scheduler("greedy"),
            "it registers the scheduler 'greedy', a name already taken by 'greedy'",
        ),
    ],
)
def test_a_broken_plugin_is_set_aside_and_stops_nothing_else(
    install: Install, source: str, reason: str
) -> None:
    install("healthy", scheduler("healthy"))
    install("sick", source)
    install("well", scheduler("well"))
    registry = build_registry()
    found = broken(registry)
    assert (found.name, found.origin) == ("sick", "third-party 2.1")
    assert reason in found.reason
    assert "\n" not in found.reason
    assert list(registry.plugins) == [*OWN, "healthy", "well"]
    schedulers = ["cached", "greedy", "lpt-scheduler", "pipeline", "round-robin", "healthy", "well"]
    assert list(registry.strategies["scheduler"]) == schedulers
    assert not registry.manager.has_plugin("sick")
    assert registry.find("scheduler", "greedy").__module__ == "pbkd_greedy"


def test_what_a_broken_plugin_registered_before_it_broke_is_taken_back(install: Install) -> None:
    nameless = "@hookimpl\ndef register_builders():\n    return [object]\n"
    install("half", scheduler("half") + nameless)
    registry = build_registry()
    assert broken(registry).reason.startswith("register_builders registers")
    assert "half" not in registry.strategies["scheduler"]
    assert ("scheduler", "half") not in registry.owners
    assert not registry.manager.has_plugin("half")


def test_a_taken_plugin_name_stays_with_its_first_owner(install: Install) -> None:
    install("greedy", scheduler("other"), dist="imposter")
    found = broken(build_registry())
    assert (found.name, found.origin) == ("greedy", "imposter 2.1")
    assert found.reason == "the plugin name 'greedy' is already used by pbkd 0.1.0."


def test_two_third_parties_cannot_have_one_name(install: Install) -> None:
    install("thrifty", scheduler("thrifty"), dist="alpha")
    install("thrifty", scheduler("thrifty"), dist="beta")
    registry = build_registry()
    owner = registry.plugins["thrifty"].origin
    (loser,) = {"alpha 2.1", "beta 2.1"} - {owner}
    assert broken(registry) == BrokenPlugin(
        "thrifty", loser, f"the plugin name 'thrifty' is already used by {owner}."
    )


def test_a_taken_strategy_name_names_the_plugin_that_has_it(install: Install) -> None:
    install("first", scheduler("mine"))
    install("second", scheduler("mine"))
    found = broken(build_registry())
    assert found.name == "second"
    taken = "it registers the scheduler 'mine', a name already taken by 'first': choose another."
    assert found.reason == taken


def test_the_same_name_in_two_slots_is_no_clash(install: Install) -> None:
    members = "{'name': 'greedy', 'accepts': print, 'partition': print}"
    body = f"return [type('X', (), {members})]"
    install("cutter", registers(body, hook="register_partitioners"))
    registry = build_registry()
    assert registry.broken == []
    assert registry.owners["partitioner", "greedy"] == "cutter"
    assert registry.owners["scheduler", "greedy"] == "greedy"


def test_an_unknown_name_tells_of_the_plugins_that_failed(install: Install) -> None:
    install("thrifty", "import no_such_module")
    with pytest.raises(UnknownNameError) as caught:
        build_registry().find("scheduler", "thrifty")
    assert str(caught.value) == (
        "unknown scheduler 'thrifty'. Known: cached, greedy, lpt-scheduler, pipeline, round-robin."
        " Plugins that failed to load: thrifty (ModuleNotFoundError:"
        " No module named 'no_such_module')"
    )


def test_an_unknown_name_suggests_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry.find("scheduler", "gredy")
    assert str(caught.value) == (
        "unknown scheduler 'gredy'. Did you mean 'greedy'?"
        " Known: cached, greedy, lpt-scheduler, pipeline, round-robin."
    )


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (CONTRACT + 1, "install a newer pbkd."),
        (CONTRACT - 1, "install a newer version of the plugin, or an older pbkd."),
        ((0, CONTRACT - 1), "install a newer version of the plugin, or an older pbkd."),
        ([CONTRACT + 1, CONTRACT + 2], "install a newer pbkd."),
    ],
)
def test_a_plugin_for_another_contract_is_set_aside_with_what_to_do(
    install: Install, stated: object, told: str
) -> None:
    # Whatever hooks another contract has, they are not what is wrong.
    install("thrifty", f"PBKD_CONTRACT = {stated!r}\n{MISSPELT}")
    written = " or ".join(map(str, stated)) if isinstance(stated, (list, tuple)) else stated
    assert broken(build_registry()).reason == (
        f"'thrifty' 2.1 is written for contract {written} between pbkd and its plugins, but pbkd"
        f" {pbkd.__version__} has contract {CONTRACT}: {told}"
    )


@pytest.mark.parametrize("stated", ["one", 2.0, True, (), (1, "2"), {2: 1}, "2"])
def test_a_contract_that_is_no_number_is_told(install: Install, stated: object) -> None:
    install("thrifty", f"PBKD_CONTRACT = {stated!r}\n{scheduler('thrifty')}")
    assert broken(build_registry()).reason == (
        f"its PBKD_CONTRACT is {stated!r}, but must be a number, or several in a tuple, such as"
        f" {CONTRACT}."
    )


@pytest.mark.parametrize("stated", ["2", "(1, 2)", "[3, 2]", "{2}", "range(1, 4)"])
def test_a_plugin_for_this_contract_among_others_is_loaded(install: Install, stated: str) -> None:
    install("thrifty", f"PBKD_CONTRACT = {stated}\n{scheduler('thrifty')}")
    assert "thrifty" in build_registry().plugins


def unknown(hook: str) -> str:
    return f"\n\n@hookimpl\ndef {hook}():\n    1 / 0\n"


@pytest.mark.parametrize(
    ("contract", "hook"),
    [
        ("2", "register_quantisers"),
        ("(2, 3)", "register_quantisers"),
        ("(2, 3)", "register_scheduler"),
        ("(2, 3)", "register_launchers_v2"),
        ("2", "started"),
    ],
)
def test_an_unknown_hook_of_a_newer_pbkd_is_skipped_with_a_note(
    install: Install, contract: str, hook: str
) -> None:
    source = f"PBKD_CONTRACT = {contract}\n{scheduler('thrifty')}{unknown(hook)}"
    install("thrifty", source)
    registry = build_registry()
    assert registry.plugins["thrifty"].provides == {"scheduler": ("thrifty",)}
    assert registry.notes == [
        f"The plugin 'thrifty': its hook {hook} is skipped, since this version of pbkd has no such"
        " hook."
    ]


@pytest.mark.parametrize(
    ("hook", "meant"),
    [
        ("register_scheduler", "register_schedulers"),
        ("register_sheduler", "register_schedulers"),
        ("register_loss", "register_losses"),
        ("register_optimizers", "register_optimisers"),
        ("regster_builders", "register_builders"),
        ("register_zoo_models", "register_models"),
        ("register_lr_schedule", "register_lr_schedules"),
        ("register_dataset", "register_data"),
        ("Register_Meters", "register_meters"),
    ],
)
def test_a_misspelt_hook_gets_its_nearest(install: Install, hook: str, meant: str) -> None:
    install("thrifty", f"{scheduler('thrifty')}{unknown(hook)}")
    assert broken(build_registry()).reason == f"unknown hook '{hook}'. Did you mean '{meant}'?"


def test_a_hook_that_is_not_marked_is_told(install: Install) -> None:
    install("thrifty", f"{scheduler('thrifty')}\n\ndef register_data():\n    return []\n")
    assert build_registry().notes == [
        "The plugin 'thrifty': its register_data is not marked @pbkd.hookimpl."
    ]


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(install: Install) -> None:
    install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        build_registry()
