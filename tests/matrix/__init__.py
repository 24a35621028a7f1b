"""The chart on the real cluster: every switch of its values flipped, and upgrades and kills beside a job.

`python -m tests.matrix` installs one variant after the other and writes docs/chart-matrix.md.
"""
