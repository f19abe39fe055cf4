"""Stages around the layers of a flow: roles, residuals, early stops, warnings about drafts."""
