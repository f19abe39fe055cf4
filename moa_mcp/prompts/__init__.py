"""All prompts for models, one file per role of the model."""
