"""What runs before the first job: checks of the study and of the machine."""
