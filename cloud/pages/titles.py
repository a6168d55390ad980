"""What a point is called on a page: its profile's title, else the name the vocabulary has for its quantity."""

from drivers.profile import Point
from protocols import messages


def title(point: Point, lang: messages.Language) -> str:
    """The point's name in the reader's language; its id where nobody gave it one."""
    if point.title is not None:
        return point.title.en if lang == "en" else point.title.zh
    name = f"quantity.{point.id}"
    return messages.text(name, lang) if name in messages.catalogue() else point.id
