"""Which drafts of a layer are passed on. Each file is a way to choose, or a part of several."""
