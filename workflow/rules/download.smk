from dreambirds.data.download.resources import RESOURCES


# The data is an output only while it is not there, since Snakemake deletes the outputs of a job that it runs again.
rule download_cub:
    output:
        [] if RESOURCES["cub"].found() else directory(RESOURCES["cub"].place),
    log:
        "results/logs/download_cub.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Fetch CUB-200-2011"
    script:
        "../scripts/download_cub.py"


rule download_cse455:
    output:
        [] if RESOURCES["kaggle"].found() else RESOURCES["kaggle"].place,
    log:
        "results/logs/download_cse455.log",
    localrule: True
    conda:
        "../../environment.yml"
    message:
        "Fetch the CSE455 birds from Kaggle"
    script:
        "../scripts/download_cse455.py"
