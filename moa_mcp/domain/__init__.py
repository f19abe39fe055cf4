"""The values of the program and pure functions on them: models, presets, runs, errors, texts. No I/O."""
