"""What a query may ask. All raise ApiError that names what is wrong."""

from quart import Request

from web.errors import ApiError

from .inclusion import check_includable


def flag_in(request: Request, name: str) -> bool:
    """False if it is not there."""
    value = request.args.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise ApiError(400, f"'{name}' is {value[:100]!r}; it may be true or false.", param=name)
    return value in ("true", "1")


def number_in(request: Request, name: str, default: int, least: int, most: int) -> int:
    """One between these two."""
    text = request.args.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ApiError(400, f"'{name}' is {text[:100]!r}; it may be {least} to {most}.", param=name)
    return number


def include_in(request: Request) -> list[str]:
    """A list as the SDKs write it: the name with brackets, once for each value."""
    names = [*request.args.getlist("include[]"), *request.args.getlist("include")]
    check_includable(names)
    return names
