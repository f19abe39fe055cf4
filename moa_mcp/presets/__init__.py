"""The preset library, and the two other formats of a preset file."""
