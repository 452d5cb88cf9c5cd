# The workflow lies in workflow/Snakefile. An included rule is no default target, so this one names what to make.
include: Path(workflow.snakefile).resolve().parent / "workflow" / "Snakefile"


rule study:
    default_target: True
    input:
        rules.all.input,
    message:
        done
