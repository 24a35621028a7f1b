"""How property tests search: the same examples for every change, or by chance and for long (`make search`).

What chance finds is no fault of the change that it was found with, so it does not stop one.
"""

from hypothesis import settings

settings.register_profile("gate", max_examples=250, stateful_step_count=40, deadline=None, derandomize=True)
settings.register_profile("search", max_examples=5000, stateful_step_count=40, deadline=None)
settings.load_profile("gate")
