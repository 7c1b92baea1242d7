"""A declared layout proposed for a report nobody has described yet.

    propose_layout   a file -> what its columns mean, with the evidence for each choice, and what it cannot decide

Nothing here books or knows a database. What a layout says: docs/report-layouts.md.
"""

from __future__ import annotations

from recon.layout_finder.finder import propose_layout
from recon.layout_finder.findings import Choice, Question, Strength, Value
from recon.layout_finder.proposal import LayoutProposal, Sum, Trial

__all__ = ["Choice", "LayoutProposal", "Question", "Strength", "Sum", "Trial", "Value", "propose_layout"]
