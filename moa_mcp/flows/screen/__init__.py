"""Choose which drafts of a layer are passed on. Each file is one way to choose, or is shared by several."""
