"""Dream jobs: files, the store, batch sizes and memory around the pure `dreaming` package."""
