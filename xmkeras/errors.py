"""The one exception that reaches a person as a single sentence."""


class UserError(Exception):
    """A mistake that the user can mend: bad input, missing data, full disk.

    The message is one sentence that says what is wrong, where, and what to do about it. The commands
    print it without a traceback and leave with exit status 2.
    """


def refuse(message: str) -> None:
    """Raises UserError: what is done with a fault of the data, where nobody collects them."""
    raise UserError(message)
