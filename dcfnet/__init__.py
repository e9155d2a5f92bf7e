"""A package and a book that open up DCFNet."""

from dcfnet.errors import DataError

__all__ = ["DataError"]
