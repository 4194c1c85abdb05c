"""Discrete-event simulation of schedules on clusters that are not at hand."""

from pbkd.planning.simulation.simulation import Simulation, simulate

__all__ = ["Simulation", "simulate"]
