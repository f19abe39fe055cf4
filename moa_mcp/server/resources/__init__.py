"""The `moa://` resources: their URIs, their contents, and notifications of changes."""
