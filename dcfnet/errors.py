"""The one exception for everything that is wrong with input data."""


class DataError(ValueError):
    """Input data cannot be used.

    The message says what was expected, what was found and what to do about it.
    """
