"""Equations that two papers share: masks, attention, recurrent stacks, readout, dropout."""
