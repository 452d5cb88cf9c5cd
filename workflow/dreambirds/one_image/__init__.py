"""Dream of one image, without a study: of any network, from the command line or from Python."""
