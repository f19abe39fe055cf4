"""Choose which models are asked, before the first layer. Each file is one way to choose, or is shared by several."""
