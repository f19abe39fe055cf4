"""Who is asked: chosen before the first layer. Each file is a way to choose, or a part of several."""
