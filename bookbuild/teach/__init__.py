"""What a teacher takes from the book: assignments in nbgrader's form, and slides.

Both are made from a section's source and its accepted outputs; nothing is run.
"""

from .assignments import write_assignments
from .slides import write_slides

__all__ = ["write_assignments", "write_slides"]
