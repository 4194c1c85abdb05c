"""Discrete-event simulation of schedules on clusters."""

from pbkd.planning.simulation.simulation import Simulation, simulate

__all__ = ["Simulation", "simulate"]
