"""Ganeti: manager of a cluster of virtual machines."""

__version__ = "4.0.0"
