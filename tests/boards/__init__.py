"""The pictures of the boards in docs/boards, from jobs on the real cluster: `python -m tests.boards`."""
