"""Results of calls, for tests: the kind that a test expects, or one made by hand."""

from collections.abc import Sequence

from moa_mcp.domain.model import Draft, Embeddings, Result


def as_draft(result: Result) -> Draft:
    """The result, which has to be a draft."""
    assert isinstance(result, Draft)
    return result


def embeddings(*vectors: Sequence[float]) -> Embeddings:
    return Embeddings(tuple(map(tuple, vectors)))
