"""What stands in a table that a spreadsheet opens: no text of somebody else's is a formula there."""


def safe(value: object) -> object:
    """The cell as it may stand; a text that would begin a formula gets an apostrophe, a negative number stays."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    risky = value[:1] in ("=", "+", "@", "\t", "\r") or (value[:1] == "-" and not value[1:2].isdigit())
    return f"'{value}" if risky else value
