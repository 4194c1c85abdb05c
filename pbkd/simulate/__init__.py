"""Schedules on clusters that are not here: a discrete-event simulation of what workers do."""

from pbkd.simulate.simulation import Simulation, simulate

__all__ = ["Simulation", "simulate"]
