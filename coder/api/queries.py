"""Query parameters that more than one route takes."""

from typing import Annotated

from pydantic import Field

from coder.model.values import Input

Limit = Annotated[int, Field(ge=1, le=500)]
Cursor = Annotated[str, Field(min_length=1, max_length=500)]
Number = Annotated[int, Field(ge=0, le=2**53)]
SomeId = Annotated[str, Field(min_length=1, max_length=200)]


class PageQuery(Input):
    """`cursor` is the `next` of the page before."""

    cursor: Cursor | None = None
    limit: Limit = 100


class ForceQuery(Input):
    force: bool = False


class CloseQuery(ForceQuery):
    """`keep_branch`: the session's branch outlives it; what is committed there is saved."""

    keep_branch: bool = False
