"""The `moa://` resources: their URIs, what each reads as, and notices when one changes."""
