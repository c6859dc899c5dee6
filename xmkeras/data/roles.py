"""Which column or array of a file plays which role: named by a person, or found by its usual name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xmkeras.errors import UserError

ROLES = ("image", "caption", "text", "label", "id", "split", "category")


def parse_columns(text: str) -> dict[str, str]:
    """`--columns`: "image=path,caption=title,caption=alt" -> role -> column, several of one role with commas.

    Raises:
        UserError: an item is no ROLE=COLUMN, or the role is unknown.
    """
    columns: dict[str, str] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        role, _, column = (part.strip() for part in item.partition("="))
        if role not in ROLES or not column:
            raise UserError(f"--columns={text}: {item!r} is no ROLE=COLUMN; the roles are {', '.join(ROLES)}.")
        columns[role] = f"{columns[role]},{column}" if role in columns else column
    return columns


def find_columns(
    have: Sequence[str], given: Mapping[str, str], usual: Mapping[str, Sequence[str]], path: str
) -> dict[str, list[str]]:
    """The columns of each role of `usual`, [] for none; each column has one role.

    Args:
        have: the columns that there are.
        given: role -> column, or several with commas, as `parse_columns` makes it.
        usual: role -> names by which it is found where it is not given, whatever their case, the first one first.
        path: of the file, for messages.

    Raises:
        UserError: a column that was named does not exist.
    """
    columns = {role: [name.strip() for name in given.get(role, "").split(",") if name.strip()] for role in usual}
    taken = {name for names in columns.values() for name in names}
    if unknown := sorted(taken - set(have)):
        raise UserError(f"{path} has no column {unknown[0]!r}; its columns are {', '.join(have)}.")
    free = {name.lower(): name for name in reversed(have) if name not in taken}
    return {role: names or [free[name] for name in usual[role] if name in free][:1] for role, names in columns.items()}
