"""RAG workbench: measure which chunk size, embedder, prompt and number of examples work on your documents."""

__version__ = "0.1.0"
