"""From a config file to the table of dreams that a study asks for; reads no picture and imports no torch."""
