"""Host names of nodes and instances, and tags: what is accepted. Pure text; resolving is `base.net`'s business."""

from __future__ import annotations

import re

from ganeti.base.errors import Code, PrereqError

_HOST_NAME = re.compile(r"[a-z0-9._-]{1,255}")
_TAG = re.compile(r"[\w.+*/:@-]+", re.ASCII)

MAX_TAG_LENGTH = 128
MAX_TAGS_PER_OBJECT = 4096


def normalize_host_name(name: str) -> str:
    """The name in lower case, without a dot at its end. `PrereqError` unless it can be a host name.

    Labels may hold letters, digits, ``_`` and ``-`` (not first). The result is safe as a file name and as an argument.
    """
    lowered = name.lower().removesuffix(".")
    labels = lowered.split(".")
    if not _HOST_NAME.fullmatch(lowered) or any(not label or label.startswith("-") or len(label) > 63 for label in labels):
        raise PrereqError(
            f"'{name}' is not a host name: it may hold letters, digits, '-' and '_', in parts of at most 63 characters"
            " separated by single dots",
            Code.INVAL,
        )
    return lowered


def check_tag(tag: str) -> None:
    """`PrereqError` unless the text can be a tag."""
    if not tag or len(tag) > MAX_TAG_LENGTH or not _TAG.fullmatch(tag):
        raise PrereqError(
            f"'{tag}' is not a tag: 1 to {MAX_TAG_LENGTH} letters, digits and characters of . + * / : @ _ -", Code.INVAL
        )


def check_tags(tags: tuple[str, ...], what: str) -> None:
    """`PrereqError` unless all these can be the tags of one object (`what` names it)."""
    for tag in tags:
        check_tag(tag)
    if len(set(tags)) > MAX_TAGS_PER_OBJECT:
        raise PrereqError(f"{what} cannot have more than {MAX_TAGS_PER_OBJECT} tags", Code.INVAL)
