"""Every word that a model is sent, one file per role of the reader."""
