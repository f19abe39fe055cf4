"""Comparing what models wrote: equal answers, similar texts, two clusters, scores."""
