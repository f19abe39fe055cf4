"""The values of the program and pure functions over them: models, presets, runs, errors, texts. No I/O."""
