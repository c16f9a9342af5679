"""Opfoelgning: the figures that a municipality follows its refusion by, as aggregates without persons."""
