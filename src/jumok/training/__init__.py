"""Batch + model -> checkpoint: losses, schedules, one visible loop, exact resume."""
