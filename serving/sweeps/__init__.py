"""Sweeps: the spec, its plan, and the runner that brings every slot to an end."""
