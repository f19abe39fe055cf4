"""One file per command; module, function and command have the same name."""
