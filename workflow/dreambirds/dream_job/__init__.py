"""Dream jobs: the files, store and memory around the `dreaming` package."""
