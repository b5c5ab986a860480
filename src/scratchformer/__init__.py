"""A reproducible workbench for Transformers. The map of the package is in README.md."""
