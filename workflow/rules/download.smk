from dreambirds.data.sources.catalog import RESOURCES

# The data is an output only while it is missing, because Snakemake deletes the outputs of a job before it reruns it.
for source, resource in RESOURCES.items():

    rule:
        name:
            f"download_{resource.name}"
        output:
            (
                []
                if resource.found()
                else (
                    directory(resource.place) if resource.is_folder else resource.place
                )
            ),
        log:
            f"results/logs/download_{resource.name}.log",
        localrule: True
        conda:
            "../../environment.yml"
        params:
            source=source,
        message:
            f"Download {resource.data}"
        script:
            "../scripts/download.py"
