"""Trifold beside what a person would use instead: the same work in turns, each side in a process of its own.

Run from a checkout: `python -m benchmarks NAME`.
"""
