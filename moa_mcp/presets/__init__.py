"""The preset library, and the two other shapes that a preset file may have."""
