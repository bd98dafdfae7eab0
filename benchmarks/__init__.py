"""Timings of the parts that cost most, each as a ratio of two ways within one run: machines are noisy."""
