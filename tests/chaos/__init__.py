"""The fault suite: one fault at a time into a real two-node training job, measured from strike to recovery.

`python -m tests.chaos` runs it and writes docs/faults.md; its quick part is tests/cluster/test_faults.py.
"""
