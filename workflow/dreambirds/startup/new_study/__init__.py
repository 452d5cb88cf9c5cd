"""Write the config of a new study for a folder of photographs or of checkpoints: `dreambirds init`."""
