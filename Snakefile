# The workflow is in workflow/Snakefile. An included rule cannot be the default target, so this file has one.
include: Path(workflow.snakefile).resolve().parent / "workflow" / "Snakefile"


rule study:
    default_target: True
    input:
        rules.all.input,
    message:
        done
