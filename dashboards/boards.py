"""Every board."""

from __future__ import annotations

from dashboards import compare, fleet, job, operators

BOARDS = (job.BOARD, compare.BOARD, fleet.BOARD, operators.BOARD)
